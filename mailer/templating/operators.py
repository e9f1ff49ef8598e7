"""Operators and methods that can make much out of little, each with its result bounded before it is made."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, SupportsIndex, cast

from jinja2.sandbox import SandboxedEnvironment, SandboxedEscapeFormatter, SandboxedFormatter
from markupsafe import Markup

from mailer.templating.limits import MOST_BITS, MOST_ITEMS, MOST_TEXT, MOST_WIDTH, light, refuse, text_of, weigh

_NUMBERS = frozenset({int, float, bool})
_FIELD = re.compile(r"\d{5}|\*")  # a width over MOST_WIDTH, or one taken from the arguments
_ESCAPED = 6  # the most that escaping makes of a character: `"` is `&#34;`


def _length(value: object) -> int:
    return len(value) if isinstance(value, (str, bytes, list, tuple)) else 0


def _items(left: object, count: int) -> None:
    text_of(count) if isinstance(left, (str, bytes)) else items_of(count)


def items_of(count: int) -> None:
    """Raises OutOfBounds when a list of that many items is more than one may have."""
    if count > MOST_ITEMS:
        raise refuse(f"a list of {count:,} items, where {MOST_ITEMS:,} are the most")


def add(left: Any, right: Any) -> Any:
    if left.__class__ not in _NUMBERS:
        _items(left, _length(left) + _length(right))
    return left + right


def multiply(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        _bits(left.bit_length() + right.bit_length())
    elif isinstance(right, int):
        _items(left, _length(left) * right)
    elif isinstance(left, int):
        _items(right, _length(right) * left)
    return left * right


def power(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        _bits(left.bit_length() * max(right, 0))
    return left**right


def _bits(count: int) -> None:
    if count > MOST_BITS:
        raise refuse("a number that is too large")


def modulo(left: Any, right: Any) -> Any:
    return percent(left, right) if isinstance(left, str) else left % right


def percent(pattern: str, values: Any) -> str:
    """`pattern % values`."""
    if _FIELD.search(pattern):
        raise refuse(f"a format field of more than {MOST_WIDTH:,} characters, or of a width that is not written out")
    text_of(len(pattern) + pattern.count("%") * (MOST_WIDTH + weigh(values) * _ESCAPED) if len(pattern) > 64 else 0)
    if values.__class__ not in _NUMBERS:
        text_of(pattern.count("%") * weigh(values) * _ESCAPED)
    return cast(str, pattern % values)


def _pad(name: str) -> Callable[..., str]:
    def method(text: str, width: SupportsIndex, *fill: str) -> str:
        text_of(operator.index(width))
        return cast(str, getattr(text, name)(width, *fill))

    return method


def expandtabs(text: str, tabsize: SupportsIndex = 8) -> str:
    text_of(len(text) + text.count("\t") * operator.index(tabsize))
    return text.expandtabs(tabsize)


def replace(text: str, old: str, new: str, count: SupportsIndex = -1) -> str:
    text_of(len(text) + text.count(old) * len(new) * (_ESCAPED if isinstance(text, Markup) else 1))
    return text.replace(old, new, count)


def join(separator: str, values: Iterable[Any]) -> str:
    parts = list(values)
    text_of(weigh(parts) + len(separator) * len(parts))
    return separator.join(parts)


def translate(text: str, table: Mapping[int, Any]) -> str:
    longest = max((_length(value) for value in table.values()), default=0)
    text_of(len(text) * max(longest, 1))
    return text.translate(table)


class _Formatter(SandboxedFormatter):
    """`str.format` whose fields, and their sum, are bounded."""

    def __init__(self, environment: SandboxedEnvironment, **options: Any) -> None:
        super().__init__(environment, **options)
        self._room = MOST_TEXT

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return super().convert_field(light(value), conversion)

    def format_field(self, value: Any, format_spec: str) -> Any:
        if _FIELD.search(format_spec):
            raise refuse(f"a format field of more than {MOST_WIDTH:,} characters")
        field = super().format_field(light(value), format_spec)
        self._room -= len(field)
        text_of(MOST_TEXT - self._room)
        return field


class _EscapeFormatter(_Formatter, SandboxedEscapeFormatter):
    pass


def formatter(environment: SandboxedEnvironment, text: str, *, mapping: bool) -> Callable[..., str]:
    """`text.format`, or with `mapping` `text.format_map`, within bounds and the sandbox."""
    kind = type(text)

    def method(*args: Any, **kwargs: Any) -> str:
        room = (
            _EscapeFormatter(environment, escape=text.escape) if isinstance(text, Markup) else _Formatter(environment)
        )
        return kind(room.vformat(text, (), args[0]) if mapping else room.vformat(text, args, kwargs))

    return method


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {"+": add, "*": multiply, "**": power, "%": modulo}

BOUNDED_METHODS: dict[str, Callable[..., str]] = {
    "center": _pad("center"),
    "ljust": _pad("ljust"),
    "rjust": _pad("rjust"),
    "zfill": _pad("zfill"),
    "expandtabs": expandtabs,
    "replace": replace,
    "join": join,
    "translate": translate,
}

_TEXT = frozenset(
    """
    capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit isidentifier islower
    isnumeric isprintable isspace istitle isupper lower lstrip partition removeprefix removesuffix rfind rindex
    rpartition rsplit rstrip split splitlines startswith strip swapcase title upper
    """.split()  # noqa: SIM905 - a line a name would be forty lines
)
_NUMBER = frozenset({"real", "imag", "numerator", "denominator", "is_integer", "bit_length", "conjugate"})

# What a template may reach of the types that data is made of. Everything else (encode, to_bytes, fromkeys, append ...)
# is refused, so that a type's new method in a later Python is, too.
METHODS: dict[type, frozenset[str]] = {
    str: _TEXT,
    Markup: _TEXT | {"striptags", "unescape"},
    int: _NUMBER,
    bool: _NUMBER,
    float: _NUMBER,
    list: frozenset({"count", "index", "copy"}),
    tuple: frozenset({"count", "index"}),
    dict: frozenset({"items", "keys", "values", "get", "copy"}),
    type(None): frozenset(),
    type: frozenset(),
}
