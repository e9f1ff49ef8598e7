"""How fast messages start: one pacer for all connections of a run.

Messages start evenly, one in each interval, and not in bursts: providers count in short windows. Time that
was not used is not saved up. The clock is the caller's; nothing here sleeps.
"""

from __future__ import annotations

from mailer.campaign.model import Rate

# A late start is made up for by a tenth of the interval, within these bounds (seconds), so that "14/second"
# is not 13.8. This is far below any window that a provider counts in.
MIN_SLACK, MAX_SLACK = 0.01, 0.05

_MIN_PACE = 0.1  # messages a second: a server that still says "too fast" gets no slower than this
_MAX_PACE = 2000.0  # messages a second: from here on a ramp is no limit any more
_GROWTH = 1.02  # for each message accepted: twice as fast after 35


class Pacer:
    """Limits how many messages start. Times are seconds, as the caller's clock has them."""

    def __init__(self, rate: Rate | None) -> None:
        """`rate` is the campaign's limit; None is no limit."""
        self._rate_interval = rate.interval if rate else 0.0
        self._ramp_pace: float | None = None  # messages a second while the pace grows after a pause
        self._next_start = float("-inf")  # when the next message may start
        self._paused_until = float("-inf")
        self._counting_since: float | None = None  # when `_accepted` was 0
        self._accepted = 0

    @property
    def interval(self) -> float:
        """The seconds between two messages at present; 0 is no limit."""
        return max(self._rate_interval, 1 / self._ramp_pace) if self._ramp_pace else self._rate_interval

    def _earliest(self, now: float) -> float:
        return max(self._next_start, now - min(max(self.interval / 10, MIN_SLACK), MAX_SLACK))

    def reserve(self, wanted: int, now: float) -> int:
        """Return how many of `wanted` messages may start at `now`.

        Those that do start are noted afterwards.
        """
        if now < self._next_start:
            return 0
        if not (interval := self.interval):
            return wanted
        return min(wanted, int((now - self._earliest(now)) / interval) + 1)

    def note_started(self, count: int, now: float) -> None:
        """Note that `count` messages start at `now`, so that the next ones wait for their turn."""
        self._count_from(now)
        if count and (interval := self.interval):
            self._next_start = self._earliest(now) + count * interval

    def _count_from(self, now: float) -> None:
        """Measure the pace that the server takes, from the first message on."""
        if self._counting_since is None:
            self._counting_since = now

    def seconds_until_next(self, now: float) -> float:
        """Return the seconds until the next message may start; 0 if it may now."""
        return max(0.0, self._next_start - now)

    def is_paused(self, now: float) -> bool:
        """Return whether a pause lasts at `now`."""
        return now < self._paused_until

    def pause(self, seconds: float, now: float) -> None:
        """Start no message for `seconds` from `now`; then half the pace that the server took before."""
        if self._accepted and self._counting_since is not None:
            pace = self._accepted / max(now - self._counting_since, 1.0)
        else:
            pace = self._ramp_pace or 2.0
        self._ramp_pace = max(pace / 2, _MIN_PACE)
        self._paused_until = now + seconds
        self._next_start = max(self._next_start, self._paused_until)
        self._counting_since, self._accepted = None, 0

    def accept(self, count: int) -> None:
        """Count `count` accepted messages: the pace grows, until it reaches the limit again."""
        self._accepted += count
        if self._ramp_pace is None:
            return
        self._ramp_pace *= _GROWTH**count
        if self._ramp_pace >= _MAX_PACE or (
            self._rate_interval and 1 / self._ramp_pace <= self._rate_interval
        ):
            self._ramp_pace = None
