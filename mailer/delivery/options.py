"""What a run is asked to do, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from enum import Enum

from mailer.campaign.model import Delivery, ServerConfig
from mailer.dataclass import dataclass
from mailer.errors import InputError
from mailer.ledger import RunRecord
from mailer.ledger.outcome import Outcome
from mailer.ledger.records import Policy
from mailer.secret import Secret


class Ending(Enum):
    """How a run ended. The exit code of the command follows from it."""

    COMPLETE = "complete"  # every recipient asked for has the message, had it before, or is suppressed
    INCOMPLETE = "incomplete"  # some failed, are deferred or in doubt, or are left for another run
    GIVEN_UP = (
        "given_up"  # `stop_after`, or the server refuses the account or the domain; the rest is pending
    )
    UNREACHABLE = "unreachable"  # no session, no TLS, no login, or none that lasted; the rest is pending
    LEDGER_FAILED = "ledger_failed"  # the ledger could no longer be written; sending stopped at once
    INTERRUPTED = "interrupted"  # asked to stop


@dataclass(frozen=True, slots=True)
class SendOptions:
    """What one run is asked to do. `delivery` is the campaign's, with the command line's values in it.

    `limit` is the maximum number of recipients, `only` an address or a key, `proof` an address. `again` sends
    a finished campaign again, and `abandon` gives up what is left of an unfinished one before. `in_doubt`
    decides about messages in doubt, those of this run too. `trace` is called with "C", "S" or "*" and each
    line of the dialogue.

    Raises InputError if a number is too small.
    """

    server: ServerConfig
    password: Secret | None = None
    delivery: Delivery = field(default_factory=Delivery)
    limit: int | None = None
    only: str | None = None
    proof: str | None = None
    again: bool = False
    abandon: bool = False
    retry_failed: bool = False
    in_doubt: Policy | None = None
    skip_invalid: bool = False
    preflight: bool = True
    trace: Callable[[str, str], None] | None = None
    worker: str | None = None  # the name of this sender in a ledger that several share

    def __post_init__(self) -> None:
        delivery = self.delivery
        numbers = {"limit": self.limit, "window": delivery.window, "attempts": delivery.attempts}
        for name, value in numbers.items():
            if value is not None and not _is_count(value):
                raise InputError(f"{name} {value!r}: expected a number from 1")
        if delivery.connections != "auto" and not _is_count(delivery.connections):
            raise InputError(f"connections {delivery.connections!r}: expected a number from 1, or 'auto'")
        chosen = {
            "in_doubt": (self.in_doubt, (None, "resend", "hold", "sent")),
            "strategy": (delivery.strategy, ("auto", "streamed", "pipelined", "sequential")),
        }
        for name, (word, known) in chosen.items():
            if word not in known:
                raise InputError(f"{name} {word!r}: expected one of {', '.join(filter(None, known))}")
        for name, text in {"only": self.only, "proof": self.proof}.items():
            if text is not None and not isinstance(text, str):
                raise InputError(f"{name} {text!r}: expected a text")

    @property
    def doubt_policy(self) -> Policy:
        """What happens to messages that come to be in doubt in this run: `in_doubt` sent is for former runs
        alone.
        """
        return self.delivery.in_doubt if self.in_doubt in (None, "sent") else self.in_doubt


def _is_count(value: object) -> bool:
    """Whether a caller of the Python API gave a whole number from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. `reason` and `hint` are sentences for a person.

    `run` is None if nothing was started. `nothing_to_do`: every recipient had an outcome before. `proof` is
    the outcome of a proof; its `run` is in no ledger.
    """

    ending: Ending
    edition: int
    run: RunRecord | None
    reason: str | None = None
    hint: str | None = None
    nothing_to_do: bool = False
    proof: Outcome | None = None
