"""HTML and text of a way that has sections: made of the fragments of its sections.

What is made of a template's output (`transform.py`) is made once of the whole of it, with marks around the
sections, and then cut at the marks. The fragments are kept by the way through their section. A recipient who
takes known ways in another combination gets a skeleton put together from fragments. Fragments are kept only
if those of this recipient, put together, are what is made of the output without marks; and only if what was
cut out elsewhere is the same. If not, the section is written out in each of its ways (NotLocal).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from mailer.render.assembled import Assembled, Collector
from mailer.render.fragments import Cut, Fragment, TextPiece, cut_text, make_fragment
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
from mailer.render.runs import AssembledText, Run
from mailer.render.skeleton import MARK, MARK_COMMENT, NotLocal, Skeleton, make_marks
from mailer.render.text_sections import EDGE
from mailer.render.transform import Plan, Transformed, Transformer
from mailer.render.ways import FilledWay, Section, Way
from mailer.templating.environment import show_text

MAX_FRAGMENTS = 4096
MAX_JUNCTIONS = 4096
MAX_KEPT = 256  # style sheets, and orders of images


class Assembler:
    """Puts together what one transformer makes of the ways of one program."""

    def __init__(self, transformer: Transformer) -> None:
        self._transformer = transformer
        self._fragments: dict[tuple[object, ...], Fragment] = {}
        self._pieces: list[TextPiece] = []
        self._junctions: dict[tuple[int, ...], Run] = {}
        self._shortened: dict[tuple[Run, frozenset[str]], Run] = {}
        self._images: dict[tuple[int, ...], dict[str, str | None]] = {}

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

    def assemble(self, filled: FilledWay) -> Assembled | None:
        """What is made of a way, if its fragments are known and all of its slots are tokens."""
        collector = Collector(self._junctions)
        try:
            if not self._collect_filled(filled, collector, self._transformer.is_text_derived):
                return None
            if not self._transformer.may_be_tokens(collector.words):
                return None
            return self._finish(collector)
        except KeyError:
            return None

    def _collect_filled(self, filled: FilledWay, collector: Collector, has_text: bool) -> bool:
        way, registers, rounds_of_sections = filled
        fragment = way.fragment
        if fragment is None or (plan := way.plan) is None:
            return False
        first = len(collector.raw)
        if way.shown:
            shown, raw = [registers[n] for n in way.shown], [registers[n] for n in way.raw]
            if plan.is_simple:
                collector.words += raw if plan.is_strict else shown
            elif plan.shape(raw, shown) != plan.all_tokens:
                return False
            collector.shown += shown
            collector.raw += raw
        has_text = collector.add(fragment, first, has_text)
        for number, rounds in enumerate(rounds_of_sections):
            is_shown = has_text and fragment.is_shown[number]
            for child in rounds:
                if not self._collect_filled(child, collector, is_shown):
                    return False
            collector.add_behind(fragment, number, first, is_shown)
        return True

    def find(self, root: Instance) -> Assembled | None:
        """What is made of an instance, if its fragments are known."""
        collector = Collector(self._junctions)
        try:
            self._collect(root, collector, self._transformer.is_text_derived)
            return self._finish(collector)
        except KeyError:
            return None

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
        if EDGE in output:
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
            new[instance.key] = known or fragment
        before = self._fragments
        self._fragments = before | new if len(before) < MAX_FRAGMENTS else new
        junctions = self._junctions.copy()
        collector = Collector(junctions, self._pieces)
        self._collect(marked.instances[0], collector, self._transformer.is_text_derived)
        if not self._finish(collector).is_like(direct) or len(junctions) > MAX_JUNCTIONS:
            self._fragments = before
            raise NotLocal(())
        self._junctions = junctions
        for instance in marked.instances:
            if not instance.key[2] and instance.shape == instance.plan.all_tokens:
                instance.filled.way.fragment = self._fragments[instance.key]

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
        sheets, selected = list_sheets(alone), dict[int, frozenset[str]]()
        is_selecting = sheets != list_sheets(inlined)
        for number, instance in enumerate(marked.instances):
            children = marked.list_children(number)
            if number and instance.key not in self._fragments and (is_selecting or children):
                part = self._transformer.inline_css(marked.write(only=marked.find_path(number)))
                selected[number] = find_selected(sheets, list_sheets(part))
                # What is in a section, and in none in it, must be so without those: a parser moves elements.
                if (
                    cut_text(self._transformer.find_images(part, folder)[0], MARK_COMMENT)[number]
                    != cuts[number]
                ):
                    raise NotLocal(children)
        return _MarkedTransformed(cuts, texts, images, compared, selected)

    def _make_fragment(self, made: _MarkedTransformed, marked: MarkedOutput, number: int) -> Fragment:
        if number not in made.html:
            raise NotLocal({number})
        first, children = marked.first_slots[number], marked.children[number]
        fragment = make_fragment(
            made.html[number], made.texts.get(number), first, children, len(self._pieces)
        )
        self._pieces += fragment.text or [TextPiece(len(self._pieces), "", None, "")]
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
        html = " ".join([text for run in fragment.html for text in run.texts])
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
        is_special = bool(own or links or fragment.selected)
        return fragment._replace(images=own, compared=links, is_special=is_special)

    def _collect(self, instance: Instance, collector: Collector, has_text: bool) -> None:
        fragment = self._fragments[instance.key]
        first = len(collector.raw)
        collector.shown += instance.shown
        collector.raw += instance.raw
        has_text = collector.add(fragment, first, has_text)
        for number, rounds in enumerate(instance.sections):
            is_shown = has_text and fragment.is_shown[number]
            for child in rounds:
                self._collect(child, collector, is_shown)
            collector.add_behind(fragment, number, first, is_shown)

    def _finish(self, collector: Collector) -> Assembled:
        """Put together what was collected. KeyError if it is not known what becomes of blanks between two texts."""
        runs = collector.html
        if collector.selected:
            selected = frozenset().union(*collector.selected)
            runs = [self._shorten(run, selected) for run in runs]
        html = AssembledText(runs, collector.html_firsts, collector.shown)
        text = None
        if self._transformer.is_text_derived:
            collector.end_text()
            text = AssembledText(collector.text, collector.text_firsts, [*map(show_text, collector.raw)])
        images = self._sort_images(collector.with_images, html)
        return Assembled(html, text, images, collector.compared, collector.raw)

    def _shorten(self, run: Run, selected: frozenset[str]) -> Run:
        """A run with shorter style sheets."""
        if (made := self._shortened.get((run, selected))) is None:
            made = Run([remove_selected(text, selected) for text in run.texts], run.slots)
            if len(self._shortened) >= MAX_KEPT:
                self._shortened.clear()
            self._shortened[run, selected] = made
        return made

    def _sort_images(self, fragments: list[Fragment], html: AssembledText) -> dict[str, str | None]:
        """The images of fragments in the order of the whole."""
        if not fragments:
            return {}
        if len(fragments) == 1 and len(fragments[0].images) == 1:
            return fragments[0].images
        key = tuple([fragment.number for fragment in fragments])
        if (images := self._images.get(key)) is None:
            found = {cid: path for fragment in fragments for cid, path in fragment.images.items()}
            if len(self._images) >= MAX_KEPT:
                self._images.clear()
            images = self._images[key] = self._transformer.sort_images("".join(html.list_pieces()[0]), found)
        return images


class _MarkedTransformed(NamedTuple):
    """What was made of an output with marks, cut at them: HTML and texts by the sections' numbers."""

    html: dict[int, Cut]
    texts: dict[int, Cut]
    images: dict[str, str | None]
    compared: list[tuple[str, str]]
    selected: dict[int, frozenset[str]]
