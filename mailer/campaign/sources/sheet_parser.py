"""The rows of a sheet, as a stream: openpyxl's parser, which does not say what is hidden or was never computed."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple

from openpyxl.cell.read_only import ReadOnlyCell
from openpyxl.worksheet._reader import FORMULA_TAG, VALUE_TAG, WorkSheetParser


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
