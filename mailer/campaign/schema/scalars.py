"""YAML 1.2's scalars: what a plain text, or one with a tag of the core schema, is (YAML 1.2.2, 10.3).

An integer with a leading zero or a plus sign is text, because a postcode or a telephone number needs them.
"""

from __future__ import annotations

import math
import re
from typing import TypeVar

from mailer.text import shorten

T = TypeVar("T")
ScalarValue = str | int | float | bool | None

MAX_DIGITS = 400
MAX_QUOTED = 20  # characters of a value in a message: a file that is not a campaign may hold secrets

CORE = "tag:yaml.org,2002:"
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_WHOLE = r"(?:0|[1-9][0-9]*)"
_FLOAT = re.compile(rf"[-+]?(?:(?:\.[0-9]+|{_WHOLE}\.[0-9]*)(?:[eE][-+]?[0-9]+)?|{_WHOLE}[eE][-+]?[0-9]+)")
_FIRST = frozenset("-+.0123456789~nNtTfF")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}
_TAGS: dict[str, tuple[type, ...]] = {
    CORE + "null": (type(None),),
    CORE + "bool": (bool,),
    CORE + "int": (int,),
    CORE + "float": (int, float),
}


def scalar_value(text: str, tag: str | None, *, plain: bool) -> ScalarValue:
    """Return the value of a scalar; `plain` if it has no quotes. ValueError says what is wrong with it."""
    if tag is not None:
        return _tagged_value(text, tag)
    return resolve_plain(text) if plain else text


def resolve_plain(text: str) -> ScalarValue:
    """Return a plain scalar's value. ValueError for a number that JSON readers cannot hold."""
    if not text:
        return None
    if text[0] not in _FIRST:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a number of more than {MAX_DIGITS} digits; in quotes it is text")
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return _require_finite(float(text))
    if _SPECIAL_FLOAT.fullmatch(text):
        return _require_finite(math.inf)
    return text


def _require_finite(number: float) -> float:
    if math.isinf(number):
        raise ValueError("infinity and NaN are not numbers here; in quotes they are text")
    return number


def _tagged_value(text: str, tag: str) -> ScalarValue:
    """An explicit tag of the core schema asks for that type; any other is refused."""
    if tag in ("!", CORE + "str"):
        return text
    types = _TAGS.get(tag)
    if types is None:
        raise ValueError(f"the tag {show_tag(tag)} is not allowed; expected a plain value")
    value = resolve_plain(text)
    if type(value) not in types:
        raise ValueError(f"{shorten(text, MAX_QUOTED)!r} is not what its tag {show_tag(tag)} says")
    return float(value) if tag == CORE + "float" and isinstance(value, int) else value


def show_tag(tag: str) -> str:
    """Return a tag as people write it."""
    return shorten("!!" + tag.removeprefix(CORE) if tag.startswith(CORE) else tag, MAX_QUOTED + 2)


def written_number(value: T, text: str) -> T | str:
    """Return `value`, or `text` if `value` is a number that would not be shown as it was written (1.10, 1e3,
    0x1F).
    """
    return (
        text
        if isinstance(value, (int, float)) and not isinstance(value, bool) and str(value) != text
        else value
    )
