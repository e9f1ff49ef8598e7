"""HTML and text of a way that has sections: made of the fragments of its sections.

What is made of a template's output (`transform.py`) is made once of the whole of it, with marks around the
sections, and then cut at the marks. The fragments are kept by the way through their section. A recipient who takes
known ways in another combination gets a skeleton put together from fragments. Fragments are kept only if those of
this recipient, put together, are what is made of the output without marks; and only if what was cut out elsewhere
is the same. If not, the section is written out in each of its ways (NotLocal).
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from mailer.dataclass import dataclass
from mailer.render.skeleton import (
    MARK,
    MARK_COMMENT,
    TOKEN,
    NotLocal,
    Skeleton,
    has_token,
    make_marks,
    make_token,
)
from mailer.render.text_sections import EDGE, join_edges
from mailer.render.transform import (
    Plan,
    Shape,
    Transformed,
    Transformer,
    find_marks_in_markup,
    without_styles,
)
from mailer.render.ways import FilledWay, Section, Way

MAX_FRAGMENTS = 4096
MAX_ASSEMBLED = 256
ENCODED_AFTER = (
    32  # messages of one combination: encoding its constant texts takes as long as some dozens of them
)
_SLOT = "\ue0c3"  # private use: stands for a slot in a fragment


class Instance(NamedTuple):
    """A filled way, and which of its slots are tokens. `key` is that of its fragment."""

    key: tuple[object, ...]
    filled: FilledWay
    plan: Plan
    shape: Shape
    raw: list[Any]
    shown: list[str]
    sections: list[list[Instance]]

    def list_all(self) -> list[Instance]:
        """This instance and those of its sections, in the order of their marks."""
        found: list[Instance] = []
        self._add_to(found)
        return found

    def _add_to(self, found: list[Instance]) -> None:
        found.append(self)
        for rounds in self.sections:
            for instance in rounds:
                instance._add_to(found)


class _Cut(NamedTuple):
    """A text between marks: texts with _SLOT, and the numbers of the marks between them; slots' numbers in order."""

    texts: list[str]
    children: list[int]
    slots: list[int]


class _Fragment(NamedTuple):
    """What is made of one way through a section. `children` are the numbers of sections, or rounds, in it."""

    html: list[str]
    html_slots: list[list[int]]
    text: list[str] | None
    text_children: list[int]
    text_slots: list[list[int]]
    images: dict[str, str | None]
    compared: list[tuple[Skeleton, Skeleton]]


def make_key(instances: list[Instance]) -> tuple[object, ...]:
    """What decides the skeleton of instances, as `list_all` gives them."""
    key: list[object] = []
    for instance in instances:
        key.append(instance.key)
        key += map(len, instance.sections)
    return tuple(key)


