"""The inbox page in a real browser: it shows what was caught, and nothing in a mail runs or calls home."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.sandbox.maildir import Maildir
from mailer.sandbox.page import InboxPage
from tests.browser.accessibility import find_violations
from tests.browser.devtools import Page

HTML = """From: Evil <evil@example.com>
To: "<img src=x onerror=document.title='owned'>" <b@example.com>
Subject: <script>document.title='owned'</script> & Zażółć
Content-Type: text/html; charset=utf-8

<html><head><script src="{tracker}/script.js"></script><link rel=stylesheet href="{tracker}/style.css"></head>
<body onload="top.document.title='owned'">
<p id=shown>Hello</p><img src="{tracker}/pixel.gif" onerror="top.document.title='owned'">
<a id=link href="javascript:opener?opener.document.title='owned':document.title='owned'">a link</a>
<a id=top target=_top href="{tracker}/top">another</a>
<link rel=preconnect href="{tracker}"><iframe src="{tracker}/frame"></iframe><form action="{tracker}/form"></form>
<meta http-equiv=refresh content="0;url={tracker}/refresh">
<script>top.document.title='owned'; fetch('{tracker}/fetch')</script></body></html>
"""


FRAME = "document.querySelector('.device iframe:not(.loading)')"


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    maildir = Maildir(tmp_path / "caught")
    maildir.create_folders()
    return maildir


@pytest.fixture
def inbox(maildir: Maildir) -> Iterator[InboxPage]:
    server: dict[str, object] = {
        "url": "smtps://sandbox:x@127.0.0.1:4650",
        "export": "export MAILER_SERVER=smtps://x",
    }
    inbox = InboxPage(maildir.path, server=server)
    inbox.web.start()
    yield inbox
    inbox.web.stop()


@pytest.fixture
def tracker() -> Iterator[tuple[str, list[str]]]:
    """A server that would like to know that the mail was opened: its address, and what was asked there."""
    asked: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode("latin-1"))

    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def store(maildir: Maildir, content: str) -> str:
    return maildir.store("a@example.com", ["b@example.com"], content.replace("\n", "\r\n").encode(), "c")


def open_inbox(page: Page, inbox: InboxPage) -> None:
    page.open(inbox.web.url)
    page.wait_for("document.documentElement?.dataset.ready === 'true'")


def search(page: Page, text: str) -> None:
    page.evaluate(f"document.getElementById('find').value = {text!r}")
    page.evaluate("document.getElementById('find').dispatchEvent(new Event('input'))")


def text_of(page: Page, selector: str) -> str:
    text: str = page.evaluate(f"document.querySelector({selector!r}).innerText")
    return text


def frame_text(page: Page) -> str:
    page.wait_for(f"{FRAME}?.contentDocument?.body?.innerText")
    text: str = page.evaluate(f"{FRAME}.contentDocument.body.innerText")
    return text


def test_an_empty_inbox_shows_the_commands_that_fill_it(page: Page, inbox: InboxPage) -> None:
    open_inbox(page, inbox)
    assert "No messages yet" in text_of(page, "#empty")
    page.wait_for("document.querySelectorAll('#commands code').length === 2")
    assert text_of(page, "#commands code").startswith("export MAILER_SERVER=")
    assert page.complaints() == []
    assert find_violations(page) == []


def test_it_shows_the_newest_message_and_what_arrives(page: Page, inbox: InboxPage, maildir: Maildir) -> None:
    for n in range(3):
        store(maildir, f"To: b@example.com\nSubject: No. {n}\n\nText {n}\n")
    open_inbox(page, inbox)
    assert text_of(page, "#count") == "3 messages"
    assert text_of(page, "#subject") == "No. 2"
    assert text_of(page, ".stage").strip() == "Text 2"
    store(maildir, "To: b@example.com\nSubject: No. 3\n\nText 3\n")
    page.wait_for("document.getElementById('count').innerText === '4 messages'")
    assert page.complaints() == []


def test_messages_are_searched_deleted_and_cleared(page: Page, inbox: InboxPage, maildir: Maildir) -> None:
    for n in range(3):
        store(maildir, f"To: b@example.com\nSubject: No. {n}\n\nText {n}\n")
    open_inbox(page, inbox)
    search(page, "text 1")
    page.wait_for("document.querySelectorAll('#messages button').length === 1")
    assert text_of(page, "#messages .what") == "No. 1"
    search(page, "")
    page.wait_for("document.querySelectorAll('#messages button').length === 3")
    page.evaluate("document.getElementById('delete').click()")
    page.wait_for("document.querySelectorAll('#messages button').length === 2")
    page.wait_for("document.getElementById('subject').innerText === 'No. 1'")
    page.evaluate("document.getElementById('clear').click()")
    page.wait_for("document.getElementById('confirm').open")
    assert find_violations(page) == []
    page.evaluate("document.querySelector('#confirm [value=yes]').click()")
    page.wait_for("!document.getElementById('empty').hidden")
    assert maildir.list_names() == []


def test_a_hostile_message_neither_runs_nor_calls_home(
    page: Page, inbox: InboxPage, maildir: Maildir, tracker: tuple[str, list[str]]
) -> None:
    address, asked = tracker
    name = store(maildir, HTML.replace("{tracker}", address))
    open_inbox(page, inbox)
    assert frame_text(page).startswith("Hello")
    assert text_of(page, "#subject") == "<script>document.title='owned'</script> & Zażółć"
    frame = "document.querySelector('.device iframe').contentDocument"
    for link in ("link", "top"):
        page.evaluate(f"{frame}.getElementById('{link}').click()")
    page.evaluate("new Promise(done => setTimeout(done, 300))")
    assert page.evaluate("document.title").startswith("(1) Inbox")
    assert [
        line for line in asked if "/top" not in line
    ] == []  # the link was clicked: it may open, in its own tab
    # Opened by itself, without our frame around it, the response's own policy still holds.
    page.open(page.evaluate("location.origin + location.pathname") + f"api/messages/{name}/html")
    assert page.evaluate("document.getElementById('shown').innerText") == "Hello"
    assert [line for line in asked if "/top" not in line] == []


def test_without_the_policy_the_mail_calls_home(
    page: Page, tracker: tuple[str, list[str]], tmp_path: Path
) -> None:
    """The test above can fail: the same mail, opened as a file without a policy, does call home."""
    address, asked = tracker
    file = tmp_path / "mail.html"
    file.write_text(HTML.partition("\n\n")[2].replace("{tracker}", address))
    page.call("Page.navigate", url=file.as_uri())
    ends = time.monotonic() + 30
    while not any("pixel.gif" in line for line in asked) and time.monotonic() < ends:
        time.sleep(0.05)
    assert any("pixel.gif" in line for line in asked)


MAIL = """From: Ada Example <ada@example.com>
To: Zofia Żółć <zofia@example.com>
Subject: Spring offers, {n}
Content-Type: text/html; charset=utf-8

