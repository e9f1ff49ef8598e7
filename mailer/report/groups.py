"""Failures grouped by what the server said: 3,000 refusals are usually four sentences.

A reply has parts that differ from message to message (the address, a queue id, a time). They are taken out
before replies are compared. Memory is bounded: if a server says something new each time, the rest is counted
as one group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailer.dataclass import dataclass
from mailer.ledger.outcome import Outcome, Status
from mailer.text import make_printable

MAX_GROUPS = 1000
MAX_REPLY = 1000  # characters of a reply that are looked at
OTHER_REPLIES = "other replies"

PROBLEMS = (Status.FAILED, Status.IN_DOUBT, Status.DEFERRED)

_ADDRESS = re.compile(r"[^\s<>\"'()\[\],;:]{1,64}@[^\s<>\"'()\[\],;:]{1,255}")
_IDENTIFIER = re.compile(r"\b(?=[\w-]*\d)[\w-]{6,}\b|(?<![\w.])\d{3,}(?![\w.])")
_ENHANCED = re.compile(r"^\d\.\d{1,3}\.\d{1,3}\s+")
# In our own errors: the recipient and their place in the list, and the lines of places.
_RECIPIENT = re.compile(r", for … \([^()]*:(?:\d+|…)\)$")
_LINE = re.compile(r":\d+(?=[:)]|$)")
_URL = re.compile(r"(https?://\S+)")


@dataclass(frozen=True, slots=True)
class CopyGroup:
    """Refused copies with one address and one reply; `example` is the recipient of one such message."""

    email: str
    code: int
    reply: str
    example: str
    count: int


@dataclass(slots=True)
class FailureGroup:
    """One kind of failure.

    `text` is the reply, or our own error, without what differs; `example` is an address, or the place in the
    list of a recipient without one.
    """

    status: Status
    code: int | None
    enhanced: str | None
    text: str
    example: str
    count: int = 0

    @property
    def label(self) -> str:
        """The code and the enhanced code, such as `550 5.1.1`, or nothing."""
        return " ".join(str(part) for part in (self.code, self.enhanced) if part)

    @property
    def is_rest(self) -> bool:
        """Whether this group has everything that did not get a group of its own."""
        return self.text is OTHER_REPLIES


class CopyGroups:
    """The refused copies of a report, by copy and reply: the address of a cc is mostly the same in every
    message.

    `len` is the number of groups. Beyond MAX_GROUPS, a new kind is not kept.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, int, str], tuple[str, int]] = {}

    def add(self, outcome: Outcome) -> None:
        """Count the refused copies of the message of `outcome`."""
        for copy in outcome.copies_refused:
            key = (copy.email, copy.code, copy.reply)
            example, count = self._groups.get(key, (outcome.email, 0))
            if count or len(self._groups) < MAX_GROUPS:
                self._groups[key] = (example, count + 1)

    def __len__(self) -> int:
        return len(self._groups)

    def list_largest(self, limit: int) -> list[CopyGroup]:
        """Return the `limit` groups with the most copies, the largest first."""
        found = sorted(self._groups.items(), key=lambda item: -item[1][1])[:limit]
        return [CopyGroup(*key, *value) for key, value in found]


class FailureGroups:
    """The failures of a report. `len` is the number of groups."""

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        """Count `outcomes`."""
        self._groups: dict[tuple[object, ...], FailureGroup] = {}
        for outcome in outcomes:
            self.add(outcome)

    def add(self, outcome: Outcome) -> None:
        """Count an outcome, if it is a problem."""
        if outcome.status not in PROBLEMS:
            return
        text = _remove_differences(outcome)
        kind = _IDENTIFIER.sub("…", text)
        if outcome.reply is None:
            kind = _LINE.sub(":…", kind)
        key: tuple[object, ...] = (outcome.status, outcome.code, outcome.enhanced, kind)
        code, enhanced = outcome.code, outcome.enhanced
        if key not in self._groups and len(self._groups) >= MAX_GROUPS:
            key, text, code, enhanced = (outcome.status,), OTHER_REPLIES, None, None
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = FailureGroup(
                outcome.status, code, enhanced, text, outcome.email or outcome.key.strip("()")
            )
        group.count += 1

    def list_largest(self, limit: int | None = None) -> list[FailureGroup]:
        """Return the largest groups first, at most `limit`; of equally large ones the permanent failures
        first.
        """
        ranked = sorted(self._groups.values(), key=lambda group: (-group.count, PROBLEMS.index(group.status)))
        return ranked[:limit]

    def __len__(self) -> int:
        return len(self._groups)


def _remove_differences(outcome: Outcome) -> str:
    """The reply or the error on one line, without enhanced code, addresses, queue ids and long numbers.

    A URL stays whole: it is what a person looks up.
    """
    text = make_printable((outcome.answer or "no reply")[:MAX_REPLY]).strip()
    text = _ENHANCED.sub("", text)
    if outcome.email:
        text = text.replace(outcome.email, "…")
    parts = _URL.split(text)
    parts[::2] = [_IDENTIFIER.sub("…", _ADDRESS.sub("…", part)) for part in parts[::2]]
    return _RECIPIENT.sub("", "".join(parts)) or "no reply"
