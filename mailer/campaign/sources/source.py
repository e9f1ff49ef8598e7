"""Lists in files: which reader a file gets, standard input, fingerprints."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import BinaryIO, Literal

from mailer.campaign.files import NamedFile
from mailer.campaign.model import Recipient
from mailer.campaign.sources.rows import Where, filter_rows
from mailer.errors import InputError, Place

Format = Literal["csv", "tsv", "jsonl", "json", "yaml", "xlsx"]
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".xlsx": "xlsx",
}


def list_format(name: str) -> Format:
    """The format that a file's suffix says; ValueError where it says none that is read."""
    suffix = PurePath(name).suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(
            f"a list's format is told by its suffix: expected {', '.join(_SUFFIXES)}, or - for standard input"
        )
    return _SUFFIXES[suffix]


@dataclass(frozen=True, slots=True)
class FileSource:
    """A list in a file. Read anew, as a stream, by each iteration."""

    file: NamedFile | StandardInput
    format: Format
    where: Where | None = None
    encoding: str | None = None
    sheet: str | None = None

    def __iter__(self) -> Iterator[Recipient]:
        # `closing`: a reader that stops early must not leave a generator behind that outlives its file.
        with self.file.open() as binary, contextlib.closing(self._open_rows(binary)) as rows:
            yield from filter_rows(rows, self.where, Place(self.file.shown))

    def fingerprint(self) -> str:
        """BLAKE2b of the file's bytes and of how they are read."""
        how = (self.format, self.where and self.where.source, self.encoding, self.sheet)
        digest = hashlib.blake2b(repr(how).encode("utf-8", "surrogatepass"), digest_size=32)
        with self.file.open() as binary:
            while chunk := binary.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    def _open_rows(self, binary: BinaryIO) -> Generator[Recipient, None, None]:
        shown, encoding = self.file.shown, self.encoding
        # Each reader is imported when a list needs it: a short command does not pay for all of them.
        if self.format in ("csv", "tsv"):
            from mailer.campaign.sources.csv import read_csv

            return read_csv(binary, shown, encoding, "\t" if self.format == "tsv" else None)
        if self.format in ("json", "jsonl"):
            from mailer.campaign.sources.json import read_json, read_jsonl

            return (read_json if self.format == "json" else read_jsonl)(binary, shown, encoding)
        if self.format == "yaml":
            from mailer.campaign.sources.yaml import read_yaml

            return read_yaml(binary, shown, encoding)
        from mailer.campaign.sources.xlsx import read_xlsx

        return read_xlsx(binary, shown, self.sheet)


@dataclass
class StandardInput:
    """`-`: read once, to its end, into a file without a name, which can then be read as often as asked."""

    shown: str = "<stdin>"
    _spool: int | None = field(default=None, repr=False)

    def open(self) -> BinaryIO:
        if self._spool is None:
            self._spool = _spool_standard_input()
            weakref.finalize(self, os.close, self._spool)
        return io.BufferedReader(_SharedView(self, self._spool), 65_536)


def _spool_standard_input() -> int:
    """The descriptor of an unlinked file that holds all of standard input."""
    if sys.stdin is None:
        raise InputError("recipients are to be read from standard input, which is closed")
    try:
        with tempfile.TemporaryFile(prefix="mailer-") as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.flush()
            return os.dup(spool.fileno())
    except (OSError, ValueError) as error:
        raise InputError(f"standard input cannot be read: {error}") from None


class _SharedView(io.RawIOBase):
    """A descriptor with an offset of its own, so that several readers do not move one another."""

    def __init__(self, owner: StandardInput, descriptor: int) -> None:
        self._owner = owner  # which closes the descriptor when nobody needs it any more
        self._descriptor = descriptor
        self._offset = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's WriteableBuffer
        data = os.pread(self._descriptor, len(buffer), self._offset)
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        self._offset = base + offset
        return self._offset
