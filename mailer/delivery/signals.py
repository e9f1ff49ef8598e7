"""Stopping a run by signal: first in order, then at once.

A Python signal handler, not the event loop's: it also has to work while a list of a million is planned or
rendered, when the loop does not turn. In those phases, in which nothing was sent yet, it raises an exception.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A closed terminal (SIGHUP) is an interruption like SIGTERM: no person is left to read the screen, the ledger
# is.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """Asked to stop before anything was sent. Like KeyboardInterrupt it passes every `except Exception`."""


class StopSignal:
    """Asks a run to stop.

    `requested`: no new message starts. `at_once`: not even messages in flight are waited for. `number` is
    that of the first signal: the exit codes 130 and 143 are 128 + this.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.requested = False
        self.at_once = False
        self._is_noticed = False  # whether a `wait` has returned for the first request
        self._raising_thread: int | None = None  # in which a request is an exception
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None

    def request(self, number: int = signal.SIGINT) -> None:
        """Ask to stop; the second request asks to stop at once.

        `number` is the signal's. Safe in a signal handler and from another thread.
        """
        self.at_once = self.requested
        if not self.requested:
            self.number, self.requested = number, True
        if self._loop is not None and self._event is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)
        if self._raising_thread == threading.get_ident():
            raise Interrupted

    async def wait(self) -> None:
        """Wait for a request to stop; if one has been waited for before, for the request to stop at once."""
        self._loop = asyncio.get_running_loop()
        self._event = self._event or asyncio.Event()
        while not (self.at_once if self._is_noticed else self.requested):
            self._event.clear()
            await self._event.wait()
        self._is_noticed = True

    @contextmanager
    def raise_on_request(self) -> Iterator[None]:
        """In this block nothing is sent and the event loop does not turn: a request raises Interrupted."""
        if self.requested:
            raise Interrupted
        self._raising_thread = threading.get_ident()
        try:
            yield
        finally:
            self._raising_thread = None

    @contextmanager
    def handle_signals(self) -> Iterator[StopSignal]:
        """In this block, the process's SIGINT, SIGTERM and SIGHUP are requests. Only for the main thread."""
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
