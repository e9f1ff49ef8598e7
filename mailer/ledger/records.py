"""The values that go into the ledger and come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from mailer.campaign.model import Recipient
from mailer.campaign.stored import StoredRecipient
from mailer.dataclass import dataclass
from mailer.errors import LedgerError
from mailer.frozen import frozen_value

Policy = Literal["resend", "hold", "sent"]


@dataclass(frozen=True, slots=True)
class Edition:
    """One sending of a campaign to its list, as it was when it was read.

    `planned` is false until a list was written into it. `complete` says that a run would find nothing to
    send: every recipient is sent, failed, suppressed, or left in doubt for a person.
    """

    id: int
    campaign: str
    number: int
    planned: bool
    complete: bool


@frozen_value()
class Claim:
    """A message that this run may send, with all that it takes to render it.

    `stored` is its recipient. `attempts` counts the tries of all runs (the report's figure), `tries` those of
    this run (the retry policy's). `first`: this run has not claimed it before (what `--limit` counts).
    `in_doubt`: it may have been sent before, and no reply is known, so this is the same message again.
    `copies_taken`: cc and bcc that the server took with an earlier try.
    """

    id: int
    stored: StoredRecipient
    key: str
    attempts: int
    tries: int
    first: bool
    in_doubt: bool
    copies_taken: tuple[str, ...]
    edition: int
    run: int

    @property
    def email(self) -> str:
        """The recipient's address."""
        return self.stored.email

    def parse_recipient(self) -> Recipient:
        """Return the recipient. Raises LedgerError if its row is damaged."""
        try:
            return self.stored.parse()
        except (ValueError, TypeError) as error:
            raise LedgerError(
                f"the ledger is damaged (the row of {self.key} cannot be read: {error})"
            ) from error


@dataclass(frozen=True, slots=True)
class Retry:
    """To be tried again in this run, not before `at` (seconds since the epoch).

    `attempted` is false if the try does not count as an attempt: the server said nothing of this message.
    `in_doubt`: its last byte may have left, so that it is counted as sent again. `copies_taken` are added to
    those of the claim.
    """

    at: float
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None
    error: str | None = None
    attempted: bool = True
    in_doubt: bool = False
    copies_taken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """The message was not sent: this run claims it again, before those that it has not claimed yet."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of `mailer send`, or one share that a worker sent. Times are ISO 8601 in UTC; `server` is JSON;
    `template` is the compiled fingerprint.

    `messages` have an outcome by this run. `bytes` are the octets of sent contents. `worker` names the sender
    if several share the ledger.
    """

    id: int
    run: str
    campaign: str
    edition: int
    template: str
    started: str
    finished: str | None = None
    seconds: float = 0.0
    server: Mapping[str, object] | None = None
    messages: int = 0
    bytes: int = 0
    sessions: int = 0
    reconnects: int = 0
    ending: str | None = None
    reason: str | None = None
    worker: str | None = None

    @property
    def messages_per_second(self) -> float:
        return self.messages / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a new run found of the ones before, as numbers of messages.

    `in_doubt` were in flight when a run died, or wait in doubt; it was decided what happens to them.
    `deferred` get all attempts again.
    """

    in_doubt: int = 0
    deferred: int = 0


def format_time(seconds: float) -> str:
    """Return `seconds` since the epoch as `2026-11-23T09:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
