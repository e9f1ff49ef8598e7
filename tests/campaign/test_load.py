"""Campaign files: what each key becomes, and files that are not campaigns."""

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


def test_a_campaign_file_with_every_key_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_server_delivery_and_dkim_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_smallest_campaign_has_the_documented_defaults(load) -> None:
    campaign = load()
    assert campaign.delivery == Delivery()
    assert campaign.server is None
    assert campaign.delivery.stop_after == StopAfter(in_a_row=50)


@pytest.mark.parametrize(("security", "port"), [("tls", 465), ("starttls", 587), ("none", 25)])
def test_the_default_port_follows_from_the_security(load, security: str, port: int) -> None:
    assert load(server=f"{{host: localhost, security: {security}}}").server.port == port


def test_each_form_of_a_password_becomes_its_source(load) -> None:
    form = load(server="{host: a.example, password: {command: 'pass show \"my smtp\"'}}").server.password
    assert isinstance(form, CommandSecret)
    assert form.command == 'pass show "my smtp"'
    assert isinstance(
        load(server="{host: a.example, password: {file: /run/secrets/smtp}}").server.password, FileSecret
    )


def test_null_and_auto_mean_no_limit_in_delivery(load) -> None:
    delivery = load(delivery="{rate: null, stop_after: ~, window: auto}").delivery
    assert (delivery.rate, delivery.stop_after, delivery.window) == (None, None, None)


def test_variables_from_the_command_line_are_checked() -> None:
    with pytest.raises(InputError) as caught:
        load_campaign("x.yaml", variables={"campaign": "x", "a b": "x"})
    assert [str(problem) for problem in caught.value.problems] == [
        "--var campaign: 'campaign' has a meaning in templates; expected another name",
        "--var a b: 'a b' is not a variable's name; expected letters, digits and '_'",
    ]


def test_a_block_scalar_loses_its_last_line_end(load) -> None:
    assert load(subject=">\n  Hello\n  World").subject.source == "Hello World"


def test_a_line_end_inside_a_tag_is_accepted_in_a_subject(load) -> None:
    assert load(subject="\"{{ name\\n or 'you' }}\"").subject.source == "{{ name\n or 'you' }}"


@pytest.mark.parametrize(
    "content",
    ["\ufeff{}", "{}"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_utf8_and_utf16_with_crlf_are_read(folder: Path, content: str, encoding: str) -> None:
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
def test_a_file_that_is_not_a_campaign_is_refused_at_its_place(
    folder: Path, content: bytes, expected: str
) -> None:
    (folder / "x.yaml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_campaign("x.yaml")
    assert str(caught.value).startswith(expected)


def test_a_missing_file_or_a_device_is_refused(folder: Path) -> None:
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
    assert str(recipient.problem).startswith("deep/campaigns/../people.csv:2: email: 'bad' is not an address")


def test_loading_reads_no_secret_and_runs_no_command(folder: Path, load) -> None:
    load(server=f"{{host: a.example, password: {{command: 'touch {folder}/ran'}}}}")
    assert not (folder / "ran").exists()


def test_an_alias_bomb_is_refused(folder: Path) -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    (folder / "x.yaml").write_text(text)
    started = time.process_time()
    with pytest.raises(InputError, match="more than 100,000 values"):
        load_campaign("x.yaml")
    assert time.process_time() - started < 5


@pytest.mark.slow
def test_a_file_with_40000_mistakes_lists_about_1000(folder: Path) -> None:
    (folder / "x.yaml").write_text("".join(f"key{number}: 1\n" for number in range(40_000)))
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
def test_random_bytes_raise_only_input_errors(folder: Path, content: bytes) -> None:
    (folder / "x.yaml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_campaign("x.yaml")
    assert all(problem.text and "\n" not in problem.text for problem in caught.value.problems)
