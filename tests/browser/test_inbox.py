"""The sandbox's inbox page in a real browser: it shows what was caught, and nothing in a mail runs or calls home."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailer.sandbox.maildir import Maildir
from mailer.sandbox.page import Page

HTML = """From: Evil <evil@example.com>
To: "<img src=x onerror=document.title='owned'>" <b@example.com>
Subject: <script>document.title='owned'</script> & Zażółć
Content-Type: text/html; charset=utf-8

<html><head><script src="{tracker}/script.js"></script><link rel=stylesheet href="{tracker}/style.css"></head>
<body onload="top.document.title='owned'">
<p id=shown>Hello</p><img src="{tracker}/pixel.gif" onerror="top.document.title='owned'">
<link rel=preconnect href="{tracker}"><iframe src="{tracker}/frame"></iframe><form action="{tracker}/form"></form>
<meta http-equiv=refresh content="0;url={tracker}/refresh">
<script>top.document.title='owned'; fetch('{tracker}/fetch')</script></body></html>
"""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[tuple[Page, Maildir]]:
    maildir = Maildir(tmp_path / "caught")
    maildir.create()
    page = Page(maildir.path)
    page.start()
    yield page, maildir
    page.stop()


@pytest.fixture
def tracker() -> Iterator[tuple[str, list[str]]]:
    """Somebody who would like to know that the mail was opened: an address, and what was asked there."""
    asked: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode("latin-1"))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def test_an_empty_inbox_says_so(page: tuple[Page, Maildir], dom: Callable[[str], str]) -> None:
    document = dom(page[0].url)
    assert "Nothing here yet" in document
    assert "0 messages" in document


def test_it_shows_the_newest_message(page: tuple[Page, Maildir], dom: Callable[[str], str]) -> None:
    for n in range(3):
        page[1].store(
            "a@example.com",
            ["b@example.com"],
            f"To: b@example.com\r\nSubject: No. {n}\r\n\r\nText {n}\r\n".encode(),
            "c",
        )
    document = dom(page[0].url)
    assert "3 messages" in document
    assert '<h2 id="subject" dir="auto">No. 2</h2>' in document
    assert "Text 2" in document


def test_a_hostile_message_neither_runs_nor_calls_home(
    page: tuple[Page, Maildir], tracker: tuple[str, list[str]], dom: Callable[[str], str]
) -> None:
    address, asked = tracker
    content = HTML.replace("{tracker}", address).replace("\n", "\r\n").encode()
    name = page[1].store("evil@example.com", ["b@example.com"], content, "c")
    document = dom(page[0].url)
    assert "<title>(1) Inbox" in document
    assert "&lt;script&gt;document.title='owned'&lt;/script&gt; &amp; Zażółć" in document
    assert f'<iframe sandbox="allow-popups allow-popups-to-escape-sandbox" src="/messages/{name}/html"' in document
    # Opened by itself, without our frame around it, the response's own policy still holds.
    alone = dom(f"{page[0].url}/messages/{name}/html")
    assert '<p id="shown">Hello</p>' in alone
    assert asked == []


def test_the_tracker_would_notice(tracker: tuple[str, list[str]], dom: Callable[[str], str], tmp_path: Path) -> None:
    """The test above can fail: the same mail, opened as a file without a policy, does call home."""
    address, asked = tracker
    file = tmp_path / "mail.html"
    file.write_text(HTML.partition("\n\n")[2].replace("{tracker}", address))
    dom(file.as_uri())
    assert any("pixel.gif" in line for line in asked)
