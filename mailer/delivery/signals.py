"""Stopping a run by signal: first in order, then at once.

A Python signal handler, not the event loop's: it must also work while a list of a million is being planned or
rendered, when the loop does not turn. In those phases, where nothing was sent yet, it raises.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A closed terminal (SIGHUP) is an interruption like SIGTERM: nobody is left to read the screen, the ledger is.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """Asked to stop before anything was sent. Like KeyboardInterrupt it passes every `except Exception`."""


class StopSignal:
    """`requested`: no new message starts. `at_once`: not even what is in flight is waited for."""

    def __init__(self) -> None:
        self.number: int | None = None  # of the first signal: 130 and 143 are 128 + this
        self.requested = False
        self.at_once = False
        self._seen = False  # whether somebody has waited for the first request
        self._raises = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None

    def request(self, number: int = signal.SIGINT) -> None:
        """Ask to stop; asked twice, to stop at once. Safe in a signal handler and from another thread."""
        self.at_once = self.requested
        if not self.requested:
            self.number, self.requested = number, True
        if self._loop is not None and self._event is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)
        if self._raises:
            raise Interrupted

    async def wait(self) -> None:
        """Returns when asked to stop, and when awaited again, when asked to stop at once."""
        self._loop = asyncio.get_running_loop()
        self._event = self._event or asyncio.Event()
        while not (self.at_once if self._seen else self.requested):
            self._event.clear()
            await self._event.wait()
        self._seen = True

    @contextmanager
    def raising(self) -> Iterator[None]:
        """A phase in which nothing is sent and the loop does not turn: a request raises Interrupted."""
        if self.requested:
            raise Interrupted
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    @contextmanager
    def installed(self) -> Iterator[StopSignal]:
        """The process's SIGINT, SIGTERM and SIGHUP come here meanwhile. In the main thread only."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in before.items():
            # What a parent ignores stays ignored: `nohup mailer send` outlives its terminal.
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.request(number)
