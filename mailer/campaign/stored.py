"""A recipient as the ledger stores it. What only hands a recipient on does not parse the columns."""

from __future__ import annotations

import json
from typing import NamedTuple

from mailer.campaign.model import Recipient
from mailer.errors import Place

_decode = json.JSONDecoder().raw_decode


class StoredRecipient(NamedTuple):
    """A recipient whose `columns` are JSON. `line` and `column` are its place in `file`."""

    email: str
    columns: str
    line: int
    column: int
    file: str | None

    def parse(self) -> Recipient:
        """Return the recipient. Raises ValueError or TypeError if the row is damaged."""
        email, columns, line, column, file = self
        return Recipient(email, parse_mapping(columns), Place(file or "", line, column))


def parse_mapping(text: str) -> dict[str, object]:
    """Return the JSON object that `text` is. Raises ValueError if it is something else."""
    value, end = _decode(text)  # half the time of json.loads, which allows blanks around the value
    if not isinstance(value, dict) or end != len(text):
        raise ValueError("no object")
    return value
