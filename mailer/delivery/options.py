"""What a run is asked to do, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from mailer.campaign.model import Delivery, ServerConfig
from mailer.ledger import RunRecord
from mailer.secret import Secret


class Ending(Enum):
    """How a run ended; the command's exit code follows from it."""

    COMPLETE = "complete"  # everybody asked for is sent, was already, or is suppressed
    INCOMPLETE = "incomplete"  # some failed, are deferred or in doubt, or are left for another run
    GIVEN_UP = "given_up"  # `stop_after`, or the server refuses the account or domain; the rest is pending
    UNREACHABLE = "unreachable"  # no session, no TLS, no login, or none that lasted; the rest is pending
    LEDGER_FAILED = "ledger_failed"  # the ledger could not be written any more; sending stopped at once
    INTERRUPTED = "interrupted"  # asked to stop


@dataclass(frozen=True, slots=True)
class SendOptions:
    """`delivery` has the command line merged in. `limit` counts recipients, `proof` is an address."""

    server: ServerConfig
    password: Secret | None = None
    delivery: Delivery = field(default_factory=Delivery)
    limit: int | None = None
    only: str | None = None
    proof: str | None = None
    again: bool = False
    abandon: bool = False  # with `again`: give up what the last edition has not sent
    retry_failed: bool = False
    in_doubt: Literal["resend", "hold", "sent"] | None = None
    skip_invalid: bool = False
    preflight: bool = True
    trace: Callable[[str, str], None] | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """`reason` and `hint` are sentences for a person; `run` is None where nothing was begun."""

    ending: Ending
    edition: int
    run: RunRecord | None
    reason: str | None = None
    hint: str | None = None
    nothing_to_do: bool = False  # the campaign was complete before
