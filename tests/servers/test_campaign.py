"""One campaign with what breaks mailers, through each real server; what arrived is read by the standard library."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.utils import parseaddr
from pathlib import Path

import pytest

from tests.servers.mailserver import MailServer
from tests.servers.product import send

REPOSITORY = Path(__file__).parents[2]

TEXT = """\
Hello {{ name }},
.
..
.leading dot
{{ city }} — ünïcödé, 漢字, עברית, 🚂
From the start of a line
trailing space\u0020
\ttab
{{ "long " * 400 }}
.
end {{ token }}
"""

HTML = """\
<html><body>
<h1>{{ name }}</h1>
.
..x
<p>{{ city }} — ünïcödé, 漢字, 🚂 <img src="cid:logo" alt="logo"></p>
<p>{{ "word " * 400 }}</p>
<p>token {{ token }} &amp; {{ markup }}</p>
</body></html>
"""

CAMPAIGN = """\
campaign: real-servers
from: "Zoë Ångström <news@example.com>"
reply_to: help@example.com
envelope_from: "bounce+{{ token }}@example.com"
subject: "{{ name }}, 你好 — {{ token }} and a subject that must be folded, with ünïcödé to its end: 漢字漢字"
template: mail.html.j2
text: mail.txt.j2
images: {logo: logo.png}
attachments:
  - {path: data.bin, filename: "Übersicht {{ token }}.bin"}
