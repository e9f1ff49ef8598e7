"""Lists in files, from standard input and from programs, and reading any list within limits."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import PurePath
from typing import Any, BinaryIO, Literal, TypeVar

from mailer.bounded_process import LimitExceeded, ProcessLimits, ProcessPool, iterate_bounded
from mailer.campaign.model import Recipient, RecipientSource
from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources.inline import InlineSource
from mailer.campaign.sources.rows import (
    PLAIN_RULES,
    RowRules,
    recipients_from_value,
    select_recipients,
    to_json_value,
)
from mailer.campaign.sources.sql import SqlSource
from mailer.dataclass import dataclass
from mailer.errors import InputError, Place, Problem
from mailer.text import make_printable

Converted = TypeVar("Converted")

ROW_LIMITS = ProcessLimits(seconds=10.0)
FIRST_ROW_LIMITS = ProcessLimits(seconds=60.0)  # a workbook's texts are all read before its first row

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
_OTHER_SPREADSHEETS = frozenset({".xls", ".xlsb", ".ods", ".numbers"})


def list_format(name: str) -> Format:
    """Return the format that the suffix of `name` says. ValueError if it says none that can be read."""
    suffix = PurePath(name).suffix.lower()
    if suffix in _OTHER_SPREADSHEETS:
        raise ValueError(f"{suffix} files are not read; save the list as .xlsx or .csv")
    if suffix not in _SUFFIXES:
        raise ValueError(
            f"a list's suffix says its format: expected {', '.join(_SUFFIXES)}, or - for standard input"
        )
    return _SUFFIXES[suffix]


@dataclass(frozen=True, slots=True)
class FileSource:
    """A list in a file. Each iteration reads it anew, as a stream."""

    file: NamedFile | StandardInput
    format: Format
    rules: RowRules = PLAIN_RULES
    encoding: str | None = None
    sheet: str | None = None
    hidden: Literal["skip", "include"] | None = None

    def __iter__(self) -> Iterator[Recipient]:
        # `closing`: a reader that stops early must not leave a generator behind that outlives its file.
        with self.file.open() as binary, contextlib.closing(self._open_rows(binary)) as rows:
            yield from select_recipients(rows, self.rules.where, Place(self.file.shown))

    def fingerprint(self) -> str:
        """Return the BLAKE2b digest of the file's bytes and of how they are read."""
        how = (self.format, *self.rules.identity(), self.encoding, self.sheet, self.hidden)
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
            from mailer.campaign.sources.items import read_json, read_jsonl

            return (read_json if self.format == "json" else read_jsonl)(binary, shown, encoding, rules)
        if self.format == "yaml":
            from mailer.campaign.sources.items import read_yaml

            return read_yaml(binary, shown, encoding, rules)
        from mailer.campaign.sources.xlsx import read_xlsx

        return read_xlsx(binary, shown, self.sheet, rules, self.hidden)


@dataclass
class StandardInput:
    """`-`: copied once, to its end, into a file without a name, which can then be read as often as asked."""

    shown: str = "<stdin>"
    _spool: int | None = field(default=None, repr=False)

    def open(self) -> BinaryIO:
        """Return a reader from the beginning, independent of others.

        InputError if standard input cannot be read.
        """
        return io.BufferedReader(_SharedView(self, self.descriptor()), 65_536)

    def descriptor(self) -> int:
        """Return the descriptor of the file that standard input was read into.

        Raises InputError as `open` does.
        """
        if self._spool is None:
            self._spool = _spool_standard_input()
            weakref.finalize(self, os.close, self._spool)
        return self._spool


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


