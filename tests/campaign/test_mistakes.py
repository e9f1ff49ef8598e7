"""Mistakes in campaign files: each has one line with its place, its key and what is expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailer.campaign import load_campaign
from mailer.errors import InputError


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"subjct": "x"}, "x.yaml:6:1: unknown key 'subjct'; did you mean 'subject'?"),
        ({"reply-to": "x"}, "x.yaml:6:1: unknown key 'reply-to'; did you mean 'reply_to'?"),
        ({"subject": None}, "x.yaml:1:1: the key 'subject' is missing; it is required"),
        ({"text": None}, "x.yaml:1:1: the key 'template' or 'text' is missing; one of them is required"),
        (
            {"campaign": "Spring Sale"},
            "x.yaml:1:11: campaign: 'Spring Sale' is not a campaign name; expected lower-case letters,",
        ),
        ({"campaign": "'{{ nope }}'"}, "x.yaml:1:11: campaign: 'nope' is undefined"),
        (
            {"campaign": "'{{ 1 '"},
            "x.yaml:1:11: campaign: unexpected end of template, expected '}}'",
        ),
        ({"from": "ada"}, "x.yaml:2:7: from: 'ada' is not an address: an email address must have an @-sign"),
        (
            {"from": "'Ada, Bob <a@example.com>'"},
            "x.yaml:2:7: from: ',' is allowed in a name only in quotes; write '\"Ada, Bob\" <name@example.com>'",
        ),
        (
            {"from": "'a@example.com, b@example.com'"},
            "x.yaml:2:7: from: 'a@example.com, b@ex…' is not an address: one address is expected, found",
        ),
        ({"subject": "42"}, "x.yaml:3:10: subject: expected text, found 42, a number; in quotes it is text"),
        (
            {"subject": "true"},
            "x.yaml:3:10: subject: expected text, found true, a boolean; in quotes it is text",
        ),
        ({"subject": "[a]"}, "x.yaml:3:10: subject: expected text, found a list"),
        ({"subject": ""}, "x.yaml:3:9: subject: expected text, found nothing"),
        (
            {"subject": '"a\\r\\nBcc: b"'},
            "x.yaml:3:10: subject: a control character or line end (U+000D) is not allowed here",
        ),
        (
            {"subject": '"a\\u2028b"'},
            "x.yaml:3:10: subject: a control character or line end (U+2028) is not allowed here",
        ),
        (
            {"cc": "[nobody]"},
            "x.yaml:6:6: cc: 'nobody' is not an address: an email address must have an @-sign",
        ),
        (
            {"headers": "{Bcc: x}"},
            "x.yaml:6:11: headers: the mailer writes the header Bcc itself; it cannot be set here",
        ),
        (
            {"headers": "{content-id: x}"},
            "x.yaml:6:11: headers: the mailer writes the header content-id itself; it cannot be set here",
        ),
        (
            {"headers": "{List-Unsubscribe-Post: x}"},
            "x.yaml:6:11: headers: the mailer writes the header List-Unsubscribe-Post itself; it cannot be",
        ),
        (
            {"headers": "{'X Y': x}"},
            "x.yaml:6:11: headers: 'X Y' is not a header name; expected letters, digits and '-'",
        ),
        (
            {"headers": '{"X-A\\r\\nBcc": x}'},
            "x.yaml:6:11: headers: 'X-A\\r\\nBcc' is not a header name; expected letters, digits and '-'",
        ),
        ({"headers": "{X-A: a, x-a: b}"}, "x.yaml:6:24: headers: the header 'x-a' repeats 'X-A'"),
        (
            {"images": "{'my logo': a.png}"},
            "x.yaml:6:10: images: 'my logo' is not an image name; expected 1 to 64 of A-Z a-z 0-9 . _ @ -",
        ),
        (
            {"attachments": "[{filename: x}]"},
            "x.yaml:6:15: attachments: the key 'path' is missing; it is required",
        ),
        ({"unsubscribe": "{one_click: true}"}, "x.yaml:6:14: unsubscribe: expected 'url', 'mailto' or both"),
        (
            {"unsubscribe": "{mailto: u@example.com, one_click: true}"},
            "x.yaml:6:38: unsubscribe.one_click: one_click needs a 'url' (RFC 8058)",
        ),
        (
            {"unsubscribe": "{url: 'http://a.example/', one_click: true}"},
            "x.yaml:6:20: unsubscribe.url: one_click needs an https URL (RFC 8058, section 3.1)",
        ),
        (
            {"vars": "{image: x}"},
            "x.yaml:6:8: vars: 'image' has a meaning in templates; expected another name",
        ),
        (
            {"vars": "{first-name: x}"},
            "x.yaml:6:8: vars: 'first-name' is not a variable's name; expected letters, digits and '_'",
        ),
        (
            {"vars": "{a: [{env: NOT_SET_HERE}]}"},
            "x.yaml:6:18: vars.a: the environment variable NOT_SET_HERE is not set",
        ),
        ({"recipients": "[]"}, "x.yaml:5:13: recipients: the list is empty; expected at least one recipient"),
        ({"recipients": "nope.csv"}, "x.yaml:5:13: recipients: nope.csv: there is no such file"),
        ({"recipients": "."}, "x.yaml:5:13: recipients: .: it is a folder; expected a regular file"),
        (
            {"recipients": "/dev/zero"},
            "x.yaml:5:13: recipients: /dev/zero: it is a device; expected a regular file",
        ),
        ({"recipients": "x.yaml.bak"}, "x.yaml:5:13: recipients: x.yaml.bak: there is no such file"),
        (
            {"recipients": "{file: x.yaml, where: 'a =='}"},
            "x.yaml:5:35: recipients.where: unexpected 'end of template'; expected an expression such as plan == 'pro'",
        ),
        (
            {"recipients": "{file: x.yaml, where: a = 1}"},
            "x.yaml:5:35: recipients.where: chunk after expression; expected an expression such as plan == 'pro',"
            " with == to compare",
        ),
        (
            {"recipients": "https://example.com/people.csv"},
            "x.yaml:5:13: recipients: expected the name of a file, and not a URL; download the list first",
        ),
        (
            {"recipients": "{file: x.yaml, encoding: rot13}"},
            "x.yaml:5:38: recipients.encoding: 'rot13' is not a known encoding; expected one such as utf-8,",
        ),
        (
            {"recipients": "{file: x.yaml, sheet: A}"},
            "x.yaml:5:20: recipients: 'sheet' goes with .xlsx files only",
        ),
        (
            {"recipients": "{file: x.yaml, hidden: skip}"},
            "x.yaml:5:20: recipients: 'hidden' goes with .xlsx files only",
        ),
        (
            {"recipients": "{file: x.xlsx, hidden: yes}"},
            "x.yaml:5:36: recipients.hidden: expected skip or include, found the text 'yes'",
        ),
        (
            {"recipients": "{sql: select 1}"},
            "x.yaml:5:13: recipients: the key 'url' is missing; it is required",
        ),
        (
            {"server": "{port: 25}"},
            "x.yaml:6:9: server: the key 'host' (or 'provider') is missing; one of them is required",
        ),
        (
            {"server": "{host: a b}"},
            "x.yaml:6:16: server.host: the host is neither a domain name nor an IP address",
        ),
        (
            {"server": "{host: 'a.example:465'}"},
            "x.yaml:6:16: server.host: the host is neither a domain name nor an IP address; the port is a key of its own",
        ),
        (
            {"server": "{host: 'smtps://a.example'}"},
            "x.yaml:6:16: server.host: expected the name of a host, and not a URL",
        ),
        (
            {"server": "{host: a.example, port: 0}"},
            "x.yaml:6:33: server.port: expected a number from 1 to 65535, found 0",
        ),
        (
            {"server": "{host: a.example, security: ssl}"},
            "x.yaml:6:37: server.security: expected tls, starttls or none, found the text 'ssl'",
        ),
        (
            {"server": "{host: a.example, security: none}"},
            "x.yaml:6:27: server.security: without TLS the mailer connects only to loopback, unless the",
        ),
        (
            {"server": "{host: a.example, ca_file: no.pem}"},
            "x.yaml:6:36: server.ca_file: no.pem: there is no such file",
        ),
        (
            {"server": "{host: a.example, password: {env: A, file: b}}"},
            "x.yaml:6:37: server.password: expected one of {env: NAME}, {command: ...}, {file: PATH} or",
        ),
        (
            {"server": "{host: a.example, password: {command: ''}}"},
            "x.yaml:6:47: server.password.command: expected a command such as 'pass show smtp | head -1'",
        ),
        (
            {"delivery": "{connections: 1.5}"},
            "x.yaml:6:25: delivery.connections: expected auto or a whole number, found 1.5, a number",
        ),
        (
            {"delivery": "{connections: true}"},
            "x.yaml:6:25: delivery.connections: expected auto or a whole number, found true, a boolean",
        ),
        (
            {"delivery": "{attempts: 0}"},
            "x.yaml:6:22: delivery.attempts: expected a number from 1 to 100, found 0",
        ),
        (
            {"delivery": "{rate: 5/fortnight}"},
            "x.yaml:6:18: delivery.rate: expected a rate such as 14/second, 30/minute or 500/hour",
        ),
        (
            {"delivery": "{timeout: 60}"},
            "x.yaml:6:21: delivery.timeout: expected a duration such as 30s, found 60, a number",
        ),
        (
            {"delivery": "{backoff: {first: 10m}}"},
            "x.yaml:6:22: delivery.backoff: 'first' (600 s) is longer than 'most' (300 s)",
        ),
        (
            {"delivery": "{in_doubt: no}"},
            "x.yaml:6:22: delivery.in_doubt: expected resend or hold, found the text 'no'",
        ),
        (
            {"delivery": "{stop_after: 3}"},
            "x.yaml:6:24: delivery.stop_after: expected a limit, found 3, a number",
        ),
        (
            {"dkim": "{domain: example.com}"},
            "x.yaml:6:7: dkim: the key 'key_file' is missing; it is required",
        ),
        (
            {"recipients": '"a\\n\\e[2J.csv"'},
            "x.yaml:5:13: recipients: a \\x1b[2J.csv: there is no such file",
        ),
        (
            {"recipients": "{file: '-', sheet: A}"},
            "x.yaml:5:20: recipients: 'sheet' goes with .xlsx files only",
        ),
        (
            {"subject": "'" + "{{" * 10_000 + "'"},
            "x.yaml:3:10: subject: expected at most 10,000 characters; longer templates are files",
        ),
        ({"ignore": "[Not A Rule]"}, "x.yaml:6:10: ignore: expected a rule's name"),
        ({"cc": "{a: b}"}, "x.yaml:6:5: cc: expected a list, found a mapping"),
        (
            {"reply_to": "[a@example.com, nobody]"},
            "x.yaml:6:27: reply_to: 'nobody' is not an address: an email address must have an @-sign",
        ),
        (
            {"to": "'Ada <ada@example.com>'"},
            "x.yaml:6:5: to: expected a display name; the address in To is always the recipient's",
        ),
        (
            {"css": "outline"},
            "x.yaml:6:6: css: expected inline or keep, found the text 'outline'; did you mean 'inline'?",
        ),
        (
            {"calendar": "{method: REQUEST}"},
            "x.yaml:6:11: calendar: the key 'path' is missing; it is required",
        ),
        (
            {"calendar": "{path: a.ics, method: SEND}"},
            "x.yaml:6:33: calendar.method: expected PUBLISH, REQUEST, REPLY, ADD, CANCEL, REFRESH, COUNTER",
        ),
        (
            {"subject": "{{ name }} hi"},
            'x.yaml:3:10: a value that begins with {{ needs quotes: subject: "{{ name }} hi"',
        ),
        (
            {"subject": "{{ name }}"},
            'x.yaml:3:10: a value that begins with {{ needs quotes: subject: "{{ name }}"',
        ),
        (
            {"subject": "{% if x %}y{% endif %}"},
            'x.yaml:3:10: a value that begins with {% needs quotes: subject: "{% if x %}y{% endif…"',
        ),
        (
            {"from": '"Müller, Jörg" <j@example.com>'},
            'x.yaml:2:7: a quoted name with an address needs quotes around both: from: \'"Müller, Jörg"',
        ),
        (
            {"from": '"Müller, Jörg <j@example.com>"'},
            "x.yaml:2:7: from: ',' is allowed in a name only in quotes; write '\"Müller, Jörg\"",
        ),
        (
            {"delivery": "{connections: many}"},
            "x.yaml:6:25: delivery.connections: expected auto or a whole number, found the text 'many'",
        ),
        (
            {"delivery": "{strategy: fast}"},
            "x.yaml:6:22: delivery.strategy: expected auto, streamed, pipelined or sequential, found the",
        ),
        (
            {"delivery": "{window: 1.5}"},
            "x.yaml:6:20: delivery.window: expected auto or a whole number, found 1.5, a number",
        ),
        (
            {"server": "{host: a.example, auth: digest-md5}"},
            "x.yaml:6:33: server.auth: expected auto, plain, login, cram-md5, scram-sha-256, xoauth2 or",
        ),
        (
            {"server": "{host: a.example, auth: [plain, x]}"},
            "x.yaml:6:41: server.auth: expected auto, plain, login, cram-md5, scram-sha-256, xoauth2 or",
        ),
        (
            {"server": "{host: a.example, auth: []}"},
            "x.yaml:6:33: server.auth: expected auto or a list of 1 or more, found 0",
        ),
        (
            {"server": "{provider: gmial}"},
            "x.yaml:6:20: server.provider: expected gmail, microsoft365, ses, sendgrid, mailgun, postmark,",
        ),
        (
            {"server": "{provider: gmail, host: a.example}"},
            "x.yaml:6:27: server.host: 'provider' sets the host; leave one of the two out",
        ),
        (
            {"server": "{provider: ses}"},
            "x.yaml:6:10: server.provider: ses has a server in each region: expected 'region', such as",
        ),
        (
            {"server": "{provider: ses, region: mars}"},
            "x.yaml:6:25: server.region: expected us-east-1, us-east-2, us-west-1, us-west-2, ca-central-1,",
        ),
        ({"server": "{provider: gmail, region: eu}"}, "x.yaml:6:27: server.region: gmail has no regions"),
        (
            {"server": "{host: a.example, region: eu}"},
            "x.yaml:6:27: server.region: a region goes with a 'provider'",
        ),
        (
            {"server": "{host: a.example, ehlo_name: 192.0.2.7}"},
            "x.yaml:6:38: server.ehlo_name: an IP address needs brackets here: [192.0.2.7]",
        ),
        (
            {"server": "{host: a.example, ehlo_name: 'a b'}"},
            "x.yaml:6:38: server.ehlo_name: expected a domain name, or an address literal such as [192.0.2.7]",
        ),
        (
            {"server": "{host: a.example, source_address: eth0}"},
            "x.yaml:6:43: server.source_address: expected an IP address of this machine such as 192.0.2.7",
        ),
        (
            {"server": "{host: a.example, proxy: 'http://p:1'}"},
            "x.yaml:6:34: server.proxy: expected the URL of a proxy such as socks5://127.0.0.1:1080",
        ),
        (
            {"server": "{host: a.example, proxy: 'socks5://me:hunter2@p:1'}"},
            "x.yaml:6:34: server.proxy: a proxy's login does not belong in a campaign file; expected",
        ),
        (
            {"server": "{host: a.example, client_cert: {cert: no.pem}}"},
            "x.yaml:6:47: server.client_cert.cert: no.pem: there is no such file",
        ),
        (
            {"server": "{host: a.example, password: {keyring: x}}"},
            "x.yaml:6:27: server.password: the keyring needs the 'username' beside it",
        ),
        (
            {"server": "{host: a.example, username: me, password: {login: microsoft}}"},
            "x.yaml:6:59: server.password.login: a login by OAuth 2.0 is not in this version; use {env:",
        ),
        (
            {"recipients": "{file: x.yaml, split: and}"},
            "x.yaml:5:35: recipients.split: expected what is between two addresses: ';', ',', '|', ':::' or ' '",
        ),
        (
            {"recipients": "{file: x.yaml, trim: maybe}"},
            "x.yaml:5:34: recipients.trim: expected true or false, found the text 'maybe'",
        ),
        (
            {"recipients": "{file: x.yaml, columns: {first name: x}}"},
            "x.yaml:5:38: recipients.columns: 'first name' is not a variable's name; expected letters,",
        ),
        (
            {"recipients": "{file: x.yaml, columns: {loop: x}}"},
            "x.yaml:5:38: recipients.columns: 'loop' has a meaning in templates; expected another name",
        ),
        (
            {"unsubscribe": "{url: 'https://a.example/', one_click: yes}"},
            "x.yaml:6:53: unsubscribe.one_click: expected true or false, found the text 'yes'; in YAML 1.2 that is text:"
            " write true",
        ),
        (
            {"delivery": "{attempts: '3'}"},
            "x.yaml:6:22: delivery.attempts: expected a whole number, found the text '3'; without quotes it is a number",
        ),
        ({"vars": "{self: 1}"}, "x.yaml:6:8: vars: 'self' has a meaning in templates; expected another name"),
    ],
)
def test_each_mistake_has_one_line_with_its_place_and_key(
    problems, changes: dict[str, str | None], expected: str
) -> None:
    assert [line for line in problems(**changes) if line.startswith(expected)], problems(**changes)


def test_all_mistakes_are_listed_at_once_in_the_order_of_the_file(problems) -> None:
    found = problems(subjct="x", from_="ada", delivery="{rate: 1, attempts: x}", vars="{a: 1, a: 2}")
    assert [line.split(": ")[0] for line in found] == [
        "x.yaml:2:7",
        "x.yaml:6:1",
        "x.yaml:7:18",
        "x.yaml:7:31",
        "x.yaml:8:14",
    ]


def test_mistakes_in_expressions_and_rows_are_listed_with_the_others(problems) -> None:
    found = problems(
        subject="'{{ x'",
        recipients="[ada, bob@example.com, {email: x y}]",
        subjct="x",
        attachments="[{path: a, filename: '{{ y|nofilter }}'}]",
        unsubscribe="{url: '{% if %}'}",
    )
    assert [line.split(": ")[0] for line in found] == [
        "x.yaml:3:10",
        "x.yaml:5:14",
        "x.yaml:5:36",
        "x.yaml:6:1",
        "x.yaml:7:35",
        "x.yaml:8:20",
    ]


def test_the_first_20_wrong_rows_are_listed_and_the_others_counted(problems) -> None:
    found = problems(recipients="[" + "x, " * 23 + "]", subjct="x")
    assert len(found) == 22
    assert found[-1] == "and 3 more"


def test_a_literal_password_is_refused_and_not_repeated(problems) -> None:
    for literal in ("hunter2", "12345678"):
        (line,) = problems(server=f"{{host: a.example, password: {literal}}}")
        assert "a password does not belong in a campaign file" in line
        assert literal not in line


def test_a_password_in_a_database_url_is_refused_and_not_repeated(problems) -> None:
    (line,) = problems(recipients="{sql: select 1, url: 'postgresql://me:hunter2@db/x'}")
    assert "expected {env: NAME}" in line
    assert "hunter2" not in line


def test_a_login_without_tls_needs_loopback(load, problems) -> None:
    assert load(server="{host: 127.0.0.1, security: none, username: me}").server.username == "me"
    assert load(server="{host: a.example, security: none, allow_plaintext: true}").server.allow_plaintext
    (line,) = problems(server="{host: a.example, security: none, allow_plaintext: true, username: me}")
    assert "a login never crosses a connection without TLS" in line


def test_an_address_in_place_of_a_list_says_what_to_type(problems) -> None:
    assert problems(recipients="ada@example.com") == [
        "x.yaml:5:13: recipients: expected a list or the name of a file; one recipient is a list, too:"
        " [ada@example.com]"
    ]


def test_several_addresses_in_an_item_of_the_campaign_file_are_to_be_items(problems) -> None:
    (line,) = problems(recipients="['ada@example.com; bob@example.com']", subject="[a]")[1:]
    assert line.endswith("found several; list each of them as an item of its own")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: {b: c\nd: e\n", "x.yaml:2:2: it is not YAML: expected ',' or '}' in the mapping that starts in line 1"),
        ("a: [b, c\n", "x.yaml:1:4: it is not YAML: expected ',' or ']' in the list"),
        ("a: 'b\nc: d\n", "x.yaml:1:4: it is not YAML: a quote is opened here and never closed"),
        ("a:\n\tb: c\n", "x.yaml:2:1: it is not YAML: a tab cannot indent; use blanks"),
        ("a: @b\n", "x.yaml:1:4: it is not YAML: a text that begins with @ needs quotes"),
        ("a: b: c\n", "x.yaml:1:5: it is not YAML: ': ' is not allowed inside a value; a text with ': ' in it needs"),
        ("a:b\nc: d\n", "x.yaml:2:2: it is not YAML: this line continues the value above; is it indented wrongly,"),
        ('a: "b" c\nd: e\n', "x.yaml:1:8: it is not YAML: expected a key with ': ' below the other keys; or does the"),
        (" a: b\nc: d\n", "x.yaml:2:1: it is not YAML: this text belongs to no key; all keys of a mapping begin in"),
        ("a = b\n- c\n", "x.yaml:1:1: expected a mapping with the campaign's keys, found the text 'a = b - c'"),
    ],
)  # fmt: skip
def test_yaml_that_cannot_be_read_is_explained_in_plain_words(
    folder: Path, content: str, expected: str
) -> None:
    (folder / "x.yaml").write_text(content)
    with pytest.raises(InputError) as caught:
        load_campaign("x.yaml")
    assert str(caught.value).startswith(expected)


def test_all_values_that_need_quotes_are_listed_in_one_round(folder: Path) -> None:
    (folder / "x.yaml").write_text(
        'campaign: x\nfrom: "M\u00fcller, J\u00f6rg" <joerg@example.com>\nsubject: {{ name }} hi\ntext: t\n'
    )
    with pytest.raises(InputError) as caught:
        load_campaign("x.yaml")
    assert str(caught.value).splitlines() == [
        "x.yaml:2:7: a quoted name with an address needs quotes around both: from: '\"M\u00fcller, J\u00f6rg\" <joe\u2026'",
        'x.yaml:3:10: a value that begins with {{ needs quotes: subject: "{{ name }} hi"',
    ]


def test_a_problem_of_an_expression_names_its_key(folder: Path, load) -> None:
    assert load(subject="'{{ name }}'").subject.key == "subject"
    assert load(unsubscribe="{url: 'https://example.com/{{ x }}'}").unsubscribe.url.key == "unsubscribe.url"
