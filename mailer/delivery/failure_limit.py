"""`stop_after`: when so many fail for good that going on would do harm (or burn the sender's name)."""

from __future__ import annotations

from mailer.campaign.model import StopAfter

SHARE_FROM = 50  # of the first few a share says nothing


class GiveUp:
    def __init__(self, stop_after: StopAfter | None) -> None:
        self._stop = stop_after
        self._in_a_row = 0
        self._failed = 0
        self._settled = 0

    def accepted(self) -> None:
        self._settled += 1
        self._in_a_row = 0

    def failed(self) -> str | None:
        """One more failed for good; a sentence when that is one too many."""
        self._settled += 1
        self._failed += 1
        self._in_a_row += 1
        if self._stop is None:
            return None
        row, share = self._stop.in_a_row, self._stop.share
        if row is not None and self._in_a_row >= row:
            return f"{self._in_a_row} recipients in a row failed for good"
        if share is not None and self._settled >= SHARE_FROM and self._failed >= share * self._settled:
            return f"{self._failed} of {self._settled} recipients failed for good"
        return None
