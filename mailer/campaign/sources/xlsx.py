"""XLSX lists (extra `xlsx`), row by row.

openpyxl in its read-only mode: it streams, and it keeps number formats, without which a postcode's leading
zero, a price's decimals and a date's order are lost. `workbook.py` keeps the workbook within limits.

A person who filtered a sheet expects mail to go to the rows that are visible. Add-ons of Google Sheets do so;
Word sends to all. The file does not say what is meant, so a hidden row is a problem until the campaign says it.
Columns are used by their names, so a hidden one is read as any other.
"""

from __future__ import annotations

import datetime
import math
import warnings
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from mailer.campaign.model import Recipient
from mailer.campaign.sources.names import MAX_COLUMNS, MAX_QUOTED, parse_header
from mailer.campaign.sources.number_format import MAX_CELL, show_date, show_number
from mailer.campaign.sources.rows import PLAIN_RULES, RowRules, recipients_from_cells
from mailer.dataclass import dataclass
from mailer.errors import InputError, MissingExtra, Place, Problem
from mailer.text import make_printable, shorten, shorten_quotes

if TYPE_CHECKING:  # an extra, which may be missing
    from openpyxl.reader.excel import ExcelReader

    from mailer.campaign.sources.workbook import SheetRow

MAX_ROWS = 1_048_576  # of a sheet, by the format
HiddenRows = Literal["skip", "include"]
_HIDDEN = (
    "the row is hidden, by hand or by a filter; to leave hidden rows out: recipients: {file: …, hidden: skip};"
    " to send to them too: hidden: include"
)


def read_xlsx(
    binary: BinaryIO,
    shown: str,
    sheet: str | None,
    rules: RowRules = PLAIN_RULES,
    hidden: HiddenRows | None = None,
) -> Generator[Recipient, None, None]:
    """Yield the recipients of the rows below the header, which is the first row that is not blank.

    `shown` is the file's name in messages. `sheet` is the name of a sheet, or None for the first that is not
    hidden. `hidden` says what becomes of hidden rows; if it is None, each of them has a problem.
    """
    try:
        import openpyxl  # noqa: F401 - whether it is there
        from openpyxl.reader.excel import ExcelReader

        from mailer.campaign.sources.workbook import ScannedArchive, SheetParser, check_members
    except ImportError:
        raise MissingExtra(".xlsx lists need openpyxl", hint="pip install 'mailer[xlsx]'") from None
    check_members(binary, shown)
    with ScannedArchive(binary, shown) as archive:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about styles and extensions, which no list needs
                reader = ExcelReader(binary, read_only=True, data_only=True, keep_links=False)
                reader.archive.close()
                reader.archive = archive
                reader.read()
                is_stale = _wants_calculation(reader)
        except Exception as error:  # a damaged workbook makes it raise anything
            raise _damaged_file_error(shown, error) from None
        with SheetParser(_find_sheet(reader.wb, sheet, shown), is_stale=is_stale) as parser:
            rows = parser.read_rows()
            if hidden == "skip":
                rows = (row for row in rows if not row.is_hidden)
            yield from _read_rows(rows, shown, rules, may_be_hidden=hidden is not None)


def _wants_calculation(reader: ExcelReader) -> bool:
    """Return whether the program that wrote the workbook leaves it to its reader to calculate (18.2.2).

    Such programs (XlsxWriter, Apache POI) write 0 as the value of every formula.
    """
    from openpyxl.xml.functions import fromstring

    calculation = fromstring(reader.archive.read(reader.parser.workbook_part_name)).find("{*}calcPr")
    return calculation is not None and calculation.get("fullCalcOnLoad") in ("1", "true")


def _find_sheet(book: Any, name: str | None, shown: str) -> Any:
    """Return the sheet of this name, or the first that is not hidden. InputError if there is none."""
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if name is None and sheets:
        visible = (sheet for sheet in sheets.values() if sheet.sheet_state == "visible")
        return next(visible, next(iter(sheets.values())))
    if name not in sheets:
        names = (
            ", ".join(repr(shorten(make_printable(title), MAX_QUOTED)) for title in list(sheets)[:20])
            or "none"
        )
        raise InputError(
            Problem(
                Place(shown), f"there is no sheet {shorten(str(name), MAX_QUOTED)!r}; the sheets are: {names}"
            )
        )
    return sheets[name]


