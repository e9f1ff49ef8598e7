"""CSV and TSV (RFC 4180, and what spreadsheets make of it)."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterator
from typing import BinaryIO

from mailer.campaign.addresses import check_address
from mailer.campaign.model import Recipient
from mailer.campaign.sources.rows import parse_header, recipient_from_cells
from mailer.campaign.sources.text import open_text, read_lines
from mailer.errors import InputError, Place, Problem


def read_csv(
    binary: BinaryIO, shown: str, encoding: str | None, delimiter: str | None = None
) -> Generator[Recipient, None, None]:
    """The rows below the header. A row's line is the one it starts in, also after cells with line ends in them."""
    with open_text(binary, shown, encoding) as stream:
        text = read_lines(stream, shown)
        first, skipped = "", 0
        for first in text:
            if first.strip():
                break
            skipped += 1
        else:
            raise InputError(Problem(Place(shown), "the file is empty; expected a header line with a column 'email'"))
        table = csv.reader(_prepend_line(first, text), delimiter=delimiter or _detect_delimiter(first), strict=True)
        end = skipped
        try:
            names = parse_header(next(table), Place(shown, skipped + 1))
            end = skipped + table.line_num
            for cells in table:
                place = Place(shown, end + 1)
                end = skipped + table.line_num
                if cells and any(map(str.strip, cells)):
                    yield _recipient(names, cells, place)
        except csv.Error as error:
            raise InputError(_describe_csv_error(error, shown, end + 1)) from None


def _recipient(names: list[str], cells: list[str], place: Place) -> Recipient:
    """`recipient_from_cells` for the usual row, without its detours: a list may have a million."""
    if len(cells) == len(names):
        columns: dict[str, object] = dict(zip(names, cells, strict=True))
        email = columns["email"]
        try:
            address = check_address(email)  # type: ignore[arg-type]  # a cell of CSV is text
        except ValueError:
            pass
        else:
            columns["email"] = address
            return Recipient(address, columns, place)
    return recipient_from_cells(names, list(cells), place)


def _prepend_line(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _detect_delimiter(header: str) -> str:
    """The separator of the header line: of comma, semicolon and tab the one that gives a column `email`.

    Else, or where several do, the one most often outside of quotes.
    """
    bare = "".join(header.split('"')[::2])

    def has_email_column(separator: str) -> bool:
        return any(cell.strip(' \t\r\n\xa0"').lower() == "email" for cell in header.split(separator))

    return max(",;\t", key=lambda separator: (has_email_column(separator), bare.count(separator)))


def _describe_csv_error(error: csv.Error, shown: str, line: int) -> Problem:
    text = str(error)
    if "unexpected end of data" in text:
        text = "a quote is opened in this row and never closed"
    elif "field larger" in text:
        text = f"a cell of more than {csv.field_size_limit():,} characters; is a quote not closed?"
    elif "expected after" in text:
        text = "text stands after a closing quote; a quote inside a quoted cell is written twice"
    return Problem(Place(shown, line), text)