class Assembler:
    """Puts together what one transformer makes of the ways of one program."""

    def __init__(self, transformer: Transformer) -> None:
        self._transformer = transformer
        self._fragments: dict[tuple[object, ...], _Fragment] = {}
        self._assembled: OrderedDict[tuple[object, ...], Transformed] = OrderedDict()
        self._uses: Counter[tuple[object, ...]] = Counter()
        self._has_selectors = False

    def make_instance(
        self, filled: FilledWay, context: tuple[object, ...] = (), *, is_root: bool = True
    ) -> Instance | None:
        """Decide which slots are tokens; None if a value is left to Jinja2."""
        way = filled.way
        raw, shown = filled.list_raw(), filled.list_shown()
        if (plan := way.plan) is None:
            plan = way.plan = self._plan(way, is_root)
        shape = plan.shape(raw, shown)
        if shape is None:
            return None
        key = (way.number, shape, context)
        inner = context if shape.count(None) == len(shape) else (*context, shape)
        sections = []
        for rounds in filled.sections:
            made = []
            for one in rounds:
                instance = self.make_instance(one, inner, is_root=False)
                if instance is None:
                    return None
                made.append(instance)
            sections.append(made)
        return Instance(key, filled, plan, shape, raw, shown, sections)

    def _plan(self, way: Way, is_root: bool) -> Plan:
        pieces: list[str | int] = []
        for piece in way.pieces:
            pieces += [make_marks(0)[0]] if isinstance(piece, Section) else [piece]
        if is_root:
            text = "".join(piece for piece in pieces if isinstance(piece, str))
            self._has_selectors = self._transformer.has_selectors(text)
        return self._transformer.plan(pieces, len(way.shown), has_selectors=self._has_selectors)

    def find(self, root: Instance, key: tuple[object, ...]) -> tuple[Transformed | None, bool]:
        """The skeletons of an instance if its fragments are known, and whether it pays to encode them once for all."""
        known = self._assembled.get(key)
        if known is not None:
            self._assembled.move_to_end(key)
            self._uses[key] += 1
            return known, self._uses[key] > ENCODED_AFTER
        try:
            made = self._assemble(root)
        except KeyError:
            return None, False
        self._assembled[key] = made
        if len(self._assembled) > MAX_ASSEMBLED:
            del self._uses[self._assembled.popitem(last=False)[0]]
        return made, False

    def learn(
        self, root: Instance, transform: Callable[[str], Transformed], folder: str
    ) -> tuple[Transformed, frozenset[str]]:
        """Make the skeletons of an instance from its output, and its fragments.

        :param transform: makes the skeletons of an output without marks.
        :returns: the skeletons, and the keys of sections that are to be written out.
        """
        marked = _MarkedOutput(root)
        direct = transform(marked.write(has_marks=False))
        try:
            self._learn_fragments(marked, direct, folder)
        except NotLocal as error:
            return direct, marked.find_keys(error.numbers)
        except ValueError:
            return direct, marked.find_keys(())
        return direct, frozenset()

    def _learn_fragments(self, marked: _MarkedOutput, direct: Transformed, folder: str) -> None:
        output = marked.write(has_marks=True)
        if _SLOT in output or EDGE in output:
            raise NotLocal(())
        if numbers := find_marks_in_markup(output):
            raise NotLocal(numbers)
        made = self._transformer.transform_marked(output, folder, marked.rounds)
        html = _cut(made.html, MARK_COMMENT)
        text = _cut(made.text, MARK) if made.text is not None else None
        new: dict[tuple[object, ...], _Fragment] = {}
        for number, instance in enumerate(marked.instances):
            if number not in html:
                raise NotLocal({number})
            first = marked.first_slots[number]
            fragment = _make_fragment(
                html[number], text.get(number) if text is not None else None, first, marked.children[number]
            )
            fragment = self._add_images(fragment, made.images, made.compared, first, len(instance.shown))
            known = new.get(instance.key) or self._fragments.get(instance.key)
            if known is not None and not _is_same_fragment(known, fragment):
                unknown = [n for n, one in enumerate(marked.instances) if one.key not in self._fragments]
                raise NotLocal(unknown if number not in unknown else {number})
            new[instance.key] = known or fragment
        before = self._fragments
        self._fragments = before | new if len(before) < MAX_FRAGMENTS else new
        if not self._assemble(marked.instances[0]).is_like(direct):
            self._fragments = before
            raise NotLocal(())

    def _add_images(
        self,
        fragment: _Fragment,
        images: dict[str, str | None],
        compared: list[tuple[str, str]],
        first: int,
        count: int,
    ) -> _Fragment:
        """A fragment with those of the images and links that are in it."""
        html = "".join(fragment.html)
        own = {
            cid: path
            for cid, path in images.items()
            if f"cid:{cid}" in html and re.search(rf"cid:{re.escape(cid)}(?![\w.@-])", html)
        }
        links = []
        for label, address in compared:
            pair = Skeleton.from_text(label), Skeleton.from_text(address)
            numbers = {*pair[0].numbers, *pair[1].numbers}
            inside = {number for number in numbers if first <= number < first + count}
            if inside and inside != numbers:
                raise NotLocal(())
            if inside:
                for part in pair:
                    part.numbers[:] = [number - first for number in part.numbers]
                links.append(pair)
        return fragment._replace(images=own, compared=links)

    def _assemble(self, root: Instance) -> Transformed:
        """Put the fragments together. KeyError if one is not known."""
        parts = _Parts([], [], [], [], {}, [])
        self._collect(root, parts, 0, has_text=True)
        html = Skeleton("".join(parts.html).split(_SLOT), parts.html_slots)
        text = None
        if self._transformer.is_text_derived:
            from mailer.render.plain_text import finish_text

            joined = join_edges("".join(parts.text))
            text = Skeleton(finish_text(joined).split(_SLOT), parts.text_slots)
        return Transformed(html, text, parts.images, parts.compared)

    def _collect(self, instance: Instance, parts: _Parts, first: int, *, has_text: bool) -> int:
        """Add an instance's fragments; returns the number of the next slot."""
        fragment = self._fragments[instance.key]
        next_slot = first + len(instance.shown)
        if has_text and fragment.text is None and self._transformer.is_text_derived:
            raise KeyError(instance.key)
        parts.html.append(fragment.html[0])
        parts.html_slots += [first + number for number in fragment.html_slots[0]]
        texts = iter(fragment.text or ())
        slots = iter(fragment.text_slots)
        if has_text and fragment.text is not None:
            parts.text.append(next(texts))
            parts.text_slots += [first + number for number in next(slots)]
        for number, rounds in enumerate(instance.sections):
            is_shown = has_text and number in fragment.text_children
            for child in rounds:
                if is_shown:
                    parts.text.append(EDGE)
                next_slot = self._collect(child, parts, next_slot, has_text=is_shown)
                if is_shown:
                    parts.text.append(EDGE)
            parts.html.append(fragment.html[number + 1])
            parts.html_slots += [first + n for n in fragment.html_slots[number + 1]]
            if is_shown:
                parts.text.append(next(texts))
                parts.text_slots += [first + n for n in next(slots)]
        parts.images.update(fragment.images)
        for pair in fragment.compared:
            parts.compared.append(tuple(_shift(part, first) for part in pair))  # type: ignore[arg-type]
        return next_slot


