"""The sandbox's inbox page and its JSON API, and the loop that serves both until it is cancelled.

docs/sandbox.md describes the API for programs.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mailer.sandbox.behavior import Behavior
from mailer.sandbox.dialogue import DialogueLog
from mailer.sandbox.inbox import SHOWN, Inbox
from mailer.sandbox.server import Sandbox
from mailer.web.access import ApiLogin
from mailer.web.responses import (
    ShownJson,
    asset_routes,
    html_response,
    not_found,
    part_response,
    source_response,
)
from mailer.web.server import WebServer

MAX_WAIT = 60.0  # seconds that a request may wait for a message
PAUSE = 0.05  # seconds between two looks meanwhile
MAX_LIMIT = 1000  # messages in one answer


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
            *asset_routes("mailer.sandbox", ["inbox.css", "inbox.js"], "inbox.html"),
            Route("/api/server", self._show_server),
            Route("/api/messages", self._list_messages, methods=["GET"]),
            Route("/api/messages", self._delete_all, methods=["DELETE"]),
            Route(message, self._show_message, methods=["GET"]),
            Route(message, self._delete_message, methods=["DELETE"]),
            Route(f"{message}/html", self._show_html),
            Route(f"{message}/source", self._show_source),
            Route(f"{message}/parts/{{number:int}}", self._show_part),
            Route("/api/dialogues/{name}", self._show_dialogue),
        ]

    async def _show_server(self, _request: Request) -> Response:
        return ShownJson(self._server)

    async def _list_messages(self, request: Request) -> Response:
        """The list.

        With `wait`, the answer comes when there are `count` matching messages, or when time is up.
        """
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
        return not_found() if message is None else ShownJson(message)

    def _delete_message(self, request: Request) -> Response:
        is_deleted = self._inbox.delete_message(request.path_params["name"])
        return ShownJson({"deleted": 1}) if is_deleted else not_found()

    def _show_html(self, request: Request) -> Response:
        view = self._inbox.read_view(request.path_params["name"])
        return not_found() if view is None else html_response(view, request)

    def _show_source(self, request: Request) -> Response:
        view = self._inbox.read_view(request.path_params["name"])
        return not_found() if view is None else source_response(view, request)

    def _show_part(self, request: Request) -> Response:
        view = self._inbox.read_view(request.path_params["name"])
        return not_found() if view is None else part_response(view, request.path_params["number"])

    def _show_dialogue(self, request: Request) -> Response:
        name = request.path_params["name"]
        text = (self._dialogues.find_open(name) if self._dialogues else None) or self._inbox.read_dialogue(
            name
        )
        if text is None:
            return not_found()
        return Response(text.encode("utf-8", "replace"), media_type="text/plain")


@dataclass(frozen=True, slots=True)
class SandboxAddresses:
    """Where the running sandbox is: the inbox page, the server with its login, its CA file, the maildir, the
    API.
    """

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


def export_line(url: str, ca_file: Path) -> str:
    """A line for a shell that makes `mailer send` use the sandbox."""
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
        export = export_line(sandbox.url, sandbox.ca_file)
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
