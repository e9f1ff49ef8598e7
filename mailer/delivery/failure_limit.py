"""`stop_after`: ends a run in which so many messages fail permanently that more would do harm."""

from __future__ import annotations

from mailer.campaign.model import StopAfter

MIN_RESULTS = 50  # a percentage of fewer says nothing


class FailureLimit:
    """Counts the sent and the failed messages of one run."""

    def __init__(self, stop_after: StopAfter | None) -> None:
        """Count from zero. `stop_after` is the campaign's limit; None is no limit."""
        self._stop_after = stop_after
        self._in_a_row = 0
        self._failed = 0
        self._total = 0

    def count_sent(self) -> None:
        """Count one sent message."""
        self._total += 1
        self._in_a_row = 0

    def count_failed(self) -> str | None:
        """Count one message that failed permanently.

        Returns a sentence if the limit is reached, else None.
        """
        self._total += 1
        self._failed += 1
        self._in_a_row += 1
        return self.find_reason(self._total, self._failed, self._in_a_row)

    def find_reason(self, total: int, failed: int, in_a_row: int) -> str | None:
        """Return a sentence if the limit is reached, else None.

        The last `in_a_row` of `total` messages failed.
        """
        if self._stop_after is None:
            return None
        row, share = self._stop_after.in_a_row, self._stop_after.share
        if row is not None and in_a_row >= row:
            return f"{in_a_row} {_recipients(in_a_row)} in a row failed permanently"
        if share is not None and total >= MIN_RESULTS and failed >= share * total:
            return f"{failed} of {total} recipients failed permanently"
        return None


def _recipients(count: int) -> str:
    return "recipient" if count == 1 else "recipients"