@dataclass(slots=True)
class _Parts:
    """What is collected from the fragments of one instance."""

    html: list[str]
    html_slots: list[int]
    text: list[str]
    text_slots: list[int]
    images: dict[str, str | None]
    compared: list[tuple[Skeleton, Skeleton]]


class _MarkedOutput:
    """The output of an instance. Number 0 is the whole; each section, or round of a loop, has the next number."""

    def __init__(self, root: Instance) -> None:
        self.instances: list[Instance] = []
        self.first_slots: list[int] = []
        self.children: list[
            list[list[int]]
        ] = []  # of each instance: for each section the numbers of its rounds
        self.rounds: set[int] = set()
        self._keys: list[str] = []
        self._slot_count = 0
        self._add(root, "", is_round=False)

    def _add(self, instance: Instance, key: str, *, is_round: bool) -> int:
        number = len(self.instances)
        self.instances.append(instance)
        self._keys.append(key)
        self.first_slots.append(self._slot_count)
        self._slot_count += len(instance.shown)
        if is_round:
            self.rounds.add(number)
        made: list[list[int]] = []
        self.children.append(made)
        for section, rounds in zip(instance.filled.way.sections, instance.sections, strict=True):
            made.append(
                [self._add(child, section.key, is_round=section.items is not None) for child in rounds]
            )
        return number

    def find_keys(self, numbers: Any) -> frozenset[str]:
        """The keys of sections; of all if there is none."""
        found = {self._keys[number] for number in numbers if number} or {key for key in self._keys if key}
        return frozenset(found)

    def write(self, *, has_marks: bool, number: int = 0) -> str:
        """The output with tokens, and with marks around the sections."""
        instance = self.instances[number]
        first = self.first_slots[number]
        written = []
        sections = iter(self.children[number])
        for piece in instance.filled.way.pieces:
            if isinstance(piece, str):
                written.append(piece)
            elif isinstance(piece, int):
                text = instance.shape[piece]
                written.append(make_token(first + piece) if text is None else text)
            else:
                for child in next(sections):
                    start, end = make_marks(child) if has_marks else ("", "")
                    written += [start, self.write(has_marks=has_marks, number=child), end]
        return "".join(written)


def _cut(text: str, mark: re.Pattern[str]) -> dict[int, _Cut]:
    """Cut a text at its marks; by number, with 0 for what is in none. NotLocal if a mark is not in its place."""
    parts = mark.split(text)
    made = {0: _Cut([parts[0]], [], [])}
    opened = [0]
    for number_text, kind, behind in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        number = int(number_text)
        if kind == "s":
            if number in made:
                raise NotLocal({number})
            made[opened[-1]].children.append(number)
            made[number] = _Cut([behind], [], [])
            opened.append(number)
        else:
            if opened.pop() != number or not opened:
                raise NotLocal({number})
            made[opened[-1]].texts.append(behind)
    if len(opened) != 1 or any(MARK.search(part) for cut in made.values() for part in cut.texts):
        raise NotLocal(())
    return made


def _make_fragment(html: _Cut, text: _Cut | None, first: int, children: list[list[int]]) -> _Fragment:
    html_texts, html_shown = _join_rounds(html, children)
    if len(html_shown) != len(children):
        raise NotLocal(number for rounds in children for number in rounds)
    made_html, html_slots = _take_slots(html_texts, first)
    if text is None:
        return _Fragment(made_html, html_slots, None, [], [], {}, [])
    texts, shown = _join_rounds(text, children)
    made_text, text_slots = _take_slots(texts, first)
    return _Fragment(made_html, html_slots, made_text, shown, text_slots, {}, [])


def _join_rounds(cut: _Cut, children: list[list[int]]) -> tuple[list[str], list[int]]:
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
    made = [TOKEN.sub(_SLOT, text) for text in texts]
    if any(has_token(text) for text in made):
        raise NotLocal(())
    return made, numbers


def _shift(skeleton: Skeleton, first: int) -> Skeleton:
    return Skeleton(skeleton.pieces, [number + first for number in skeleton.numbers])


def _is_same_fragment(known: _Fragment, fragment: _Fragment) -> bool:
    return (
        list(map(without_styles, known.html)) == list(map(without_styles, fragment.html))
        and known[1:6] == fragment[1:6]
    )
