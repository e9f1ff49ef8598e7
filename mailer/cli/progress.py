"""Progress on standard error: a bar at a terminal (rich), elsewhere a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mailer.cli import console
from mailer.delivery.observer import Observer
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.sharing import EditionState
from mailer.report.words import format_duration
from mailer.smtp.connection import SessionDetails
from mailer.text import count_noun, make_printable

LOG_INTERVAL = 5.0  # seconds between two lines of a log
MAX_UNKNOWN = 3  # addresses kept for a hint
MAX_WARNINGS = 5  # warnings kept for the question
WIDTH_FOR_BAR = 72  # columns; a narrower terminal has no bar
WIDTH_FOR_OUTCOMES = 50  # columns; a narrower one has no outcomes either
REDRAW_INTERVAL = 0.1  # seconds between two changes of the bar, so that it costs the send loop nothing


Question = Callable[[int, int], None]


class ProgressDisplay(Observer):
    """What every display counts. It shows nothing itself but warnings, and with `verbose` sessions and
    outcomes.

    `ask` is called before the first message is sent, with the number of pending recipients and of those who
    have their outcome already. If it raises, nothing is sent. `limit` is the maximum number of recipients of
    this run. `clock` returns seconds.
    """

    def __init__(
        self,
        ask: Question | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        limit: int | None = None,
        verbose: bool = False,
        server_name: str | None = None,
    ) -> None:
        self.clock = clock
        self.warnings: list[str] = []  # the first few, for the question
        self.server_name = server_name  # HOST:PORT
        self._ask = ask
        self._limit = limit
        self._verbose = verbose
        self.total = 0
        self.done = 0
        self.counts = dict.fromkeys(Status, 0)
        self.began = clock()
        self.unknown: list[str] = []  # the first few, for a hint
        self.unknown_count = 0
        self._reported = 0  # messages of workers that `done` has

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        """Take the display off the screen."""

    def on_warning(self, text: str) -> None:
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(text)
        self._print_above(lambda: console.print_warning(text))

    def on_start(self, total: int, already: int) -> None:
        self._print_above(lambda: self._begin(total, already))
        goal = total if self._limit is None else min(total, already + self._limit)
        self.total, self.done, self.began = goal, already, self.clock()

    def on_session(self, details: SessionDetails) -> None:
        if self._verbose:
            parts = [
                f"{details.host}:{details.port}",
                details.tls or "no TLS",
                details.mechanism or "no login",
            ]
            self._print_above(
                lambda: console.print_note(f"session: {', '.join([*parts, str(details.strategy)])}")
            )

    def on_outcome(self, outcome: Outcome) -> None:
        self.done += 1
        self.counts[outcome.status] += 1
        if self._verbose:
            words = [outcome.status.value, outcome.email, outcome.reply or outcome.error or ""]
            if outcome.code is not None:
                words.insert(2, str(outcome.code))
            self._print_above(lambda: console.print_note(" ".join(word for word in words if word)))

    def on_progress(self, state: EditionState) -> None:
        """Show what the workers of several machines did together."""
        if state.messages > self._reported:
            self.done += state.messages - self._reported
            self._reported = state.messages
            self.counts[Status.SENT] = state.sent
            self._show_progress()

    def _show_progress(self) -> None:
        """Show how many messages are done."""

    def on_unknown_user(self, email: str) -> None:
        self.unknown_count += 1
        if len(self.unknown) < MAX_UNKNOWN:
            self.unknown.append(email)

    def _begin(self, total: int, already: int) -> None:
        if already:
            have = "has" if already == 1 else "have"
            console.print_note(f"{already:,} of {count_noun(total, 'recipient')} already {have} an outcome")
        if self._ask is not None:
            self._ask(total - already, already)

    def _print_above(self, print_text: Callable[[], None]) -> None:
        """Print a text where the display does not draw over it."""
        print_text()

    @property
    def finished_count(self) -> int:
        """The number of outcomes in this run."""
        return sum(self.counts.values())

    def message_rate(self) -> float:
        """Return the messages per second since sending began."""
        seconds = self.clock() - self.began
        return self.finished_count / seconds if seconds > 0 else 0.0

    def describe_counts(self) -> str:
        """`sent 1,190, failed 10`"""
        shown = (Status.SENT, Status.FAILED, Status.DEFERRED, Status.IN_DOUBT)
        names = [
            f"{status.value.replace('_', ' ')} {self.counts[status]:,}"
            for status in shown
            if self.counts[status]
        ]
        return ", ".join(names) or "nothing yet"


class LogDisplay(ProgressDisplay):
    """For logs and CI: at most one line every LOG_INTERVAL seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last = self.clock()

    def on_planning(self, done: int) -> None:
        self._write_line(lambda: f"reading the list: {done:,}")

    def on_preflight(self, done: int, total: int) -> None:
        self._write_line(lambda: f"checking: {done:,} of {total:,}")

    def on_outcome(self, outcome: Outcome) -> None:
        super().on_outcome(outcome)
        self._write_line(self._describe_progress)

    def on_waiting(self, seconds: float, why: str) -> None:
        self._write_line(lambda: f"waiting {format_duration(seconds)}: {why}")

    def _show_progress(self) -> None:
        self._write_line(self._describe_progress)

    def _describe_progress(self) -> str:
        rate = self.message_rate()
        left = (
            f", {format_duration((self.total - self.done) / rate)} left"
            if rate and self.total > self.done
            else ""
        )
        return f"{self.done:,} of {self.total:,} ({self.describe_counts()}), {rate:,.1f}/s{left}"

    def _write_line(self, text: Callable[[], str]) -> None:
        now = self.clock()
        if now - self._last >= LOG_INTERVAL:
            self._last = now
            console.print_note(f"mailer: {text()}")


