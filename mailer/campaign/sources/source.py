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

from mailer.campaign.model import Recipient
from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources.rows import PLAIN_RULES, RowRules, select_recipients
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
    """Return the format that the suffix of `name` says. ValueError if it says none that can be read."""
    suffix = PurePath(name).suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"a list's suffix says its format: expected {', '.join(_SUFFIXES)}, or - for standard input")
    return _SUFFIXES[suffix]


@dataclass(frozen=True, slots=True)
class FileSource:
    """A list in a file. Each iteration reads it anew, as a stream."""

    file: NamedFile | StandardInput
    format: Format
    rules: RowRules = PLAIN_RULES
    encoding: str | None = None
    sheet: str | None = None

    def __iter__(self) -> Iterator[Recipient]:
        # `closing`: a reader that stops early must not leave a generator behind that outlives its file.
        with self.file.open() as binary, contextlib.closing(self._open_rows(binary)) as rows:
            yield from select_recipients(rows, self.rules.where, Place(self.file.shown))

    def fingerprint(self) -> str:
        """Return the BLAKE2b digest of the file's bytes and of how they are read."""
        how = (self.format, *self.rules.identity(), self.encoding, self.sheet)
        digest = hashlib.blake2b(repr(how).encode("utf-8", "surrogatepass"), digest_size=32)
        with self.file.open() as binary:
            while chunk := binary.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    def _open_rows(self, binary: BinaryIO) -> Generator[Recipient, None, None]:
        shown, encoding, rules = self.file.shown, self.encoding, self.rules
        # Each reader is imported when a list needs it: a short command does not pay for all of them.
        if self.format in ("csv", "tsv"):
            from mailer.campaign.sources.csv import read_csv

            return read_csv(binary, shown, encoding, rules, "\t" if self.format == "tsv" else None)
        if self.format in ("json", "jsonl"):
            from mailer.campaign.sources.json import read_json, read_jsonl

            return (read_json if self.format == "json" else read_jsonl)(binary, shown, encoding, rules)
        if self.format == "yaml":
            from mailer.campaign.sources.yaml import read_yaml

            return read_yaml(binary, shown, encoding, rules)
        from mailer.campaign.sources.xlsx import read_xlsx

        return read_xlsx(binary, shown, self.sheet, rules)


@dataclass
class StandardInput:
    """`-`: copied once, to its end, into a file without a name, which can then be read as often as asked."""

    shown: str = "<stdin>"
    _spool: int | None = field(default=None, repr=False)

    def open(self) -> BinaryIO:
        """Return a reader of its own. InputError if standard input cannot be read."""
        if self._spool is None:
            self._spool = _spool_standard_input()
            weakref.finalize(self, os.close, self._spool)
        return io.BufferedReader(_SharedView(self, self._spool), 65_536)


def _spool_standard_input() -> int:
    """Return the descriptor of an unlinked file that holds all of standard input."""
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
        self._owner = owner  # which closes the descriptor when the last view is gone
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
