"""How fast messages start: one pacer for all connections of a run.

Even means one message an interval, not a bucketful at once: providers count in short windows. A pause is not saved
up: after it, messages start one interval apart as before. The clock is the caller's; nothing here sleeps.
"""

from __future__ import annotations

from mailer.campaign.model import Rate

# What a sleep may oversleep and still be made up for, so that "14/second" is not 13.8: a tenth of the interval,
# within these bounds (seconds). Far below any window that a provider counts in.
_SLACK = (0.01, 0.05)

_SLOWEST = 0.1  # messages a second: a server that still says "too fast" gets no slower than this
_FREE = 2000.0  # messages a second: a ramp that got here needs no limit any more
_GROWTH = 1.02  # for each message accepted: twice as fast after 35


class Pacer:
    """`available` says how many may start now, `spend` that they did, `wait` how long until the next may."""

    def __init__(self, rate: Rate | None) -> None:
        self._interval = rate.interval if rate else 0.0
        self._ramp: float | None = None  # messages a second while we come back from a throttling
        self._next = float("-inf")  # when the next message may start
        self._paused = float("-inf")  # until when nobody is sent to
        self._since: float | None = None  # since when `_accepted` counts
        self._accepted = 0

    @property
    def interval(self) -> float:
        """Seconds between two messages at present; 0 is as fast as it goes."""
        return max(self._interval, 1 / self._ramp) if self._ramp else self._interval

    def _earliest(self, now: float) -> float:
        low, high = _SLACK
        return max(self._next, now - min(max(self.interval / 10, low), high))

    def available(self, wanted: int, now: float) -> int:
        """How many of `wanted` messages may start at `now`."""
        if now < self._next:
            return 0
        if not (interval := self.interval):
            return wanted
        return min(wanted, int((now - self._earliest(now)) / interval) + 1)

    def spend(self, count: int, now: float) -> None:
        """`count` messages start at `now`."""
        if self._since is None:
            self._since = now
        if count and (interval := self.interval):
            self._next = self._earliest(now) + count * interval

    def wait(self, now: float) -> float:
        """Seconds until the next message may start; 0 when it may now."""
        return max(0.0, self._next - now)

    def paused(self, now: float) -> bool:
        return now < self._paused

    def pause(self, seconds: float, now: float) -> None:
        """The server said "too fast": nobody for `seconds`, then at half the pace that it took before."""
        if self._accepted and self._since is not None:
            pace = self._accepted / max(now - self._since, 1.0)
        else:
            pace = self._ramp or 2.0
        self._ramp = max(pace / 2, _SLOWEST)
        self._paused = now + seconds
        self._next = max(self._next, self._paused)
        self._since, self._accepted = None, 0

    def accepted(self, count: int) -> None:
        """The server took `count` messages: a ramp goes on, and ends when nothing more is to be gained."""
        self._accepted += count
        if self._ramp is None:
            return
        self._ramp *= _GROWTH**count
        if self._ramp >= _FREE or (self._interval and 1 / self._ramp <= self._interval):
            self._ramp = None
