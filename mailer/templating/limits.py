"""The sizes that a template may use, and the functions that check them.

A small value becomes a large one when it is used: shown, joined, compared or hashed. `[x, x]`, nested forty
times, is forty small lists, but 2^40 characters of text. So a value's size is measured at the places that use
it, and the size of a result is computed before the operation starts. Operations that take many steps are
stopped by the processor time limit of the process that renders (`mailer.bounded_process`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType
from typing import TypeVar

from jinja2 import TemplateRuntimeError, Undefined
from markupsafe import Markup

from mailer.bounded_process import LimitExceeded

MAX_TEXT = 16 * 1024 * 1024  # characters of one string, and of all parts of one value together
MAX_ITEMS = 100_000  # of one list; Jinja2's own limit for range()
MAX_BITS = 8192  # of one integer: 2,466 digits, which is below the limit of Python's conversion to text
MAX_WIDTH = 9999  # characters of one padded field, and of an indent
PART_SIZE = 16  # characters that a part of a value counts for, beside its text

SCALARS = frozenset({str, Markup, int, float, bool, NoneType})  # types whose values have no parts
_SEQUENCES: tuple[type[Iterable[object]], ...] = (
    list,
    tuple,
    set,
    frozenset,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)

T = TypeVar("T")


def limit_exceeded(what: str) -> LimitExceeded:
    """The error for `what`, such as "a number that is too large"."""
    return LimitExceeded(f"stopped: {what}")


def measure_size(value: object, *, becomes_text: bool = False) -> int:
    """Return the number of characters of `value` written out, plus PART_SIZE for each part.

    A part that is shared is counted each time it occurs. Takes at most MAX_TEXT steps. Raises LimitExceeded
    when the size is over MAX_TEXT, and Jinja2's UndefinedError for an undefined name inside the value. If the
    value `becomes_text`, raises TemplateRuntimeError for a part that Python would show with its address in memory.
    """
    remaining = MAX_TEXT
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (str, bytes)):
            remaining -= len(item)
        elif isinstance(item, _SEQUENCES):
            waiting.extend(item)
        elif isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, Undefined):
            str(item)  # raises UndefinedError, as for a name that is alone
        elif becomes_text and item.__class__ not in SCALARS:
            _check_is_data(item)
        remaining -= PART_SIZE
        if remaining < 0 or len(waiting) > MAX_TEXT:
            raise limit_exceeded(f"a value of more than {MAX_TEXT:,} characters")
    return MAX_TEXT - remaining


def check_size(value: T) -> T:
    """Return `value`. Raises LimitExceeded when its size is over MAX_TEXT."""
    if value.__class__ not in SCALARS:
        measure_size(value)
    return value


def check_shown(value: T) -> T:
    """Return `value`, which becomes text. Raises as `measure_size` does."""
    if value.__class__ not in SCALARS:
        measure_size(value, becomes_text=True)
    return value


def _check_is_data(value: object) -> None:
    if isinstance(value, Iterator):  # what map, select and the like give
        raise TemplateRuntimeError(
            "a filter's items are shown here as one value; expected |list, |join or a loop"
        )
    if callable(value):
        raise TemplateRuntimeError("a function is shown here, not what it gives; expected a call, with ()")
    if value.__class__.__module__.startswith("jinja2."):
        raise TemplateRuntimeError(
            "an object of the template itself is shown here; expected one of its attributes"
        )


def check_text_length(length: int) -> None:
    """Raise LimitExceeded when `length`, in characters, is over MAX_TEXT."""
    if length > MAX_TEXT:
        raise limit_exceeded(f"a text of {length:,} characters; the limit is {MAX_TEXT:,}")


def check_item_count(count: int) -> None:
    """Raise LimitExceeded when `count`, the number of items of a list, is over MAX_ITEMS."""
    if count > MAX_ITEMS:
        raise limit_exceeded(f"a list of {count:,} items; the limit is {MAX_ITEMS:,}")


def check_bits(count: int) -> None:
    """Raise LimitExceeded when `count`, the number of bits of an integer, is over MAX_BITS."""
    if count > MAX_BITS:
        raise limit_exceeded("a number that is too large")
