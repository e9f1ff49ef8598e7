"""Progress on standard error: a bar at a terminal (rich), elsewhere a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from mailer.cli import console
from mailer.delivery.observer import Observer
from mailer.ledger.outcome import Outcome, Status
from mailer.report.escape import printable
from mailer.report.words import duration, plural

EVERY = 5.0  # seconds between two lines of a log
FEW = 3  # addresses kept for a hint
REDRAW = 0.1  # seconds between two changes of the bar: the hot loop must not feel it


class Tally(Observer):
    """What every display counts. `clock` gives seconds; `ask` is called with the number of those to be sent to."""

    def __init__(self, ask: Callable[[int], None] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._ask = ask
        self.total = 0
        self.done = 0
        self.counts = dict.fromkeys(Status, 0)
        self.began = clock()
        self.unknown: list[str] = []  # the first few, for a hint
        self.unknown_count = 0

    def __enter__(self) -> Tally:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left on the screen."""

    def warning(self, text: str) -> None:
        console.warning(text)

    def starting(self, total: int, already: int) -> None:
        if already:
            console.note(f"{already:,} of {plural(total, 'recipient')} are settled already")
        if self._ask is not None:
            self._ask(total - already)
        self.total, self.done, self.began = total, already, self.clock()

    def settled(self, outcome: Outcome) -> None:
        self.done += 1
        self.counts[outcome.status] += 1

    def unknown_user(self, email: str) -> None:
        self.unknown_count += 1
        if len(self.unknown) < FEW:
            self.unknown.append(email)

    @property
    def settled_here(self) -> int:
        return sum(self.counts.values())

    def rate(self) -> float:
        """Messages a second since the sending began."""
        seconds = self.clock() - self.began
        return self.settled_here / seconds if seconds > 0 else 0.0

    def words(self) -> str:
        """`sent 1,190, failed 10`"""
        shown = (Status.SENT, Status.FAILED, Status.DEFERRED, Status.IN_DOUBT)
        names = [f"{status.value.replace('_', ' ')} {self.counts[status]:,}" for status in shown if self.counts[status]]
        return ", ".join(names) or "nothing yet"


class Lines(Tally):
    """For logs and CI: a line every few seconds at most, and what a reader of the log will look for."""

    def __init__(self, ask: Callable[[int], None] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(ask, clock)
        self._last = clock()

    def planning(self, done: int) -> None:
        self._line(lambda: f"reading the list: {done:,}")

    def preflight(self, done: int, total: int) -> None:
        self._line(lambda: f"checking: {done:,} of {total:,}")

    def settled(self, outcome: Outcome) -> None:
        super().settled(outcome)
        self._line(self._standing)

    def waiting(self, seconds: float, why: str) -> None:
        self._line(lambda: f"waiting {duration(seconds)}: {why}")

    def _standing(self) -> str:
        rate = self.rate()
        left = f", {duration((self.total - self.done) / rate)} left" if rate and self.total > self.done else ""
        return f"{self.done:,} of {self.total:,} ({self.words()}), {rate:,.1f}/s{left}"

    def _line(self, text: Callable[[], str]) -> None:
        now = self.clock()
        if now - self._last >= EVERY:
            self._last = now
            console.note(f"mailer: {text()}")


class Bar(Tally):
    """For a terminal. Rich draws it from a thread of its own, a few times a second."""

    def __init__(self, ask: Callable[[int], None] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        super().__init__(ask, clock)
        self._screen = Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, complete_style="green", finished_style="green"),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False, style="cyan"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[words]}", markup=False, style="dim"),
            console=self._screen, transient=True, refresh_per_second=8,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=None, rate="", words="")
        self._stack = ExitStack()
        self._next = 0.0
        self._drawn = False

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        # What was sent stays on the screen, above the summary.
        self._progress.live.transient = not self.settled_here
        self.pause()

    def pause(self) -> None:
        """Take the bar off the screen, so that something can be printed or asked."""
        self._drawn = False
        self._progress.stop()

    def planning(self, done: int) -> None:
        self._draw("reading the list", completed=done)

    def preflight(self, done: int, total: int) -> None:
        self._draw("checking", completed=done, total=total)

    def warning(self, text: str) -> None:
        self._aside(lambda: console.warning(text))

    def starting(self, total: int, already: int) -> None:
        self._aside(lambda: super(Bar, self).starting(total, already))
        self._progress.reset(self._task, total=total, completed=already, description="sending", rate="", words="")
        self._draw("sending", completed=already, total=total)

    def settled(self, outcome: Outcome) -> None:
        super().settled(outcome)
        if self.clock() >= self._next:
            self._sending()

    def waiting(self, seconds: float, why: str) -> None:
        self._draw("waiting", words=printable(f"{duration(seconds)}: {why}"), now=True)

    def finished(self, reason: str | None) -> None:
        self._sending()

    def _sending(self) -> None:
        self._draw(
            "sending", completed=self.done, total=self.total, rate=f"{self.rate():,.0f}/s", words=self.words(), now=True
        )

    def _draw(self, description: str, *, now: bool = False, **fields: object) -> None:
        if not self._drawn:
            self._drawn = True
            self._progress.start()
        if now or self.clock() >= self._next:
            self._next = self.clock() + REDRAW
            self._progress.update(self._task, description=description, **fields)  # type: ignore[arg-type]  # rich types fields as Any only when named

    def _aside(self, say: Callable[[], None]) -> None:
        drawn = self._drawn
        self.pause()
        say()
        if drawn:
            self._drawn = True
            self._progress.start()


def observer(ask: Callable[[int], None] | None = None) -> Tally:
    """The display that fits where standard error goes. `ask` may raise to have nothing sent."""
    return Bar(ask) if console.shows_progress() else Lines(ask)
