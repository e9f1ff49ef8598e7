"""XLSX lists (extra `xlsx`), row by row.

openpyxl in its read-only mode: it streams, and it keeps number formats, without which a postcode's leading
zero, a price's decimals and a date's order are lost. A workbook is a zip of XML. What it declares to unpack
to is limited before it is opened (zipfile does not unpack more than is declared). Each part goes through
`_scan_part` before openpyxl sees it: no document type, which an entity would need, and no text, attribute or
nesting longer than the format allows.
"""

from __future__ import annotations

import datetime
import functools
import math
import re
import warnings
import zipfile
from collections.abc import Generator, Iterator
from dataclasses import replace
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import IO, Any, BinaryIO, NoReturn
from xml.parsers import expat

from mailer.campaign.model import Recipient
from mailer.campaign.sources.names import MAX_COLUMNS, MAX_QUOTED, Header, parse_header
from mailer.campaign.sources.rows import PLAIN_RULES, RowRules, recipients_from_cells
from mailer.dataclass import dataclass
from mailer.errors import InputError, MissingExtra, Place, Problem
from mailer.text import make_printable, shorten, shorten_quotes

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # of the format before .xlsx, and around an encrypted workbook
MAX_UNPACKED = 1 << 30  # octets, of all parts
MAX_PART = 1 << 27  # octets, of a part that is not a sheet: openpyxl holds it (the shared strings, say)
MAX_RATIO = 200  # sheets pack to a tenth, a very repetitive one to a fiftieth; a bomb to a thousandth
MAX_MEMBERS = 10_000
MAX_ROWS = 1_048_576  # of a sheet, by the format, as are the next two
MAX_CELL = 32_767  # characters
MAX_FORMAT = 255  # characters of a number format; a longer one is not looked at
MAX_DEPTH = 100
MAX_TAG = 1 << 19  # octets, with the attributes
SCAN_CHUNK = 1 << 16  # octets
MAX_ELEMENTS = 5_000_000  # of a part that is not a sheet


def read_xlsx(
    binary: BinaryIO, shown: str, sheet: str | None, rules: RowRules = PLAIN_RULES
) -> Generator[Recipient, None, None]:
    """Yield the recipients of the rows below the header, which is the first row that is not blank.

    `shown` is the file's name in messages. `sheet` is the name of a sheet, or None for the first.
    """
    try:
        import openpyxl  # noqa: F401 - whether it is there
        from openpyxl.reader.excel import ExcelReader
    except ImportError:
        raise MissingExtra(".xlsx lists need openpyxl", hint="pip install 'mailer[xlsx]'") from None
    _check_members(binary, shown)
    with _ScannedArchive(binary, shown) as archive:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about styles and extensions, which no list needs
                reader = ExcelReader(binary, read_only=True, data_only=True, keep_links=False)
                reader.archive.close()
                reader.archive = archive
                reader.read()
        except Exception as error:  # a damaged workbook makes it raise anything
            raise _damaged_file_error(shown, error) from None
        yield from _read_rows(_find_sheet(reader.wb, sheet, shown), shown, rules)


def _check_members(binary: BinaryIO, shown: str) -> None:
    """Raise InputError for a zip that is damaged or would unpack to more than a list has."""
    try:
        with zipfile.ZipFile(binary) as archive:
            members = archive.infolist()
    except Exception:  # zipfile lets through what zlib, lzma and struct raise
        binary.seek(0)
        text = "it is not an .xlsx file (a zip of XML), or it is damaged"
        if binary.read(len(_OLE)) == _OLE:
            text = "it is an old .xls file, or it has a password; save it as .xlsx without one"
        raise InputError(Problem(Place(shown), text)) from None
    unpacked = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or unpacked > MAX_UNPACKED or any(map(_is_bomb, members)):
        raise InputError(Problem(Place(shown), f"it would unpack to {unpacked:,} octets; that is not a list"))
    binary.seek(0)


