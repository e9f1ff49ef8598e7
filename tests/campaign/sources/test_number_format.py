"""Spreadsheet cells as a person sees them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.campaign.sources.number_format import show_date, show_number


@pytest.mark.parametrize(
    ("number", "number_format", "shown"),
    [
        (42.0, "General", 42),
        (42, "General", 42),
        (0.1 + 0.2, "General", 0.3),
        (1234.5, "General", 1234.5),
        (7, "0", 7),
        (2.5, "@", 2.5),
        (1067, "00000", "01067"),
        (12.5, "0.00", "12.50"),
        (12.345, "0.00", "12.35"),
        (-12.5, "0.00", "-12.50"),
        (1234567.891, "#,##0.00", "1,234,567.89"),
        (1234.5, '#,##0.00 "€"', "1,234.50 €"),
        (1234.5, "[$€-407] #,##0.00", "€ 1,234.50"),
        (5, "$#,##0", "$5"),
        (0.125, "0%", "13%"),
        (0.125, "0.0%", "12.5%"),
        (0.5, "#.##", ".5"),
        (3, "0.##", "3"),
        (-5, "0;[Red](0)", "(5)"),
        (-1234.5, "#,##0.00;[Red]-#,##0.00", "-1,234.50"),
        (1500000, "0.0,,", "1.5"),
        (0.333, "# ?/?", 0.333),  # fractions and exponents are shown plainly
        (12345, "0.00E+00", 12345),
        (1e20, "General", 1e20),
        (5, '"No. "0', "No. 5"),
        (5, "0_-;-0_-", "5"),
    ],
)
def test_a_number_is_shown_by_its_format(number: float, number_format: str, shown: object) -> None:
    found = show_number(number, number_format)
    assert found == shown
    assert type(found) is type(shown)


MOMENT = datetime.datetime(2026, 1, 2, 15, 4, 5)


@pytest.mark.parametrize(
    ("value", "number_format", "shown"),
    [
        (MOMENT, "yyyy-mm-dd", "2026-01-02"),
        (MOMENT, "yyyy-mm-dd h:mm:ss", "2026-01-02 15:04:05"),
        (MOMENT, "dd.mm.yyyy", "02.01.2026"),
        (MOMENT, "d/m/yy", "2/1/26"),
        (MOMENT, "dddd, d mmmm yyyy", "Friday, 2 January 2026"),
        (MOMENT, "ddd d-mmm", "Fri 2-Jan"),
        (MOMENT, "h:mm AM/PM", "3:04 PM"),
        (MOMENT, "mm:ss", "04:05"),
        (MOMENT, "[$-409]d\\-mmm\\-yyyy;@", "2-Jan-2026"),
        (MOMENT, 'd". "mmmm', "2. January"),
        (MOMENT, "mm-dd-yy", "2026-01-02"),  # the reader's locale: ISO 8601
        (MOMENT, "General", "2026-01-02 15:04:05"),
        (datetime.date(2026, 1, 2), "General", "2026-01-02"),
        (datetime.time(9, 5), "h:mm", "9:05"),
        (datetime.time(0, 5), "h:mm AM/PM", "12:05 AM"),
        (datetime.timedelta(hours=30, minutes=5), "[h]:mm", "30:05:00"),
    ],
)
def test_a_date_is_shown_by_its_format(value: datetime.datetime, number_format: str, shown: str) -> None:
    assert show_date(value, number_format) == shown


@settings(max_examples=500, deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20),
    st.text('0#?,.%;-/ymdhsAPE+[]$"\\_*@ Generl€', max_size=20),
)
def test_any_number_format_gives_a_text_or_a_number(number: float, number_format: str) -> None:
    assert isinstance(show_number(number, number_format), (int, float, str))
    assert isinstance(show_date(MOMENT, number_format), str)
