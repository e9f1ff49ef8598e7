from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.loopback import MAIL_POLICY, PAGE_POLICY
from mailer.sandbox.maildir import Maildir
from mailer.sandbox.page import ASSETS, Page

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


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    maildir = Maildir(tmp_path)
    maildir.create()
    return maildir


@pytest.fixture
def page(maildir: Maildir) -> Iterator[Page]:
    page = Page(maildir.path)
    page.start()
    yield page
    page.stop()


@pytest.mark.parametrize("path", ASSETS)
def test_the_page_is_self_contained(page: Page, path: str) -> None:
    response = page.answer(path, {})
    assert response is not None
    text = response.body.decode().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|innerHTML|insertAdjacentHTML|\seval\(|\son\w+=", text)


def test_it_lists_and_shows_what_arrives(page: Page, maildir: Maildir) -> None:
    with urllib.request.urlopen(page.url + "/messages", timeout=10) as response:
        assert json.load(response)["total"] == 0
    name = maildir.store("a@example.com", ["b@example.com"], b"Subject: hi\r\n\r\nhello\r\n", "c")
    with urllib.request.urlopen(page.url + "/messages", timeout=10) as response:
        assert [summary["id"] for summary in json.load(response)["messages"]] == [name]
    with urllib.request.urlopen(f"{page.url}/messages/{name}", timeout=10) as response:
        assert response.headers["Content-Security-Policy"] == PAGE_POLICY
        assert json.load(response)["text"] == "hello\r\n"


def test_html_is_shown_under_a_policy_of_its_own(page: Page, maildir: Maildir) -> None:
    name = maildir.store("a@example.com", ["b@example.com"], EVIL, "c")
    with urllib.request.urlopen(f"{page.url}/messages/{name}/html", timeout=10) as response:
        assert response.headers["Content-Security-Policy"] == MAIL_POLICY


def test_the_source_is_text(page: Page, maildir: Maildir) -> None:
    name = maildir.store("a@example.com", ["b@example.com"], EVIL, "c")
    response = page.answer(f"/messages/{name}/source", {})
    assert response is not None
    assert response.type == "text/plain; charset=utf-8"
    assert response.body == EVIL


def test_an_attachment_is_saved_never_shown(page: Page, maildir: Maildir) -> None:
    name = maildir.store("a@example.com", ["b@example.com"], EVIL, "c")
    response = page.answer(f"/messages/{name}/parts/2", {})
    assert response is not None
    assert response.type == "application/octet-stream"
    assert response.filename
    assert b"alert(2)" in response.body


@pytest.mark.parametrize(
    "path",
    ["/messages/missing", "/messages/missing/html", "/messages/missing/source", "/messages/missing/parts/1",
     "/messages/..", "/messages/%2e%2e%2fnew", "/messages/x/parts/-1", "/messages/x/other", "/../inbox.css", "/assets"],
)  # fmt: skip
def test_what_is_not_there(page: Page, path: str) -> None:
    assert page.answer(path, {}) is None
