"""Operators and methods whose result can be much larger than their operands, or slow: each checks before it starts."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, SupportsIndex, cast

from jinja2.sandbox import SandboxedEnvironment, SandboxedEscapeFormatter, SandboxedFormatter
from markupsafe import Markup

from mailer.templating.limits import (
    MAX_ITEMS,
    MAX_WIDTH,
    check_bits,
    check_item_count,
    check_shown,
    check_size,
    check_text_length,
    limit_exceeded,
    measure_size,
)

_NUMBERS = frozenset({int, float, bool})
_FIELD = re.compile(r"\d{5}|\*")  # a width over MAX_WIDTH, or one that is taken from the arguments
_ESCAPED = 6  # characters that escaping makes of one, at most: `"` is `&#34;`
_SEARCHES = (
    "count",
    "find",
    "index",
    "rfind",
    "rindex",
    "partition",
    "rpartition",
    "strip",
    "lstrip",
    "rstrip",
)
MAX_STEPS = 200_000_000  # of one search: the length of the text times the length of what is searched for


def _length(value: object) -> int:
    return len(value) if isinstance(value, (str, bytes, list, tuple)) else 0


def _check_length(left: object, count: int) -> None:
    check_text_length(count) if isinstance(left, (str, bytes)) else check_item_count(count)


def _check_search(text: str, *arguments: object) -> None:
    """Some searches of Python compare each character of the text with each character of the argument."""
    if len(text) * max(map(_length, arguments), default=0) > MAX_STEPS:
        raise limit_exceeded("a search for a long text in a long text")


def checked_add(left: Any, right: Any) -> Any:
    """`left + right`, after a check of the length of the result."""
    if left.__class__ not in _NUMBERS:
        _check_length(left, _length(left) + _length(right))
    return left + right


def checked_multiply(left: Any, right: Any) -> Any:
    """`left * right`, after a check of the length, or of the number of bits, of the result."""
    if isinstance(left, int) and isinstance(right, int):
        check_bits(left.bit_length() + right.bit_length())
    elif isinstance(right, int):
        _check_length(left, _length(left) * right)
    elif isinstance(left, int):
        _check_length(right, _length(right) * left)
    return left * right


def checked_power(left: Any, right: Any) -> Any:
    """`left ** right`, after a check of the number of bits of the result."""
    if isinstance(left, int) and isinstance(right, int):
        check_bits(left.bit_length() * max(right, 0))
    return left**right


def checked_floordiv(left: Any, right: Any) -> Any:
    """`left // right`, after a check of the numbers of bits: long division takes quadratic time."""
    _check_operands(left, right)
    return left // right


def checked_modulo(left: Any, right: Any) -> Any:
    """`left % right` of numbers, or the format operation of a text."""
    if isinstance(left, str):
        return format_percent(left, right)
    _check_operands(left, right)
    return left % right


def _check_operands(*numbers: object) -> None:
    for number in numbers:
        if isinstance(number, int):
            check_bits(number.bit_length())


def format_percent(pattern: str, values: Any) -> str:
    """`pattern % values`, after a check of the length of the result."""
    if _FIELD.search(pattern):
        raise limit_exceeded(
            f"a format field of more than {MAX_WIDTH:,} characters, or with a width that is not a literal number"
        )
    if len(pattern) > 64:
        check_text_length(
            len(pattern)
            + pattern.count("%") * (MAX_WIDTH + measure_size(values, becomes_text=True) * _ESCAPED)
        )
    if values.__class__ not in _NUMBERS:
        check_text_length(pattern.count("%") * measure_size(values, becomes_text=True) * _ESCAPED)
    return cast(str, pattern % values)


def _create_padding(name: str) -> Callable[..., str]:
    def pad(text: str, width: SupportsIndex, *fill: str) -> str:
        check_text_length(operator.index(width))
        return cast(str, getattr(text, name)(width, *fill))

    return pad


def _create_search(name: str) -> Callable[..., Any]:
    def search(text: str, *arguments: Any) -> Any:
        _check_search(text, *arguments)
        return getattr(text, name)(*arguments)

    return search


def _create_split(name: str) -> Callable[..., list[str]]:
    def split(text: str, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        _check_search(text, sep)
        wanted = operator.index(maxsplit)
        parts = cast(list[str], getattr(text, name)(sep, wanted if 0 <= wanted <= MAX_ITEMS else MAX_ITEMS))
        if wanted != MAX_ITEMS:
            check_item_count(len(parts))
        return parts

    return split


def _create_item_search(name: str) -> Callable[..., int]:
    def search(items: Sequence[Any], *arguments: Any) -> int:
        check_size(items)
        return cast(int, getattr(items, name)(*arguments))

    return search


def checked_splitlines(text: str, keepends: bool = False) -> list[str]:
    """`text.splitlines()`, of at most MAX_ITEMS lines."""
    lines = text.splitlines(keepends)
    check_item_count(len(lines))
    return lines


def checked_expandtabs(text: str, tabsize: SupportsIndex = 8) -> str:
    """`text.expandtabs()`, after a check of the length of the result."""
    check_text_length(len(text) + text.count("\t") * operator.index(tabsize))
    return text.expandtabs(tabsize)


def checked_replace(text: str, old: str, new: str, count: SupportsIndex = -1) -> str:
    """`text.replace()`, after a check of the length of the result."""
    _check_search(text, old)
    check_shown(old), check_shown(new)
    check_text_length(len(text) + text.count(old) * len(new) * (_ESCAPED if isinstance(text, Markup) else 1))
    return text.replace(old, new, count)


def checked_join(separator: str, values: Iterable[Any]) -> str:
    """`separator.join(values)`, after a check of the length of the result."""
    parts = list(values)
    check_text_length(measure_size(parts, becomes_text=True) + len(separator) * len(parts))
    return separator.join(parts)


def checked_translate(text: str, table: Mapping[int, Any]) -> str:
    """`text.translate(table)`, after a check of the length of the result."""
    longest = max((_length(value) for value in table.values()), default=0)
    check_text_length(len(text) * max(longest, 1))
    return text.translate(table)


class _Formatter(SandboxedFormatter):
    """`str.format` that checks the length of each field and of all of them together."""

    def __init__(self, environment: SandboxedEnvironment, **options: Any) -> None:
        super().__init__(environment, **options)
        self._length = 0

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return super().convert_field(check_shown(value), conversion)

    def format_field(self, value: Any, format_spec: str) -> Any:
        if _FIELD.search(format_spec):
            raise limit_exceeded(f"a format field of more than {MAX_WIDTH:,} characters")
        field = super().format_field(check_shown(value), format_spec)
        self._length += len(field)
        check_text_length(self._length)
        return field


class _EscapeFormatter(_Formatter, SandboxedEscapeFormatter):
    pass


def create_formatter(environment: SandboxedEnvironment, text: str, *, is_mapping: bool) -> Callable[..., str]:
    """Return `text.format`, or `text.format_map` if `is_mapping`, with the sandbox's rules and size checks."""
    kind = type(text)

    def method(*args: Any, **kwargs: Any) -> str:
        formatter = (
            _EscapeFormatter(environment, escape=text.escape)
            if isinstance(text, Markup)
            else _Formatter(environment)
        )
        return kind(
            formatter.vformat(text, (), args[0]) if is_mapping else formatter.vformat(text, args, kwargs)
        )

    return method


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": checked_add,
    "*": checked_multiply,
    "**": checked_power,
    "//": checked_floordiv,
    "%": checked_modulo,
}

