from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest

from mailer.ledger.outcome import Outcome
from mailer.report.formats import csv as csv_report
from mailer.report.summary import Report

Make = Callable[..., Report]
Row = Callable[..., Outcome]


def rows(report: Report) -> list[dict[str, str]]:
    stream = io.StringIO()
    csv_report.write(report, stream)
    return list(csv.DictReader(io.StringIO(stream.getvalue(), newline="")))


def test_each_recipient_is_a_row(make_report: Make, sent: Row) -> None:
    first, second = rows(make_report([sent(0), sent(1)]))
    assert (first["email"], first["code"], first["error"]) == ("person0@example.com", "250", "")
    assert second["at"] == "2026-11-23T09:00:01Z"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\uff1d"])
def test_no_cell_is_a_formula(start: str) -> None:
    assert csv_report.escape_cell(f"{start}1+1").startswith("'")


def test_a_number_is_not_escaped_as_a_formula() -> None:
    assert csv_report.escape_cell(250) == "250"


def test_hostile_text_is_harmless_in_a_cell(hostile: Report) -> None:
    first, second = rows(hostile)
    for value in first.values():
        assert not value.startswith(("=", "+", "-", "@"))
        assert "\x1b" not in value
        assert "\n" not in value
    assert second["status"] == "sent"
