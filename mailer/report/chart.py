"""The pictures of the HTML report as SVG geometry: plain numbers, which the page's template draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mailer.report.summary import Counts
from mailer.report.timeline import DRAWN, Bar
from mailer.report.words import STATUS_WORDS, format_duration

WIDTH, HEIGHT = 960, 240
LEFT, TOP, BOTTOM = 52, 14, 30  # room for the axis' labels
GAP = 18  # a cut-out pause is this wide
WIDEST = 64  # a bar, where there are few
LABELS = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle; `kind` is its class in the style sheet."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars over time. `pauses` are what was cut out, `grid` the y axis' lines with their labels."""

    pieces: list[Piece]
    columns: list[Piece]
    pauses: list[Label]
    grid: list[Label]
    times: list[Label]
    width: int
    height: int
    left: int
    floor: int
    step: str
    kinds: list[tuple[str, str]]


def chart(bars: Sequence[Bar]) -> Chart | None:
    """The picture of `bars`; None where all settled within one of them, which the share bar shows as well."""
    if len(bars) < 2:
        return None
    highest = _ceiling(max(bar.total for bar in bars))
    room = WIDTH - LEFT - GAP * sum(1 for bar in bars if bar.pause)
    pitch = min(WIDEST, room / len(bars))
    floor, scale = HEIGHT - BOTTOM, (HEIGHT - BOTTOM - TOP) / highest
    pieces: list[Piece] = []
    columns: list[Piece] = []
    pauses: list[Label] = []
    x = float(LEFT)
    for bar in bars:
        if bar.pause:
            pauses.append(Label(x + GAP / 2, floor, f"pause of {format_duration(bar.pause)}"))
            x += GAP
        pieces += _stack(bar, x, pitch, floor, scale)
        columns.append(Piece("column", x, TOP, pitch, floor - TOP, _title(bar)))
        x += pitch
    grid = [Label(LEFT, floor - n * scale, f"{n:,}") for n in _ticks(highest)]
    kinds = [(status.value, STATUS_WORDS[status]) for status in DRAWN if any(bar.counts.get(status) for bar in bars)]
    times = _times(bars, columns)
    step = format_duration(bars[0].width) if bars[0].width >= 10 else f"{bars[0].width} s"
    return Chart(pieces, columns, pauses, grid, times, WIDTH, HEIGHT, LEFT, floor, step, kinds)


def share_bar(counts: Counts) -> list[Piece]:
    """One bar of everybody, 1000 wide, by status; what is there at all is at least 4 wide."""
    amounts = [(status, n) for status, n in counts.by_status() if n]
    widths = [max(4.0, 1000 * n / counts.total) for _, n in amounts]
    factor = 1000 / sum(widths) if widths else 1
    pieces, x = [], 0.0
    for (status, n), width in zip(amounts, widths, strict=True):
        title = f"{STATUS_WORDS[status]}: {n:,} ({100 * n / counts.total:.1f} %)"
        pieces.append(Piece(status.value, round(x, 2), 0, round(width * factor, 2), 10, title))
        x += width * factor
    return pieces


def _stack(bar: Bar, x: float, pitch: float, floor: float, scale: float) -> list[Piece]:
    pieces, y = [], float(floor)
    inset = min(1.5, pitch * 0.12)
    for status in DRAWN:
        if count := bar.counts.get(status, 0):
            height = max(count * scale, 1.5)  # one failure among thousands is still to be seen
            y -= height
            pieces.append(
                Piece(
                    status.value,
                    round(x + inset, 2),
                    round(y, 2),
                    round(pitch - 2 * inset, 2),
                    round(height, 2),
                )
            )
    return pieces


def _title(bar: Bar) -> str:
    said = ", ".join(f"{bar.counts[status]:,} {STATUS_WORDS[status]}" for status in DRAWN if bar.counts.get(status))
    return f"{_clock(bar.start, '%Y-%m-%d %H:%M:%S')} UTC: {said or 'nothing'}"


def _ceiling(most: int) -> int:
    """The next of 1, 2, 4, 5, 8, 10 times a power of ten: what an axis can be labelled with."""
    power: int = 10 ** max(0, math.floor(math.log10(most)))
    steps: tuple[int, ...] = (1, 2, 4, 5, 8, 10)
    return next(step * power for step in steps if step * power >= most)


def _ticks(highest: int) -> list[int]:
    parts = 4 if highest % 4 == 0 else 5 if highest % 5 == 0 else highest
    return [highest * part // parts for part in range(parts + 1)]


def _times(bars: Sequence[Bar], columns: Sequence[Piece]) -> list[Label]:
    days = {_clock(bar.start, "%j") for bar in bars}
    pattern = "%d %b %H:%M" if len(days) > 1 else "%H:%M:%S" if bars[0].width < 60 else "%H:%M"
    apart = (WIDTH - LEFT) / LABELS
    labels: list[Label] = []
    for bar, column in zip(bars, columns, strict=True):
        if (not labels or column.x - labels[-1].x >= apart) and column.x < WIDTH - 40:
            labels.append(Label(round(column.x, 2), HEIGHT - 10, _clock(bar.start, pattern)))
    return labels


def _clock(seconds: int, pattern: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(pattern)
