"""The chart of the HTML report: outcomes over time, counted as they stream by, and drawn as plain numbers.

Counts are kept in buckets of one width, in a sparse table. When it has more than `MAX_BUCKETS`, the width
grows to the next step: memory is bounded, whatever the campaign's length. A long pause is cut out and marked.
The page's template draws the numbers as SVG.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

from mailer.ledger.outcome import Outcome, Status
from mailer.report.summary import Counts
from mailer.report.words import STATUS_WORDS, format_duration

MAX_BUCKETS = 600
MAX_BARS = 90
PAUSE = 6  # empty bars in a row that are cut out as a pause

# Each divides the next, so that making buckets coarser never splits one: seconds, minutes, hours, days,
# weeks, years.
STEPS = (1, 2, 10, 30, 60, 300, 900, 1800, 3600, 7200, 21600, 43200, 86400, 604800, 2419200, 31449600)

DRAWN = (Status.SENT, Status.DEFERRED, Status.IN_DOUBT, Status.FAILED)


@dataclass(slots=True)
class ChartBar:
    """The outcomes in `width` seconds from `start` (a POSIX time); `pause` seconds before it are cut out."""

    start: int
    width: int
    counts: dict[Status, int] = field(default_factory=dict)
    pause: int = 0

    @property
    def total(self) -> int:
        """The number of outcomes."""
        return sum(self.counts.values())


class Timeline:
    """Counts outcomes by their time."""

    def __init__(self) -> None:
        self._width = STEPS[0]
        self._buckets: dict[int, dict[Status, int]] = {}

    def add(self, outcome: Outcome) -> None:
        """Count an outcome, if it has a time and is one that is drawn."""
        if outcome.at is None or outcome.status not in DRAWN:
            return
        moment = datetime.fromisoformat(outcome.at)
        # A ledger's times are UTC; one without a zone is read so too, or the picture would differ between
        # machines.
        seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        self._count(self._buckets, seconds // self._width, {outcome.status: 1})
        while len(self._buckets) > MAX_BUCKETS and self._width < STEPS[-1]:
            self._width, self._buckets = self._make_coarser(self._width, self._buckets)

    def list_bars(self) -> list[ChartBar]:
        """At most `MAX_BARS` bars in order of time, empty ones included unless they are cut out as a pause."""
        width, buckets = self._width, self._buckets
        while width < STEPS[-1] and _count_bars(buckets) > MAX_BARS:
            width, buckets = self._make_coarser(width, buckets)
        bars: list[ChartBar] = []
        for index in sorted(buckets):
            empty = index - bars[-1].start // width - 1 if bars else 0
            if empty > PAUSE:
                bars.append(ChartBar(index * width, width, buckets[index], pause=empty * width))
                continue
            bars += [ChartBar((index - back) * width, width) for back in range(empty, 0, -1)]
            bars.append(ChartBar(index * width, width, buckets[index]))
        return bars

    def _make_coarser(
        self, width: int, buckets: dict[int, dict[Status, int]]
    ) -> tuple[int, dict[int, dict[Status, int]]]:
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


def _count_bars(buckets: dict[int, dict[Status, int]]) -> int:
    indexes = sorted(buckets)
    gaps: Iterator[int] = (after - before - 1 for before, after in pairwise(indexes))
    return len(indexes) + sum(gap if gap <= PAUSE else 1 for gap in gaps)


WIDTH, HEIGHT = 960, 240
LEFT, TOP, BOTTOM = 52, 14, 30  # room for the axis' labels
GAP = 18  # a cut-out pause is this wide
MIN_COLUMNS = 5  # of fewer, the bar of shares says as much
LABELS = 6


@dataclass(frozen=True, slots=True)
class ChartPiece:
    """A rectangle; `kind` is its class in the style sheet."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str = ""


@dataclass(frozen=True, slots=True)
class ChartLabel:
    """A text at a point."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars over time. `pauses` are what was cut out, `grid` the y axis' lines with their labels."""

    pieces: list[ChartPiece]
    columns: list[ChartPiece]
    pauses: list[ChartLabel]
    grid: list[ChartLabel]
    times: list[ChartLabel]
    width: int
    height: int
    left: int
    floor: int
    step: str
    kinds: list[tuple[str, str]]


