from __future__ import annotations

import json
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.sandbox.inbox import SHOWN, Inbox
from mailer.sandbox.maildir import Maildir

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    maildir = Maildir(tmp_path)
    maildir.create()
    return maildir


def newsletter(name: str = "Zofia Żółć") -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"] = "News <news@example.com>"
    message["To"] = f'"{name}" <zofia@example.com>'
    message["Subject"] = "Zażółć gęślą jaźń"
    message.set_content("Plain żółć\n")
    message.add_alternative('<html><head><title>x</title></head><body><img src="cid:logo"></body></html>', "html")
    related: Any = message.get_payload()[-1]
    related.add_related(PNG, "image", "png", cid="<logo>", filename="logo.png")
    message.add_attachment(b"%PDF-1", "application", "pdf", filename="Räkning.pdf")
    return message.as_bytes()


def keep(maildir: Maildir, content: bytes) -> str:
    return maildir.store("news@example.com", ["zofia@example.com"], content, "client.example")


def test_a_message_taken_apart(maildir: Maildir) -> None:
    name = keep(maildir, newsletter())
    message: Any = Inbox(maildir.path).message(name)
    assert message["envelope"] == {"sender": "news@example.com", "recipients": ("zofia@example.com",)}
    assert ["Subject", "Zażółć gęślą jaźń"] in message["headers"]
    assert message["text"].splitlines() == ["Plain żółć"]
    assert message["html"] is True
    assert [(part["name"], part["type"], part["size"], part["inline"]) for part in message["parts"]] == [
        ("logo.png", "image/png", len(PNG), True),
        ("Räkning.pdf", "application/pdf", 6, False),
    ]


def test_html_holds_its_images_and_opens_links_outside(maildir: Maildir) -> None:
    html = Inbox(maildir.path).html(keep(maildir, newsletter()))
    assert html is not None
    assert '<img src="data:image/png;base64,iVBORw0KGgo' in html
    assert '<head><base target="_blank">' in html


def test_an_image_that_is_not_there_stays_as_it_is(maildir: Maildir) -> None:
    name = keep(maildir, b'Content-Type: text/html\r\n\r\n<img src="cid:missing">\r\n')
    assert Inbox(maildir.path).html(name) == '<img src="cid:missing">\r\n'


def test_what_a_browser_connects_for_is_not_shown(maildir: Maildir) -> None:
    name = keep(maildir, b"Content-Type: text/html\r\n\r\n<LINK rel=preconnect><iframe src=x></iframe><frames><b>\r\n")
    html = Inbox(maildir.path).html(name)
    assert html == "<x-LINK rel=preconnect><x-iframe src=x></x-iframe><frames><b>\r\n"


def test_a_part_by_its_number(maildir: Maildir) -> None:
    inbox: Any = Inbox(maildir.path)
    name = keep(maildir, newsletter())
    message = inbox.message(name)
    assert [inbox.part(name, part["number"])[1] for part in message["parts"]] == [PNG, b"%PDF-1"]
    assert inbox.part(name, 999) is None


def test_the_source_is_what_was_sent(maildir: Maildir) -> None:
    content = newsletter()
    assert Inbox(maildir.path).source(keep(maildir, content)) == content


def test_a_list_of_many_shows_the_newest_and_finds_the_rest(maildir: Maildir) -> None:
    inbox = Inbox(maildir.path)
    for n in range(SHOWN + 5):
        keep(maildir, f"To: u{n}@example.com\r\nSubject: Number {n}\r\n\r\n".encode())
    page: Any = inbox.list()
    assert (page["total"], page["found"], len(page["messages"])) == (SHOWN + 5, SHOWN + 5, SHOWN)
    assert page["messages"][0]["subject"] == f"Number {SHOWN + 4}"
    found: Any = inbox.list("u3@EXAMPLE")
    assert [summary["subject"] for summary in found["messages"]] == ["Number 3"]
    assert found["total"] == SHOWN + 5


def test_without_a_to_header_the_envelope_says_who(maildir: Maildir) -> None:
    keep(maildir, b"Subject: hidden\r\n\r\n")
    page: Any = Inbox(maildir.path).list()
    assert page["messages"][0]["to"] == "zofia@example.com"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno part\r\n",
        b"Content-Type: text/html; charset=klingon\r\n\r\n<b>\xff</b>\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\r\n",
        b"Subject: \xff\xfe =?utf-8?q?=ff?=\r\n\r\n\xff\r\n",
        b"Subject: =?utf-8?b?7aCA?=\r\n\r\nlone surrogate\r\n",
        b"From: @@@\r\nTo: <<<>\r\nDate: yesterday\r\nContent-Type: ;;;\r\n\r\n",
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n",
    ],
)
def test_no_message_breaks_the_page(maildir: Maildir, content: bytes) -> None:
    check_all_views(maildir, content)


@given(content=st.binary(max_size=300))
def test_nor_does_any_other(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    maildir = Maildir(tmp_path_factory.mktemp("any"))
    maildir.create()
    check_all_views(maildir, b"Content-Type: text/html\r\nSubject: " + content)


def check_all_views(maildir: Maildir, content: bytes) -> None:
    inbox = Inbox(maildir.path)
    name = keep(maildir, content)
    json.dumps([inbox.list(), inbox.message(name)], ensure_ascii=False).encode()
    inbox.html(name)
    assert inbox.source(name) == content
