"""The sandbox's inbox: the messages of a maildir with a search, as a page and as a JSON API.

docs/sandbox.md describes the API for programs. `serve_sandbox` runs the SMTP server and the page.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mailer.dataclass import dataclass
from mailer.sandbox.behavior import Behavior
from mailer.sandbox.dialogue import DialogueLog, read_dialogue
from mailer.sandbox.maildir import Maildir
from mailer.sandbox.server import SESSIONS_FOLDER, Sandbox
from mailer.web.access import ApiLogin
from mailer.web.message_view import MessageView
from mailer.web.responses import ShownJson, answer_not_found, make_asset_routes, make_message_routes
from mailer.web.server import WebServer

SHOWN = 200  # messages in one answer, unless the request says otherwise
MAX_LIMIT = 1000  # messages in one answer
MAX_WAIT = 60.0  # seconds that a request may wait for a message
PAUSE = 0.05  # seconds between two looks meanwhile
MAX_HEAD = 64 * 1024  # octets in which a message's header is looked for
MAX_SEARCHED = 1024 * 1024  # octets of a message that are searched
MAX_TEXT = 50_000  # characters of its text that are searched
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
        """Return the newest `limit` messages that contain `find`, as the JSON API describes them.

        If `before` is given, they are older than that message. The text is searched too. `total` is the
        number of all messages, `found` of those that match, `searched` of those that were read so far: of
        many new messages, one call reads only some.
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
        """Return one message as JSON has it, or None."""
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
        """Return one message for the page, or None."""
        caught = self._maildir.read_message(name)
        return MessageView(caught.content) if caught else None

    def delete_message(self, name: str) -> bool:
        """Remove a message. Return False if there is none of that name."""
        self._summaries.pop(name, None)
        return self._maildir.delete(name)

    def delete_all(self) -> int:
        """Remove all messages, and return their number."""
        return sum(self.delete_message(name) for name in self._maildir.list_names())

    def read_dialogue(self, name: str) -> str | None:
        """Return the SMTP dialogue of a session that has ended, or None."""
        return read_dialogue(self.path / SESSIONS_FOLDER, name)

    def _list_names(self) -> list[str]:
        """Return the names of all messages, the newest first.

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
        """Read messages into the search index for a limited time. Return how many of `names` are in it."""
        ends = monotonic() + INDEX_SECONDS
        missing = self._index.list_missing(names)
        for count, name in enumerate(missing):
            if monotonic() > ends:
                return len(names) - len(missing) + count
            caught = self._maildir.read_message(name)
            self._index.add(name, _make_searched_text(caught.content, caught.recipients) if caught else "")
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
        view = MessageView(file.read(MAX_HEAD).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    stat = path.stat()
    to = view.header("To") or view.header("Delivered-To")
    return MessageSummary(name, view.header("From"), to, view.header("Subject"), stat.st_mtime, stat.st_size)


def _make_searched_text(content: bytes, recipients: tuple[str, ...]) -> str:
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


class InboxPage:
    """The inbox page of a maildir. `server` is what the page shows of the running server, as JSON has it."""

    def __init__(
        self,
        maildir: Path,
        *,
        port: int = 0,
        login: ApiLogin | None = None,
        dialogues: DialogueLog | None = None,
        server: dict[str, object] | None = None,
    ) -> None:
        self._inbox = Inbox(maildir)
        self._dialogues = dialogues
        self._server = server or {}
        self.web = WebServer(self._make_routes(), port=port, login=login)

    def _make_routes(self) -> list[Route]:
        message = "/api/messages/{name}"
        return [
            *make_asset_routes("mailer.sandbox", "inbox", "Inbox · mailer sandbox"),
            Route("/api/server", self._show_server),
            Route("/api/messages", self._list_messages, methods=["GET"]),
            Route("/api/messages", self._delete_all, methods=["DELETE"]),
            Route(message, self._show_message, methods=["GET"]),
            Route(message, self._delete_message, methods=["DELETE"]),
            *make_message_routes(message, self._find_view),
            Route("/api/dialogues/{name}", self._show_dialogue),
        ]

    async def _show_server(self, _request: Request) -> Response:
        return ShownJson(self._server)

    async def _list_messages(self, request: Request) -> Response:
        """Answer with the list; with `wait`, when `count` messages match or the time is up."""
        query = request.query_params
        find, before = query.get("find", ""), query.get("before", "")
        limit = min(_parse_number(query.get("limit"), SHOWN), MAX_LIMIT)
        count = _parse_number(query.get("count"), 1)
        ends = monotonic() + min(_parse_seconds(query.get("wait")), MAX_WAIT)
        while True:
            page = await run_in_threadpool(self._inbox.list_messages, find, limit=limit, before=before)
            found = page["found"]
            if (isinstance(found, int) and found >= count) or monotonic() >= ends:
                return ShownJson(page)
            await asyncio.sleep(PAUSE)

    def _delete_all(self, _request: Request) -> Response:
        return ShownJson({"deleted": self._inbox.delete_all()})

    def _show_message(self, request: Request) -> Response:
        message = self._inbox.read_message(request.path_params["name"])
        return answer_not_found() if message is None else ShownJson(message)

    def _delete_message(self, request: Request) -> Response:
        is_deleted = self._inbox.delete_message(request.path_params["name"])
        return ShownJson({"deleted": 1}) if is_deleted else answer_not_found()

    def _find_view(self, request: Request) -> MessageView | None:
        return self._inbox.read_view(request.path_params["name"])

    def _show_dialogue(self, request: Request) -> Response:
        name = request.path_params["name"]
        text = (self._dialogues.find_open(name) if self._dialogues else None) or self._inbox.read_dialogue(
            name
        )
        if text is None:
            return answer_not_found()
        return Response(text.encode("utf-8", "replace"), media_type="text/plain")


@dataclass(frozen=True, slots=True)
class SandboxAddresses:
    """The addresses of the running sandbox: inbox page, server with login, CA file, maildir, JSON API."""

    page: str
    smtps: str
    ca: str
    maildir: str
    api: str


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """What `mailer sandbox` was asked; see `Sandbox` for each. `page_port` 0 takes a free port."""

    maildir: Path | None = None
    port: int = 0
    page_port: int = 0
    password: str | None = None
    ca_dir: Path | None = None
    behavior: Behavior | None = None


def make_export_line(url: str, ca_file: Path) -> str:
    """Return a line for a shell that makes `mailer send` use the sandbox."""
    return f"export MAILER_SERVER={shlex.quote(url)} MAILER_CA_FILE={shlex.quote(str(ca_file))}"


async def serve_sandbox(
    announce: Callable[[SandboxAddresses], None], options: SandboxOptions | None = None
) -> None:
    """Start both on loopback, call `announce` with their addresses, and serve until the task is cancelled.

    OSError: a port is taken, or a folder cannot be written.
    """
    asked = options or SandboxOptions()
    sandbox = Sandbox(
        maildir=asked.maildir,
        port=asked.port,
        password=asked.password,
        ca_dir=asked.ca_dir,
        behavior=asked.behavior,
    )
    with sandbox:
        login = ApiLogin(sandbox.username, sandbox.password)
        export = make_export_line(sandbox.url, sandbox.ca_file)
        described: dict[str, object] = {
            "url": sandbox.url, "ca": str(sandbox.ca_file), "maildir": str(sandbox.maildir), "export": export,
        }  # fmt: skip
        page = InboxPage(
            sandbox.maildir, port=asked.page_port, login=login, dialogues=sandbox.dialogues, server=described
        )
        page.web.start()
        try:
            api = f"{page.web.origin}/api/messages"
            announce(
                SandboxAddresses(page.web.url, sandbox.url, str(sandbox.ca_file), str(sandbox.maildir), api)
            )
            await asyncio.Event().wait()
        finally:
            page.web.stop()


def _parse_number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else default


def _parse_seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0
