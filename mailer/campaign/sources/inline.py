"""Recipients that stand in the campaign file itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from mailer.campaign.model import Recipient
from mailer.campaign.sources.rows import MAX_SHOWN, recipient_from_value
from mailer.errors import Place, Problem, append_remainder


@dataclass(frozen=True, slots=True)
class InlineSource:
    """Items as read from YAML, each with its place."""

    rows: tuple[tuple[object, Place], ...]

    def __iter__(self) -> Iterator[Recipient]:
        for value, place in self.rows:
            # A copy: what a reader does with its columns must not reach the next one.
            yield recipient_from_value(dict(value) if isinstance(value, dict) else value, place)

    def find_problems(self) -> list[Problem]:
        """What is wrong with the rows, for whoever tells all the errors of the campaign file: the first 20."""
        found = [row.problem for row in self if row.problem is not None]
        return append_remainder(found[:MAX_SHOWN], len(found))

    def fingerprint(self) -> str:
        text = json.dumps([value for value, _ in self.rows])
        return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
