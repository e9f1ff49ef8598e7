"""A YAML file that is a list of recipients, an item at a time."""

from __future__ import annotations

from collections.abc import Generator
from typing import BinaryIO, TextIO

from mailer.campaign.model import Recipient
from mailer.campaign.schema import nodes
from mailer.campaign.sources.rows import PLAIN_RULES, RowRules, recipients_from_value
from mailer.campaign.sources.text import open_text
from mailer.errors import InputError, Place, Problem


def read_yaml(
    binary: BinaryIO, shown: str, encoding: str | None, rules: RowRules = PLAIN_RULES
) -> Generator[Recipient, None, None]:
    """Yield the recipients of a file that is one list."""
    with open_text(binary, shown, encoding) as stream:
        for node, problems in nodes.stream_items(_CheckedStream(stream, shown), shown):
            if problems:
                yield Recipient("", {}, node.place, problems[0])
            else:
                yield from recipients_from_value(nodes.to_row(node), node.place, rules)


class _CheckedStream:
    """Finds characters that YAML does not allow before the parser does, with their place."""

    def __init__(self, stream: TextIO, shown: str) -> None:
        self._stream = stream
        self._shown = shown
        self._line, self._column = 0, 0

    def read(self, size: int = -1) -> str:
        text = self._stream.read(size)
        if found := nodes.find_unreadable(text):
            offset, what = found
            self._count_lines(text[:offset])
            raise InputError(Problem(Place(self._shown, self._line + 1, self._column + 1), what))
        self._count_lines(text)
        return text

    def _count_lines(self, text: str) -> None:
        ends = text.count("\n") or text.count("\r")
        self._line += ends
        after = len(text) - (max(text.rfind("\n"), text.rfind("\r")) + 1)
        self._column = after if ends else self._column + after
