"""The inbox page and the JSON API behind it."""

from __future__ import annotations

import base64
import http.client
import re
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from mailer.sandbox.maildir import Maildir
from mailer.sandbox.page import InboxPage
from mailer.web.access import PAGE_POLICY, ApiLogin
from mailer.web.responses import MAIL_POLICY
from tests.web.visitor import Visitor

EVIL = b"""Subject: <script>alert(1)</script>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/html

<script>alert(1)</script><img src="https://tracker.example/x.gif">
--b
Content-Type: text/html
Content-Disposition: attachment; filename="../../evil.html"

<script>alert(2)</script>
--b--
""".replace(b"\n", b"\r\n")
ASSETS = [
    ("mailer.web", "base.css"), ("mailer.web", "viewer.js"), ("mailer.web", "icon.svg"),
    ("mailer.sandbox", "inbox.html"), ("mailer.sandbox", "inbox.css"), ("mailer.sandbox", "inbox.js"),
]  # fmt: skip


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    maildir = Maildir(tmp_path)
    maildir.create_folders()
    return maildir


@pytest.fixture
def page(maildir: Maildir) -> Iterator[InboxPage]:
    page = InboxPage(maildir.path, login=ApiLogin("sandbox", "secret"), server={"url": "smtps://x"})
    page.web.start()
    yield page
    page.web.stop()


@pytest.fixture
def visitor(page: InboxPage) -> Visitor:
    return Visitor(page.web.url)


def store(maildir: Maildir, content: bytes) -> str:
    return maildir.store("a@example.com", ["b@example.com"], content, "c")


@pytest.mark.parametrize(("package", "name"), ASSETS)
def test_the_page_is_self_contained(package: str, name: str) -> None:
    text = resources.files(package).joinpath("assets", name).read_text()
    text = text.replace("http://www.w3.org/2000/svg", "").replace("https?:|mailto:", "")
    assert not re.search(r"https?://|@import|innerHTML|insertAdjacentHTML|\seval\(|\son\w+=\"", text)


def test_it_lists_and_shows_what_arrives(visitor: Visitor, maildir: Maildir) -> None:
    assert visitor.json("api/messages")["total"] == 0
    name = store(maildir, b"Subject: hi\r\n\r\nhello\r\n")
    assert [summary["id"] for summary in visitor.json("api/messages")["messages"]] == [name]
    assert visitor.json(f"api/messages/{name}")["text"] == "hello\r\n"
    assert visitor.request(f"api/messages/{name}")[2]["Content-Security-Policy"] == PAGE_POLICY
    assert visitor.json("api/server") == {"url": "smtps://x"}


def test_html_is_shown_under_a_policy_of_its_own(visitor: Visitor, maildir: Maildir) -> None:
    name = store(maildir, EVIL)
    assert visitor.request(f"api/messages/{name}/html")[2]["Content-Security-Policy"] == MAIL_POLICY


def test_the_source_is_text_or_a_file(visitor: Visitor, maildir: Maildir) -> None:
    name = store(maildir, EVIL)
    _, body, headers = visitor.request(f"api/messages/{name}/source")
    assert (body, headers["Content-Type"]) == (EVIL, "text/plain; charset=utf-8")
    _, body, headers = visitor.request(f"api/messages/{name}/source?download=a.eml")
    assert (body, headers["Content-Type"]) == (EVIL, "message/rfc822")
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.eml"


def test_an_attachment_is_saved_never_shown(visitor: Visitor, maildir: Maildir) -> None:
    name = store(maildir, EVIL)
    (part,) = visitor.json(f"api/messages/{name}")["parts"]
    _, body, headers = visitor.request(f"api/messages/{name}/parts/{part['number']}")
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment;")
    assert b"alert(2)" in body


@pytest.mark.parametrize(
    "path",
    ["api/messages/missing", "api/messages/missing/html", "api/messages/missing/source", "api/messages/x/parts/1",
     "api/messages/..", "api/messages/%2e%2e%2fnew", "api/messages/x/other", "../inbox.css", "assets",
     "api/dialogues/missing", "api/dialogues/..%2Fnew"],
)  # fmt: skip
def test_an_unknown_path_is_not_found(visitor: Visitor, path: str) -> None:
    assert visitor.request(path)[0] in (403, 404)


def test_messages_are_deleted(visitor: Visitor, maildir: Maildir) -> None:
    name = store(maildir, b"Subject: one\r\n\r\n")
    store(maildir, b"Subject: two\r\n\r\n")
    assert visitor.json(f"api/messages/{name}", method="DELETE") == {"deleted": 1}
    assert visitor.request(f"api/messages/{name}", method="DELETE")[0] == 404
    assert visitor.json("api/messages", method="DELETE") == {"deleted": 1}
    assert maildir.list_names() == []


def test_a_program_waits_for_a_message(page: InboxPage, maildir: Maildir) -> None:
    timer = threading.Timer(0.1, store, (maildir, b"Subject: Welcome\r\n\r\n"))
    timer.start()
    connection = http.client.HTTPConnection("127.0.0.1", page.web.port, timeout=30)
    login = base64.b64encode(b"sandbox:secret").decode()
    connection.request(
        "GET", "/api/messages?find=welcome&wait=20", headers={"Authorization": f"Basic {login}"}
    )
    body = connection.getresponse().read()
    connection.close()
    timer.join()
    assert b'"subject": "Welcome"' in body


def test_waiting_ends_without_a_message(visitor: Visitor) -> None:
    assert visitor.json("api/messages?wait=0.05")["found"] == 0
