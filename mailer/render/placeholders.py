"""Markup with marks where a recipient's values stand, so that what is made of it is made once for many recipients.

Deriving a text from HTML takes a millisecond and more, Markdown and MJML as much; the structure is the same for
most recipients. So the work is done on the skeleton (the markup, a mark in place of each value), kept, and the values
are put in where the marks came out. A mark is a word of ASCII letters and digits, which passes through any markup
unchanged, and which no data holds, since it is made anew in each process.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup, escape

from mailer.templating.environment import show_html, show_text
from mailer.templating.limits import check_size

_SIGN = f"zq{secrets.token_hex(8)}x"
_MARK = re.compile(_SIGN + r"(\d+)q")
_CLEAN = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]+(?: [^\s\x00-\x1f\x7f-\x9f]+)*")  # nothing that HTML collapses or drops
_MEANT = re.compile(r"none|hidden|\A[#?]|\Acid:", re.IGNORECASE)  # values that change what is shown, or linked to
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:px|%)?")
MAX_SLOT = 4096  # characters of a value that gets a mark
MAX_KEPT = 128  # skeletons
MAX_SKELETON = 512 * 1024  # characters of one that is kept


class Slots:
    """The values of one message, by their marks. The same value has the same mark, as a transformation may compare."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._numbers: dict[str, int] = {}
        self._leaves: dict[int, tuple[Markup, str]] = {}

    def clear(self) -> None:
        self.values = []
        self._numbers.clear()
        self._leaves.clear()

    def mark(self, value: str) -> str:
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return f"{_SIGN}{number}q"

    def marked(self, value: Any) -> str:
        """Shows a value as its mark: for markup in which a value's own characters would mean something."""
        if hasattr(value, "__html__"):
            return show_html(value)
        text = show_text(value)
        return text if _NUMBER.fullmatch(text) or not text.strip() else self.mark(text)

    def noted(self, value: Any) -> str:
        """Shows a value as it is, and remembers the piece of output that it became: an object of its own."""
        piece = escape(check_size(value))
        if not hasattr(value, "__html__"):
            self._leaves[id(piece)] = piece, str(value)  # `piece` is kept, so that its id is not given again
        return piece

    def skeleton(self, pieces: Sequence[str]) -> str:
        """The output with marks for the pieces noted, but for those that would change the structure."""
        made: list[str] = []
        if any("<th" in piece for piece in pieces):  # a table of data: its columns are as wide as its values
            return "".join(pieces)
        for piece in pieces:
            leaf = self._leaves.get(id(piece))
            if leaf is not None and _replaceable(leaf[1], made):
                made.append(self.mark(leaf[1]))
            else:
                made.append(piece)
        return "".join(made)


def _replaceable(value: str, before: Sequence[str]) -> bool:
    return (
        len(value) <= MAX_SLOT
        and _CLEAN.fullmatch(value) is not None
        and _MEANT.search(value) is None
        and not (before and before[-1].endswith(("<", "</", "&")))
    )


class Filling:
    """A text in which marks stand."""

    __slots__ = ("_numbers", "_pieces", "skeleton")

    def __init__(self, text: str) -> None:
        """ValueError where a mark did not come through whole: the value in it would be lost."""
        self.skeleton = text
        self._pieces = _MARK.split(text)
        self._numbers = [int(number) for number in self._pieces[1::2]]
        if any(_SIGN in piece.lower() for piece in self._pieces[0::2]):
            raise ValueError("a value is changed after it was written: use a filter on the value, not on a block")

    def fill(self, values: Sequence[str]) -> str:
        pieces = self._pieces.copy()
        pieces[1::2] = [values[number] for number in self._numbers]
        return "".join(pieces)


class Transformation:
    """A costly function of markup, applied to skeletons, the latest of which are kept."""

    def __init__(self, function: Callable[[str], str]) -> None:
        self._function = function
        self._kept: OrderedDict[bytes, Filling] = OrderedDict()

    def __call__(self, skeleton: str) -> Filling:
        digest = hashlib.blake2b(skeleton.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        filling = self._kept.get(digest)
        if filling is None:
            filling = Filling(self._function(skeleton))
            if len(skeleton) <= MAX_SKELETON:
                self._kept[digest] = filling
                if len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(digest)
        return filling
