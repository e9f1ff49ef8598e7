"""The ledger: who is to be sent to, what was sent, who is sending. It is the queue, and it survives anything."""

from mailer.ledger.ledger import Ledger
from mailer.ledger.records import (
    Claim,
    Edition,
    Policy,
    Recovered,
    Release,
    Retry,
    RunRecord,
    Suppression,
    format_time,
)

__all__ = [
    "Claim",
    "Edition",
    "Ledger",
    "Policy",
    "Recovered",
    "Release",
    "Retry",
    "RunRecord",
    "Suppression",
    "format_time",
]
