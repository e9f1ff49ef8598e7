"""Time as a run sees it: seconds since the epoch that never go back, and a sleep. Tests put their own in its place."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch; within one run it only grows."""

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The wall clock as it was at the start, carried on by the monotonic one.

    A wall clock that is set back in mid-run must neither freeze the pace nor keep a deferred message waiting for an
    hour; what the ledger gets (when to try again, when it was sent) is still readable as a date.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return self._offset + time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
