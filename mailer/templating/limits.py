"""How much a template may make: the limits, and the measure of a value.

Whatever a template builds is bounded where it is *used up* (shown, joined, compared, hashed), since that is where a
small thing becomes a large one: `[x, x]` forty times over is forty small lists, and 2^40 of text. A single operation
in C cannot be interrupted, so its result is known to be small before it begins; what takes many operations is the
watchdog's (`watchdog.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import TypeVar

from jinja2 import Undefined
from markupsafe import Markup

MOST_TEXT = 16 * 1024 * 1024  # characters in one string, and what all leaves of one value may weigh
MOST_ITEMS = 100_000  # of one list; Jinja2's own limit for range()
MOST_BITS = 8192  # of one integer: 2,466 digits, below the limit of Python's own conversion to text
MOST_WIDTH = 9999  # of one padded field, and of an indent

PLAIN = frozenset({str, Markup, int, float, bool, NoneType})  # types whose values have no parts
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


class OutOfBounds(Exception):
    """A template used up what it may have: time, memory, size. `str()` says which."""


def refuse(what: str) -> OutOfBounds:
    return OutOfBounds(f"stopped: {what}")


def weigh(value: object) -> int:
    """Characters (and 16 for each other part) of `value` written out, shared parts counted as often as they stand.

    Raises OutOfBounds as soon as that is over MOST_TEXT; takes at most as many steps.
    """
    room = MOST_TEXT
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (str, bytes)):
            room -= len(item)
        elif isinstance(item, _SEQUENCES):
            waiting.extend(item)
        elif isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, Undefined):
            str(item)  # a name in a list is as undefined as one alone: an error that names it
        room -= 16
        if room < 0 or len(waiting) > MOST_TEXT:
            raise refuse(f"a value of more than {MOST_TEXT:,} characters")
    return MOST_TEXT - room


def light(value: T) -> T:
    """`value`, unless it is too heavy to be shown or compared."""
    if value.__class__ not in PLAIN:
        weigh(value)
    return value


def text_of(length: int) -> None:
    """Raises OutOfBounds when a text of that many characters is more than one may have."""
    if length > MOST_TEXT:
        raise refuse(f"a text of {length:,} characters, where {MOST_TEXT:,} are the most")