class BarDisplay(ProgressDisplay):
    """A progress bar for a terminal. Rich draws it from its own thread, 4 times a second."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        super().__init__(*args, **kwargs)
        screen = Console(stderr=True, highlight=False)
        columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        if screen.width >= WIDTH_FOR_BAR:
            columns.append(BarColumn(bar_width=None, complete_style="green", finished_style="green"))
        columns += [MofNCompleteColumn(), TextColumn("{task.fields[rate]}", markup=False, style="cyan")]
        columns.append(TimeRemainingColumn(compact=True))
        if screen.width >= WIDTH_FOR_OUTCOMES:
            one_line = Column(no_wrap=True, overflow="ellipsis")
            columns.append(
                TextColumn("{task.fields[words]}", markup=False, style="dim", table_column=one_line)
            )
        self._progress = Progress(*columns, console=screen, transient=True, refresh_per_second=4)
        self._task = self._progress.add_task("", total=None, rate="", words="")
        self._next_draw = 0.0
        self._drawn = False

    def __enter__(self) -> BarDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        # The bar of a run that sent something stays on the screen, above the summary.
        self._progress.live.transient = not self.finished_count
        self.hide_bar()

    def hide_bar(self) -> None:
        """Take the bar off the screen, so that a text can be printed there."""
        self._drawn = False
        self._progress.stop()

    def on_planning(self, done: int) -> None:
        self._draw("reading the list", completed=done)

    def on_preflight(self, done: int, total: int) -> None:
        self._draw("checking", completed=done, total=total)

    def on_start(self, total: int, already: int) -> None:
        super().on_start(total, already)
        self._progress.reset(
            self._task, total=self.total, completed=already, description="sending", rate="", words=""
        )
        description = make_printable(f"connecting to {self.server_name}") if self.server_name else "sending"
        self._draw(description, completed=already, total=self.total, now=True)

    def on_outcome(self, outcome: Outcome) -> None:
        super().on_outcome(outcome)
        if self.clock() >= self._next_draw:
            self._draw_sending()

    def on_waiting(self, seconds: float, why: str) -> None:
        self._draw("waiting", words=make_printable(f"{format_duration(seconds)}: {why}"), now=True)

    def on_finish(self, reason: str | None) -> None:
        self._draw_sending()

    def _show_progress(self) -> None:
        self._draw_sending()

    def _draw_sending(self) -> None:
        rate = f"{self.message_rate():,.0f}/s"
        self._draw(
            "sending",
            completed=self.done,
            total=self.total,
            rate=rate,
            words=self.describe_counts(),
            now=True,
        )

    def _draw(self, description: str, *, now: bool = False, **fields: object) -> None:
        if not self._drawn:
            self._drawn = True
            self._progress.start()
        if now or self.clock() >= self._next_draw:
            self._next_draw = self.clock() + REDRAW_INTERVAL
            self._progress.update(self._task, description=description, **fields)  # type: ignore[arg-type]  # rich types fields as Any only when named

    def _print_above(self, print_text: Callable[[], None]) -> None:
        drawn = self._drawn
        self.hide_bar()
        print_text()
        if drawn:
            self._drawn = True
            self._progress.start()


def create_display(
    ask: Question | None = None,
    *,
    limit: int | None = None,
    quiet: bool = False,
    verbose: bool = False,
    server_name: str | None = None,
) -> ProgressDisplay:
    """Return a display that suits standard error; with `quiet`, one that shows warnings only.

    `ask`, `limit` and `verbose` are as for `ProgressDisplay`; `server_name` is shown until the first session
    is open.
    """
    kind = ProgressDisplay if quiet else BarDisplay if console.may_draw() else LogDisplay
    return kind(ask, limit=limit, verbose=verbose, server_name=server_name)
