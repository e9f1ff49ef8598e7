"""The campaign file: what each key becomes, and the one line that each mistake gets."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.campaign import Mailbox, Rate, StopAfter, load_campaign
from mailer.campaign.addresses import constant_mailbox
from mailer.campaign.model import Delivery
from mailer.campaign.secrets import CommandSecret, EnvironmentSecret, FileSecret
from mailer.errors import InputError, Place

FULL = """\
campaign: "release-{{ version }}"
from: '"Example, Ada" <news@Example.com>'
reply_to: help@example.com
cc: ["Boss <boss@example.com>", "{{ manager }}"]
bcc: [archive@example.com]
envelope_from: "bounce+{{ token }}@example.com"
subject: "Hello {{ name }}"
template: welcome.{{ lang }}.html.j2
text: newsletter.txt.j2
images:
  logo: images/logo.png
attachments:
  - files/terms.pdf
  - {path: "invoices/{{ invoice }}.pdf", filename: "Invoice {{ invoice }}.pdf"}
headers: {X-Team: growth}
unsubscribe:
  url: "https://example.com/u/{{ token }}"
  mailto: unsubscribe@example.com
  one_click: true
vars: {company: Example, version: {env: TAG}, deep: [{a: {env: TAG}}, 1]}
key: "{{ email }}/{{ invoice }}"
recipients:
  - ada@example.com
  - {email: bob@example.com, name: Bob, plan: pro}
server:
  host: SMTP.example.com
  security: starttls
  username: news@example.com
  password: {env: SMTP_PASSWORD}
  auth: scram-sha-256
  ca_file: ca.pem
delivery:
  connections: 4
  rate: 30/minute
  window: 64
  attempts: 3
  backoff: {first: 250ms, most: 1h}
  timeout: 1.5m
  in_doubt: hold
  stop_after: 10%
