"""The text of a list: its encoding, the place that cannot be decoded, and lines of limited length."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

from mailer.campaign.named_file import detect_bom_encoding
from mailer.errors import InputError, Place, Problem

PIECE = 65_536  # octets
MAX_LINE = 4 * 1024 * 1024  # characters; a row is one person's
# Python codecs that are not encodings of text files.
_NOT_FOR_FILES = frozenset(
    ["idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem"]
)


def check_encoding(name: str) -> str:
    """Return the codec's own name. ValueError if there is no such encoding of text."""
    try:
        info = codecs.lookup(name)
        known = info._is_text_encoding and info.name.replace("_", "-") not in _NOT_FOR_FILES
    except (LookupError, ValueError):
        known = False
    if not known:
        raise ValueError(
            f"{name[:20]!r} is not a known encoding; expected one such as utf-8, utf-16 or windows-1252"
        )
    return info.name


@contextmanager
def open_text(binary: BinaryIO, shown: str, encoding: str | None) -> Iterator[TextIO]:
    """The file as text, line ends as they are.

    A byte order mark wins over `encoding`, which wins over UTF-8.
    """
    start = binary.read(4)
    if start == b"PK\x03\x04":
        text = "it is a zip, such as a spreadsheet, and not text; a spreadsheet's name ends with .xlsx"
        raise InputError(Problem(Place(shown), text))
    if start.startswith(b"\x1f\x8b"):
        raise InputError(Problem(Place(shown), "it is compressed (gzip) and not text; unpack it first"))
    codec = detect_bom_encoding(start) or encoding or "utf-8"
    binary.seek(0)
    stream = io.TextIOWrapper(binary, codec, newline="")
    try:
        yield stream
    except UnicodeError:
        binary.seek(0)
        raise InputError(_locate_undecodable(binary, shown, codec)) from None
    finally:
        stream.detach()


def read_lines(stream: TextIO, shown: str) -> Iterator[str]:
    """Yield the lines with their ends. InputError for one that is too long or has a NUL."""
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        if "\0" in line:
            place = Place(shown, number, line.index("\0") + 1)
            raise InputError(
                Problem(
                    place,
                    "a NUL character; is it UTF-16 without a byte order mark (encoding: utf-16-le), or not"
                    " text?",
                )
            )
        if len(line) == MAX_LINE:
            raise InputError(Problem(Place(shown, number), f"a line of more than {MAX_LINE:,} characters"))
        yield line


def _locate_undecodable(binary: BinaryIO, shown: str, codec: str) -> Problem:
    """Return the place where decoding fails.

    The file is read again, because the stream reads ahead of the rows: in large pieces, and the piece that
    fails octet by octet.
    """
    decoder = codecs.getincrementaldecoder(codec)()
    position = _Position()
    while True:
        piece = binary.read(PIECE)
        state = decoder.getstate()
        try:
            position.advance(decoder.decode(piece, final=not piece))
        except UnicodeError:
            decoder.setstate(state)
            return _locate_octet(decoder, piece, position, shown, codec)
        if not piece:  # it decodes now: the file changed meanwhile
            return Problem(Place(shown), f"not {_encoding_name(codec)}; {_encoding_advice(codec)}")


def _locate_octet(
    decoder: codecs.IncrementalDecoder, piece: bytes, position: _Position, shown: str, codec: str
) -> Problem:
    """Return the place in `piece`, which `decoder` cannot decode."""
    text = ""
    try:
        for octet in piece:
            position.advance(decoder.decode(bytes([octet])))
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        wrong = " ".join(f"0x{octet:02X}" for octet in error.object[error.start : error.end][:4])
        text = f" (found {wrong})"
    except UnicodeError:
        advice = "there is no byte order mark; say utf-16-le or utf-16-be"
        return Problem(Place(shown), f"not {_encoding_name(codec)}: {advice}")
    place = Place(shown, position.line, position.column)
    return Problem(place, f"not {_encoding_name(codec)}{text}; {_encoding_advice(codec)}")


class _Position:
    """The line and column behind a text that is given in pieces. A line ends with LF, CR or CRLF."""

    def __init__(self) -> None:
        self.line = self.column = 1
        self._after_return = False

    def advance(self, text: str) -> None:
        if not text:
            return
        rest = text[1:] if self._after_return and text[0] == "\n" else text
        ends = rest.count("\n") + rest.count("\r") - rest.count("\r\n")
        after = len(rest) - max(rest.rfind("\n"), rest.rfind("\r")) - 1
        self.line += ends
        self.column = after + 1 if ends else self.column + after
        self._after_return = text[-1] == "\r"


def _encoding_name(codec: str) -> str:
    return codec.removesuffix("-sig").upper()


def _encoding_advice(codec: str) -> str:
    if codec.startswith("utf-8"):
        return "save it as UTF-8, or name its encoding: {file: ..., encoding: windows-1252}"
    return "is it cut off, or in another encoding?"
