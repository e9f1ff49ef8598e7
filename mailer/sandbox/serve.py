"""`mailer sandbox`: the server and its inbox page, until cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mailer.sandbox.page import Page
from mailer.sandbox.server import Sandbox


@dataclass(frozen=True, slots=True)
class SandboxAddresses:
    """Where the running sandbox is: the inbox page, the server with its login, its CA file, and the maildir."""

    page: str
    smtps: str
    ca: str
    maildir: str


async def serve_sandbox(
    announce: Callable[[SandboxAddresses], None], *, maildir: Path | None = None, port: int = 0, page_port: int = 0
) -> None:
    """Starts both on loopback, announces where, and serves until the task is cancelled. OSError: a port is taken."""
    with Sandbox(maildir=maildir, port=port) as sandbox:
        page = Page(sandbox.maildir, port=page_port)
        page.start()
        try:
            announce(SandboxAddresses(page.url, sandbox.url, str(sandbox.ca_file), str(sandbox.maildir)))
            await asyncio.Event().wait()
        finally:
            page.stop()