def _is_bomb(member: zipfile.ZipInfo) -> bool:
    """Sheets are read as a stream; the other parts are held, or parsed whole."""
    limit = MAX_UNPACKED if "/worksheets/" in member.filename else MAX_PART
    return member.file_size > min(limit, max(1 << 24, member.compress_size * MAX_RATIO))


class _ScannedArchive(zipfile.ZipFile):
    """A workbook's zip.

    A part is scanned when it is first opened, under whatever name the workbook gives it.
    """

    def __init__(self, binary: BinaryIO, shown: str) -> None:
        super().__init__(binary)
        self._shown = shown
        self._scanned: set[str] = set()

    def open(self, name: str | zipfile.ZipInfo, mode: Any = "r", *rest: Any, **options: Any) -> IO[bytes]:
        member = self.getinfo(name if isinstance(name, str) else name.filename)
        if member.filename not in self._scanned:
            self._scanned.add(member.filename)
            with super().open(member) as stream:
                _scan_part(stream, member.filename, self._shown)
        return super().open(name, mode, *rest, **options)


def _scan_part(stream: IO[bytes], name: str, shown: str) -> None:
    """Raise InputError if a part is not XML as spreadsheets write it. Memory and time are linear at worst."""
    is_sheet = "/worksheets/" in name
    depth = elements = length = 0

    def fail(text: str) -> NoReturn:
        raise InputError(Problem(Place(shown), f"{make_printable(name[:80])} in it {text}"))

    def refuse_doctype(*_details: object) -> None:
        fail("has a document type, which no spreadsheet has")

    def start_element(_name: str, attributes: list[str]) -> None:
        nonlocal depth, elements, length
        depth, elements, length = depth + 1, elements + 1, 0
        if depth > MAX_DEPTH or (elements > MAX_ELEMENTS and not is_sheet):
            fail("has more elements than a spreadsheet")
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            if len(value) > (MAX_FORMAT if key == "formatCode" else MAX_CELL):
                fail("has a number format or another attribute longer than the format allows")

    def end_element(_name: str) -> None:
        nonlocal depth, length
        depth, length = depth - 1, 0

    def add_text(text: str) -> None:
        nonlocal length
        length += len(text)
        if length > MAX_CELL:
            fail(f"has a cell of more than {MAX_CELL:,} characters")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.StartElementHandler = start_element
    parser.EndElementHandler = end_element
    parser.CharacterDataHandler = add_text
    size = 0
    try:
        while chunk := stream.read(SCAN_CHUNK):
            size += len(chunk)
            parser.Parse(chunk, False)
            # expat before 2.6 parses what it has of an unfinished tag or comment anew with each chunk.
            if size - parser.CurrentByteIndex > MAX_TAG:
                fail(f"has a tag or a comment of more than {MAX_TAG:,} octets")
        parser.Parse(b"", True)
    except expat.ExpatError:
        fail("is not the XML of a spreadsheet")


def _find_sheet(book: Any, name: str | None, shown: str) -> Any:
    """Return the sheet of this name, or the first. InputError if there is none."""
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if name is None and sheets:
        return next(iter(sheets.values()))
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


def _read_rows(sheet: Any, shown: str, rules: RowRules) -> Iterator[Recipient]:
    sheet.reset_dimensions()  # the size that the file declares may be wrong
    header = next(_read_cells(sheet, shown, 1, MAX_COLUMNS), None)
    if header is None:
        raise InputError(
            Problem(Place(shown), "the sheet is empty; expected a header row with a column 'email'")
        )
    number, cells = header
    table = parse_header(cells, Place(shown, number), rules.columns)
    for below, cells in _read_cells(sheet, shown, number + 1, len(table.names) + 1):
        row = cells + [""] * (len(table.names) - len(cells))
        row[table.address] = str(row[table.address])
        place = Place(shown, below)
        problem = _find_error_value(table, row, place)
        for found in recipients_from_cells(table, row, place, rules):
            yield replace(found, problem=found.problem or problem) if problem else found


