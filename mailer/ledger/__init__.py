"""The ledger: which recipients a campaign has, what was sent to them, and who is sending.

It is also the queue.
"""

from mailer.ledger.ledger import Ledger
from mailer.ledger.place import find_nearest_ledger, get_project_ledger
from mailer.ledger.records import (
    Claim,
    Edition,
    Policy,
    Recovered,
    Release,
    Retry,
    RunRecord,
    format_time,
)
from mailer.ledger.store import report_as_unusable
from mailer.ledger.suppressions import Suppression

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
    "find_nearest_ledger",
    "format_time",
    "get_project_ledger",
    "report_as_unusable",
]
