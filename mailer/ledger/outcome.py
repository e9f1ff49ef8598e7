"""What became of a message: the words that the ledger, the report and the summary share."""

from __future__ import annotations

from enum import StrEnum

from mailer.dataclass import dataclass
from mailer.frozen import frozen_value


class Status(StrEnum):
    """The contract's six, section 3."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    DEFERRED = "deferred"
    IN_DOUBT = "in_doubt"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True, slots=True)
class CopyRefused:
    """A cc or bcc that the server refused while it took the message."""

    email: str
    code: int
    reply: str


@frozen_value()
class Outcome:
    """One recipient's line in the report.

    `at` is ISO 8601 in UTC; `size` is octets on the wire before dot-stuffing.
    """

    email: str
    key: str
    status: Status
    attempts: int = 0
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None
    message_id: str | None = None
    size: int | None = None
    at: str | None = None
    error: str | None = None
    copies_refused: tuple[CopyRefused, ...] = ()
    copies_taken: tuple[
        str, ...
    ] = ()  # of one that is not sent: the copies that the server took all the same

    @property
    def answer(self) -> str:
        """The server's reply and our own error, as far as there are; nothing for what is not tried yet."""
        return "; ".join(part for part in (self.reply, self.error) if part)
