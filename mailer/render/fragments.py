"""What is cut out of HTML and text for one section, and compared with what was cut out before."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import NamedTuple

from mailer.render.plain_text import fill_gaps
from mailer.render.runs import Run
from mailer.render.skeleton import MARK, TOKEN, NotLocal, Skeleton, has_token
from mailer.render.text_sections import EDGE, join_edges

_CORE = re.compile(r"([ \n]*)(.*?)([ \n]*)", re.DOTALL)


class Cut(NamedTuple):
    """What is in one section of a text: texts, and the numbers of the sections between them."""

    texts: list[str]
    children: list[int]


class TextPiece(NamedTuple):
    """A piece of a text between two marks: its blanks and line ends at both ends, and what is between them.

    A piece that is blank has all of it in `before`.
    """

    number: int  # its own
    before: str
    core: Run | None
    after: str


class Fragment(NamedTuple):
    """What is made of one way through a section. `number` is its own, and that of its first piece of text."""

    number: int
    html: list[Run]  # before, between and behind the sections in it
    text: list[TextPiece] | None  # as `html`, but for the sections that are hidden; None if all of it is
    is_shown: list[bool]  # for each section, whether it is in the text
    text_indexes: list[int]  # for each section, which piece of text is behind it
    images: dict[str, str | None]
    compared: list[tuple[Skeleton, Skeleton]]
    selected: frozenset[str]  # selectors of style sheets that select something only in this section
    is_special: bool  # whether it has images, links that are compared, or such selectors

    def is_same(self, other: Fragment) -> bool:
        """Whether both put the same into a message; what it selects follows from that."""
        return _describe(self) == _describe(other)


def _describe(fragment: Fragment) -> tuple[object, ...]:
    text = [
        (piece.before, piece.core and (piece.core.texts, piece.core.slots), piece.after)
        for piece in fragment.text or ()
    ]
    links = [(part.pieces, part.numbers) for pair in fragment.compared for part in pair]
    html = [(run.texts, run.slots) for run in fragment.html]
    return html, fragment.text is None, text, fragment.is_shown, fragment.images, links


def cut_text(text: str, mark: re.Pattern[str]) -> dict[int, Cut]:
    """Cut a text at its marks.

    :param mark: MARK or MARK_COMMENT.
    :returns: what is in each section, by its number; 0 is what is in none.
    :raises NotLocal: if a mark is not in its place.
    """
    parts = mark.split(text)
    made = {0: Cut([parts[0]], [])}
    opened = [0]
    for number_text, kind, behind in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        number = int(number_text)
        if kind == "s":
            if number in made:
                raise NotLocal({number})
            made[opened[-1]].children.append(number)
            made[number] = Cut([behind], [])
            opened.append(number)
        else:
            if opened.pop() != number or not opened:
                raise NotLocal({number})
            made[opened[-1]].texts.append(behind)
    if len(opened) != 1 or any(MARK.search(part) for cut in made.values() for part in cut.texts):
        raise NotLocal(())
    return made


def make_fragment(
    html: Cut, text: Cut | None, first: int, children: list[list[int]], number: int
) -> Fragment:
    """Make a fragment without images and links of what was cut out.

    :param first: the number of the fragment's first slot.
    :param children: for each section in it, the numbers of its rounds.
    :param number: of the fragment.
    :raises NotLocal: if a token did not come through whole, or there is something between the rounds of a loop.
    """
    html_texts, html_shown = _join_rounds(html, children)
    if len(html_shown) != len(children):
        raise NotLocal(child for rounds in children for child in rounds)
    runs = [_make_run(part, first) for part in html_texts]
    if text is None:
        return Fragment(number, runs, None, [False] * len(children), [], {}, [], frozenset(), False)
    texts, shown = _join_rounds(text, children)
    pieces = [_make_piece(part, first, number + n) for n, part in enumerate(texts)]
    is_shown = [n in shown for n in range(len(children))]
    return Fragment(number, runs, pieces, is_shown, [*accumulate(is_shown)], {}, [], frozenset(), False)


def _join_rounds(cut: Cut, children: list[list[int]]) -> tuple[list[str], list[int]]:
    """The texts around each section, and which sections there are. NotLocal if a text is between two rounds."""
    texts, shown = [cut.texts[0]], []
    behind = dict(zip(cut.children, cut.texts[1:], strict=True))
    for number, rounds in enumerate(children):
        there = [child for child in rounds if child in behind]
        if not there:
            if rounds:
                continue
            raise NotLocal(())
        if there != rounds or any(behind[child] for child in rounds[:-1]):
            raise NotLocal(rounds)
        shown.append(number)
        texts.append(behind[rounds[-1]])
    return texts, shown


def _make_run(text: str, first: int) -> Run:
    parts = TOKEN.split(text)
    if any(has_token(part) for part in parts[0::2]):
        raise NotLocal(())
    return Run(parts[0::2], [int(number) - first for number in parts[1::2]])


def _make_piece(text: str, first: int, number: int) -> TextPiece:
    found = _CORE.fullmatch(text)
    if found is None or not found[2]:
        return TextPiece(number, text, None, "")
    return TextPiece(number, found[1], _make_run(fill_gaps(found[2]), first), found[3])


def join_pieces(pieces: list[TextPiece], *, is_start: bool, is_end: bool) -> str:
    """What is between two texts: the blanks and line ends of pieces beside each other.

    :param pieces: a piece with text (but for `is_start`), blank ones, and one with text (but for `is_end`).
    """
    parts = [piece.before for piece in pieces]
    if not is_start:
        parts[0] = "x" + pieces[0].after
    joined = join_edges(EDGE.join(parts) + ("" if is_end else "x"))
    if is_start:
        joined = joined.lstrip("\n")
    if is_end:
        joined = joined.rstrip("\n")
        joined += "\n" if joined else ""
    return fill_gaps(joined[0 if is_start else 1 : None if is_end else -1])
