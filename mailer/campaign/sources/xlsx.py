"""XLSX lists (extra `xlsx`), row by row.

openpyxl in its read-only mode: it streams, and it keeps number formats, without which a postcode's leading zero, a
price's decimals and a date's order are lost. A workbook is a zip of XML: what it declares to unpack to is bounded
before it is opened (zipfile does not unpack more than is declared), and a document type, which is what an entity
needs, is refused.
"""

from __future__ import annotations

import datetime
import math
import warnings
import zipfile
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

from mailer.campaign.model import Recipient
from mailer.campaign.sources.names import MAX_COLUMNS, parse_header
from mailer.campaign.sources.number_format import show_date, show_number
from mailer.campaign.sources.rows import PLAIN_RULES, RowRules, recipients_from_cells
from mailer.errors import InputError, MissingExtra, Place, Problem
from mailer.text import make_printable

MAX_UNPACKED = 1 << 30
MAX_STRINGS = 1 << 28  # the texts of all cells, which a workbook keeps apart
MAX_RATIO = 200  # sheets pack to a tenth, a very repetitive one to a fiftieth; a bomb to a thousandth
MAX_MEMBERS = 10_000
MAX_ROWS = 1_048_576  # of a sheet, by the format


def read_xlsx(
    binary: BinaryIO, shown: str, sheet: str | None, rules: RowRules = PLAIN_RULES
) -> Generator[Recipient, None, None]:
    """The rows below the header, the first row that is not blank."""
    try:
        import openpyxl
    except ImportError:
        raise MissingExtra(".xlsx lists need openpyxl", hint="pip install 'mailer[xlsx]'") from None
    _check_zip(binary, shown)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions, which no list needs
            book = openpyxl.load_workbook(binary, read_only=True, data_only=True, keep_links=False)
    except Exception as error:  # whatever a damaged workbook makes it raise
        raise _damaged_file_error(shown, error) from None
    try:
        yield from _read_rows(_find_sheet(book, sheet, shown), shown, rules)
    finally:
        book.close()


def _check_zip(binary: BinaryIO, shown: str) -> None:
    try:
        with zipfile.ZipFile(binary) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if len(members) > MAX_MEMBERS or unpacked > MAX_UNPACKED or any(map(_is_bomb, members)):
                raise InputError(Problem(Place(shown), f"it would unpack to {unpacked:,} octets; that is no list"))
            for member in members:
                if member.filename.lower().endswith((".xml", ".rels")):
                    _check_member(archive, member, shown)
    except InputError:
        raise
    except Exception:  # zipfile lets through what zlib, lzma and struct raise
        raise InputError(Problem(Place(shown), "it is not an .xlsx file (a zip of XML), or it is damaged")) from None
    binary.seek(0)


def _is_bomb(member: zipfile.ZipInfo) -> bool:
    """Sheets are read as a stream; the other parts are held, or parsed whole."""
    most = MAX_UNPACKED if "/worksheets/" in member.filename else MAX_STRINGS
    return member.file_size > min(most, max(1 << 24, member.compress_size * MAX_RATIO))


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shown: str) -> None:
    """A document type stands before the root element, so near the start; UTF-16 would hide it from a search."""
    with archive.open(member) as stream:
        start = stream.read(4096)
    if b"\0" in start or b"<!DOCTYPE" in start or b"<!ENTITY" in start or (start.strip() and b"<" not in start):
        raise InputError(
            Problem(Place(shown), f"{make_printable(member.filename[:80])} in it is not the XML of a spreadsheet")
        )


def _find_sheet(book: Any, name: str | None, shown: str) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if name is None and sheets:
        return next(iter(sheets.values()))
    if name not in sheets:
        names = ", ".join(map(repr, sheets)) or "none"
        raise InputError(Problem(Place(shown), f"there is no sheet {name!r}; the sheets are: {names}"))
    return sheets[name]


def _read_rows(sheet: Any, shown: str, rules: RowRules) -> Iterator[Recipient]:
    sheet.reset_dimensions()  # what the file says of its size is not what it has
    header = next(_read_cells(sheet, shown, 1, MAX_COLUMNS), None)
    if header is None:
        raise InputError(Problem(Place(shown), "the sheet is empty; expected a header row with a column 'email'"))
    number, cells = header
    table = parse_header(cells, Place(shown, number), rules.columns)
    for below, cells in _read_cells(sheet, shown, number + 1, len(table.names) + 1):
        row = cells + [""] * (len(table.names) - len(cells))
        row[table.address] = str(row[table.address])
        yield from recipients_from_cells(table, row, Place(shown, below), rules)


def _read_cells(sheet: Any, shown: str, first: int, most: int) -> Iterator[tuple[int, list[object]]]:
    """The rows that are not blank, with their numbers, without the blank cells at their end."""
    rows = sheet.iter_rows(min_row=first, max_col=most)
    number = first - 1
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about dates out of range, which become an error value
                values = [_show_cell(cell) for cell in next(rows)]
        except StopIteration:
            return
        except Exception as error:
            raise _damaged_file_error(shown, error) from None
        number += 1
        if number > MAX_ROWS:
            raise InputError(Problem(Place(shown), f"a row beyond the {MAX_ROWS:,} that a sheet can have"))
        while values and values[-1] in ("", None):
            values.pop()
        if values:
            yield number, values


def _show_cell(cell: Any) -> object:
    value = cell.value
    if value is None or isinstance(value, (str, bool)):
        return "" if value is None else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (int, float)):
        return show_number(value, cell.number_format or "General")
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        return show_date(value, cell.number_format or "General")
    return str(value)


def _damaged_file_error(shown: str, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    reason = make_printable(" ".join(str(error).split()))[:120] or type(error).__name__
    return InputError(Problem(Place(shown), f"it is not an .xlsx file that can be read, or it is damaged ({reason})"))