def _read_rows(
    rows: Iterator[SheetRow], shown: str, rules: RowRules, *, may_be_hidden: bool
) -> Iterator[Recipient]:
    header = next(_show_rows(rows, shown, MAX_COLUMNS), None)
    if header is None:
        raise InputError(
            Problem(Place(shown), "the sheet is empty; expected a header row with a column 'email'")
        )
    place = Place(shown, header.number)
    for cell in header.cells:
        if isinstance(cell, _NoValue):
            raise InputError(Problem(place, cell.reason))
    table = parse_header(header.cells, place, rules.columns)
    for row in _show_rows(rows, shown, len(table.names) + 1):
        place, cells = Place(shown, row.number), row.cells
        cells += [""] * (len(table.names) - len(cells))
        problem = None
        if row.is_hidden and not may_be_hidden:
            problem = Problem(place, _HIDDEN)
        elif row.lacks_value:
            problem = _find_lacking_value(table.names, cells, place)
        cells[table.address] = str(cells[table.address])
        for found in recipients_from_cells(table, cells, place, rules):
            yield replace(found, problem=problem) if problem else found


def _find_lacking_value(names: tuple[str | None, ...], cells: list[object], place: Place) -> Problem | None:
    """Return the problem of a row in which a formula of a named column has no value: `#N/A` is none."""
    for name, cell in zip(names, cells, strict=False):
        if isinstance(cell, _NoValue) and name is not None:
            return Problem(place, f"{name}: {cell.reason}")
    return None


@dataclass(frozen=True, slots=True)
class _ShownRow:
    """A row that is not blank, without the blank cells at its end."""

    number: int
    cells: list[object]
    is_hidden: bool
    lacks_value: bool


def _show_rows(rows: Iterator[SheetRow], shown: str, width: int) -> Iterator[_ShownRow]:
    """Yield what a person sees in the first `width` columns of each row, unless they are blank."""
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about dates out of range, which become an error value
                row = next(rows)
                cells, lacks_value = _show_cells(row.cells, width)
        except StopIteration:
            return
        except Exception as error:
            raise _damaged_file_error(shown, error) from None
        if row.number > MAX_ROWS:
            raise InputError(Problem(Place(shown), f"a row beyond the {MAX_ROWS:,} that a sheet can have"))
        while cells and cells[-1] in ("", None):
            cells.pop()
        if cells:
            yield _ShownRow(row.number, cells, row.is_hidden, lacks_value)


def _show_cells(cells: list[Any], width: int) -> tuple[list[object], bool]:
    """Return the values of a row's first `width` columns, and whether a formula in it has no value."""
    values: list[object] = []
    lacks_value = False
    for cell in cells:
        column = cell.column
        if not 0 < column <= width:
            continue
        value = _show_cell(cell)
        lacks_value = lacks_value or isinstance(value, _NoValue)
        values += [""] * (column - len(values))
        values[column - 1] = value
    return values, lacks_value


class _NoValue(str):
    """What a cell shows whose formula has failed (`#N/A`), or was never computed; `reason` says which."""

    reason: str


def _make_failed_value(error: str) -> _NoValue:
    """Return the value of a formula that has failed: `#N/A`, `#REF!`, ... (18.18.11, the type `e`)."""
    value = _NoValue(shorten(make_printable(error), MAX_QUOTED))
    value.reason = f"the cell has the error {value}, and no value"
    return value


def _make_missing_value(coordinate: str) -> _NoValue:
    """Return the value of a formula that was never computed. It is not blank, so that its row is not."""
    value = _NoValue(coordinate)
    value.reason = (
        f"the formula in {coordinate} was never computed, so it has no value;"
        " open the file in a spreadsheet program and save it"
    )
    return value


def _show_cell(cell: Any) -> object:
    value = cell.value
    if cell.data_type == "f":
        return _make_missing_value(cell.coordinate)
    if cell.data_type == "e":
        return _make_failed_value(str(value))
    if isinstance(value, str) and len(value) > MAX_CELL:
        raise ValueError(f"a cell of more than {MAX_CELL:,} characters")
    if value is None or isinstance(value, (str, bool)):
        return "" if value is None else value
    if isinstance(value, (int, float)) and math.isfinite(value):
        return show_number(value, cell.number_format or "General")
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        return show_date(value, cell.number_format or "General")
    return str(value)


def _damaged_file_error(shown: str, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    reason = shorten(shorten_quotes(make_printable(str(error)), MAX_QUOTED), 120) or type(error).__name__
    return InputError(
        Problem(Place(shown), f"it is not an .xlsx file that can be read, or it is damaged ({reason})")
    )
