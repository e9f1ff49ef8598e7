"""Jinja2's filters and tests with size checks: of what they are given, and of what they return."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from mailer.templating.limits import (
    MAX_BITS,
    MAX_WIDTH,
    SCALARS,
    check_item_count,
    check_shown,
    check_size,
    check_text_length,
    limit_exceeded,
    measure_size,
)
from mailer.templating.locale_filters import create_locale_filters
from mailer.templating.operators import format_percent

Filter = Callable[..., Any]
MAX_PLACES = 100  # of round(), which computes 10**places
MAX_SEARCHED = 200_000  # characters for filters that take more than linear time

_TEXTUAL = (
    "capitalize e escape filesizeformat float forceescape lower safe string title trim truncate upper"
    " urlencode wordcount xmlattr"
)
_SEARCHING = "pprint striptags urlize wordwrap"
_COMPARING = "dictsort groupby max min sort unique"
_COMPARISONS = "== eq equalto != ne > gt greaterthan ge >= < lt lessthan <= le in"


def _count_own_arguments(function: Filter) -> int:
    """The number of arguments at the begin that Jinja2 adds: its context or its environment."""
    return 0 if getattr(function, "jinja_pass_arg", None) is None else 1


def _check_text_filter(function: Filter) -> Filter:
    first = _count_own_arguments(function)

    @functools.wraps(function)
    def check_and_call(*args: Any, **kwargs: Any) -> Any:
        for value in args[first:]:
            if value.__class__ not in SCALARS:
                measure_size(value, becomes_text=True)
        made = function(*args, **kwargs)
        if isinstance(made, str):
            check_text_length(len(made))
        return made

    return check_and_call


def _check_search_filter(function: Filter) -> Filter:
    first = _count_own_arguments(function)

    @functools.wraps(function)
    def check_and_call(*args: Any, **kwargs: Any) -> Any:
        given = (*args[first:], *kwargs.values())
        if sum(measure_size(value, becomes_text=True) for value in given) > MAX_SEARCHED:
            raise limit_exceeded(f"a filter that searches more than {MAX_SEARCHED:,} characters")
        return function(*args, **kwargs)

    return check_and_call


def _check_comparing_filter(function: Filter) -> Filter:
    """Take the items out of an iterator first: they are what is compared."""

    @functools.wraps(function)
    def check_and_call(*args: Any, **kwargs: Any) -> Any:
        taken = [list(value) if hasattr(value, "__next__") else value for value in args]
        for value in (*taken, *kwargs.values()):
            _check_characters(value)
            check_size(value)
        return function(*taken, **kwargs)

    return check_and_call


def _check_comparison(function: Filter) -> Filter:
    @functools.wraps(function)
    def check_and_call(left: Any, right: Any) -> Any:
        return function(check_size(left), check_size(right))

    return check_and_call


def _limit_argument(function: Filter, name: str, position: int, most: int) -> Filter:
    """Check that the argument `name`, which is also args[position], lies within ±most."""

    @functools.wraps(function)
    def check_and_call(*args: Any, **kwargs: Any) -> Any:
        value = kwargs.get(name, args[position] if position < len(args) else 0)
        if isinstance(value, (int, float)) and not -most <= value <= most:
            raise limit_exceeded(f"{name}={value}; the limit is {most:,}")
        return function(*args, **kwargs)

    return check_and_call


def _sum(evaluation: Any, iterable: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
    """Jinja2's, of numbers: lists would be copied for each item."""
    if not isinstance(start, (int, float)):
        raise TypeError(f"sum: expected a number as start, found {type(start).__name__}")
    return _get_filter("sum")(evaluation, check_size(iterable), attribute, start)


def _int(value: Any, default: Any = 0, base: int = 10) -> Any:
    """Jinja2's, of a text whose digits fit into MAX_BITS bits: the division of longer numbers takes quadratic
    time.
    """
    if isinstance(check_size(value), str) and len(value) > MAX_BITS // 4:
        raise limit_exceeded(f"int of more than {MAX_BITS // 4:,} digits")
    return _get_filter("int")(value, default, base)


def _indent(s: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    if isinstance(width, int) and width > MAX_WIDTH:
        raise limit_exceeded(f"an indent of {width:,}; the limit is {MAX_WIDTH:,}")
    lines = len(check_size(s).splitlines()) + 1
    check_text_length(len(s) + lines * (len(width) if isinstance(width, str) else width))
    return _get_filter("indent")(s, width, first, blank)  # type: ignore[no-any-return]  # Jinja2's are not typed by name


def _replace(evaluation: Any, s: str, old: str, new: str, count: int | None = None) -> str:
    check_shown(s), check_shown(old), check_shown(new)
    check_text_length(len(str(s)) * 6 + str(s).count(str(old)) * len(str(new)) * 6)
    return _get_filter("replace")(evaluation, s, old, new, count)  # type: ignore[no-any-return]


def _join(evaluation: Any, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    _check_characters(value)
    parts = value if isinstance(value, (str, list, tuple, dict)) else list(value)
    check_text_length(measure_size(parts, becomes_text=True) + len(str(check_shown(d))) * len(parts))
    return _get_filter("join")(evaluation, parts, d, attribute)  # type: ignore[no-any-return]


def _format(value: str, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise TypeError("format takes values by position or by name, not both")
    return format_percent(value if isinstance(value, str) else str(check_shown(value)), kwargs or args)


def _list(value: Iterable[Any]) -> list[Any]:
    _check_characters(value)
    return list(value)


def _check_characters(value: object) -> None:
    """A filter of items takes a text for its characters: they are as few as the items of a list."""
    if isinstance(value, str):
        check_item_count(len(value))


def _get_filter(name: str) -> Filter:
    function: Filter = FILTERS[name]
    return function


def _same_arguments(function: Filter, name: str) -> Filter:
    """Jinja2 marks a filter whose first argument is the context or the environment; copy the mark."""
    return functools.update_wrapper(function, _get_filter(name), assigned=(), updated=("__dict__",))


def create_filters() -> dict[str, Filter]:
    """Return Jinja2's filters by name, with size checks, and those for dates and numbers of a locale."""
    filters: dict[str, Any] = dict(FILTERS)
    for names, check in (
        (_TEXTUAL, _check_text_filter),
        (_SEARCHING, _check_search_filter),
        (_COMPARING, _check_comparing_filter),
    ):
        filters.update({name: check(filters[name]) for name in names.split()})
    filters["sum"] = _same_arguments(_sum, "sum")
    filters["int"] = _int
    filters["center"] = _limit_argument(_check_text_filter(filters["center"]), "width", 1, MAX_WIDTH)
    filters["batch"] = _limit_argument(filters["batch"], "linecount", 1, MAX_WIDTH)
    filters["slice"] = _limit_argument(filters["slice"], "slices", 2, MAX_WIDTH)  # after the environment
    filters["round"] = _limit_argument(filters["round"], "precision", 1, MAX_PLACES)
    filters["tojson"] = _limit_argument(_check_text_filter(filters["tojson"]), "indent", 2, MAX_PLACES)
    filters["indent"] = _indent
    filters["replace"] = _same_arguments(_replace, "replace")
    filters["join"] = _same_arguments(_join, "join")
    filters["format"] = _format
    filters["list"] = _list
    filters.update(create_locale_filters())
    return filters


def create_tests() -> dict[str, Filter]:
    """Return Jinja2's tests by name, with size checks."""
    tests: dict[str, Any] = dict(TESTS)
    tests.update({name: _check_comparison(tests[name]) for name in _COMPARISONS.split()})
    return tests
