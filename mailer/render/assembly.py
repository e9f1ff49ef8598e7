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
from typing import NamedTuple

from mailer.dataclass import dataclass
from mailer.render.fragments import SLOT, Cut, Fragment, cut_text, make_fragment
from mailer.render.instances import Instance, MarkedOutput
from mailer.render.markup_sections import (
    check_markup,
    find_marks_in_markup,
    find_selected,
    has_rules,
    list_sheets,
    remove_selected,
    without_sheets,
)
from mailer.render.skeleton import MARK, MARK_COMMENT, NotLocal, Skeleton, make_marks
from mailer.render.text_sections import EDGE, join_edges
from mailer.render.transform import Plan, Transformed, Transformer
from mailer.render.ways import FilledWay, Section, Way

MAX_FRAGMENTS = 4096
MAX_ASSEMBLED = 256
MAX_JUNCTIONS = 2048
ENCODED_AFTER = (
    32  # messages of one combination: encoding its constant texts takes as long as some dozens of them
)


Junction = tuple[
    int, ...
]  # numbers of pieces of text: what becomes of blanks between them depends on all of them


class Assembler:
    """Puts together what one transformer makes of the ways of one program."""

    def __init__(self, transformer: Transformer) -> None:
        self._transformer = transformer
        self._fragments: dict[tuple[object, ...], Fragment] = {}
        self._junctions: set[Junction] = set()
        self._piece_count = 0
        self._assembled: OrderedDict[tuple[object, ...], Transformed] = OrderedDict()
        self._uses: Counter[tuple[object, ...]] = Counter()

    def make_instance(
        self, filled: FilledWay, context: tuple[object, ...] = (), root: Plan | None = None
    ) -> Instance | None:
        """Decide which slots are tokens; None if a value is left to Jinja2."""
        way = filled.way
        raw, shown = filled.list_raw(), filled.list_shown()
        if (plan := way.plan) is None:
            plan = way.plan = self._plan(way, root)
        shape = plan.shape(raw, shown)
        if shape is None:
            return None
        key = (way.number, shape, context)
        inner = context if shape.count(None) == len(shape) else (*context, shape)
        sections = []
        for rounds in filled.sections:
            made = []
            for one in rounds:
                instance = self.make_instance(one, inner, root or plan)
                if instance is None:
                    return None
                made.append(instance)
            sections.append(made)
        return Instance(key, filled, plan, shape, raw, shown, sections)

    def _plan(self, way: Way, root: Plan | None) -> Plan:
        """Plan the slots of a way. Style sheets are outside of sections: their selectors are those of `root`."""
        pieces: list[str | int] = []
        for piece in way.pieces:
            pieces += [make_marks(0)[0]] if isinstance(piece, Section) else [piece]
        has_selectors = root.has_selectors if root is not None else None
        return self._transformer.plan(pieces, len(way.shown), has_selectors=has_selectors)

    def find(self, root: Instance, key: tuple[object, ...]) -> tuple[Transformed | None, bool]:
        """The skeletons of an instance if its fragments are known, and whether it pays to encode them once for all."""
        known = self._assembled.get(key)
        if known is not None:
            self._assembled.move_to_end(key)
            self._uses[key] += 1
            return known, self._uses[key] > ENCODED_AFTER
        try:
            made, junctions = self._assemble(root)
        except KeyError:
            return None, False
        if not junctions <= self._junctions:
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
        marked = MarkedOutput(root)
        direct = transform(marked.write(has_marks=False))
        try:
            self._learn_fragments(marked, direct, folder)
        except NotLocal as error:
            return direct, marked.find_keys(error.numbers)
        except ValueError:
            return direct, marked.find_keys(())
        return direct, frozenset()

    def _learn_fragments(self, marked: MarkedOutput, direct: Transformed, folder: str) -> None:
        output = marked.write()
        if SLOT in output or EDGE in output:
            raise NotLocal(())
        if numbers := find_marks_in_markup(output):
            raise NotLocal(numbers)
        made = self._transform_marked(output, marked, folder)
        new: dict[tuple[object, ...], Fragment] = {}
        for number, instance in enumerate(marked.instances):
            fragment = self._make_fragment(made, marked, number)
            known = new.get(instance.key) or self._fragments.get(instance.key)
            if known is not None and not known.is_same(fragment):
                unknown = [n for n, one in enumerate(marked.instances) if one.key not in self._fragments]
                raise NotLocal(unknown if number not in unknown else {number})
            new[instance.key] = known or fragment._replace(text_numbers=self._number(fragment))
        before = self._fragments
        self._fragments = before | new if len(before) < MAX_FRAGMENTS else new
        assembled, junctions = self._assemble(marked.instances[0])
        self._junctions |= junctions
        if not assembled.is_like(direct) or len(self._junctions) > MAX_JUNCTIONS:
            self._fragments = before
            raise NotLocal(())

    def _number(self, fragment: Fragment) -> list[int]:
        """Numbers for the pieces of a fragment's text."""
        first, self._piece_count = self._piece_count, self._piece_count + len(fragment.text or ())
        return [*range(first, self._piece_count)]

    def _transform_marked(self, output: str, marked: MarkedOutput, folder: str) -> _MarkedTransformed:
        """Transform an output with marks, and cut it at them."""
        text, compared = self._transformer.lay_out_marked(output, marked.rounds)
        texts = cut_text(text, MARK) if text is not None else {}
        if not (self._transformer.is_css_inlined and has_rules(output)):
            html, images = self._transformer.find_images(output, folder)
            return _MarkedTransformed(cut_text(html, MARK_COMMENT), texts, images, compared, {})
        inlined = self._transformer.inline_css(output)
        check_markup(output, inlined)
        alone = self._transformer.inline_css(marked.write(only=frozenset({0})))
        html, images = self._transformer.find_images(inlined, folder)
        cuts = cut_text(html, MARK_COMMENT)
        # What is outside of all sections must be so without any of them, but for what is left of style sheets.
        outside = cut_text(self._transformer.find_images(alone, folder)[0], MARK_COMMENT)[0]
        if list(map(without_sheets, cuts[0].texts)) != list(map(without_sheets, outside.texts)):
            raise NotLocal(())
        cuts[0] = outside
        return _MarkedTransformed(cuts, texts, images, compared, self._find_selected(marked, alone, inlined))

    def _find_selected(self, marked: MarkedOutput, alone: str, inlined: str) -> dict[int, frozenset[str]]:
        """The selectors of style sheets that select something only in a section, by the section's number."""
        sheets = list_sheets(alone)
        if sheets == list_sheets(inlined):
            return {}
        found = {}
        for number, instance in enumerate(marked.instances):
            if number and instance.key not in self._fragments:
                part = self._transformer.inline_css(marked.write(only=marked.find_path(number)))
                found[number] = find_selected(sheets, list_sheets(part))
        return found

    def _make_fragment(self, made: _MarkedTransformed, marked: MarkedOutput, number: int) -> Fragment:
        if number not in made.html:
            raise NotLocal({number})
        first, children = marked.first_slots[number], marked.children[number]
        fragment = make_fragment(made.html[number], made.texts.get(number), first, children)
        fragment = fragment._replace(selected=made.selected.get(number, frozenset()))
        count = len(marked.instances[number].shown)
        return self._add_images(fragment, made.images, made.compared, first, count)

    def _add_images(
        self,
        fragment: Fragment,
        images: dict[str, str | None],
        compared: list[tuple[str, str]],
        first: int,
        count: int,
    ) -> Fragment:
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

    def _assemble(self, root: Instance) -> tuple[Transformed, set[Junction]]:
        """Put the fragments together. KeyError if one is not known."""
        parts = _Parts([], [], [], [], {}, [], set(), [])
        self._collect(root, parts, 0, has_text=True)
        written = remove_selected("".join(parts.html), frozenset(parts.selected))
        html = Skeleton(written.split(SLOT), parts.html_slots)
        text = None
        if self._transformer.is_text_derived:
            from mailer.render.plain_text import finish_text

            joined = join_edges("".join(parts.text))
            text = Skeleton(finish_text(joined).split(SLOT), parts.text_slots)
        images = self._transformer.sort_images(written, parts.images)
        return Transformed(html, text, images, parts.compared), parts.find_junctions()

    def _collect(self, instance: Instance, parts: _Parts, first: int, *, has_text: bool) -> int:
        """Add an instance's fragments; returns the number of the next slot."""
        fragment = self._fragments[instance.key]
        next_slot = first + len(instance.shown)
        if has_text and fragment.text is None and self._transformer.is_text_derived:
            raise KeyError(instance.key)
        parts.html.append(fragment.html[0])
        parts.html_slots += [first + number for number in fragment.html_slots[0]]
        shown = 0  # sections that are in the text
        has_text = has_text and fragment.text is not None
        if has_text:
            parts.add_text(fragment, 0, first)
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
                shown += 1
                parts.add_text(fragment, shown, first)
        parts.images.update(fragment.images)
        parts.selected |= fragment.selected
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
    selected: set[str]
    pieces: list[tuple[int, bool]]  # of the text: the number of each, and whether it is blank

    def add_text(self, fragment: Fragment, number: int, first: int) -> None:
        """Add a piece of a fragment's text."""
        text = (fragment.text or [])[number]
        self.text.append(text)
        self.text_slots += [first + slot for slot in fragment.text_slots[number]]
        self.pieces.append((fragment.text_numbers[number], not text.strip(" \n")))

    def find_junctions(self) -> set[Junction]:
        """Which pieces of text are beside each other: each one that is not blank, and those up to the next one."""
        found = set[Junction]()
        junction: list[int] = []
        for number, is_blank in self.pieces:
            junction.append(number)
            if not is_blank:
                found.add(tuple(junction))
                junction = [number]
        found.add((*junction, -1))
        return found


class _MarkedTransformed(NamedTuple):
    """What was made of an output with marks, cut at them: HTML and texts by the sections' numbers."""

    html: dict[int, Cut]
    texts: dict[int, Cut]
    images: dict[str, str | None]
    compared: list[tuple[str, str]]
    selected: dict[int, frozenset[str]]


def _shift(skeleton: Skeleton, first: int) -> Skeleton:
    return Skeleton(skeleton.pieces, [number + first for number in skeleton.numbers])