dkim: {domain: example.com, selector: s1, key_file: ../keys/dkim.pem}
ignore: [http-links]
"""


def test_every_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "campaigns").mkdir()
    (folder / "campaigns/full.yaml").write_text(FULL)
    (folder / "campaigns/ca.pem").write_text("")
    monkeypatch.setenv("TAG", "1.2.3")
    campaign = load_campaign(Path("campaigns/full.yaml"), variables={"company": "Other"})

    assert campaign.path == folder / "campaigns/full.yaml"
    assert campaign.root == folder
    assert campaign.name == "release-1.2.3"
    assert constant_mailbox(campaign.sender) == Mailbox("Example, Ada", "news@example.com")
    assert [pattern.source for pattern in campaign.reply_to] == ["help@example.com"]
    assert [pattern.source for pattern in campaign.cc] == ["Boss <boss@example.com>", "{{ manager }}"]
    assert [pattern.source for pattern in campaign.bcc] == ["archive@example.com"]
    assert campaign.envelope_from is not None
    assert campaign.envelope_from.place == Place("campaigns/full.yaml", 6, 16)
    assert campaign.subject.source == "Hello {{ name }}"
    assert campaign.template is not None
    assert campaign.template.source == "welcome.{{ lang }}.html.j2"
    assert campaign.text is not None
    assert {name: pattern.source for name, pattern in campaign.images.items()} == {"logo": "images/logo.png"}
    assert [a.path.source for a in campaign.attachments] == ["files/terms.pdf", "invoices/{{ invoice }}.pdf"]
    assert campaign.attachments[1].filename is not None
    assert campaign.headers["X-Team"].source == "growth"
    assert campaign.unsubscribe is not None
    assert campaign.unsubscribe.one_click
    assert campaign.vars == {"company": "Other", "version": "1.2.3", "deep": [{"a": "1.2.3"}, 1]}
    assert campaign.key is not None
    assert [r.email for r in campaign.recipients] == ["ada@example.com", "bob@example.com"]
    assert campaign.ignore == ("http-links",)


def test_server_delivery_and_dkim(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "full.yaml").write_text(FULL)
    (folder / "ca.pem").write_text("")
    monkeypatch.setenv("TAG", "1")
    campaign = load_campaign("full.yaml")
    server, delivery, dkim = campaign.server, campaign.delivery, campaign.dkim
    assert server is not None
    assert (server.host, server.port, server.security, server.auth) == (
        "smtp.example.com",
        587,
        "starttls",
        ("scram-sha-256",),
    )
    assert isinstance(server.password, EnvironmentSecret)
    assert server.ca_file == folder / "ca.pem"
    assert (delivery.connections, delivery.rate, delivery.window) == (4, Rate(30, 60.0), 64)
    assert (delivery.backoff.first, delivery.backoff.most, delivery.timeout) == (0.25, 3600.0, 90.0)
    assert (delivery.in_doubt, delivery.stop_after) == ("hold", StopAfter(share=0.1))
    assert dkim is not None
    assert os.path.normpath(dkim.key_file) == str(folder.parent / "keys/dkim.pem")
    assert campaign.root == folder


def test_the_smallest_campaign_has_the_defaults_of_the_contract(load) -> None:
    campaign = load()
    assert campaign.delivery == Delivery()
    assert campaign.server is None
    assert campaign.delivery.stop_after == StopAfter(in_a_row=50)


@pytest.mark.parametrize(("security", "port"), [("tls", 465), ("starttls", 587), ("none", 25)])
def test_default_ports(load, security: str, port: int) -> None:
    assert load(server=f"{{host: localhost, security: {security}}}").server.port == port


def test_passwords(load) -> None:
    form = load(server="{host: a.example, password: {command: 'pass show \"my smtp\"'}}").server.password
    assert isinstance(form, CommandSecret)
    assert form.command == 'pass show "my smtp"'
    assert isinstance(
        load(server="{host: a.example, password: {file: /run/secrets/smtp}}").server.password, FileSecret
    )


def test_nulls_that_mean_something(load) -> None:
    delivery = load(delivery="{rate: null, stop_after: ~, window: auto}").delivery
    assert (delivery.rate, delivery.stop_after, delivery.window) == (None, None, None)


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
            "x.yaml:1:11: campaign: unexpected end of template, expected 'end of print statement'.",
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
            "x.yaml:3:10: subject: expected text, found true, true or false; in quotes it is text",
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
            "x.yaml:5:35: recipients.where: unexpected 'end of template'",
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
            "x.yaml:6:25: delivery.connections: expected auto or a whole number, found true, true or false",
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
            'x.yaml:3:10: a value that begins with {% needs quotes: subject: "{% if x %}y{% endif %}"',
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
            "x.yaml:6:33: server.auth: expected auto or plain, login, cram-md5, scram-sha-256, xoauth2 or",
        ),
        (
            {"server": "{host: a.example, auth: [plain, x]}"},
            "x.yaml:6:41: server.auth: expected auto or plain, login, cram-md5, scram-sha-256, xoauth2 or",
        ),
        (
            {"server": "{host: a.example, auth: []}"},
            "x.yaml:6:33: server.auth: the list is too short; expected auto or 1 or more",
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
            "x.yaml:5:35: recipients.split: expected the character between two addresses: ';', ',', '|' or '",
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
        ({"vars": "{self: 1}"}, "x.yaml:6:8: vars: 'self' has a meaning in templates; expected another name"),
    ],
)
def test_one_line_for_each_mistake(problems, changes: dict[str, str | None], expected: str) -> None:
    assert [line for line in problems(**changes) if line.startswith(expected)], problems(**changes)


def test_all_mistakes_at_once_sorted(problems) -> None:
    found = problems(subjct="x", from_="ada", delivery="{rate: 1, attempts: x}", vars="{a: 1, a: 2}")
    assert [line.split(": ")[0] for line in found] == [
        "x.yaml:2:7",
        "x.yaml:6:1",
        "x.yaml:7:18",
        "x.yaml:7:31",
        "x.yaml:8:14",
    ]


def test_patterns_and_rows_are_told_with_the_other_mistakes(problems) -> None:
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


def test_of_wrong_rows_the_first_20_are_told(problems) -> None:
    found = problems(recipients="[" + "x, " * 23 + "]", subjct="x")
    assert len(found) == 22
    assert found[-1] == "and 3 more"


def test_a_literal_password_is_refused_unseen(problems) -> None:
    for literal in ("hunter2", "12345678"):
        (line,) = problems(server=f"{{host: a.example, password: {literal}}}")
        assert "a password does not belong in a campaign file" in line
        assert literal not in line


def test_a_password_in_a_database_url_is_refused_unseen(problems) -> None:
    (line,) = problems(recipients="{sql: select 1, url: 'postgresql://me:hunter2@db/x'}")
    assert "expected {env: NAME}" in line
    assert "hunter2" not in line


def test_a_login_without_tls_needs_loopback(load, problems) -> None:
    assert load(server="{host: 127.0.0.1, security: none, username: me}").server.username == "me"
    assert load(server="{host: a.example, security: none, allow_plaintext: true}").server.allow_plaintext
    (line,) = problems(server="{host: a.example, security: none, allow_plaintext: true, username: me}")
    assert "a login never crosses a connection without TLS" in line


def test_variables_from_the_command_line_are_checked() -> None:
    with pytest.raises(InputError) as caught:
        load_campaign("x.yaml", variables={"campaign": "x", "a b": "x"})
    assert [str(problem) for problem in caught.value.problems] == [
        "--var campaign: 'campaign' has a meaning in templates; expected another name",
        "--var a b: 'a b' is not a variable's name; expected letters, digits and '_'",
    ]


def test_block_scalars_lose_their_last_line_end(load) -> None:
    assert load(subject=">\n  Hello\n  World").subject.source == "Hello World"


def test_line_ends_inside_tags_are_no_line_ends_of_the_value(load) -> None:
    assert load(subject="\"{{ name\\n or 'you' }}\"").subject.source == "{{ name\n or 'you' }}"


@pytest.mark.parametrize(
    "content",
    ["\ufeff{}", "{}"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_encodings_and_line_ends(folder: Path, content: str, encoding: str) -> None:
    if encoding == "utf-16" and content.startswith("\ufeff"):
        content = content[1:]  # Python's codec writes the mark
    text = (
        "campaign: x\r\nfrom: Zoë <a@example.com>\r\nsubject: ☃\r\ntext: t\r\nrecipients: [a@example.com]\r\n"
    )
    (folder / "x.yaml").write_bytes(content.format(text).encode(encoding))
    campaign = load_campaign("x.yaml")
    assert (campaign.sender.source, campaign.subject.source) == ("Zoë <a@example.com>", "☃")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "x.yaml: the file is empty; expected a campaign"),
        (b"# nothing\n", "x.yaml: the file is empty; expected a campaign"),
        (b"- a\n", "x.yaml:1:1: expected a mapping with the campaign's keys, found a list"),
        (b"hello", "x.yaml:1:1: expected a mapping with the campaign's keys, found the text 'hello'"),
        (
            "a: b\nc: é\n".encode("latin-1"),
            "x.yaml:2:4: not UTF-8 (found 0xE9); expected a file saved as UTF-8",
        ),
        ("a: b".encode("utf-16-le"), "x.yaml:1:2: U+0000 is not allowed in YAML; is it UTF-16 without"),
        (b"x: " + b"a" * 20_000_000, "x.yaml: a campaign file has at most 8 MB"),
    ],
)
def test_files_that_are_no_campaign(folder: Path, content: bytes, expected: str) -> None:
    (folder / "x.yaml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_campaign("x.yaml")
    assert str(caught.value).startswith(expected)


def test_what_is_not_a_file(folder: Path) -> None:
    os.mkfifo(folder / "fifo.yaml")
    for path, expected in {
        "nope.yaml": "nope.yaml: there is no such file",
        "fifo.yaml": "fifo.yaml: it is a FIFO; expected a regular file",
        "/dev/zero": "/dev/zero: it is a device; expected a regular file",
        ".": ".: it is a folder; expected a regular file",
        "": "expected the path of a campaign file, found an empty one",
    }.items():
        with pytest.raises(InputError) as caught:
            load_campaign(path)
        assert str(caught.value) == expected


def test_paths_are_shown_as_typed_and_relative_to_the_campaign(folder: Path) -> None:
    (folder / "deep/campaigns").mkdir(parents=True)
    (folder / "deep/people.csv").write_text("email\nbad\n")
    (folder / "deep/campaigns/x.yaml").write_text(
        "campaign: x\nfrom: a@example.com\nsubject: s\ntext: t\nrecipients: ../people.csv\n"
    )
    campaign = load_campaign("deep/campaigns/x.yaml")
    assert campaign.root == folder / "deep"
    (recipient,) = campaign.recipients
    assert str(recipient.problem).startswith("deep/campaigns/../people.csv:2: 'bad' is not an address")


def test_loading_reads_no_secret_and_runs_no_command(folder: Path, load) -> None:
    load(server=f"{{host: a.example, password: {{command: 'touch {folder}/ran'}}}}")
    assert not (folder / "ran").exists()


def test_an_alias_bomb_ends_soon(folder: Path) -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    (folder / "x.yaml").write_text(text)
    started = time.process_time()
    with pytest.raises(InputError, match="more than 500,000 values"):
        load_campaign("x.yaml")
    assert time.process_time() - started < 5


def test_endless_mistakes_end(folder: Path) -> None:
    (folder / "x.yaml").write_text("".join(f"key{number}: 1\n" for number in range(100_000)))
    started = time.process_time()
    with pytest.raises(InputError) as caught:
        load_campaign("x.yaml")
    assert time.process_time() - started < 10
    assert 900 < len(caught.value.problems) < 1100


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, mailer.campaign; print([m for m in ('yaml', 'jinja2', 'email_validator') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


_KEYS = ["campaign", "from", "subject", "recipients", "vars", "server", "host", "env"]
_MARKS = [
    "&a ",
    "*a",
    "<<",
    "!!str ",
    "!x ",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "|",
    ">",
    "'",
    '"',
    "?",
    "#",
    "---\n",
    "~",
]
_WORDS = st.sampled_from([*_KEYS, *_MARKS, "1e999", "\n", "\n  ", "\t", " "])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200) | st.lists(_WORDS, max_size=40).map(lambda words: "".join(words).encode())
)
def test_no_bytes_make_anything_but_an_input_error(folder: Path, content: bytes) -> None:
    (folder / "x.yaml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_campaign("x.yaml")
    assert all(problem.text and "\n" not in problem.text for problem in caught.value.problems)
