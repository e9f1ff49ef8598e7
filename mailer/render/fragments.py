"""What is cut out of HTML and text for one section, and compared with what was cut out before."""

from __future__ import annotations

import re
from typing import NamedTuple

from mailer.render.skeleton import MARK, TOKEN, NotLocal, Skeleton, has_token

SLOT = "\ue0c3"  # private use: stands for a slot in a fragment


class Cut(NamedTuple):
    """What is in one section of a text: texts, and the numbers of the sections between them."""

    texts: list[str]
    children: list[int]


class Fragment(NamedTuple):
    """What is made of one way through a section. `children` are the numbers of sections, or rounds, in it."""

    html: list[str]
    html_slots: list[list[int]]
    text: list[str] | None
    text_children: list[int]
    text_slots: list[list[int]]
    images: dict[str, str | None]
    compared: list[tuple[Skeleton, Skeleton]]
    text_numbers: list[int]  # of the pieces of `text`, each its own
    selected: frozenset[str]  # selectors of style sheets that select something only in this section

    def is_same(self, other: Fragment) -> bool:
        """Whether both put the same into a message; what it selects follows from that."""
        return self[:6] == other[:6] and _describe(self.compared) == _describe(other.compared)


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


def _describe(compared: list[tuple[Skeleton, Skeleton]]) -> list[tuple[list[str], list[int]]]:
    return [(part.pieces, part.numbers) for pair in compared for part in pair]


def make_fragment(html: Cut, text: Cut | None, first: int, children: list[list[int]]) -> Fragment:
    """Make a fragment without images and links of what was cut out.

    :param first: the number of the fragment's first slot.
    :param children: for each section in it, the numbers of its rounds.
    :raises NotLocal: if a token did not come through whole, or there is something between the rounds of a loop.
    """
    html_texts, html_shown = _join_rounds(html, children)
    if len(html_shown) != len(children):
        raise NotLocal(number for rounds in children for number in rounds)
    made_html, html_slots = _take_slots(html_texts, first)
    if text is None:
        return Fragment(made_html, html_slots, None, [], [], {}, [], [], frozenset())
    texts, shown = _join_rounds(text, children)
    made_text, text_slots = _take_slots(texts, first)
    return Fragment(made_html, html_slots, made_text, shown, text_slots, {}, [], [], frozenset())


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


def _take_slots(texts: list[str], first: int) -> tuple[list[str], list[list[int]]]:
    numbers = [[int(number) - first for number in TOKEN.findall(text)] for text in texts]
    made = [TOKEN.sub(SLOT, text) for text in texts]
    if any(has_token(text) for text in made):
        raise NotLocal(())
    return made, numbers
