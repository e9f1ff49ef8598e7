"""Recipients that are written in the campaign file itself, given by a program, or withheld."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace

from mailer.campaign.model import Recipient
from mailer.campaign.sources.rows import BLANK_ADVICE, MAX_SHOWN, SPLIT_ADVICE, recipients_from_value
from mailer.dataclass import dataclass
from mailer.errors import Place, Problem, append_remainder


@dataclass(frozen=True, slots=True)
class InlineSource:
    """The items of the key `recipients`, each with its place."""

    rows: tuple[tuple[object, Place], ...]

    def __iter__(self) -> Iterator[Recipient]:
        for value, place in self.rows:
            # A copy: what a reader does with its columns must not reach the next one.
            for found in recipients_from_value(dict(value) if isinstance(value, dict) else value, place):
                yield _name_key(found) if found.problem else found

    def find_problems(self) -> list[Problem]:
        """Return the first 20 problems of the rows, and the number of the others."""
        found = [row.problem for row in self if row.problem is not None]
        return append_remainder(found[:MAX_SHOWN], len(found))

    def fingerprint(self) -> str:
        """Return a digest of the rows."""
        text = json.dumps([value for value, _ in self.rows])
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _name_key(recipient: Recipient) -> Recipient:
    """Return `recipient` with the key of the campaign file at the beginning of its problem."""
    assert recipient.problem is not None  # noqa: S101 - the caller looked
    text, has_several, _ = recipient.problem.text.partition(BLANK_ADVICE)[0].partition(SPLIT_ADVICE)
    text = f"recipients: {text}" + ("; list each of them as an item of its own" if has_several else "")
    return replace(recipient, problem=replace(recipient.problem, text=text))


@dataclass(frozen=True, slots=True)
class WithheldSource:
    """A list that an untrusted campaign may not make the mailer read.

    It has no recipients; `reason` says why.
    """

    place: Place
    reason: str

    def __iter__(self) -> Iterator[Recipient]:
        return iter(())

    def fingerprint(self) -> None:
        """Return None: nothing was read."""
