"""What happens in a run, for those who watch it: the progress bar, a log, a test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mailer.ledger import RunRecord
from mailer.ledger.outcome import Outcome
from mailer.ledger.sharing import EditionState
from mailer.smtp.connection import SessionDetails

_log = logging.getLogger("mailer")


class Observer:
    """Override what you need. The methods are called in the thread of the run, so they must be quick.

    An observer never changes what is sent or recorded: after an exception it is not called again.
    """

    def on_planning(self, done: int) -> None:
        """`done` recipients of the list were read into the ledger."""

    def on_preflight(self, done: int, total: int) -> None:
        """`done` of `total` messages were rendered for the check before sending."""

    def on_warning(self, text: str) -> None:
        """`text` is a sentence that a person should know, and that does not stop the run."""

    def on_start(self, total: int, already: int) -> None:
        """Sending begins.

        The campaign has `total` recipients, of whom `already` had an outcome before this run. Recipients that
        this run skips, because no message can be made for them, are in neither number.
        """

    def on_run(self, run: RunRecord) -> None:
        """The run has its record in the ledger, with its id and the worker's name."""

    def on_session(self, details: SessionDetails) -> None:
        """A session was opened and logged in; `details` say where and how."""

    def on_outcome(self, outcome: Outcome) -> None:
        """One message has its outcome, permanently or until the next run."""

    def on_waiting(self, seconds: float, why: str) -> None:
        """No message is sent for `seconds`, or for less if the queue changes; `why` is for a person."""

    def on_progress(self, state: EditionState) -> None:
        """`state` is what the workers of several machines have done; called about twice a second."""

    def on_unknown_user(self, email: str) -> None:
        """The server knows no mailbox `email`: a candidate for the suppression list."""

    def on_finish(self, reason: str | None) -> None:
        """The run is over; `reason` says why, unless it has simply sent everything."""


class GuardedObserver(Observer):
    """Calls another observer until that one raises an exception, which is logged and goes no further.

    What is not an `Exception` (a person who answers no, an interruption) passes.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def on_planning(self, done: int) -> None:
        with self._guard():
            self._observer.on_planning(done)

    def on_preflight(self, done: int, total: int) -> None:
        with self._guard():
            self._observer.on_preflight(done, total)

    def on_warning(self, text: str) -> None:
        with self._guard():
            self._observer.on_warning(text)

    def on_start(self, total: int, already: int) -> None:
        with self._guard():
            self._observer.on_start(total, already)

    def on_run(self, run: RunRecord) -> None:
        with self._guard():
            self._observer.on_run(run)

    def on_session(self, details: SessionDetails) -> None:
        with self._guard():
            self._observer.on_session(details)

    def on_outcome(self, outcome: Outcome) -> None:
        try:  # no context manager: this is called for each message
            self._observer.on_outcome(outcome)
        except Exception:
            self._drop_observer()

    def on_waiting(self, seconds: float, why: str) -> None:
        with self._guard():
            self._observer.on_waiting(seconds, why)

    def on_progress(self, state: EditionState) -> None:
        with self._guard():
            self._observer.on_progress(state)

    def on_unknown_user(self, email: str) -> None:
        with self._guard():
            self._observer.on_unknown_user(email)

    def on_finish(self, reason: str | None) -> None:
        with self._guard():
            self._observer.on_finish(reason)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._drop_observer()

    def _drop_observer(self) -> None:
        _log.exception("the observer raised an exception; it is not called again")
        self._observer = Observer()
