"""Sessions that outlive a run, for a worker that sends one share of a campaign after the other.

A share is over after a minute or some messages, and the next one comes at once. The session with the server
stays open meanwhile, with its permit, so that no share pays for a login and a window that has to grow.
"""

from __future__ import annotations

import asyncio

from mailer.ledger.store import CampaignLock
from mailer.smtp.connection import Connection
from mailer.smtp.protocol.values import NOTHING_LEARNED, ServerTraits

KEEP_SECONDS = 10.0  # without a share: servers end a session that says nothing, some after as long


class SessionKeeper:
    """The sessions of one campaign with its server, between two runs of one event loop.

    A permit is what allows the session beside those of other senders; None needs none. `traits` are what the
    sessions learned about the server.
    """

    def __init__(self) -> None:
        self.traits: ServerTraits = NOTHING_LEARNED
        self._kept: dict[Connection, tuple[CampaignLock | None, asyncio.TimerHandle]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def keep(self, connection: Connection, permit: CampaignLock | None) -> None:
        """Keep an idle session for KEEP_SECONDS at most, and its permit with it."""
        timer = asyncio.get_running_loop().call_later(KEEP_SECONDS, self._start_closing, connection)
        self._kept[connection] = permit, timer

    def take(self) -> tuple[Connection, CampaignLock | None] | None:
        """Return a session that is still open, with its permit; None if there is none."""
        while self._kept:
            connection, (permit, timer) = self._kept.popitem()
            timer.cancel()
            if connection.room:
                return connection, permit
            connection.abort()
            if permit is not None:
                permit.release()
        return None

    async def close(self) -> None:
        """End all sessions in order."""
        for connection in list(self._kept):
            self._start_closing(connection)
        await asyncio.gather(*self._closing)

    def _start_closing(self, connection: Connection) -> None:
        permit, timer = self._kept.pop(connection)
        timer.cancel()
        task = asyncio.ensure_future(_quit(connection, permit))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _quit(connection: Connection, permit: CampaignLock | None) -> None:
    try:
        await connection.quit()
    finally:
        if permit is not None:
            permit.release()
