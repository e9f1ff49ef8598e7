"""The CSV report: a recipient a line, for a spreadsheet, whose formulas it must not become."""

from __future__ import annotations

import csv
from typing import TextIO

from mailer.report.escape import printable
from mailer.report.formats.json import recipient
from mailer.report.summary import Report

COLUMNS = (
    "email", "key", "status", "attempts", "code", "enhanced", "reply", "message_id", "size", "at", "error",
    "copies_refused",
)  # fmt: skip

# OWASP, CSV injection: a cell that begins with one of these is a formula to some spreadsheet, as is one that begins
# with the full-width forms, which Excel in East Asian settings reads alike.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def write(report: Report, stream: TextIO) -> None:
    """RFC 4180 with a header; UTF-8, lines end with LF, a formula's cell begins with an apostrophe."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for outcome in report.outcomes():
        row = recipient(outcome)
        row["copies_refused"] = "; ".join(f"{copy.email}: {copy.reply}" for copy in outcome.copies_refused)
        writer.writerow([cell(row[column]) for column in COLUMNS])


def cell(value: object) -> str:
    """A value as a cell: nothing for None, text that no spreadsheet runs and no terminal obeys."""
    if value is None:
        return ""
    text = str(value)
    # Judged before and after: a tab in front is a formula's prefix although it is shown as `\x09`.
    shown = printable(text)
    return f"'{shown}" if text.startswith(_FORMULA) or shown.lstrip().startswith(_FORMULA) else shown


def uncelled(text: str) -> str:
    """A text that `cell` (or a person, for a spreadsheet) kept from being a formula, as it was before."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
