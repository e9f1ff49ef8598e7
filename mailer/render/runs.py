"""Texts that are put together for each recipient from runs: constant texts with slots, each encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from mailer.render.body import (
    MAX_BASE64_GAIN,
    MAX_LINE,
    MAX_QUOTED,
    MAX_QUOTED_VALUES,
    SOFT_BREAK,
    Body,
    BodyEncoder,
    is_utf8,
    quote_runs,
    quote_value,
)
from mailer.render.skeleton import Skeleton

ASCII, UNICODE, RARE = 0, 1, 2  # kinds of constant texts; rare ones are encoded with what is around them
MAX_SHORT = 32  # octets of a value that takes no closer look at the length of lines


class _EncodedRun(NamedTuple):
    """A run in one encoding: what is before its first slot; each slot with what is behind it."""

    start: bytes
    rest: list[tuple[int, bytes]]
    length: int


class Run:
    """A text with slots.

    `texts` are constant; `slots` are the numbers of the slots between them.
    """

    __slots__ = ("__dict__", "ends", "is_empty", "kind", "length", "slots", "texts")

    def __init__(self, texts: list[str], slots: list[int]) -> None:
        self.texts = texts
        self.slots = slots
        self.length = sum(map(len, texts))
        self.is_empty = not self.length and not slots
        self.ends = _measure_ends(texts)
        text = "".join(texts)
        self.kind = (
            RARE if "\r" in text or not _is_sendable(text) else UNICODE if not text.isascii() else ASCII
        )

    @cached_property
    def plain(self) -> _EncodedRun:
        """The run as it is, in UTF-8 and with CRLF."""
        return self._encode([text.replace("\n", "\r\n").encode("utf-8") for text in self.texts])

    @cached_property
    def quoted(self) -> _EncodedRun:
        """The run in quoted-printable. It may be behind any other run or value, and before any."""
        made = [text.encode("utf-8") for text in self.texts]
        return self._encode(quote_runs(made, column=MAX_QUOTED, is_end_open=True))

    def _encode(self, pieces: list[bytes]) -> _EncodedRun:
        rest = [*zip(self.slots, pieces[1:], strict=True)]
        return _EncodedRun(pieces[0], rest, sum(map(len, pieces)))

    @property
    def is_sendable(self) -> bool:
        """Whether every character of the constant texts can be sent."""
        return self.kind != RARE or _is_sendable("".join(self.texts))


def _measure_ends(texts: list[str]) -> tuple[int, int]:
    """The octets of a run's first line and of its last one, if each value has MAX_SHORT at most.

    The second number is -1 if the run has no line end. The first one is too large if another line is too long.
    """
    try:
        pieces = [text.encode("utf-8") for text in texts]
    except UnicodeEncodeError:
        return MAX_LINE + 1, 0
    first, *others = [len(line) for line in bytes(MAX_SHORT).join(pieces).split(b"\n")]
    if not others:
        return first, -1
    return max(first, MAX_LINE + 1) if max(others) > MAX_LINE else first, others[-1]


def _is_sendable(text: str) -> bool:
    return "\0" not in text and is_utf8(text)


class AssembledText(NamedTuple):
    """Runs, and one recipient's values.

    The values of a run begin at its number in `firsts`, which has one for each run that has slots.
    """

    runs: list[Run]
    firsts: list[int]
    values: list[str]

    def write(self) -> str:
        """The text."""
        texts, numbers = self.list_pieces()
        return Skeleton(texts, numbers).fill(self.values)

    def list_pieces(self) -> tuple[list[str], list[int]]:
        """The constant texts, and the numbers of the values between them."""
        texts, numbers = [""], list[int]()
        firsts = iter(self.firsts)
        for run in self.runs:
            texts[-1] += run.texts[0]
            if run.slots:
                first = next(firsts)
                numbers += [first + slot for slot in run.slots]
                texts += run.texts[1:]
        return texts, numbers

    def measure(self) -> int:
        """At least as many characters as the text has."""
        slots = sum([len(run.slots) for run in self.runs])
        return sum([run.length for run in self.runs]) + sum(map(len, self.values)) * slots

    def is_sendable(self) -> bool:
        """Whether every character can be sent."""
        values = "".join(self.values)
        return (
            "\0" not in values
            and (values.isascii() or is_utf8(values))
            and all(run.is_sendable for run in self.runs)
        )

    def encode(self, encoder: BodyEncoder, *, eight_bit: bool) -> Body:
        """The text as the body of a part. ValueError if it cannot be sent."""
        return self._encode_runs(encoder, eight_bit=eight_bit) or encoder.encode(
            self.write(), eight_bit=eight_bit
        )

    def _encode_runs(self, encoder: BodyEncoder, *, eight_bit: bool) -> Body | None:
        """None for what is left to BodyEncoder: rare characters, long lines, base64."""
        values = "\0".join(self.values)
        if "\r" in values or values.count("\0") >= max(1, len(self.values)):
            return None
        kind = max([run.kind for run in self.runs], default=ASCII)
        if kind == RARE:
            return None
        is_ascii = kind == ASCII and values.isascii()
        if eight_bit or is_ascii:
            try:
                made = values.replace("\n", "\r\n").encode("utf-8").split(b"\0")
            except UnicodeEncodeError:
                return None
            if self._has_short_lines(made):
                content = _join(self.firsts, [run.plain for run in self.runs], made)
                if encoder.mark not in content:
                    return Body(b"7bit" if is_ascii else b"8bit", [content])
        if len(values) > MAX_QUOTED_VALUES:
            return None
        runs = [run.quoted for run in self.runs]
        if sum([run.length for run in runs]) > sum([run.plain.length for run in self.runs]) * MAX_BASE64_GAIN:
            return None
        try:
            quoted = [*map(quote_value, self.values)]
        except UnicodeEncodeError:
            return None
        content = _join(self.firsts, runs, quoted)
        return Body(b"quoted-printable", [content.removesuffix(SOFT_BREAK)])

    def _has_short_lines(self, values: list[bytes]) -> bool:
        """Whether no line is longer than MAX_LINE octets."""
        if max(map(len, values)) <= MAX_SHORT and self._has_short_lines_at_most():
            return True
        content = _join(self.firsts, [run.plain for run in self.runs], values)
        return max(map(len, content.split(b"\r\n"))) <= MAX_LINE

    def _has_short_lines_at_most(self) -> bool:
        """Whether no line would be longer than MAX_LINE octets if each value had MAX_SHORT of them."""
        column = 0
        for run in self.runs:
            first, last = run.ends
            column += first
            if last >= 0:
                if column > MAX_LINE:
                    return False
                column = last
        return column <= MAX_LINE


def _join(firsts: list[int], runs: Sequence[_EncodedRun], values: list[bytes]) -> bytes:
    pieces: list[bytes] = []
    numbers = iter(firsts)
    for start, rest, _ in runs:
        pieces.append(start)
        if rest:
            first = next(numbers)
            for slot, text in rest:
                pieces += values[first + slot], text
    return b"".join(pieces)
