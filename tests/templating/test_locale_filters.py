"""Dates, numbers and currencies as a locale writes them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from jinja2 import TemplateRuntimeError

from mailer.templating import create_environment


def render(source: str, **names: Any) -> str:
    text = create_environment().from_string(source).render(**names)
    return text.replace("\xa0", " ").replace("\u202f", " ")  # CLDR's blanks differ between versions


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ '2026-11-30'|format_date }}", "30.11.2026"),
        ("{{ '2026-11-30'|format_date('long') }}", "30. November 2026"),
        ("{{ '2026-11-30T18:30'|format_date('long') }}", "30. November 2026"),
        ("{{ '2026-11-30'|format_date('EEEE', locale='en-GB') }}", "Monday"),
        ("{{ day|format_date('d. MMMM') }}", "30. November"),
        ("{{ moment|format_datetime('short') }}", "30.11.26, 18:30"),
        ("{{ '2026-11-30T18:30'|format_datetime('HH:mm', timezone='Europe/Berlin') }}", "19:30"),
        ("{{ '18:30'|format_time }}", "18:30"),
        ("{{ '1234.5'|format_decimal }} {{ 1234.5|format_number }}", "1.234,5 1.234,5"),
        ("{{ '1234.5'|format_decimal('#,##0.00', locale='en_US') }}", "1,234.50"),
        ("{{ '1234.5'|format_currency('EUR') }}", "1.234,50 €"),
        ("{{ 0.1|format_currency('usd', locale='en_US') }}", "$0.10"),
        ("{{ 0.25|format_percent }}", "25 %"),
        ("{{ ''|format_date }}{{ none|format_currency('EUR') }}{{ ''|format_time }}", ""),
    ],
)
def test_values_are_written_as_the_locale_does(source: str, expected: str) -> None:
    names = {"day": date(2026, 11, 30), "moment": datetime(2026, 11, 30, 18, 30)}
    assert render(source, lang="de", **names) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"lang": "fr"}, "1 234,5"),
        ({"locale": "en-IN", "lang": "fr"}, "1,234.5"),
        ({"locale": "", "lang": "de"}, "1.234,5"),
    ],
)
def test_the_locale_is_a_column_or_a_variable(names: dict[str, str], expected: str) -> None:
    assert render("{{ 1234.5|format_decimal }}", **names) == expected


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "{{ 1|format_decimal }}",
            "no locale is known; expected a column or a name in `vars` called locale or lang",
        ),
        ("{{ 1|format_decimal(locale='xx-unknown') }}", "'xx-unknown' is not a locale"),
        ("{{ 'soon'|format_date(locale='de') }}", "'soon' is not a date; expected for example 2026-11-30"),
        ("{{ 'soon'|format_time(locale='de') }}", "'soon' is not a time"),
        (
            "{{ 'ten'|format_currency('EUR', locale='de') }}",
            "'ten' is not a number; expected for example 1234.5",
        ),
        ("{{ true|format_decimal(locale='de') }}", "'True' is not a number"),
        ("{{ '1e999999'|format_decimal(locale='de') }}", "is not a number that can be written out"),
        ("{{ (10 ** 400)|format_decimal(locale='de') }}", "is not a number"),
        ("{{ 'nan'|format_percent(locale='de') }}", "'nan' is not a number that can be written out"),
        ("{{ 1|format_currency('Euro', locale='de') }}", "'Euro' is not a currency"),
        ("{{ 1|format_decimal('#' * 200, locale='de') }}", "a format has at most 100 characters"),
        ("{{ '18:30'|format_time(timezone='../x', locale='de') }}", "'../x' is not a time zone"),
        ("{{ nothing|format_date(locale='de') }}", "'nothing' is undefined"),
    ],
)
def test_an_error_says_what_is_expected(source: str, problem: str) -> None:
    with pytest.raises(TemplateRuntimeError) as caught:
        render(source)
    assert problem in str(caught.value)


def test_without_babel_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "babel", None)
    with pytest.raises(
        TemplateRuntimeError, match=r"format_decimal needs Babel: pip install 'mailer\[locale\]'"
    ):
        render("{{ 1|format_decimal(locale='de') }}")