def _find_error_value(table: Header, row: list[object], place: Place) -> Problem | None:
    """Return the problem of a row in which a formula has failed: `#N/A` is no value."""
    for name, cell in zip(table.names, row, strict=False):
        if isinstance(cell, _ErrorValue) and name is not None:
            return Problem(place, f"{name}: the cell has the error {cell}, and no value")
    return None


def _read_cells(sheet: Any, shown: str, first: int, most: int) -> Iterator[tuple[int, list[object]]]:
    """Yield the rows that are not blank, with their numbers and without the blank cells at their end."""
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


class _ErrorValue(str):
    """What a cell shows whose formula has failed: `#N/A`, `#REF!`, ... (18.18.11, the type `e`)."""

    __slots__ = ()


def _show_cell(cell: Any) -> object:
    value = cell.value
    if cell.data_type == "e":
        return _ErrorValue(shorten(make_printable(str(value)), MAX_QUOTED))
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


# -- cells as a person sees them: the common number formats (ECMA-376 part 1, 18.8.31), in English

_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August"]
_MONTHS += ["September", "October", "November", "December"]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|\[\$(?P<currency>[^\]-]*)(?:-[^\]]*)?\]'
    r"|(?P<elapsed>\[(?:h+|m+|s+)\])|\[[^\]]*\]|[_*].|(?P<ampm>AM/PM|A/P)"
    r"|(?P<date>y+|m+|d+|h+|s+(?:\.0+)?)|(?P<digits>[0#?][0#?,]*(?:\.[0#?]+)?,*)"
    r"|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_WIDE = Context(prec=400, rounding=ROUND_HALF_UP)  # any float in full
_LITERAL = frozenset(" -/:.,()+%$€£¥'T")
# Formats that each reader's locale shows in another way: ISO 8601 is the same for all.
_LOCALE = {"mm-dd-yy": "yyyy-mm-dd", "m/d/yy h:mm": "yyyy-mm-dd hh:mm", "m/d/yyyy h:mm": "yyyy-mm-dd hh:mm"}


@dataclass(frozen=True, slots=True)
class _FormatPart:
    kind: str  # literal, digits, date, ampm
    text: str


def show_number(number: int | float, number_format: str) -> int | float | str:
    """Return the text that a person sees, or the number itself if the format adds nothing to it."""
    plain = _show_general(number)
    if len(number_format) > MAX_FORMAT:
        return plain
    section, negative_shown = _select_section(number_format, negative=number < 0)
    parts = _split_format(section)
    digits = [part for part in parts if part.kind == "digits"]
    if (
        section.lower() in ("general", "@", "0", "")
        or len(digits) != 1
        or any(p.kind == "date" for p in parts)
    ):
        return plain
    percent = sum(part.text.count("%") for part in parts if part.kind == "literal")
    value = Decimal(repr(abs(number) if negative_shown else number)) * 100**percent
    text = _show_digits(value, digits[0].text)
    return "".join(text if part.kind == "digits" else part.text for part in parts).strip()