class IterableSource:
    """Recipients that a program gives: an iterable of mappings with `email`, or of addresses.

    It is read once, row by row, when the first reader asks. Its rows are kept in a file without a name, so
    that they can be read as often as asked and memory use does not grow with them.
    """

    def __init__(self, rows: Iterable[Mapping[str, object] | str]) -> None:
        """`rows` is read later. Values that JSON does not have, such as dates, become text."""
        self._rows = iter(rows)
        self._spool: int | None = None
        self._count = 0
        self._is_complete = False

    def __iter__(self) -> Iterator[Recipient]:
        yield from select_recipients(self._read(), None, Place("<campaign>"))

    def fingerprint(self) -> None:
        """Return None: the rows are not known before they are read."""

    def _read(self) -> Iterator[Recipient]:
        number = 0
        while number == self._count and not self._is_complete:  # the others are read from the file
            number += 1
            if (line := self._pull_row()) is not None:
                yield from _recipients_from_line(line, number)
        yielded = min(number, self._count)
        for number, line in enumerate(self._read_spool(), 1):
            if number > yielded:
                yield from _recipients_from_line(line, number)

    def _pull_row(self) -> bytes | None:
        """Return the next row as a line of JSON, after it was written to the file; None at the end."""
        try:
            value: object = next(self._rows)
        except StopIteration:
            self._is_complete = True
            return None
        self._count += 1
        line = _encode_row(value)
        if self._spool is None:
            with tempfile.TemporaryFile(prefix="mailer-") as spool:
                self._spool = os.dup(spool.fileno())
            weakref.finalize(self, os.close, self._spool)
        view = memoryview(line + b"\n")
        while view:
            view = view[os.write(self._spool, view) :]
        return line

    def _read_spool(self) -> Iterator[bytes]:
        while not self._is_complete:
            self._pull_row()
        if self._spool is not None:
            yield from io.BufferedReader(_SharedView(self, self._spool), 65_536)


def _encode_row(value: object) -> bytes:
    """Return a row as JSON; for a row that JSON cannot hold, a "!" and why."""
    try:
        return json.dumps(to_json_value(value), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return b"!half of a surrogate pair is not a character"
    except TypeError as error:
        return f"!{make_printable(str(error))}".encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return b"!expected values that JSON can have"


def _recipients_from_line(line: bytes, number: int) -> Iterator[Recipient]:
    place = Place("<campaign>: recipient ", number)
    if line.startswith(b"!"):
        return iter([Recipient("", {}, place, Problem(place, line[1:].decode().strip()))])
    return recipients_from_value(json.loads(line), place)


class _SharedView(io.RawIOBase):
    """A descriptor with an offset of its own, so that several readers do not move one another."""

    def __init__(self, owner: object, descriptor: int) -> None:
        self._owner = owner  # which closes the descriptor when the last view is gone
        self._descriptor = descriptor
        self._offset = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._descriptor, len(buffer), self._offset)
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: os.fstat(self._descriptor).st_size}[
            whence
        ]
        self._offset = base + offset
        return self._offset


# -- reading in a child process with limits: what a list holds, and so what its reading costs, is a stranger's


def read_recipients(source: RecipientSource) -> Generator[Recipient, None, None]:
    """Yield the recipients of a list.

    Raises InputError, also if a row takes more time or memory than its limit.
    """
    return convert_recipients(source, _keep)


def convert_recipients(
    source: RecipientSource, convert: Callable[[Recipient], Converted]
) -> Generator[Converted, None, None]:
    """As `read_recipients`, but yield `convert(recipient)`, which is computed in the child process too.

    A list that the caller of the Python API gives is an iterable of the caller's own program. It is read
    here, and only what is computed from its rows is computed in a child.
    """
    try:
        if isinstance(source, (FileSource, InlineSource, SqlSource)):
            yield from iterate_bounded(
                lambda: map(convert, source),
                ROW_LIMITS,
                first=FIRST_ROW_LIMITS,
                keep_open=_descriptors(source),
            )
            return
        pool: ProcessPool[Recipient, Converted] = ProcessPool(convert, limits=ROW_LIMITS)
        with pool:
            for _, outcome in pool.map(source):
                yield outcome.get()
    except LimitExceeded as error:
        place = Place(source.file.shown) if isinstance(source, FileSource) else None
        raise InputError(Problem(place, f"the list of recipients cannot be read: {error}")) from None


def _keep(recipient: Recipient) -> Recipient:
    return recipient


def _descriptors(source: RecipientSource) -> list[int]:
    """Standard input, which is read here: there is only one."""
    if isinstance(source, FileSource) and isinstance(source.file, StandardInput):
        return [source.file.descriptor()]
    return []
