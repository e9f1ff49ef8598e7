"""A message taken apart for a page: what is shown is bounded, and no message breaks it."""

from __future__ import annotations

import json
import time
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.web.message_view import MAX_HEADER, MAX_HEADERS, MAX_PARTS, MessageView

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def newsletter(name: str = "Zofia Żółć") -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"] = "News <news@example.com>"
    message["To"] = f'"{name}" <zofia@example.com>'
    message["Subject"] = "Zażółć gęślą jaźń"
    message.set_content("Plain żółć\n")
    message.add_alternative(
        '<html><head><title>x</title></head><body><img src="cid:logo"></body></html>', "html"
    )
    related: Any = message.get_payload()[-1]
    related.add_related(PNG, "image", "png", cid="<logo>", filename="logo.png")
    message.add_attachment(b"%PDF-1", "application", "pdf", filename="Räkning.pdf")
    return message.as_bytes()


def html_mail(html: str, *headers: str) -> MessageView:
    return MessageView("\r\n".join(["Content-Type: text/html; charset=utf-8", *headers, "", html]).encode())


def test_headers_bodies_and_parts_are_found() -> None:
    view = MessageView(newsletter())
    assert ("Subject", "Zażółć gęślą jaźń") in view.headers
    assert view.header("to") == '"Zofia Żółć" <zofia@example.com>' or "Zofia Żółć" in view.header("to")
    assert view.text is not None
    assert view.text.splitlines() == ["Plain żółć"]
    assert [(part.name, part.type, part.content, part.is_inline) for part in view.parts] == [
        ("logo.png", "image/png", PNG, True),
        ("Räkning.pdf", "application/pdf", b"%PDF-1", False),
    ]
    assert view.find_part(view.parts[1].number) == view.parts[1]
    assert view.find_part(999) is None


def test_inline_images_are_named_by_their_part_and_links_open_outside() -> None:
    view = MessageView(newsletter())
    html = view.make_html_document()
    assert html is not None
    assert f'<img src="parts/{view.parts[0].number}">' in html
    assert '<head><base target="_blank">' in html


def test_an_image_used_many_times_does_not_make_the_page_larger() -> None:
    """`cid:` of one large image, 100,000 times: embedding it each time ended the process."""
    large = b"x" * 2_000_000
    body = b'<img src="cid:i">' * 100_000
    content = (
        b"Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n%b\r\n"
        b"--b\r\nContent-Type: image/png\r\nContent-ID: <i>\r\n\r\n%b\r\n--b--\r\n"
    ) % (body, large)
    html = MessageView(content).make_html_document()
    assert html is not None
    assert len(html) < 2 * len(body)


def test_without_images_the_html_names_none() -> None:
    html = MessageView(newsletter()).make_html_document(images=False)
    assert html is not None
    assert "parts/" not in html


def test_a_cid_without_a_part_is_not_changed() -> None:
    html = html_mail('<img src="cid:missing">').make_html_document()
    assert html is not None
    assert html.endswith('<img src="cid:missing">')


def test_elements_that_connect_are_disarmed() -> None:
    html = html_mail("<LINK rel=preconnect><iframe src=x></iframe><frames><b>").make_html_document()
    assert html is not None
    assert html.endswith("<x-LINK rel=preconnect><x-iframe src=x></x-iframe><frames><b>")


@pytest.mark.parametrize(("scheme", "width"), [("dark", "min-width:0"), ("light", "max-width:0")])
def test_the_colour_scheme_can_be_chosen(scheme: str, width: str) -> None:
    html = html_mail(
        "<style>@media (prefers-color-scheme: dark) {p {color: red}}</style>"
    ).make_html_document(scheme=scheme)
    assert html is not None
    assert f"@media ({width})" in html


def test_a_doctype_stays_first() -> None:
    html = html_mail("<!DOCTYPE html><p>hello").make_html_document()
    assert html == '<!DOCTYPE html><base target="_blank"><p>hello'


def test_images_from_the_network_are_counted() -> None:
    assert (
        html_mail(
            '<img src="https://x.example/a.png"><img alt="" src=http://b><img src="cid:c">'
        ).remote_images
        == 2
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno part\r\n",
        b"Content-Type: text/html; charset=klingon\r\n\r\n<b>\xff</b>\r\n",
        b"Content-Type: text/html; charset=\xff\r\n\r\n<b>\xff</b>\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\r\n",
        b"Subject: \xff\xfe =?utf-8?q?=ff?=\r\n\r\n\xff\r\n",
        b"Subject: =?utf-8?b?7aCA?=\r\n\r\nlone surrogate\r\n",
        b"Subject: =?klingon?q?x?= =?utf-8?b?!?=\r\n\r\n\r\n",
        b"From: @@@\r\nTo: <<<>\r\nDate: yesterday\r\nContent-Type: ;;;\r\n\r\n",
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n",
        b"From: " + b"(" * 4000 + b"\r\nTo: " + b"(" * 100_000 + b"\r\n\r\nx\r\n",
        b"Subject: " + b"=?a?q?" * 40_000 + b"\r\n\r\n",
        b"Content-Type: text/html\r\n\r\n" + b"<head " * 400_000,
        b"Content-Type: text/html\r\n\r\n" + b"<img " * 400_000,
        b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000)
        ),
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 20_000,
        b"X: y\r\n" * 20_000 + b"\r\n",
        b"X: y\r\n" * 200_000 + b"\r\n",
        b"Content-Type: text/html" + b";" * 5_000_000 + b"\r\n\r\nx",
        b'Content-Type: text/html; a="' + b";" * 2_000_000 + b"\r\n\r\nx",
        b"Content-Type: text/html;" + b' a="b\\\\";' * 500_000 + b"\r\n\r\nx",
        b"Content-Disposition: attachment;" + b"".join(b" filename*%d=x;" % n for n in range(100_000)),
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        + b'--b\r\nContent-Type: x; a=";;;;\r\n\r\n' * 20_000,
    ],
)
def test_no_message_breaks_the_page(content: bytes) -> None:
    before = time.process_time()
    check_all_views(content)
    assert time.process_time() - before < 20  # a parser that is quadratic needs minutes for these


@given(content=st.binary(max_size=300))
def test_no_random_message_breaks_the_page(content: bytes) -> None:
    check_all_views(b"Content-Type: text/html\r\nSubject: " + content)


def check_all_views(content: bytes) -> None:
    view = MessageView(content)
    json.dumps(view.summarize(), ensure_ascii=False).encode()
    view.make_html_document()
    assert len(view.parts) <= MAX_PARTS
    assert len(view.headers) <= MAX_HEADERS
    assert all(len(value) <= MAX_HEADER for _, value in view.headers)
