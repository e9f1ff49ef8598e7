"""`mailer preview`: the session and its page, until cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mailer.preview.page import PreviewPage
from mailer.preview.session import PreviewSession, SendProof


@dataclass(frozen=True, slots=True)
class PreviewAddresses:
    """Where the running preview is."""

    page: str


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """What `mailer preview` was asked. `port` 0 takes a free one; without `send_proof` the page sends none."""

    campaign_file: Path
    variables: dict[str, str] = field(default_factory=dict)
    port: int = 0
    send_proof: SendProof | None = None


async def serve_preview(announce: Callable[[PreviewAddresses], None], options: PreviewOptions) -> None:
    """Start the page on loopback, call `announce` with its address, and serve until the task is cancelled.

    A campaign with errors is no error here: the page shows them. OSError: the port is taken.
    """
    session = PreviewSession(options.campaign_file, options.variables)
    try:
        page = PreviewPage(session, port=options.port, send_proof=options.send_proof)
        await asyncio.to_thread(session.start)
        page.web.start()
        try:
            announce(PreviewAddresses(page.web.url))
            await asyncio.Event().wait()
        finally:
            page.web.stop()
    finally:
        session.close()