headers: {X-Token: "{{ token }}"}
vars: {markup: "<b>not bold</b>"}
recipients: people.csv
delivery: {backoff: {first: 10ms, most: 20ms}, attempts: 2}
"""

PEOPLE = [
    ("ada@example.com", "Ada Lovelace", "London"),
    ("li.wei@example.com", "李薇", "上海"),
    ("zofia@example.net", "Zofia Łączyńska-Żółć", "Kraków"),
    ("pat@example.org", 'O\'Brien, "Pat" (PhD) <x@y>', "."),
    ("amira@bücher.example", "أميرة حداد", "بيروت"),
    ("o'neil+tag@example.com", "🚂" * 30, "."),
]


@dataclass(frozen=True)
class Sample:
    path: Path
    logo: bytes
    attachment: bytes
    tokens: dict[str, str]


def picture() -> bytes:
    """A PNG of noise, so that no encoding is lucky."""
    width = 64
    rows = b"".join(b"\0" + random.Random(1).randbytes(3 * width) for _ in range(width))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    logo, attachment = picture(), bytes(range(256)) * 40 + b"\r\n.\r\n"
    (tmp_path / "logo.png").write_bytes(logo)
    (tmp_path / "data.bin").write_bytes(attachment)
    (tmp_path / "mail.txt.j2").write_text(TEXT, encoding="utf-8")
    (tmp_path / "mail.html.j2").write_text(HTML, encoding="utf-8")
    (tmp_path / "real.yaml").write_text(CAMPAIGN, encoding="utf-8")
    rows = [(*person, f"t{number}") for number, person in enumerate(PEOPLE)]
    lines = [",".join('"' + field.replace('"', '""') + '"' for field in row) for row in rows]
    (tmp_path / "people.csv").write_text(
        "\n".join(["email,name,city,token", *lines]) + "\n", encoding="utf-8"
    )
    return Sample(tmp_path / "real.yaml", logo, attachment, {row[0]: row[3] for row in rows})


@pytest.fixture(
    params=[
        ("sandbox", "smtps", "streamed"),
        ("postfix", "smtps", "streamed"),
        ("postfix", "smtps-groups", "pipelined"),
        ("postfix", "smtps-plain", "sequential"),
        ("postfix", "submission", "streamed"),
        ("exim", "smtps", "streamed"),
        ("exim", "smtps-groups", "pipelined"),
        ("exim", "smtps-plain", "sequential"),
        ("exim", "submission", "streamed"),
        ("opensmtpd", "smtp", "sequential"),
    ],
    ids=lambda p: f"{p[0]} {p[1]}",
)
def route(request: pytest.FixtureRequest) -> tuple[MailServer, str, str]:
    """A server, one of its ports, and the strategy that what it offers there must lead to."""
    name, port, strategy = request.param
    server: MailServer = request.getfixturevalue(name)
    return server, port, strategy


def only(message: EmailMessage, content_type: str) -> MIMEPart:
    found = [part for part in message.walk() if part.get_content_type() == content_type]
    assert len(found) == 1, [part.get_content_type() for part in message.walk()]
    return found[0]


def structure(part: MIMEPart) -> object:
    if part.is_multipart():
        return (part.get_content_subtype(), [structure(child) for child in part.iter_parts()])
    return part.get_content_type()


def name_in(message: EmailMessage, header: str) -> str:
    """A display name by the standard library's older parser: the newer one, up to Python 3.12, leaves a space between
    two encoded words of a phrase, which RFC 2047 section 6.2 says are joined.
    """
    raw = next(value for key, value in message.raw_items() if key == header)
    return str(make_header(decode_header(parseaddr(raw)[0])))


def check(message: EmailMessage, sample: Sample, name: str, city: str, token: str) -> None:
    assert message.defects == []
    assert structure(message) == (
        "mixed",
        [
            ("alternative", ["text/plain", ("related", ["text/html", "image/png"])]),
            "application/octet-stream",
        ],
    )
    assert name_in(message, "From") == "Zoë Ångström"
    assert message["From"].addresses[0].addr_spec == "news@example.com"
    assert message["Reply-To"].addresses[0].addr_spec == "help@example.com"
    assert message["X-Token"] == token
    assert message["Return-Path"].strip("<>") == f"bounce+{token}@example.com"
    assert message["Subject"].startswith(f"{name}, 你好 — {token} and a subject")
    assert message["Subject"].endswith("to its end: 漢字漢字")
    assert message["Message-ID"].endswith("@example.com>")
    assert message["Date"].datetime.tzinfo is not None
    text = only(message, "text/plain").get_content()
    expected = TEXT.replace("{{ name }}", name).replace("{{ city }}", city).replace("{{ token }}", token)
    assert text.rstrip("\n") == expected.replace('{{ "long " * 400 }}', "long " * 400).rstrip("\n")
    html = only(message, "text/html").get_content()
    assert f"token {token} &amp; &lt;b&gt;not bold&lt;/b&gt;" in html
    assert f"<p>{city} — ünïcödé, 漢字, 🚂 <img" in html
    assert "\n.\n..x\n" in html
    assert "word " * 400 in html
    logo = only(message, "image/png")
    assert f"cid:{logo['Content-ID'].strip('<> ')}" in html
    assert logo.get_content() == sample.logo
    attachment = only(message, "application/octet-stream")
    assert attachment.get_content() == sample.attachment
    assert attachment.get_filename() == f"Übersicht {token}.bin"
    assert attachment.get_content_disposition() == "attachment"


def test_what_arrives_is_what_went_in(
    route: tuple[MailServer, str, str], sample: Sample, tmp_path: Path
) -> None:
    server, port, strategy = route
    done = send(sample.path, server, tmp_path, port=port)
    assert done.exit == 0, done.errors
    assert done.counts == {"total": 6, "sent": 6}
    told = done.report["server"]
    assert told["strategy"] == strategy
    assert told["sessions"] == 1
    assert (told["tls"] is None) == (port == "smtp")
    for row in done.report["recipients"]:
        assert row["code"] == 250
        assert row["attempts"] == 1
    arrived = {message["To"].addresses[0].addr_spec: message for message in server.messages(len(PEOPLE))}
    assert len(arrived) == len(PEOPLE)
    for address, name, city in PEOPLE:
        message = arrived[address.replace("bücher.example", "xn--bcher-kva.example")]
        assert name_in(message, "To") == name
        check(message, sample, name, city, sample.tokens[address])
    message_ids = {row["message_id"] for row in done.report["recipients"]}
    assert message_ids == {message["Message-ID"] for message in arrived.values()}
    assert len(message_ids) == len(PEOPLE)
    again = send(sample.path, server, tmp_path, port=port)
    assert again.exit == 0
    assert again.counts == {"total": 6, "sent": 6}
    assert len(server.messages()) == len(PEOPLE), "the second command sent again what was sent"


@pytest.mark.parametrize("server_name", ["postfix", "exim"])
def test_refused_now_and_for_good(
    request: pytest.FixtureRequest, sample: Sample, tmp_path: Path, server_name: str
) -> None:
    server: MailServer = request.getfixturevalue(server_name)
    extra = "refused@example.com,R,X,t90\nlater@example.com,L,Y,t91\nlast@example.com,Z,Z,t92\n"
    with (tmp_path / "people.csv").open("a", encoding="utf-8") as people:
        people.write(extra)
    done = send(sample.path, server, tmp_path)
    assert done.exit == 1, done.errors
    assert done.counts == {"total": 9, "sent": 7, "failed": 1, "deferred": 1}
    rows = {row["email"]: row for row in done.report["recipients"]}
    assert (rows["refused@example.com"]["status"], rows["refused@example.com"]["code"]) == ("failed", 550)
    assert (rows["later@example.com"]["status"], rows["later@example.com"]["attempts"]) == ("deferred", 2)
    assert rows["later@example.com"]["code"] in {450, 451}
    assert rows["last@example.com"]["status"] == "sent"
    assert len(server.messages(7)) == 7


@pytest.mark.parametrize(
    ("server_name", "port"), [("postfix", "smtps"), ("exim", "smtps"), ("opensmtpd", "smtp")]
)
def test_a_local_part_beyond_ascii(
    request: pytest.FixtureRequest, sample: Sample, tmp_path: Path, server_name: str, port: str
) -> None:
    """RFC 6531 if the server offers SMTPUTF8; that one recipient fails if it does not."""
    server: MailServer = request.getfixturevalue(server_name)
    (tmp_path / "people.csv").write_text(
        "email,name,city,token\nada@example.com,Ada,London,t1\njörg@example.com,Jörg,Köln,t2\n",
        encoding="utf-8",
    )
    done = send(sample.path, server, tmp_path, port=port)
    if server_name == "opensmtpd":
        assert done.exit == 1, done.errors
        assert done.statuses == {"ada@example.com": "sent", "jörg@example.com": "failed"}
        server.messages(1)
    else:
        assert done.exit == 0, done.errors
        # Python before 3.12 hands out a header's raw UTF-8 (RFC 6532) as surrogates.
        written = [message["To"].addresses[0].addr_spec for message in server.messages(2)]
        to = {address.encode("utf-8", "surrogateescape").decode("utf-8") for address in written}
        assert to == {"ada@example.com", "jörg@example.com"}


@pytest.mark.parametrize("server_name", ["sandbox", "postfix", "exim"])
def test_the_sample_newsletter(request: pytest.FixtureRequest, tmp_path: Path, server_name: str) -> None:
    server: MailServer = request.getfixturevalue(server_name)
    done = send(REPOSITORY / "campaigns/newsletter.yaml", server, tmp_path)
    assert done.exit == 0, done.errors
    total = done.counts["total"]
    assert done.counts == {"total": total, "sent": total}
    images = {path.read_bytes() for path in (REPOSITORY / "campaigns/images").iterdir()}
    for message in server.messages(total):
        assert message.defects == []
        assert name_in(message, "To") in message["Subject"]
        assert {
            part.get_content() for part in message.walk() if part.get_content_maintype() == "image"
        } == images
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