def draw_chart(bars: Sequence[ChartBar]) -> Chart | None:
    """The picture of `bars`; None if they are fewer than MIN_COLUMNS."""
    if len(bars) < MIN_COLUMNS:
        return None
    highest = _round_up(max(bar.total for bar in bars))
    room = WIDTH - LEFT - GAP * sum(1 for bar in bars if bar.pause)
    pitch = room / len(bars)
    floor, scale = HEIGHT - BOTTOM, (HEIGHT - BOTTOM - TOP) / highest
    pieces: list[ChartPiece] = []
    columns: list[ChartPiece] = []
    pauses: list[ChartLabel] = []
    x = float(LEFT)
    for bar in bars:
        if bar.pause:
            pauses.append(ChartLabel(x + GAP / 2, floor, f"pause of {format_duration(bar.pause)}"))
            x += GAP
        pieces += _stack_pieces(bar, x, pitch, floor, scale)
        columns.append(ChartPiece("column", x, TOP, pitch, floor - TOP, _describe_bar(bar)))
        x += pitch
    grid = [ChartLabel(LEFT, floor - n * scale, f"{n:,}") for n in _list_ticks(highest)]
    kinds = [
        (status.value, STATUS_WORDS[status])
        for status in DRAWN
        if any(bar.counts.get(status) for bar in bars)
    ]
    times = _label_times(bars, columns)
    step = format_duration(bars[0].width) if bars[0].width >= 10 else f"{bars[0].width} s"
    return Chart(pieces, columns, pauses, grid, times, WIDTH, HEIGHT, LEFT, floor, step, kinds)


def draw_share_bar(counts: Counts) -> list[ChartPiece]:
    """One bar of all recipients by status, 1000 wide; a piece is at least 4 wide."""
    amounts = [(status, n) for status, n in counts.by_status() if n]
    widths = [max(4.0, 1000 * n / counts.total) for _, n in amounts]
    factor = 1000 / sum(widths) if widths else 1
    pieces, x = [], 0.0
    for (status, n), width in zip(amounts, widths, strict=True):
        title = f"{STATUS_WORDS[status]}: {n:,} ({100 * n / counts.total:.1f} %)"
        pieces.append(ChartPiece(status.value, round(x, 2), 0, round(width * factor, 2), 10, title))
        x += width * factor
    return pieces


def _stack_pieces(bar: ChartBar, x: float, pitch: float, floor: float, scale: float) -> list[ChartPiece]:
    pieces, y = [], float(floor)
    inset = min(6.0, pitch * 0.12)
    for status in DRAWN:
        if count := bar.counts.get(status, 0):
            height = max(count * scale, 1.5)  # one failure among thousands is visible
            y -= height
            pieces.append(
                ChartPiece(
                    status.value,
                    round(x + inset, 2),
                    round(y, 2),
                    round(pitch - 2 * inset, 2),
                    round(height, 2),
                )
            )
    return pieces


def _describe_bar(bar: ChartBar) -> str:
    said = ", ".join(
        f"{bar.counts[status]:,} {STATUS_WORDS[status]}" for status in DRAWN if bar.counts.get(status)
    )
    return f"{_format_clock(bar.start, '%Y-%m-%d %H:%M:%S')} UTC: {said or 'nothing'}"


def _round_up(most: int) -> int:
    """The next of 1, 2, 4, 5, 8, 10 times a power of ten, which an axis can be labelled with."""
    power: int = 10 ** max(0, math.floor(math.log10(most)))
    steps: tuple[int, ...] = (1, 2, 4, 5, 8, 10)
    return next(step * power for step in steps if step * power >= most)


def _list_ticks(highest: int) -> list[int]:
    parts = 4 if highest % 4 == 0 else 5 if highest % 5 == 0 else highest
    return [highest * part // parts for part in range(parts + 1)]


def _label_times(bars: Sequence[ChartBar], columns: Sequence[ChartPiece]) -> list[ChartLabel]:
    days = {_format_clock(bar.start, "%j") for bar in bars}
    pattern = "%d %b %H:%M" if len(days) > 1 else "%H:%M:%S" if bars[0].width < 60 else "%H:%M"
    apart = (WIDTH - LEFT) / LABELS
    labels: list[ChartLabel] = []
    for bar, column in zip(bars, columns, strict=True):
        if (not labels or column.x - labels[-1].x >= apart) and column.x < WIDTH - 40:
            labels.append(ChartLabel(round(column.x, 2), HEIGHT - 10, _format_clock(bar.start, pattern)))
    return labels


def _format_clock(seconds: int, pattern: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(pattern)
