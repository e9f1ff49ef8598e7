"""Who watches a run: the progress bar, a trace, a test. An observer never changes what happens."""

from __future__ import annotations

from mailer.ledger.outcome import Outcome
from mailer.smtp.connection import SessionDetails


class Observer:
    """Every method may be left as it is. They are called in the run's own thread: be quick."""

    def planning(self, done: int) -> None:
        """`done` recipients of the list were read into the ledger."""

    def preflight(self, done: int, total: int) -> None:
        """`done` of `total` messages were rendered for the check before the send."""

    def warning(self, text: str) -> None:
        """Something that a person should know and that stops nothing."""

    def starting(self, total: int, already: int) -> None:
        """Sending begins: `total` recipients in the campaign, `already` of them done with."""

    def session(self, details: SessionDetails) -> None:
        """A session was opened and logged in."""

    def settled(self, outcome: Outcome) -> None:
        """What became of one recipient; for good, or until the next run."""

    def waiting(self, seconds: float, why: str) -> None:
        """Nothing is sent for `seconds`, or less when something comes up."""

    def unknown_user(self, email: str) -> None:
        """The server knows no such mailbox: a candidate for the suppressions."""

    def finished(self, reason: str | None) -> None:
        """The run is over; `reason` says why where it is not simply done."""