<!doctype html><html lang="en"><head><meta name="color-scheme" content="light dark"><title>x</title><style>
body {{ font-family: sans-serif; margin: 0; padding: 24px; max-width: 600px; background: #fff; color: #222 }}
@media (prefers-color-scheme: dark) {{ body {{ background: #111; color: #eee }} }}
@media (max-width: 500px) {{ h1 {{ font-size: 20px }} }}
</style></head><body><h1>Spring is here</h1>{text}</body></html>
"""


def test_widths_and_colours_change_and_there_is_one_scroll_bar(
    page: Page, inbox: InboxPage, maildir: Maildir
) -> None:
    store(maildir, MAIL.format(n=1, text="<p>Some text.</p>" * 60))
    open_inbox(page, inbox)
    frame_text(page)
    colour = f"getComputedStyle({FRAME}.contentDocument.body).backgroundColor"
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    page.evaluate("document.querySelector('[data-value=dark]').click()")
    page.wait_for(f"{colour} === 'rgb(17, 17, 17)'")
    page.evaluate("document.querySelector('[data-value=phone]').click()")
    page.wait_for(f"{FRAME}.clientWidth === 375")
    page.wait_for(f"{FRAME}.contentDocument.documentElement.scrollHeight <= {FRAME}.clientHeight")
    assert page.evaluate(
        "(stage => stage.scrollHeight > stage.clientHeight)(document.querySelector('.stage'))"
    )


EXTREME = """From: {name}
To: "عبد الرحمن بن محمد بن عبد العزيز آل سعود" <b@example.com>
Cc: {copies}
Subject: {subject}
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

{parts}--b
Content-Type: text/html

<p>x</p>
--b--
"""


@pytest.mark.parametrize("width", [390, 1280])
def test_extreme_texts_fit_and_are_accessible(
    page: Page, inbox: InboxPage, maildir: Maildir, width: int
) -> None:
    part = "--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename={name}.pdf\n\nx\n"
    copies = ", ".join(f"boss{n}@example.com" for n in range(40))
    parts = "".join(part.format(name="file" * n) for n in range(1, 12))
    subject = "A subject that does not end " * 12
    store(maildir, EXTREME.format(name="(" * 4000, copies=copies, subject=subject, parts=parts))
    page.size(width, 844)
    open_inbox(page, inbox)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelector('#messages button').click()")
    frame_text(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('.top').offsetHeight") < 420
    assert find_violations(page, without=("iframe",)) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_window_and_is_accessible(
    page: Page, inbox: InboxPage, maildir: Maildir, width: int, scheme: str, tmp_path: Path
) -> None:
    for n in range(12):
        store(maildir, MAIL.format(n=n, text="<p>Some text.</p>" * 12))
    page.size(width, 844)
    page.prefer(scheme)
    open_inbox(page, inbox)
    page.screenshot(tmp_path / "list.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert find_violations(page) == []
    page.evaluate("document.querySelector('#messages button').click()")
    frame_text(page)
    for tab in ("Headers", "Source", "SMTP", "HTML"):
        page.evaluate(
            f"[...document.querySelectorAll('[role=tab]')].find(t => t.innerText === '{tab}').click()"
        )
        page.wait_for(f"document.querySelector('[aria-selected=true]').innerText === '{tab}'")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert find_violations(page, without=("iframe",)) == []
    page.screenshot(tmp_path / "message.png")
    assert page.complaints() == []