def show_date(
    value: datetime.datetime | datetime.date | datetime.time | datetime.timedelta, number_format: str
) -> str:
    """Return a date or a time as its format writes it, or as ISO 8601 if that depends on the reader."""
    if isinstance(value, datetime.timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if len(number_format) > MAX_FORMAT:
        number_format = ""
    section = _select_section(_LOCALE.get(number_format.lower(), number_format), negative=False)[0]
    parts = _split_format(section)
    if not any(part.kind == "date" for part in parts) or any(part.kind == "digits" for part in parts):
        return value.isoformat(*([" "] if isinstance(value, datetime.datetime) else []))
    moment = _to_datetime(value)
    twelve = any(part.kind == "ampm" for part in parts)
    shown = []
    for index, part in enumerate(parts):
        if part.kind == "date":
            shown.append(_show_date_field(moment, part.text.lower(), twelve, minute=_is_minute(parts, index)))
        elif part.kind == "ampm":
            shown.append("AM" if moment.hour < 12 else "PM")
        else:
            shown.append(part.text)
    return "".join(shown).strip()


def _show_general(number: int | float) -> int | float:
    """Return what `General` shows: no `.0`, and 15 digits, as many as a spreadsheet keeps."""
    if isinstance(number, float):
        number = float(f"{number:.15g}")
        if number.is_integer() and abs(number) < 1e15:
            return int(number)
    return number


def _select_section(number_format: str, *, negative: bool) -> tuple[str, bool]:
    """The format's part for the sign (positive;negative;zero;text), and whether that part shows the sign
    itself.
    """
    sections = re.findall(r'(?:"[^"]*"|\\.|\[[^\]]*\]|[^;])+', number_format) or [""]
    if negative and len(sections) > 1:
        return sections[1], True
    return sections[0], False


@functools.lru_cache(maxsize=256)
def _split_format(section: str) -> tuple[_FormatPart, ...]:
    parts: list[_FormatPart] = []
    for match in _TOKEN.finditer(section):
        kind = match.lastgroup
        if kind is None:
            continue
        text = match[kind]
        if kind == "other" and text not in _LITERAL:
            return ()  # fractions, exponents, foreign date codes: shown plainly
        if kind == "elapsed":
            return ()
        known = kind if kind in ("digits", "date", "ampm") else "literal"
        parts.append(_FormatPart(known, text))
    return tuple(parts)


def _show_digits(value: Decimal, picture: str) -> str:
    scale = len(picture) - len(picture.rstrip(","))
    whole, _, fraction = picture.rstrip(",").partition(".")
    value = _WIDE.quantize(_WIDE.divide(value, Decimal(1000) ** scale), Decimal(1).scaleb(-len(fraction)))
    left, _, right = f"{abs(value):f}".partition(".")
    left = left.lstrip("0").rjust(whole.count("0"), "0")
    if "," in whole:
        left = re.sub(r"(?<=\d)(?=(?:\d{3})+$)", ",", left)
    keep = len(fraction.rstrip("#?"))
    right = right[:keep] + right[keep:].rstrip("0")
    return ("-" if value < 0 else "") + left + ("." + right if right else "")


def _to_datetime(value: datetime.datetime | datetime.date | datetime.time) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, datetime.time):
        return datetime.datetime.combine(datetime.date(1900, 1, 1), value)
    return datetime.datetime.combine(value, datetime.time())


def _is_minute(parts: tuple[_FormatPart, ...], index: int) -> bool:
    """`m` is minutes right after hours and right before seconds (18.8.31), months elsewhere."""
    dates = [(at, part.text.lower()[0]) for at, part in enumerate(parts) if part.kind == "date"]
    here = dates.index((index, parts[index].text.lower()[0]))
    before = dates[here - 1][1] if here else ""
    after = dates[here + 1][1] if here + 1 < len(dates) else ""
    return before == "h" or after == "s"


def _show_date_field(moment: datetime.datetime, code: str, twelve: bool, *, minute: bool) -> str:
    width = len(code)
    if code[0] == "y":
        return f"{moment.year:04}" if width > 2 else f"{moment.year % 100:02}"
    if code[0] == "d":
        return _show_named_field(moment.day, _DAYS[moment.weekday()], width)
    if code[0] == "m" and not minute:
        return _show_named_field(moment.month, _MONTHS[moment.month - 1], width)
    if code[0] == "h":
        hour = (moment.hour % 12 or 12) if twelve else moment.hour
        return str(hour).rjust(min(width, 2), "0")
    if code[0] == "m":
        return str(moment.minute).rjust(min(width, 2), "0")
    whole, _, fraction = code.partition(".")
    return str(moment.second).rjust(len(whole), "0") + (
        f".{moment.microsecond:06}"[: len(fraction) + 1] if fraction else ""
    )


def _show_named_field(number: int, name: str, width: int) -> str:
    if width <= 2:
        return str(number).rjust(width, "0")
    return {3: name[:3], 5: name[:1]}.get(width, name)
