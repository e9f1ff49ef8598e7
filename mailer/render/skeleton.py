"""Skeletons: texts with slots, from which a recipient's text is made by filling, and encoded without encoding
it again.

While a text is post-processed (CSS, text alternative, Markdown ...), each slot holds a token: a word of
ASCII letters and digits that passes through any markup unchanged. No data contains it, since it is made anew
in each process.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from functools import cached_property

from mailer.render.body import (
    MAX_BASE64_GAIN,
    MAX_LINE,
    MAX_QUOTED_VALUES,
    SOFT_BREAK,
    Body,
    BodyEncoder,
    is_utf8,
    quote_runs,
    quote_value,
)
from mailer.render.pieces import ConstantPieces, FilledPieces, Piece, join_pieces

_SIGN = f"zq{secrets.token_hex(8)}x"
TOKEN = re.compile(_SIGN + r"(\d+)q")
MARK = re.compile(_SIGN + r"(\d+)([se])")  # in a text: where a section starts or ends
NONCHARACTERS = "\ufdd0-\ufdef\ufffe\uffff"  # of no text (Unicode 23.7): a program may use them for itself
PAD = "[\u00ad\u034f\u2007\u200b\u200c\u200d\ufeff]"  # invisible: three of them in a text are a padding
MARK_COMMENT = re.compile(f"<!--{MARK.pattern}-->")


class NotLocal(Exception):
    """What is made of a section depends on what is around it, or the other way round; `numbers` are its marks'."""

    def __init__(self, numbers: Iterable[int]) -> None:
        super().__init__("a section depends on what is around it")
        self.numbers = frozenset(numbers)


def make_marks(number: int) -> tuple[str, str]:
    """The comments of HTML before and behind a section. They hold what MARK finds."""
    return f"<!--{_SIGN}{number}s-->", f"<!--{_SIGN}{number}e-->"


def make_token(number: int) -> str:
    """The token of the slot `number`."""
    return f"{_SIGN}{number}q"


def has_token(text: str) -> bool:
    """Whether a token, or a part of one, is in `text`."""
    return _SIGN in text.lower()


class Skeleton:
    """A text with slots.

    `pieces` are constant texts at even indexes; `numbers` are the slots between them.
    """

    __slots__ = ("__dict__", "_encoded", "numbers", "pieces")

    def __init__(self, pieces: list[str], numbers: list[int]) -> None:
        self.pieces = pieces
        self.numbers = numbers
        self._encoded: _EncodedSkeleton | None = None

    @classmethod
    def from_text(cls, text: str) -> Skeleton:
        """A text with tokens.

        ValueError if a token did not come through whole: the value in it would be lost.
        """
        parts = TOKEN.split(text)
        if any(has_token(piece) for piece in parts[0::2]):
            raise ValueError(
                "a value is changed after it was written: use a filter on the value, not on a block"
            )
        return cls(parts[0::2], [int(number) for number in parts[1::2]])

    @classmethod
    def from_pieces(cls, written: Iterable[str | int]) -> Skeleton:
        """Texts and numbers of slots in the order of the text."""
        pieces, numbers = [""], []
        for piece in written:
            if isinstance(piece, int):
                numbers.append(piece)
                pieces.append("")
            else:
                pieces[-1] += piece
        return cls(pieces, numbers)

    @cached_property
    def length(self) -> int:
        """The number of characters of the constant texts."""
        return sum(map(len, self.pieces))

    @cached_property
    def is_sendable(self) -> bool:
        """Whether every character of the constant texts can be sent."""
        constant = "".join(self.pieces)
        return "\0" not in constant and is_utf8(constant)

    def fill(self, values: Sequence[str]) -> str:
        """The text with `values` in its slots."""
        pieces = [""] * (len(self.pieces) + len(self.numbers))
        pieces[0::2] = self.pieces
        pieces[1::2] = [values[number] for number in self.numbers]
        return "".join(pieces)

    def encode(self, values: Sequence[str], encoder: BodyEncoder, *, eight_bit: bool) -> Body:
        """The text with `values` in its slots, encoded. ValueError if it cannot be sent."""
        if self._encoded is None:
            self._encoded = _EncodedSkeleton(self, encoder)
        return self._encoded.encode(values, eight_bit=eight_bit) or encoder.encode(
            self.fill(values), eight_bit=eight_bit
        )


