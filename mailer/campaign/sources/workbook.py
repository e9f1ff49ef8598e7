"""A workbook's parts, read within limits and as streams. To be imported only if openpyxl is there, an extra.

What a workbook's zip declares to unpack to is limited before it is opened (zipfile does not unpack more than is
declared). Each part is scanned before another parser sees it: no document type, which an entity would need, and no
text, attribute or nesting longer than the format allows. The rows come from openpyxl's parser, which does not say
what is hidden or was never computed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any, BinaryIO, NamedTuple, NoReturn
from xml.parsers import expat

from openpyxl.cell.read_only import ReadOnlyCell
from openpyxl.worksheet._reader import FORMULA_TAG, VALUE_TAG, WorkSheetParser

from mailer.campaign.sources.number_format import MAX_CELL, MAX_FORMAT
from mailer.errors import InputError, Place, Problem
from mailer.text import make_printable

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # of the format before .xlsx, and around an encrypted workbook
MAX_UNPACKED = 1 << 30  # octets, of all parts
MAX_PART = 1 << 27  # octets, of a part that is not a sheet: openpyxl holds it (the shared strings, say)
MAX_RATIO = 200  # sheets pack to a tenth, a very repetitive one to a fiftieth; a bomb to a thousandth
MAX_MEMBERS = 10_000
MAX_DEPTH = 100
MAX_TAG = 1 << 19  # octets, with the attributes
SCAN_CHUNK = 1 << 16  # octets
MAX_ELEMENTS = 5_000_000  # of a part that is not a sheet


def check_members(binary: BinaryIO, shown: str) -> None:
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


class ScannedArchive(zipfile.ZipFile):
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


class SheetRow(NamedTuple):
    """A row as the file has it. Its cells are of openpyxl's type `ReadOnlyCell`."""

    number: int
    cells: list[Any]
    is_hidden: bool


class SheetParser(WorkSheetParser):  # type: ignore[misc]  # openpyxl has no types
    """Reads one sheet, once. A context manager, which closes the sheet.

    A cell with a formula that was never computed has the data type `f`.
    """

    def __init__(self, sheet: Any, *, is_stale: bool) -> None:
        """`sheet` is one of a workbook that was opened read-only. `is_stale` says that its program computed no
        formula, and wrote 0 in place of a value.
        """
        book = sheet.parent
        super().__init__(
            sheet._get_source(),
            sheet._shared_strings,
            data_only=True,
            epoch=book.epoch,
            date_formats=book._date_formats,
            timedelta_formats=book._timedelta_formats,
        )
        self._sheet = sheet
        self._is_stale = is_stale

    def __enter__(self) -> SheetParser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()

    def read_rows(self) -> Iterator[SheetRow]:
        """Yield the rows that the file has, in its order."""
        for number, cells in self.parse():
            # openpyxl keeps them for the sheet's columns and rows; a list has a million rows.
            attributes = self.row_dimensions.pop(str(number), {})
            is_hidden = attributes.get("hidden") in ("1", "true")
            yield SheetRow(number, [ReadOnlyCell(self._sheet, **cell) for cell in cells], is_hidden)

    def parse_cell(self, element: Any) -> dict[str, Any]:
        """Return a cell as openpyxl does; called by it for each."""
        cell: dict[str, Any] = super().parse_cell(element)
        may_be_missing = cell["value"] is None or self._is_stale
        if (
            may_be_missing
            and element.find(FORMULA_TAG) is not None
            and self._is_missing(element, cell["value"])
        ):
            cell["value"], cell["data_type"] = None, "f"
        return cell

    def _is_missing(self, element: Any, value: object) -> bool:
        """Return whether the cell of a formula has no value that was computed."""
        kind = element.get("t", "n")
        if value is None:
            return bool(kind != "str")  # whose value is the empty text
        return bool(self._is_stale and kind == "n" and float(element.findtext(VALUE_TAG)) == 0)
