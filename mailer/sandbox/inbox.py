"""A maildir read for the inbox page and its API: summaries, search, and one message taken apart."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic

from mailer.sandbox.dialogue import read_dialogue
from mailer.sandbox.maildir import Maildir
from mailer.sandbox.server import SESSIONS_FOLDER
from mailer.web.message_view import MessageView

SHOWN = 200  # messages on one page of the list
HEAD = 64 * 1024  # octets in which a message's header is looked for
MAX_SEARCHED = 1024 * 1024  # octets of a message that are searched
MAX_TEXT = 50_000  # characters of its text that are
INDEX_SECONDS = 0.4  # that one request may spend on reading messages for the search

_TAG = re.compile(r"<[^<>]{0,2000}>")


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """A line of the list. `at` is in seconds since 1970, `size` in octets."""

    id: str
    sender: str
    to: str
    subject: str
    at: float
    size: int


class Inbox:
    """The messages of a maildir, the newest first. Safe for several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._maildir = Maildir(path)
        self._summaries: dict[str, MessageSummary] = {}  # files of a maildir never change
        self._index = _TextIndex()
        self._names: list[str] = []
        self._changed = -1.0

    def list_messages(self, find: str = "", *, limit: int = SHOWN, before: str = "") -> dict[str, object]:
        """The newest `limit` messages that contain `find`, older than the message `before` if it is given.

        The text is searched too. `total` is the number of all messages, `found` of those that match,
        `searched` of those that were looked at so far: of many new messages one call reads only some.
        """
        names = self._list_names()
        found, searched = names, len(names)
        if find:
            searched = self._fill_index(names)
            matching = self._index.find_names(find.casefold())
            found = [name for name in names if name in matching]
        page = [name for name in found if not before or name < before][:limit]
        summaries = [
            asdict(summary) for name in page if (summary := self._summarize_message(name)) is not None
        ]
        return {"total": len(names), "found": len(found), "searched": searched, "messages": summaries}

    def read_message(self, name: str) -> dict[str, object] | None:
        """One message as JSON has it, or None."""
        caught = self._maildir.read_message(name)
        if caught is None:
            return None
        return MessageView(caught.content).summarize() | {
            "id": name,
            "envelope": {"sender": caught.sender, "recipients": caught.recipients},
            "at": caught.at,
            "dialogue": caught.dialogue,
        }

    def read_view(self, name: str) -> MessageView | None:
        """One message to be shown, or None."""
        caught = self._maildir.read_message(name)
        return MessageView(caught.content) if caught else None

    def delete_message(self, name: str) -> bool:
        """Remove a message. False if there is none of that name."""
        self._summaries.pop(name, None)
        return self._maildir.delete(name)

    def delete_all(self) -> int:
        """Remove all messages; their number."""
        return sum(self.delete_message(name) for name in self._maildir.list_names())

    def read_dialogue(self, name: str) -> str | None:
        """The SMTP dialogue of a session that has ended, or None."""
        return read_dialogue(self.path / SESSIONS_FOLDER, name)

    def _list_names(self) -> list[str]:
        """The names of all messages, the newest first.

        The folders are read again only if they have changed.
        """
        changed = self._maildir.changed_at()
        # A change that follows another one closely may leave the time of the folder as it is.
        if changed != self._changed or time.time() - changed < 1.0:
            self._changed, self._names = changed, self._maildir.list_names()[::-1]
        return self._names

    def _summarize_message(self, name: str) -> MessageSummary | None:
        known = self._summaries.get(name)
        if known is None and (path := self._maildir.find_path(name)):
            try:
                known = self._summaries[name] = _summarize_file(name, path)
            except FileNotFoundError:  # deleted meanwhile
                return None
        return known

    def _fill_index(self, names: list[str]) -> int:
        """Read messages into the search index, within a limit of time; how many of `names` are in it."""
        ends = monotonic() + INDEX_SECONDS
        missing = self._index.list_missing(names)
        for count, name in enumerate(missing):
            if monotonic() > ends:
                return len(names) - len(missing) + count
            caught = self._maildir.read_message(name)
            self._index.add(name, _searched_text(caught.content, caught.recipients) if caught else "")
        return len(names)


class _TextIndex:
    """The searchable text of messages, in a temporary database that leaves the memory when it is large."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._database = sqlite3.connect("", check_same_thread=False)  # "": a private temporary file
        self._database.execute("create table texts (name text primary key, text text)")

    def list_missing(self, names: list[str]) -> list[str]:
        with self._lock:
            return [name for name in names if name not in self._known]

    def add(self, name: str, text: str) -> None:
        with self._lock:
            self._known.add(name)
            self._database.execute("insert or replace into texts values (?, ?)", (name, text))

    def find_names(self, text: str) -> set[str]:
        with self._lock:
            rows = self._database.execute(
                "select name from texts where instr(text, ?)", (_replace_surrogates(text),)
            )
            return {name for (name,) in rows}


def _summarize_file(name: str, path: Path) -> MessageSummary:
    with path.open("rb") as file:
        view = MessageView(file.read(HEAD).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    stat = path.stat()
    to = view.header("To") or view.header("Delivered-To")
    return MessageSummary(name, view.header("From"), to, view.header("Subject"), stat.st_mtime, stat.st_size)


def _searched_text(content: bytes, recipients: tuple[str, ...]) -> str:
    view = MessageView(content[:MAX_SEARCHED])
    body = view.text or _TAG.sub(" ", (view.html or "")[: 4 * MAX_TEXT])
    texts = [
        view.header("From"),
        view.header("To"),
        view.header("Subject"),
        *recipients[:100],
        body[:MAX_TEXT],
    ]
    return _replace_surrogates("\n".join(texts).casefold())


def _replace_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