CHECKED_METHODS: dict[str, Callable[..., Any]] = {
    **{name: _create_padding(name) for name in ("center", "ljust", "rjust", "zfill")},
    **{name: _create_search(name) for name in _SEARCHES},
    "split": _create_split("split"),
    "rsplit": _create_split("rsplit"),
    "splitlines": checked_splitlines,
    "expandtabs": checked_expandtabs,
    "replace": checked_replace,
    "join": checked_join,
    "translate": checked_translate,
}

CHECKED_ITEM_METHODS: dict[str, Callable[..., int]] = {
    name: _create_item_search(name) for name in ("count", "index")
}

_TEXT = frozenset(
    """
    capitalize casefold isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace
    istitle isupper lower removeprefix removesuffix startswith endswith swapcase title upper
    """.split()  # noqa: SIM905 - with one name in each line, this would take twenty lines
)
_NUMBER = frozenset({"real", "imag", "numerator", "denominator", "is_integer", "bit_length", "conjugate"})

# The attributes that a template may use, by the type of the value. Every other one (encode, to_bytes, fromkeys, append
# ...) is refused, and so is an attribute that a later version of Python adds.
METHODS: dict[type, frozenset[str]] = {
    str: _TEXT,
    Markup: _TEXT | {"striptags", "unescape"},
    int: _NUMBER,
    bool: _NUMBER,
    float: _NUMBER,
    list: frozenset({"copy"}),
    tuple: frozenset(),
    dict: frozenset({"items", "keys", "values", "get", "copy"}),
    type(None): frozenset(),
    type: frozenset(),
}
