"""The text of a list: its encoding, the place that cannot be decoded, and lines of limited length."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

from mailer.campaign.named_file import detect_bom_encoding
from mailer.errors import InputError, Place, Problem

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
    codec = detect_bom_encoding(binary.read(4)) or encoding or "utf-8"
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
                    "a NUL character; is it UTF-16 without a byte order mark (encoding: utf-16-le), or not text?",
                )
            )
        if len(line) == MAX_LINE:
            raise InputError(Problem(Place(shown, number), f"a line of more than {MAX_LINE:,} characters"))
        yield line


def _locate_undecodable(binary: BinaryIO, shown: str, codec: str) -> Problem:
    """Return the place where decoding fails.

    The file is read again, because the stream reads ahead of the rows.
    """
    decoder = codecs.getincrementaldecoder(codec)()
    line, column, after_return = 1, 1, False
    while True:
        chunk = binary.read(1)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            wrong = " ".join(f"0x{octet:02X}" for octet in error.object[error.start : error.end][:4])
            return Problem(
                Place(shown, line, column),
                f"not {_encoding_name(codec)} (found {wrong}); {_encoding_advice(codec)}",
            )
        except UnicodeError:
            return Problem(
                Place(shown),
                f"not {_encoding_name(codec)}: there is no byte order mark; say utf-16-le or utf-16-be",
            )
        if not chunk:  # it decodes now: the file changed meanwhile
            return Problem(Place(shown), f"not {_encoding_name(codec)}; {_encoding_advice(codec)}")
        for character in text:
            if character == "\r" or (character == "\n" and not after_return):
                line, column = line + 1, 1
            elif character != "\n":
                column += 1
            after_return = character == "\r"


def _encoding_name(codec: str) -> str:
    return codec.removesuffix("-sig").upper()


def _encoding_advice(codec: str) -> str:
    if codec.startswith("utf-8"):
        return "save it as UTF-8, or name its encoding: {file: ..., encoding: windows-1252}"
    return "is it cut off, or in another encoding?"
