"""Time as a run sees it: seconds since the epoch that never go back, and a sleep.

Tests give their own clock.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What a run needs of time."""

    def now(self) -> float:
        """Return seconds since the epoch. Within one run they only grow."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""


class SystemClock:
    """The wall clock as it was at the start, continued by the monotonic clock.

    A wall clock that is set back during a run must neither freeze the pace nor keep a deferred message
    waiting for an hour. What the ledger gets (when to try again, when it was sent) is still readable as a
    date.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return self._offset + time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
