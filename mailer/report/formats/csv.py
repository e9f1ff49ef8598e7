"""The CSV report: one recipient in each row, for a spreadsheet, which must not take a cell for a formula."""

from __future__ import annotations

import csv
from typing import TextIO

from mailer.report.formats.json import recipient_object
from mailer.report.summary import Report
from mailer.report.words import describe_workers
from mailer.text import make_printable

# `run_ending` and `run_reason` say how the last run ended, `run_workers` who sent. They are in each row, because a
# table has no other place for them.
COLUMNS = (
    "email", "key", "status", "attempts", "code", "enhanced", "reply", "message_id", "size", "at", "error",
    "copies_refused", "run_ending", "run_reason", "run_workers",
)  # fmt: skip

# OWASP, CSV injection: some spreadsheets take a cell that begins with one of these for a formula. Excel in
# East Asian settings does the same with the full-width forms.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def write(report: Report, stream: TextIO) -> None:
    """Write `report` to `stream` as RFC 4180 with a header. Lines end with LF.

    An apostrophe precedes what a spreadsheet would take for a formula.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    run = [escape_cell(report.ending), escape_cell(report.reason), escape_cell(describe_workers(report))]
    for outcome in report.outcomes():
        row = recipient_object(outcome)
        row["copies_refused"] = "; ".join(f"{copy.email}: {copy.reply}" for copy in outcome.copies_refused)
        writer.writerow([*(escape_cell(row[column]) for column in COLUMNS[:-3]), *run])


def escape_cell(value: object) -> str:
    """Return a value as a cell: nothing for None, text that no spreadsheet runs and no terminal obeys."""
    if value is None:
        return ""
    text = str(value)
    # Judged before and after: a tab in front is a formula's prefix although it is shown as `\x09`.
    shown = make_printable(text)
    return f"'{shown}" if text.startswith(_FORMULA) or shown.lstrip().startswith(_FORMULA) else shown


def unescape_cell(text: str) -> str:
    """Return the text of a cell without the apostrophe that keeps it from being a formula."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
