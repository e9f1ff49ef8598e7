"""Ways through a template that cannot fail if the recipient's values are plain text.

Plain text is printable, not empty, and has one blank between two words. Many functions of a template make
plain text of plain text, and never fail. A way is plain if it computes nothing else beside its guards'
questions. Then the values need only be looked at: nothing has to be computed or put into the way's slots to know
that its output can be made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mailer.render.recording import Instruction
from mailer.templating import BoundedEnvironment
from mailer.templating.environment import show_html, show_text

MAX_PLAIN = 1024  # characters of the values that a way shows
# Characters of the result for each one that they are given, at most.
_FILTERS = {"capitalize": 3, "lower": 3, "string": 1, "title": 3, "trim": 1, "upper": 3, "urlencode": 12}
_DEFAULTS = ("default", "d")  # their other arguments matter only for a value that is not there, or empty
_CALL = re.compile(r"\{F\}\(v(\d+)(, (?:\*\*)?\{K\d+\})*\)")

PlainGains = Mapping[Callable[..., Any], int]


class PlainSlots(NamedTuple):
    """What a plain way shows.

    `names` are those of the recipient's values. `gain` is the number of characters that it makes of one, at
    most.
    """

    names: tuple[str, ...]
    gain: int

    def measure(
        self,
        base: int,
        slots: int,
        limit: int,
        *,
        images: Mapping[str, str | None] = {},
        may_have_colons: bool = True,
    ) -> PlainMeasure | None:
        """Return how much is made: of `base` constant characters, with the values in so many `slots`.

        None if that may be more than `limit`. `images` are those that the way shows, as `Images.make_parts`
        takes them.
        """
        gain = self.gain * slots
        if base + gain * MAX_PLAIN > limit:
            return None
        return PlainMeasure(self.names, gain, base, may_have_colons, images)


class PlainMeasure(NamedTuple):
    """How much is made of a plain way.

    That are `base` characters, and `gain` for each character of the values `names`.
    """

    names: tuple[str, ...]
    gain: int
    base: int
    may_have_colons: bool
    images: Mapping[str, str | None]

    def apply(self, variables: Mapping[str, Any]) -> int | None:
        """Return how many characters are made for a recipient, at most; None if a value is not plain text."""
        names = self.names
        if not names:
            return self.base
        try:
            text = " ".join([variables[name] for name in names])
        except TypeError:  # a number or a list
            return None
        if len(text) > MAX_PLAIN or not is_plain(text) or (":" in text and not self.may_have_colons):
            return None
        return self.base + self.gain * len(text)


def is_plain(text: str) -> bool:
    """Return whether `text` is plain. Texts with a blank between them are plain if each of them is."""
    return text.isprintable() and "  " not in text and text != "" and text[0] != " " and text[-1] != " "


def list_plain_gains(environment: BoundedEnvironment) -> PlainGains:
    """Return the functions of `environment` that make plain text of plain text, or what HTML writes for it.

    They never fail. Each has the number of characters that it makes of one.
    """
    gains: dict[Callable[..., Any], int] = {show_html: 5, show_text: 1}
    gains |= {environment.filters[name]: gain for name, gain in _FILTERS.items()}
    return gains | {environment.filters[name]: 0 for name in _DEFAULTS}


def find_plain_slots(
    steps: Iterable[Instruction], needed: Iterable[int], gains: PlainGains
) -> PlainSlots | None:
    """Return what a way shows if it is plain, or None if it is not.

    :param steps: all that is computed on the way.
    :param needed: the registers that are shown, and those that no guard asks about.
    :param gains: as of `list_plain_gains`.
    """
    texts: dict[int, PlainSlots] = {}
    for step in steps:
        if (text := _find_text(step, texts, gains)) is not None:
            texts[step.register] = text
    found = [texts.get(register) for register in needed]
    known = [text for text in found if text is not None]
    if len(known) < len(found):
        return None
    names = dict.fromkeys(name for text in known for name in text.names)
    return PlainSlots(tuple(names), max((text.gain for text in known), default=0))


def _find_text(step: Instruction, texts: Mapping[int, PlainSlots], gains: PlainGains) -> PlainSlots | None:
    """What the register of `step` has if that is plain text. `texts` are those of the registers before it."""
    if "F" not in step.constants:
        return PlainSlots((str(step.constants["K0"]),), 1) if not step.uses else None
    function: Any = step.constants["F"]
    call = _CALL.fullmatch(step.source)
    if call is None or not hasattr(function, "__hash__") or function not in gains:
        return None
    text, gain = texts.get(int(call[1])), gains[function]
    if text is None or (call[2] and gain):  # only a default has other arguments
        return None
    return text._replace(gain=text.gain * max(gain, 1))
