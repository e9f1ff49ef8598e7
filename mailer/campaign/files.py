"""Opening what the user named: regular files only, so that a FIFO or a device is an error and never a hang."""

from __future__ import annotations

import codecs
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mailer.errors import InputError, Place, Problem

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
# The longer mark first: UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def printable(text: str) -> str:
    """`text` on one line that a terminal shows as it is: what it would act on stands as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file as the user named it: where it is, how messages show it, and where it was named."""

    path: Path
    shown: str
    named_at: Place | None = None

    def open(self) -> BinaryIO:
        """The file for reading. InputError at the place that named it where it is missing or not a regular file."""
        if problem := self.find_problem():
            raise InputError(problem)
        try:
            # O_NONBLOCK: should a FIFO take the file's place after the look at it, opening still does not wait.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise InputError(self._make_problem("it is not a regular file"))
        except OSError as error:
            raise InputError(self._make_problem(_describe_os_error(error))) from None
        return os.fdopen(descriptor, "rb")

    def find_problem(self) -> Problem | None:
        """What keeps the file from being read, as far as its directory entry says."""
        try:
            mode = os.stat(self.path).st_mode
        except (OSError, ValueError) as error:
            return self._make_problem(_describe_os_error(error))
        if not stat.S_ISREG(mode):
            return self._make_problem(f"it is {_KINDS.get(stat.S_IFMT(mode), 'not a file')}; expected a regular file")
        return None

    def _make_problem(self, text: str) -> Problem:
        if self.named_at is None:
            return Problem(Place(self.shown), text)
        return Problem(self.named_at, f"{self.shown}: {text}")


def _describe_os_error(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "it may not be read (permission denied)"
    if isinstance(error, OSError):
        return f"it cannot be read ({os.strerror(error.errno) if error.errno else error})"
    return "it is not a path that can be"  # NUL inside


def detect_bom_encoding(start: bytes) -> str | None:
    """The encoding that a byte order mark at `start` announces, as a codec that takes the mark away."""
    return next((name for mark, name in _MARKS if start.startswith(mark)), None)
