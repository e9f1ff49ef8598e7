"""Filters that write dates and numbers as a locale does, with Babel (the extra `locale`).

They have the names and the formats of Babel. The locale is the argument `locale`, or else the value of the
column or variable `locale` or `lang`: "de", "pt-BR", "en_GB". A filter raises TemplateRuntimeError if its
value is no date or number, or if there is no locale. An empty value is written as empty text.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from jinja2 import TemplateRuntimeError, Undefined, pass_context
from jinja2.runtime import Context
from jinja2.utils import missing

from mailer.text import shorten

LOCALE_FILTERS = frozenset(
    {
        *(
            "format_currency",
            "format_date",
            "format_datetime",
            "format_decimal",
            "format_number",
            "format_percent",
        ),
        "format_time",
    }
)
LOCALE_NAMES = ("locale", "lang")  # of the columns or variables that give the locale, the first one first
MAX_FORMAT = 100  # characters of a format that the author writes
MAX_DIGITS = 60  # of a number, and of its exponent
Filter = Callable[..., str]


def find_locale(context: Context) -> Any:
    """Return the locale that a template's names give; None if they give none."""
    for name in LOCALE_NAMES:
        value = context.resolve_or_missing(name)
        if value is not missing and value:
            return value
    return None


def format_date(value: Any, format: str = "medium", *, locale: Any = None) -> str:
    """Format a date, or a text such as `2026-11-30`: `short`, `medium`, `long`, `full`, or a pattern such as `d. MMMM y`."""
    if _is_empty(value):
        return ""
    from babel import dates

    return dates.format_date(_parse_date(value), _check_format(format), locale=_parse_locale(locale))


def format_datetime(
    value: Any, format: str = "medium", *, locale: Any = None, timezone: str | None = None
) -> str:
    """Format a date with its time, or a text such as `2026-11-30T18:30`; as `format_date`, in `timezone` if given."""
    if _is_empty(value):
        return ""
    from babel import dates

    moment, zone = _parse_datetime(value), _parse_timezone(timezone)
    return dates.format_datetime(moment, _check_format(format), tzinfo=zone, locale=_parse_locale(locale))


def format_time(value: Any, format: str = "short", *, locale: Any = None, timezone: str | None = None) -> str:
    """Format the time of a date, or a text such as `18:30`; as `format_datetime`."""
    if _is_empty(value):
        return ""
    from babel import dates

    moment, zone = _parse_time(value), _parse_timezone(timezone)
    return dates.format_time(moment, _check_format(format), tzinfo=zone, locale=_parse_locale(locale))


def format_decimal(value: Any, format: str | None = None, *, locale: Any = None) -> str:
    """Format a number: `1234.5` is `1,234.5` in English and `1.234,5` in German; or a pattern such as `#,##0.00`."""
    if _is_empty(value):
        return ""
    from babel import numbers

    pattern = None if format is None else _check_format(format)
    return numbers.format_decimal(_parse_number(value), pattern, locale=_parse_locale(locale))


def format_currency(value: Any, currency: str, format: str | None = None, *, locale: Any = None) -> str:
    """Format an amount of money: `{{ total|format_currency('EUR') }}`."""
    if _is_empty(value):
        return ""
    from babel import numbers

    if not isinstance(currency, str) or len(currency) != 3 or not (currency.isascii() and currency.isalpha()):
        raise TemplateRuntimeError(f"{_quote(currency)} is not a currency; expected a code such as 'EUR'")
    pattern = None if format is None else _check_format(format)
    return numbers.format_currency(
        _parse_number(value), currency.upper(), pattern, locale=_parse_locale(locale)
    )


def format_percent(value: Any, format: str | None = None, *, locale: Any = None) -> str:
    """Format a share as a percentage: `0.25` is `25%` in English and `25 %` in German."""
    if _is_empty(value):
        return ""
    from babel import numbers

    pattern = None if format is None else _check_format(format)
    return numbers.format_percent(_parse_number(value), pattern, locale=_parse_locale(locale))


