"""The HTML report: one file that needs nothing else, to look at and to search.

It loads nothing and runs only its own script (a Content-Security-Policy with their hashes says so to the
browser). All text goes through Jinja2's autoescape and `make_printable`. The first rows are in the page as
they are, problems first; the page's script reads all of them from data in the page, and shows ROWS at a time.
The data is limited to MAX_DATA octets: of the recipients who have the message, the rest is left out.

The chart shows outcomes over time. They are counted in buckets of one width, in a sparse table. If it has
more than MAX_BUCKETS, the width grows to the next step, so memory is bounded for any length of a campaign. A
long pause is cut out and marked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import field
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TextIO

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from mailer._version import __version__
from mailer.dataclass import dataclass
from mailer.ledger.outcome import Outcome, Status
from mailer.report import words
from mailer.report.escape import escape_json
from mailer.report.groups import FailureGroups
from mailer.report.summary import Counts, Report
from mailer.text import count_noun, make_printable

ROWS = 200
GROUPS = 50
MAX_DATA = 24_000_000  # octets; some 100,000 recipients

_HERE = Path(__file__).parent
_COMMAND = re.compile(r"(`[^`]+`|--in-doubt \w+|--[a-z-]+)")
# The order of the rows: problems first.
_ORDER = (Status.FAILED, Status.IN_DOUBT, Status.DEFERRED, Status.PENDING, Status.SUPPRESSED, Status.SENT)


MAX_BUCKETS = 600
MAX_BARS = 90
MIN_BARS = 5  # with fewer there is no chart: the bar of all recipients says as much
MAX_EMPTY_BARS = 6  # in a row; more of them are cut out as a pause
# Widths of a bucket in seconds, from a second to a year. Each divides the next, so a wider bucket is made of
# whole ones.
STEPS = (1, 2, 10, 30, 60, 300, 900, 1800, 3600, 7200, 21600, 43200, 86400, 604800, 2419200, 31449600)

DRAWN = (Status.SENT, Status.DEFERRED, Status.IN_DOUBT, Status.FAILED)
# In the units of the picture:
WIDTH, HEIGHT = 960, 240
LEFT, TOP, BOTTOM = 52, 14, 30  # room for the labels of the axes
GAP = 18  # the width of a pause
LABELS = 6  # times below the chart, at most


def write(report: Report, stream: TextIO) -> None:
    """Write the page of `report` to `stream`. The recipients are read twice: for the figures and the data."""
    stream.writelines(_generate_page(report))


def _generate_page(report: Report) -> Iterator[str]:
    survey = _ReportSurvey()
    for outcome in report.outcomes():
        survey.add(outcome)
    style, script = _read_asset("page.css"), _read_asset("page.js")
    return _load_template().generate(
        report=report,
        policy=_make_policy(style, script),
        style=Markup(style),  # noqa: S704  (our own file, no outside text)
        script=Markup(script),  # noqa: S704
        version=__version__,
        words=words,
        count_noun=count_noun,
        figures=report.counts.by_status(),
        status_bar=draw_status_bar(report.counts),
        chart=draw_chart(survey.timeline.list_bars()),
        groups=survey.groups.list_largest(GROUPS),
        more_groups=max(0, len(survey.groups) - GROUPS),
        rows=survey.list_rows(),
        data=_generate_data(report, MAX_DATA - survey.problem_size),
        order=_ORDER,
        breakable=_make_breakable,
        mark_options=_mark_options,
    )


def _generate_data(report: Report, room: int) -> Iterator[Markup]:
    """The rows as JSON, a line each.

    All who do not have the message, and of the others those for whom there is `room` (in octets).
    """
    separator = ""
    for outcome in report.outcomes():
        row = _encode_row(outcome)
        if outcome.status is Status.SENT:
            room -= len(row)
            if room < 0:
                continue
        yield Markup(separator + row)  # noqa: S704 - escaped by _encode_row
        separator = ",\n"


def _encode_row(outcome: Outcome) -> str:
    """A row as the script reads it. No text in it can end the element that it is in."""
    label = " ".join(str(part) for part in (outcome.code, outcome.enhanced) if part)
    said = [label, outcome.reply or "", outcome.error or "", outcome.message_id or ""]
    copies = (f"copy to {copy.email} refused: {copy.code} {copy.reply}" for copy in outcome.copies_refused)
    shown = [
        make_printable(outcome.email), make_printable(outcome.key) if outcome.key != outcome.email else "",
        _ORDER.index(outcome.status), *map(make_printable, said), outcome.attempts, outcome.size or 0,
        (outcome.at or "")[:19].replace("T", " "), "\n".join(map(make_printable, copies)),
    ]  # fmt: skip
    text = escape_json(json.dumps(shown, ensure_ascii=False, separators=(",", ":")))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _make_breakable(address: str) -> Markup:
    """An address that a browser may break before its `@` and its dots."""
    text = str(escape(make_printable(address)))
    return Markup(text.replace("@", "<wbr>@").replace(".", "<wbr>."))  # noqa: S704 - escaped above


def _mark_options(text: str) -> Markup:
    """The text with its commands (in backticks) and options as code. A browser does not break an option."""
    parts = _COMMAND.split(text)
    return Markup("").join(_format_code(part) if number % 2 else part for number, part in enumerate(parts))


def _format_code(text: str) -> Markup:
    if text.startswith("`"):
        return Markup("<code>{}</code>").format(text.strip("`"))
    return Markup('<code class="option">{}</code>').format(text)


def _make_policy(style: str, script: str) -> str:
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, finalize=_finalize,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.j2")


def _finalize(value: object) -> object:
    return make_printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _read_asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


# -- the chart


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
    """The number of outcomes by their time, in buckets of one width."""

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
            if empty > MAX_EMPTY_BARS:
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
    return len(indexes) + sum(gap if gap <= MAX_EMPTY_BARS else 1 for gap in gaps)


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
    """The picture of `bars`; None if they are fewer than MIN_BARS."""
    if len(bars) < MIN_BARS:
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
            pauses.append(ChartLabel(x + GAP / 2, floor, f"pause of {words.format_duration(bar.pause)}"))
            x += GAP
        pieces += _stack_pieces(bar, x, pitch, floor, scale)
        columns.append(ChartPiece("column", x, TOP, pitch, floor - TOP, _describe_bar(bar)))
        x += pitch
    grid = [ChartLabel(LEFT, floor - n * scale, f"{n:,}") for n in _list_ticks(highest)]
    kinds = [
        (status.value, words.STATUS_WORDS[status])
        for status in DRAWN
        if any(bar.counts.get(status) for bar in bars)
    ]
    times = _label_times(bars, columns)
    step = words.format_duration(bars[0].width) if bars[0].width >= 10 else f"{bars[0].width} s"
    return Chart(pieces, columns, pauses, grid, times, WIDTH, HEIGHT, LEFT, floor, step, kinds)


def draw_status_bar(counts: Counts) -> list[ChartPiece]:
    """Return the pieces of one bar, 1000 wide, of all `counts` by status; a piece is at least 4 wide."""
    amounts = [(status, n) for status, n in counts.by_status() if n]
    widths = [max(4.0, 1000 * n / counts.total) for _, n in amounts]
    factor = 1000 / sum(widths) if widths else 1
    pieces, x = [], 0.0
    for (status, n), width in zip(amounts, widths, strict=True):
        title = f"{words.STATUS_WORDS[status]}: {n:,} ({100 * n / counts.total:.1f} %)"
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
        f"{bar.counts[status]:,} {words.STATUS_WORDS[status]}" for status in DRAWN if bar.counts.get(status)
    )
    return f"{_format_clock(bar.start, '%Y-%m-%d %H:%M:%S')} UTC: {said or 'nothing'}"


def _round_up(count: int) -> int:
    """The next of 1, 2, 4, 5, 8, 10 times a power of ten, which an axis can be labelled with."""
    power: int = 10 ** max(0, math.floor(math.log10(count)))
    steps: tuple[int, ...] = (1, 2, 4, 5, 8, 10)
    return next(step * power for step in steps if step * power >= count)


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


# -- one pass over the recipients


@dataclass(slots=True)
class _ReportSurvey:
    """What the page shows of all recipients, collected in one pass, and bounded in size."""

    groups: FailureGroups = field(default_factory=FailureGroups)
    timeline: Timeline = field(default_factory=Timeline)
    kept: dict[Status, list[Outcome]] = field(default_factory=lambda: {status: [] for status in Status})
    problem_size: int = 0  # octets of the data of those who do not have the message

    def add(self, outcome: Outcome) -> None:
        """Count an outcome, and keep it if it may be among the first rows."""
        self.groups.add(outcome)
        self.timeline.add(outcome)
        if len(rows := self.kept[outcome.status]) < ROWS:
            rows.append(outcome)
        if outcome.status is not Status.SENT:
            self.problem_size += len(_encode_row(outcome))

    def list_rows(self) -> list[Outcome]:
        """The first rows, problems first."""
        return [outcome for status in _ORDER for outcome in self.kept[status]][:ROWS]
