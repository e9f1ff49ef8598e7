from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import page as sandbox_page
from mailer.sandbox.maildir import Maildir
from mailer.sandbox.page import SHOWN, Inbox


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    maildir = Maildir(tmp_path)
    maildir.create_folders()
    return maildir


def store(maildir: Maildir, content: bytes) -> str:
    return maildir.store("news@example.com", ["zofia@example.com"], content, "client.example")


def test_a_message_with_its_envelope(maildir: Maildir) -> None:
    name = store(maildir, b"Subject: hi\r\n\r\nhello\r\n")
    message: Any = Inbox(maildir.path).read_message(name)
    assert message["envelope"] == {"sender": "news@example.com", "recipients": ("zofia@example.com",)}
    assert (message["subject"], message["text"]) == ("hi", "hello\r\n")


def test_the_source_is_what_was_sent(maildir: Maildir) -> None:
    content = b"Subject: hi\r\n\r\n.hello\r\n"
    view = Inbox(maildir.path).read_view(store(maildir, content))
    assert view is not None
    assert view.content == content


def test_a_list_of_many_shows_the_newest_and_finds_the_rest(maildir: Maildir) -> None:
    inbox = Inbox(maildir.path)
    for n in range(SHOWN + 5):
        store(maildir, f"To: u{n}@example.com\r\nSubject: Number {n}\r\n\r\nbody {n}.\r\n".encode())
    page: Any = inbox.list_messages()
    assert (page["total"], page["found"], len(page["messages"])) == (SHOWN + 5, SHOWN + 5, SHOWN)
    assert page["messages"][0]["subject"] == f"Number {SHOWN + 4}"
    older: Any = inbox.list_messages(before=page["messages"][-1]["id"])
    assert [summary["subject"] for summary in older["messages"]] == [f"Number {n}" for n in range(4, -1, -1)]


@pytest.mark.parametrize("find", ["u3@EXAMPLE", "number 3", "body 3.", "zofia@example.com"])
def test_search_looks_at_recipients_subject_and_text(maildir: Maildir, find: str) -> None:
    inbox = Inbox(maildir.path)
    for n in (2, 3) if "zofia" not in find else (3,):
        store(maildir, f"To: u{n}@example.com\r\nSubject: Number {n}\r\n\r\nbody {n}.\r\n".encode())
    found: Any = inbox.list_messages(find)
    assert [summary["subject"] for summary in found["messages"]] == ["Number 3"]
    assert found["searched"] == found["total"]


def test_the_text_of_html_is_searched_without_its_tags(maildir: Maildir) -> None:
    store(maildir, b"Content-Type: text/html\r\n\r\n<p>Spring <b>offer</b></p>\r\n")
    inbox = Inbox(maildir.path)
    assert inbox.list_messages("spring")["found"] == 1
    assert inbox.list_messages("<p>")["found"] == 0


def test_a_search_in_many_new_messages_reads_some_at_a_time(
    maildir: Maildir, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        store(maildir, b"Subject: x%d\r\n\r\n" % n)
    inbox = Inbox(maildir.path)
    monkeypatch.setattr(sandbox_page, "INDEX_SECONDS", -1.0)
    assert inbox.list_messages("x")["searched"] == 0
    monkeypatch.setattr(sandbox_page, "INDEX_SECONDS", 60.0)
    page = inbox.list_messages("x")
    assert (page["searched"], page["found"]) == (5, 5)


def test_without_a_to_header_the_envelope_says_who(maildir: Maildir) -> None:
    store(maildir, b"Subject: hidden\r\n\r\n")
    page: Any = Inbox(maildir.path).list_messages()
    assert page["messages"][0]["to"] == "zofia@example.com"


def test_a_hostile_header_does_not_break_the_list(maildir: Maildir) -> None:
    """A `From` of 4,000 parentheses ended the reader of the whole list."""
    store(maildir, b"From: " + b"(" * 4000 + b"\r\nSubject: first\r\n\r\n")
    store(maildir, b"Subject: second\r\n\r\n")
    page: Any = Inbox(maildir.path).list_messages()
    assert [summary["subject"] for summary in page["messages"]] == ["second", "first"]


def test_a_message_is_deleted_once(maildir: Maildir) -> None:
    inbox = Inbox(maildir.path)
    names = [store(maildir, b"Subject: x\r\n\r\n") for _ in range(3)]
    assert inbox.delete_message(names[0])
    assert not inbox.delete_message(names[0])
    assert not inbox.delete_message("../new")
    assert inbox.list_messages()["total"] == 2
    assert inbox.delete_all() == 2
    assert inbox.list_messages("x")["total"] == 0
