"""Outcomes over time, counted as they stream by: bounded memory, whatever the campaign's length.

Counts are kept in buckets of one width, in a sparse table; when it would hold more than `MOST` buckets, the
width grows to the next step. A pause that would fill the picture with nothing is cut out and marked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

from mailer.ledger.outcome import Outcome, Status

MOST = 600  # buckets kept while counting
BARS = 90  # bars drawn
PAUSE = 6  # empty bars in a row that are cut out as a pause

# Each divides the next, so that making buckets coarser never splits one: seconds, minutes, hours, days,
# weeks, years.
STEPS = (1, 2, 10, 30, 60, 300, 900, 1800, 3600, 7200, 21600, 43200, 86400, 604800, 2419200, 31449600)

DRAWN = (Status.SENT, Status.DEFERRED, Status.IN_DOUBT, Status.FAILED)


@dataclass(slots=True)
class Bar:
    """What settled in `width` seconds from `start` (a POSIX time); `pause` is the seconds cut out before it."""

    start: int
    width: int
    counts: dict[Status, int] = field(default_factory=dict)
    pause: int = 0

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class Timeline:
    def __init__(self) -> None:
        self._width = STEPS[0]
        self._buckets: dict[int, dict[Status, int]] = {}

    def add(self, outcome: Outcome) -> None:
        if outcome.at is None or outcome.status not in DRAWN:
            return
        moment = datetime.fromisoformat(outcome.at)
        # A ledger's times are UTC; one without a zone is read so too, or the picture would differ between
        # machines.
        seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        self._count(self._buckets, seconds // self._width, {outcome.status: 1})
        while len(self._buckets) > MOST and self._width < STEPS[-1]:
            self._width, self._buckets = self._coarser(self._width, self._buckets)

    def bars(self) -> list[Bar]:
        """At most `BARS` bars in order of time, empty ones included unless a pause swallowed them."""
        width, buckets = self._width, self._buckets
        while width < STEPS[-1] and _drawn(buckets) > BARS:
            width, buckets = self._coarser(width, buckets)
        bars: list[Bar] = []
        for index in sorted(buckets):
            empty = index - bars[-1].start // width - 1 if bars else 0
            if empty > PAUSE:
                bars.append(Bar(index * width, width, buckets[index], pause=empty * width))
                continue
            bars += [Bar((index - back) * width, width) for back in range(empty, 0, -1)]
            bars.append(Bar(index * width, width, buckets[index]))
        return bars

    def _coarser(self, width: int, buckets: dict[int, dict[Status, int]]) -> tuple[int, dict[int, dict[Status, int]]]:
        wider = STEPS[STEPS.index(width) + 1]
        merged: dict[int, dict[Status, int]] = {}
        for index, counts in buckets.items():
            self._count(merged, index * width // wider, counts)
        return wider, merged

    @staticmethod
    def _count(buckets: dict[int, dict[Status, int]], index: int, counts: dict[Status, int]) -> None:
        bucket = buckets.setdefault(index, {})
        for status, count in counts.items():
            bucket[status] = bucket.get(status, 0) + count


def _drawn(buckets: dict[int, dict[Status, int]]) -> int:
    indexes = sorted(buckets)
    gaps: Iterator[int] = (after - before - 1 for before, after in pairwise(indexes))
    return len(indexes) + sum(gap if gap <= PAUSE else 1 for gap in gaps)