class _EncodedSkeleton:
    """The constant pieces of a skeleton as bytes, once as they are and once in quoted-printable."""

    def __init__(self, skeleton: Skeleton, encoder: BodyEncoder) -> None:
        self._numbers = skeleton.numbers
        self._slots = sorted(set(skeleton.numbers))
        self._mark = encoder.mark
        self._is_usable = True
        try:
            constants = [piece.encode("utf-8") for piece in skeleton.pieces]
        except UnicodeEncodeError:
            self._is_usable = False
            return
        whole = b"".join(constants)
        if b"\r" in whole or b"\0" in whole or encoder.mark in whole:
            self._is_usable = False
            return
        self._is_ascii = whole.isascii()
        self._plain = ConstantPieces([piece.replace(b"\n", b"\r\n") for piece in constants])
        self._value_room = _measure_room(constants)
        self._may_complete_mark = _has_part_of_mark(constants, encoder.mark)
        quoted = quote_runs(constants)
        self._is_base64_smaller = sum(map(len, quoted)) > len(whole) * MAX_BASE64_GAIN
        self._quoted = ConstantPieces(quoted)
        self._ends_with_text = bool(constants[-1])

    def encode(self, values: Sequence[str], *, eight_bit: bool) -> Body | None:
        """None for what is left to BodyEncoder: rare characters, long lines, base64."""
        if not self._is_usable:
            return None
        used = [values[number] for number in self._slots]
        all_values = "".join(used)
        if "\r" in all_values or "\0" in all_values:
            return None
        is_ascii = all_values.isascii()
        if eight_bit or (is_ascii and self._is_ascii):
            try:
                if (body := self._encode_plain(used, len(values), all_values, is_ascii)) is not None:
                    return body
            except UnicodeEncodeError:
                return None
        if self._is_base64_smaller or len(all_values) > MAX_QUOTED_VALUES:
            return None
        try:
            quoted = self._fill(self._quoted, map(quote_value, used), len(values))
        except UnicodeEncodeError:
            return None
        return Body(b"quoted-printable", [quoted if self._ends_with_text else _without_last_break(quoted)])

    def _encode_plain(self, used: list[str], count: int, all_values: str, is_ascii: bool) -> Body | None:
        raw = [value.encode("utf-8") for value in used]
        if "\n" in all_values:
            raw = [value.replace(b"\n", b"\r\n") for value in raw]
        filled = self._fill(self._plain, raw, count)
        may_be_long = max(map(len, raw), default=0) > self._value_room
        may_have_mark = self._may_complete_mark or "_" in all_values
        if may_be_long or may_have_mark:
            content = b"".join(filled.fill())
            if self._mark in content or max(map(len, content.split(b"\r\n"))) > MAX_LINE:
                return None
        return Body(b"7bit" if is_ascii and self._is_ascii else b"8bit", [filled])

    def _fill(self, constant: ConstantPieces, used: Iterable[bytes], count: int) -> FilledPieces:
        by_number = [b""] * count
        for number, value in zip(self._slots, used, strict=True):
            by_number[number] = value
        return FilledPieces(constant, [by_number[number] for number in self._numbers])


def _without_last_break(quoted: FilledPieces) -> Piece:
    """A text in quoted-printable without a soft line break at its end, as there may be behind a value."""
    content = join_pieces([quoted])
    return content.removesuffix(SOFT_BREAK) if content.endswith(SOFT_BREAK) else quoted


def _has_part_of_mark(constants: list[bytes], mark: bytes) -> bool:
    """Whether values without an underscore could complete `mark`, which begins with `=_`."""
    if any(piece.startswith(b"_") for piece in constants[1:]):  # a value before it may end with `=`
        return True
    return any(piece.endswith(mark[:length]) for piece in constants for length in range(2, len(mark)))


def _measure_room(pieces: list[bytes]) -> int:
    """The length in bytes that every value may have so that no line is too long; -1 if one is without any
    value.
    """
    room = MAX_LINE
    for line in b"\0".join(pieces).split(b"\n"):
        slots = line.count(b"\0")
        length = len(line) - slots
        if length > MAX_LINE:
            return -1
        if slots:
            room = min(room, (MAX_LINE - length) // slots)
    return room