def create_locale_filters() -> dict[str, Filter]:
    """Return the filters by name. Each finds the locale in the template's names if no argument gives it."""
    functions = (format_date, format_datetime, format_time, format_decimal, format_currency, format_percent)
    filters = {function.__name__: _find_locale_first(function) for function in functions}
    filters["format_number"] = filters["format_decimal"]
    return filters


def _find_locale_first(function: Filter) -> Filter:
    @pass_context
    def with_locale(context: Context, *args: Any, **named: Any) -> str:
        try:
            return function(*args, **{"locale": None, **named, **add_locale(context, named)})
        except ImportError:
            raise TemplateRuntimeError(
                f"the filter {function.__name__} needs Babel: pip install 'mailer[locale]'"
            ) from None
        except (TemplateRuntimeError, TypeError):
            raise
        except Exception as error:  # Babel raises errors of many types for a pattern that is wrong
            raise TemplateRuntimeError(f"{function.__name__}: {error}") from None

    with_locale.__doc__ = function.__doc__
    with_locale.add_arguments = add_locale  # type: ignore[attr-defined]  # so that a compiled template finds it, too
    return with_locale


def add_locale(context: Context, named: dict[str, Any]) -> dict[str, Any]:
    """Return the argument `locale` for a filter that was called with the arguments `named`."""
    if "locale" in named or (found := find_locale(context)) is None:
        return {}
    return {"locale": found}


def _is_empty(value: Any) -> bool:
    if isinstance(value, Undefined):
        str(value)  # raises the error that names it
    return value is None or value == ""


def _quote(value: object) -> str:
    return repr(shorten(str(value), 20))


@lru_cache(maxsize=64)
def _find_known_locale(name: str) -> Any:
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(name.strip().replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return None


def _parse_locale(value: Any) -> Any:
    if value is None or value == "":
        raise TemplateRuntimeError(
            "no locale is known; expected a column or a name in `vars` called locale or lang, or the argument"
            " locale='en_GB'"
        )
    found = _find_known_locale(value) if isinstance(value, str) and len(value) < 40 else None
    if found is None:
        raise TemplateRuntimeError(f"{_quote(value)} is not a locale; expected for example 'de' or 'en_GB'")
    return found


def _check_format(pattern: Any) -> Any:
    if not isinstance(pattern, str) or len(pattern) > MAX_FORMAT:
        raise TemplateRuntimeError(f"a format has at most {MAX_FORMAT} characters")
    return pattern


def _parse_number(value: Any) -> Decimal:
    try:
        if isinstance(value, bool) or (isinstance(value, str) and len(value) > MAX_DIGITS):
            raise InvalidOperation
        if isinstance(value, int) and value.bit_length() > MAX_DIGITS * 3:
            raise InvalidOperation
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise TemplateRuntimeError(f"{_quote(value)} is not a number; expected for example 1234.5") from None
    if not number.is_finite() or abs(number.adjusted()) > MAX_DIGITS:
        raise TemplateRuntimeError(f"{_quote(value)} is not a number that can be written out")
    return number


def _parse_date(value: Any) -> Any:
    if isinstance(value, date):
        return value
    return _parse_datetime(value).date() if len(str(value)) > len("2026-11-30") else _parse_iso(date, value)


def _parse_datetime(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    return _parse_iso(datetime, value)


def _parse_time(value: Any) -> Any:
    if isinstance(value, (datetime, time)):
        return value
    return _parse_iso(time if len(str(value)) <= len("18:30:00") else datetime, value)


def _parse_iso(kind: Any, value: Any) -> Any:
    example = {date: "2026-11-30", datetime: "2026-11-30T18:30", time: "18:30"}[kind]
    try:
        return kind.fromisoformat(value.strip())
    except (ValueError, AttributeError, OverflowError):
        raise TemplateRuntimeError(
            f"{_quote(value)} is not a {kind.__name__}; expected for example {example}"
        ) from None


def _parse_timezone(name: str | None) -> Any:
    if name is None:
        return None
    from babel import dates

    try:
        return dates.get_timezone(name)
    except (LookupError, ValueError):
        raise TemplateRuntimeError(f"{_quote(name)} is not a time zone; expected 'Europe/Berlin'") from None
