"""A message's HTML and text, put together from fragments."""

from __future__ import annotations

from typing import Any, NamedTuple

from mailer.render.fragments import Fragment, TextPiece, join_pieces
from mailer.render.runs import AssembledText, Run
from mailer.render.skeleton import Skeleton
from mailer.render.transform import Transformed

_START, _END = -1, -2  # in place of the number of a piece of text


class Assembled(NamedTuple):
    """As `transform.Transformed`, with one recipient's values; `raw` are those that are not escaped."""

    html: AssembledText
    text: AssembledText | None
    images: dict[str, str | None]
    compared: list[tuple[Skeleton, Skeleton]]
    raw: list[Any]

    def is_like(self, other: Transformed) -> bool:
        """Whether both give the same messages."""
        texts, others = [self.html, self.text], [other.html, other.text]
        return [*self.images.items()] == [*other.images.items()] and all(
            (made and made.list_pieces()) == (expected and (expected.pieces, expected.numbers))
            for made, expected in zip(texts, others, strict=True)
        )


class Collector:
    """Collects the fragments of one message, in the order of its text."""

    def __init__(self, junctions: dict[tuple[int, ...], Run], pieces: list[TextPiece] | None = None) -> None:
        """`junctions` are what is between pieces of text, by their numbers.

        With `pieces`, all pieces by number, those that are not known are added; without, KeyError is raised.
        """
        self.html: list[Run] = []
        self.html_firsts: list[int] = []
        self.text: list[Run] = []
        self.text_firsts: list[int] = []
        self.shown: list[str] = []
        self.raw: list[Any] = []
        self.words: list[Any] = []  # values that are still to be checked
        self.with_images: list[Fragment] = []
        self.compared: list[tuple[Skeleton, Skeleton]] = []
        self.selected: list[frozenset[str]] = []
        self._numbers = [_START]
        self._junctions = junctions
        self._pieces = pieces

    def add(self, fragment: Fragment, first: int, has_text: bool) -> bool:
        """Add what is before a fragment's sections. Returns whether its text is shown.

        :param first: the number of its first value.
        """
        run = fragment.html[0]
        if not run.is_empty:
            self.html.append(run)
            if run.slots:
                self.html_firsts.append(first)
        if fragment.is_special:
            self._add_special(fragment, first)
        if not has_text or fragment.text is None:
            return False
        self._add_text(fragment.text[0], first)
        return True

    def _add_special(self, fragment: Fragment, first: int) -> None:
        if fragment.images:
            self.with_images.append(fragment)
        if fragment.selected:
            self.selected.append(fragment.selected)
        for label, address in fragment.compared:
            self.compared.append((_shift(label, first), _shift(address, first)))

    def add_behind(self, fragment: Fragment, number: int, first: int, is_shown: bool) -> None:
        """Add what is behind the section `number` of a fragment."""
        run = fragment.html[number + 1]
        if not run.is_empty:
            self.html.append(run)
            if run.slots:
                self.html_firsts.append(first)
        if is_shown and fragment.text is not None:
            self._add_text(fragment.text[fragment.text_indexes[number]], first)

    def _add_text(self, piece: TextPiece, first: int) -> None:
        number, _, core, _ = piece
        numbers = self._numbers
        numbers.append(number)
        if core is not None:
            run = self._junctions.get(tuple(numbers)) or self._join_pieces()
            if not run.is_empty:
                self.text.append(run)
            self.text.append(core)
            if core.slots:
                self.text_firsts.append(first)
            self._numbers = [number]

    def end_text(self) -> None:
        """Add what is behind the last piece of text."""
        self._numbers.append(_END)
        self.text.append(self._junctions.get(tuple(self._numbers)) or self._join_pieces())

    def _join_pieces(self) -> Run:
        """What is between pieces of text that were not beside each other yet."""
        key = tuple(self._numbers)
        if self._pieces is None:
            raise KeyError(key)
        pieces = [self._pieces[number] for number in key if number >= 0]
        text = join_pieces(pieces, is_start=key[0] == _START, is_end=key[-1] == _END)
        run = self._junctions[key] = Run([text], [])
        return run


def _shift(skeleton: Skeleton, first: int) -> Skeleton:
    return Skeleton(skeleton.pieces, [number + first for number in skeleton.numbers])
