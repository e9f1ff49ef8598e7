"""The bodies of text parts: line ends, and the encoding that is smallest.

Every line ends with CRLF, whatever ended it before. A bare CR or LF is never sent, because it allows SMTP
smuggling. A NUL is refused: RFC 5321 2.3.8 forbids it, and removing it would change the text.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from typing import NamedTuple

from mailer.render.pieces import Piece, join_pieces

MAX_LINE = 998  # RFC 5322 2.1.1: octets of a line
MAX_QUOTED = 75  # RFC 2045 6.7 (5): characters of an encoded line before the `=` of a soft line break
# Base64 is 4/3, and a line end in 78: quoted-printable that is longer is compared with it.
MAX_BASE64_GAIN = 1.38
MAX_QUOTED_VALUES = 2048  # characters of all values together; more are encoded with the whole text
SOFT_BREAK = b"=\r\n"  # RFC 2045 6.7 (5): the line continues; there is none at the end of a body
QUOTED_VALUE = 32  # characters of a value that no soft line break is needed for
_UNQUOTED = re.compile(r"(?:[!-<>-~ ]*[!-<>-~])?")
_QUOTED = [bytes([n]) if (33 <= n <= 126 and n != 61) or n in (9, 32) else b"=%02X" % n for n in range(256)]


class Body(NamedTuple):
    """An encoded body."""

    encoding: bytes  # Content-Transfer-Encoding (RFC 2045 6)
    pieces: Sequence[Piece]

    @property
    def content(self) -> bytes:
        """The pieces as one."""
        return join_pieces(self.pieces)


class _QuotedLines(dict[bytes, bytes]):
    """Lines in quoted-printable.

    Most lines of a campaign are the same in every message, and are encoded once.
    """

    MOST = 2048

    def __missing__(self, line: bytes) -> bytes:
        encoded = _quote_line(line)
        if len(line) <= MAX_LINE:
            if len(self) >= self.MOST:
                self.clear()
            self[line] = encoded
        return encoded


class BodyEncoder:
    """Encodes the texts of one campaign.

    `mark` is the beginning of the campaign's boundaries: a text that contains it is never sent unencoded.
    """

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self._lines = _QuotedLines()

    def encode(self, text: str, *, eight_bit: bool = False) -> Body:
        """Encode a text.

        :param eight_bit: whether the server offers 8BITMIME (RFC 6152).
        :raises ValueError: if a character of the text cannot be sent.
        """
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if "\0" in text:
            raise ValueError("a NUL character (U+0000) cannot be sent")
        try:
            raw = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(describe_encoding_error(error)) from None
        lines = raw.split(b"\n")
        if (eight_bit or text.isascii()) and max(map(len, lines)) <= MAX_LINE and self.mark not in raw:
            return Body(b"7bit" if text.isascii() else b"8bit", [b"\r\n".join(lines)])
        quoted = b"\r\n".join(map(self._lines.__getitem__, lines))
        if len(quoted) > len(raw) * MAX_BASE64_GAIN:
            encoded = encode_base64(b"\r\n".join(lines))
            if len(encoded) < len(quoted):
                return Body(b"base64", [encoded])
        return Body(b"quoted-printable", [quoted])


def describe_encoding_error(error: UnicodeEncodeError) -> str:
    """Say which character of a text cannot be encoded in UTF-8."""
    return f"a lone surrogate (U+{ord(error.object[error.start]):04X}) is not a character"


def is_utf8(text: str) -> bool:
    """Whether the text can be encoded in UTF-8: it has no lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def quote_value(value: str) -> bytes:
    """A slot's value in quoted-printable, to be put between the runs of `quote_runs`.

    Its first and its last line have at most QUOTED_VALUE characters; a longer value has soft line breaks in it.
    """
    if len(value) <= QUOTED_VALUE and _UNQUOTED.fullmatch(value):
        return value.encode("ascii")
    return _quote_special(value)


def _quote_special(value: str) -> bytes:
    raw = value.encode("utf-8")
    if b"\n" in raw:
        quoted = b"\r\n".join(map(_quote_line, raw.split(b"\n")))
    else:
        quoted = _quote_line(raw)
        if len(quoted) <= QUOTED_VALUE:
            return quoted
    last_line = quoted[quoted.rfind(b"\n") + 1 :]
    if len(last_line) <= QUOTED_VALUE:
        return SOFT_BREAK + quoted
    if len(last_line) > MAX_QUOTED:  # no room for the `=` of a soft line break
        quoted = quoted[: -len(last_line)] + _break_line(last_line)
    return SOFT_BREAK + quoted + SOFT_BREAK


def _break_line(quoted: bytes) -> bytes:
    """A long line in quoted-printable with a soft line break in it, which is not within an `=XX`."""
    end = MAX_QUOTED - 3
    while b"=" in quoted[end - 2 : end]:
        end -= 1
    return quoted[:end] + SOFT_BREAK + quoted[end:]


def _quote_line(line: bytes) -> bytes:
    return binascii.b2a_qp(line).replace(b"=\n", SOFT_BREAK)  # its soft breaks are bare line feeds


def quote_runs(pieces: list[bytes], *, column: int = 0, is_end_open: bool = False) -> list[bytes]:
    """The constant pieces of a text in quoted-printable, so that a value of `quote_value` fits between each
    two.

    :param pieces: texts in UTF-8 whose lines end with LF.
    :param column: characters that are in the line already, at most.
    :param is_end_open: whether a value may be behind the last piece too.
    """
    runs: list[bytes] = []
    for n, piece in enumerate(pieces):
        lines = _quote_units(piece)
        last = len(lines) - 1
        is_before_slot = is_end_open or n < len(pieces) - 1
        made = []
        for number, line in enumerate(lines):
            room = MAX_QUOTED - QUOTED_VALUE if is_before_slot and number == last else MAX_QUOTED
            text, column = _wrap(line, column if number == 0 else 0, room)
            made.append(text)
        runs.append(b"\r\n".join(made))
        column += QUOTED_VALUE  # at most: the value before a piece may be shorter
    return runs


def _quote_units(raw: bytes) -> list[list[bytes]]:
    """Each line of a text as its characters in quoted-printable (RFC 2045 6.7)."""
    lines = []
    for line in raw.split(b"\n"):
        units = [_QUOTED[byte] for byte in line]
        if line[-1:] in (b" ", b"\t"):
            units[-1] = b"=%02X" % line[-1]
        lines.append(units)
    return lines


def _wrap(units: list[bytes], column: int, last_room: int) -> tuple[bytes, int]:
    """One line with soft line breaks; returns the text, and the column at its end.

    :param column: how many characters are in the line already.
    :param last_room: the largest column that the text may end at.
    """
    made: list[bytes] = []
    for unit in units:
        if column + len(unit) > MAX_QUOTED:
            made.append(SOFT_BREAK)
            column = 0
        made.append(unit)
        column += len(unit)
    if column > last_room:
        made.append(SOFT_BREAK)
        column = 0
    return b"".join(made), column


def encode_base64(content: bytes) -> bytes:
    """RFC 2045 6.8: lines of 76 characters, CRLF between them."""
    encoded = binascii.b2a_base64(content, newline=False)
    return b"\r\n".join([encoded[n : n + 76] for n in range(0, len(encoded), 76)])
