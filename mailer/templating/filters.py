"""Jinja2's filters and tests, bounded: what they are given is weighed, what they make is measured."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from mailer.templating.limits import MOST_WIDTH, PLAIN, light, refuse, text_of, weigh
from mailer.templating.operators import items_of, percent

Filter = Callable[..., Any]
MOST_PLACES = 100  # of round(): 10**places is computed
MOST_LINKED = 200_000  # characters that urlize, wordwrap and striptags may search: they are not linear

_TEXTUAL = (
    "capitalize e escape filesizeformat float forceescape int lower pprint string title trim truncate upper"
    " urlencode wordcount xmlattr"
)
_SEARCHING = "striptags urlize wordwrap"
_COMPARING = "dictsort groupby max min sort sum unique"
_COMPARISONS = "== eq equalto != ne > gt greaterthan ge >= < lt lessthan <= le in"


def _textual(function: Filter) -> Filter:
    @functools.wraps(function)
    def bounded_filter(*args: Any, **kwargs: Any) -> Any:
        for value in args:
            if value.__class__ not in PLAIN:
                weigh(value)
        made = function(*args, **kwargs)
        if isinstance(made, str):
            text_of(len(made))
        return made

    return bounded_filter


def _searching(function: Filter) -> Filter:
    @functools.wraps(function)
    def bounded_filter(*args: Any, **kwargs: Any) -> Any:
        if sum(weigh(value) for value in (*args, *kwargs.values())) > MOST_LINKED:
            raise refuse(f"a filter that searches more than {MOST_LINKED:,} characters")
        return function(*args, **kwargs)

    return bounded_filter


def _comparing(function: Filter) -> Filter:
    """An iterator's items are taken out first: they are what is compared."""

    @functools.wraps(function)
    def bounded_filter(*args: Any, **kwargs: Any) -> Any:
        taken = [list(value) if hasattr(value, "__next__") else value for value in args]
        for value in (*taken, *kwargs.values()):
            light(value)
        return function(*taken, **kwargs)

    return bounded_filter


def _comparison(function: Filter) -> Filter:
    @functools.wraps(function)
    def bounded_test(left: Any, right: Any) -> Any:
        return function(light(left), light(right))

    return bounded_test


def _limit(function: Filter, name: str, position: int, most: int) -> Filter:
    """The filter's argument `name` (or at that position, the value not counted) lies within ±most."""

    @functools.wraps(function)
    def bounded_filter(*args: Any, **kwargs: Any) -> Any:
        value = kwargs.get(name, args[position] if position < len(args) else 0)
        if isinstance(value, (int, float)) and not -most <= value <= most:
            raise refuse(f"{name}={value}, where {most:,} is the most")
        return function(*args, **kwargs)

    return bounded_filter


def _indent(s: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    if isinstance(width, int) and width > MOST_WIDTH:
        raise refuse(f"an indent of {width:,}, where {MOST_WIDTH:,} is the most")
    lines = len(light(s).splitlines()) + 1
    text_of(len(s) + lines * (len(width) if isinstance(width, str) else width))
    return _filter("indent")(s, width, first, blank)  # type: ignore[no-any-return]  # Jinja2's are not typed by name


def _replace(evaluation: Any, s: str, old: str, new: str, count: int | None = None) -> str:
    light(s), light(old), light(new)
    text_of(len(str(s)) * 6 + str(s).count(str(old)) * len(str(new)) * 6)
    return _filter("replace")(evaluation, s, old, new, count)  # type: ignore[no-any-return]


def _join(evaluation: Any, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    parts = value if isinstance(value, (str, list, tuple, dict)) else list(value)
    text_of(weigh(parts) + len(str(light(d))) * len(parts))
    return _filter("join")(evaluation, parts, d, attribute)  # type: ignore[no-any-return]


def _format(value: str, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise TypeError("format takes values by position or by name, not both")
    return percent(value if isinstance(value, str) else str(light(value)), kwargs or args)


def _list(value: Iterable[Any]) -> list[Any]:
    if isinstance(value, str):
        items_of(len(value))
    return list(value)


def _filter(name: str) -> Filter:
    function: Filter = FILTERS[name]
    return function


def _same_arguments(function: Filter, name: str) -> Filter:
    """Jinja2 marks a filter that wants the context or environment first; ours for it wants the same."""
    return functools.update_wrapper(function, _filter(name), assigned=(), updated=("__dict__",))


def bounded_filters() -> dict[str, Filter]:
    filters: dict[str, Any] = dict(FILTERS)
    for names, wrap in ((_TEXTUAL, _textual), (_SEARCHING, _searching), (_COMPARING, _comparing)):
        filters.update({name: wrap(filters[name]) for name in names.split()})
    filters["center"] = _limit(_textual(filters["center"]), "width", 1, MOST_WIDTH)
    filters["batch"] = _limit(filters["batch"], "linecount", 1, MOST_WIDTH)
    filters["slice"] = _limit(filters["slice"], "slices", 2, MOST_WIDTH)  # after the environment
    filters["round"] = _limit(filters["round"], "precision", 1, MOST_PLACES)
    filters["tojson"] = _limit(_textual(filters["tojson"]), "indent", 2, MOST_PLACES)
    filters["indent"] = _indent
    filters["replace"] = _same_arguments(_replace, "replace")
    filters["join"] = _same_arguments(_join, "join")
    filters["format"] = _format
    filters["list"] = _list
    return filters


def bounded_tests() -> dict[str, Filter]:
    tests: dict[str, Any] = dict(TESTS)
    tests.update({name: _comparison(tests[name]) for name in _COMPARISONS.split()})
    return tests
