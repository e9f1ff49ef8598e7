"""CSV and TSV (RFC 4180, and what spreadsheets make of it)."""

from __future__ import annotations

import csv
import re
from collections.abc import Generator, Iterator
from typing import BinaryIO

from mailer.campaign.addresses import check_address
from mailer.campaign.model import Recipient
from mailer.campaign.sources.names import Header, is_address_name, parse_header
from mailer.campaign.sources.rows import PLAIN_RULES, RowRules, recipients_from_cells
from mailer.campaign.sources.text import open_text, read_lines
from mailer.errors import InputError, Place, Problem

_SEP_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)  # what Excel writes above the header


def read_csv(
    binary: BinaryIO,
    shown: str,
    encoding: str | None,
    rules: RowRules = PLAIN_RULES,
    delimiter: str | None = None,
) -> Generator[Recipient, None, None]:
    """Yield the recipients of the rows below the header. A row's line is its first one, also if cells have
    line ends.

    `shown` is the file's name in messages. `delimiter` is None if the header (or a line `sep=;` above it)
    tells it.
    """
    with open_text(binary, shown, encoding) as stream:
        lines = read_lines(stream, shown)
        first, skipped = _find_header(lines)
        if match := _SEP_LINE.fullmatch(first):
            delimiter = match[1]
            first, more = _find_header(lines)
            skipped += more + 1
        if not first:
            raise InputError(
                Problem(Place(shown), "the file is empty; expected a header line with a column 'email'")
            )
        if delimiter is None:
            delimiter = _detect_delimiter(first, rules)
        # A blank after the delimiter would make the quote behind it part of the cell.
        table = csv.reader(
            _prepend_line(first, lines), delimiter=delimiter, strict=True, skipinitialspace=rules.trim
        )
        end = skipped
        try:
            header = parse_header(next(table), Place(shown, skipped + 1), rules.columns)
            end = skipped + table.line_num
            is_usual = header.plain and rules.split is None and rules.trim
            count = len(header.names)
            for cells in table:
                place = Place(shown, end + 1)
                end = skipped + table.line_num
                if is_usual and len(cells) == count and (recipient := _read_usual_row(header, cells, place)):
                    yield recipient
                elif any(map(str.strip, cells)):
                    yield from recipients_from_cells(header, cells, place, rules)
        except csv.Error as error:
            raise InputError(_describe_csv_error(error, shown, end + 1)) from None


def _find_header(lines: Iterator[str]) -> tuple[str, int]:
    """Return the first line that is not blank ("" if there is none), and the number of lines before it."""
    skipped = 0
    for line in lines:
        if line.strip():
            return line, skipped
        skipped += 1
    return "", skipped


def _read_usual_row(header: Header, cells: list[str], place: Place) -> Recipient | None:
    """Do what `recipients_from_cells` does for the usual row, in less time; None for any other row."""
    columns = dict(zip(header.names, map(str.strip, cells), strict=True))
    try:
        address = check_address(columns["email"])
    except ValueError:
        return None
    columns["email"] = address
    return Recipient(address, columns, place)  # type: ignore[arg-type]  # a plain header has all names


def _prepend_line(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _detect_delimiter(header: str, rules: RowRules) -> str:
    """Return the delimiter of the header line: that of comma, semicolon and tab which gives a column of
    addresses.

    If several do, or none, it is the one that is most often outside quotes.
    """
    bare = "".join(header.split('"')[::2])
    named = rules.columns.get("email", "email").casefold()

    def has_address_column(delimiter: str) -> bool:
        cells = [cell.strip(' \t\r\n\xa0"') for cell in header.split(delimiter)]
        return any(cell.casefold() == named or is_address_name(cell) for cell in cells)

    return max(",;\t", key=lambda delimiter: (has_address_column(delimiter), bare.count(delimiter)))


def _describe_csv_error(error: csv.Error, shown: str, line: int) -> Problem:
    text = str(error)
    if "unexpected end of data" in text:
        text = "a quote is opened in this row and never closed"
    elif "field larger" in text:
        text = f"a cell of more than {csv.field_size_limit():,} characters; is a quote not closed?"
    elif "expected after" in text:
        text = "there is text after a closing quote; a quote inside a quoted cell is written twice"
    return Problem(Place(shown, line), text)
