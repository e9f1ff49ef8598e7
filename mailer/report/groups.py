"""Failures grouped by what the server said: 3,000 refusals are usually four sentences.

A reply holds parts that differ from message to message (the address, a queue id, a time); they are cut out before
replies are compared. Memory is bounded: of servers that say something new each time, the rest is counted as one group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mailer.ledger.outcome import Outcome, Status
from mailer.report.escape import printable

MOST = 1000  # groups kept apart; far more than anybody reads, far less than a list
OTHER = "other replies"
LONGEST = 300  # characters of a reply that decide its group

PROBLEMS = (Status.FAILED, Status.IN_DOUBT, Status.DEFERRED)

_ADDRESS = re.compile(r"[^\s<>\"'()\[\],;:]{1,64}@[^\s<>\"'()\[\],;:]{1,255}")
_IDENTIFIER = re.compile(r"\b(?=[\w-]*\d)[\w-]{6,}\b|(?<![\w.])\d{3,}(?![\w.])")
_ENHANCED = re.compile(r"^\d\.\d{1,3}\.\d{1,3}\s+")


@dataclass(slots=True)
class Group:
    """One kind of failure. `text` is the reply (or our own error) without what differs; `example` is one address."""

    status: Status
    code: int | None
    enhanced: str | None
    text: str
    example: str
    count: int = 0

    @property
    def label(self) -> str:
        """Code and enhanced code, as a person reads them: `550 5.1.1`, or nothing."""
        return " ".join(str(part) for part in (self.code, self.enhanced) if part)

    @property
    def is_rest(self) -> bool:
        """Whether this one holds all that no group of its own was kept for."""
        return self.text is OTHER


class Groups:
    def __init__(self) -> None:
        self._groups: dict[tuple[object, ...], Group] = {}

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Groups:
        groups = cls()
        for outcome in outcomes:
            groups.add(outcome)
        return groups

    def add(self, outcome: Outcome) -> None:
        if outcome.status not in PROBLEMS:
            return
        text = general(outcome)
        key: tuple[object, ...] = (outcome.status, outcome.code, outcome.enhanced, text)
        if key not in self._groups and len(self._groups) >= MOST:
            key, text = (outcome.status,), OTHER
        group = self._groups.get(key)
        if group is None:
            code, enhanced = (outcome.code, outcome.enhanced) if len(key) > 1 else (None, None)
            group = self._groups[key] = Group(outcome.status, code, enhanced, text, outcome.email)
        group.count += 1

    def most_common(self, limit: int | None = None) -> list[Group]:
        """The largest groups first; of equal ones the final failures first."""
        ranked = sorted(self._groups.values(), key=lambda group: (-group.count, PROBLEMS.index(group.status)))
        return ranked[:limit]

    def __len__(self) -> int:
        return len(self._groups)


def general(outcome: Outcome) -> str:
    """The reply, or else the error, on one line, without enhanced code, addresses, queue ids and long numbers."""
    text = printable((outcome.reply or outcome.error or "no reply")[: 4 * LONGEST]).strip()
    text = _ENHANCED.sub("", text).replace(outcome.email, "…") if outcome.email else _ENHANCED.sub("", text)
    return _IDENTIFIER.sub("…", _ADDRESS.sub("…", text))[:LONGEST] or "no reply"
