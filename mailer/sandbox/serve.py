"""`mailer sandbox`: the server and its inbox page, until cancelled."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mailer.sandbox.behavior import Behavior
from mailer.sandbox.page import InboxPage
from mailer.sandbox.server import Sandbox
from mailer.web.access import ApiLogin


@dataclass(frozen=True, slots=True)
class SandboxAddresses:
    """Where the running sandbox is: the inbox page, the server with its login, its CA file, the maildir, the API."""

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


async def serve_sandbox(announce: Callable[[SandboxAddresses], None], options: SandboxOptions | None = None) -> None:
    """Start both on loopback, call `announce` with their addresses, and serve until the task is cancelled.

    OSError: a port is taken, or a folder cannot be written.
    """
    asked = options or SandboxOptions()
    sandbox = Sandbox(
        maildir=asked.maildir, port=asked.port, password=asked.password, ca_dir=asked.ca_dir, behavior=asked.behavior
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
            announce(SandboxAddresses(page.web.url, sandbox.url, str(sandbox.ca_file), str(sandbox.maildir), api))
            await asyncio.Event().wait()
        finally:
            page.web.stop()
