"""Compiled templates: a tree of straight-line Python code that fills a template's slots for one recipient.

A Program is the compiled form of one template: a tree of ways through its branches (`ways.py`), made of
traces (`symbols.py`). A recipient whose way is not known yet is traced, which adds one.

A way is added only if its output equals that of Jinja2 for the recipient it was traced with. If a program
fails for a recipient, Jinja2 renders that recipient's message, and says what is wrong if something is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from jinja2 import Template

from mailer.dataclass import dataclass
from mailer.errors import Place
from mailer.files import show_path
from mailer.render.recording import Inseparable, Recording, Untraceable
from mailer.render.templates import TemplateVariables
from mailer.render.tracing import TracingEnvironment
from mailer.render.ways import (
    ContradictoryTrace,
    FilledWay,
    Node,
    Way,
    WayBuilder,
    count_slots,
    find_way,
    follow,
    list_ways,
)
from mailer.templating import UNNAMED_TEMPLATE, LimitExceeded, describe_error, find_template_place
from mailer.text import count_noun

MAX_WAYS = 512  # of one program
MAX_SHAPES = 32  # sets of columns that one program has trees for
MAX_COMBINATIONS = 32  # ways through all branches together; with more, each branch has ways of its own
MAX_WHOLE = 64  # sections that are written out one by one; with one more, all are
MAX_CONSTANT = 32 * 1024 * 1024  # characters of constant text in all ways of one program
FREE_TRACES = 24  # traces before each one has to be paid for by recipients who needed none
HITS_PER_TRACE = 6
MAX_SHOWN = 5  # places of an explanation


@dataclass(slots=True)
class Reason:
    """Why a template, or a way through it, is left to Jinja2."""

    text: str
    place: Place | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How much of a template, or of a pattern of the campaign file, is compiled.

    `ways` are those through its branches that its recipients took. `apart` is the number of branches and
    loops that have ways of their own; those at `written_out` depend on what is around them, and have none.
    `constant` is the share of its output that no recipient changes, from 0 to 1. `reason` and `place` say
    what is left to Jinja2, and which line is why.
    """

    name: str
    ways: int
    apart: int
    written_out: list[Place]
    slots: int
    constant: float
    reason: str | None
    place: Place | None

    def __str__(self) -> str:
        if not self.ways:
            return f"{self.place or self.name}: left to Jinja2: {self.reason or 'no recipient was rendered'}"
        said = f"{self.name}: compiled, {count_noun(self.ways, 'way')} through its branches"
        if self.apart:
            said += f" (branches and loops with ways of their own: {self.apart})"
        said += f", {count_noun(self.slots, 'slot')}, {self.constant:.0%} constant"
        if self.written_out:
            said += f"; branches and loops that depend on what is around them: {self._show_places()}"
        if self.reason:
            said += f"; in part left to Jinja2: {self.place or self.name}: {self.reason}"
        return said

    def _show_places(self) -> str:
        return ", ".join(map(str, self.written_out[:MAX_SHOWN])) + (
            f" and {len(self.written_out) - MAX_SHOWN} more" if len(self.written_out) > MAX_SHOWN else ""
        )


class Program:
    """The compiled form of one template."""

    def __init__(
        self,
        environment: TracingEnvironment,
        load: Callable[[TracingEnvironment], Template],
        name: str,
        max_output: int,
        *,
        has_sections: bool = True,
    ) -> None:
        """`load` loads the template from the tracing environment; `name` is its name for the user.

        Without `has_sections`, each combination of branches is a way.
        """
        self._environment = environment
        self._load = load
        self._max_output = max_output
        self.name = name
        self._roots: dict[Any, Node] = {}
        self._hits = self._traces = 0
        self._numbers = count()
        self._builder = self._new_builder()
        self._may_have_sections = has_sections
        self._has_sections = False
        self._whole: set[str] = set()
        self.reason: Reason | None = None
        self.is_off = False

    def fill(self, variables: TemplateVariables) -> FilledWay | None:
        """The way of a recipient, with the recipient's registers; None if it is not known, or fails.

        None too if `variables` ask for bounded work only, and the way's is not.
        """
        root = self._roots.get(variables.own_names)
        try:
            filled = follow(root, variables, [], variables.only_bounded)
        except Exception:  # Jinja2 renders this recipient, and says what is wrong
            return None
        if filled is None:
            return None
        self._hits += 1
        return filled if filled.measure() <= self._max_output else None  # if not, Jinja2 says so

    def find_plain_way(self, variables: TemplateVariables) -> Way | None:
        """The way of a recipient if it is plain (`plainness.py`), and bounded work; None if it is not known."""
        try:
            way = find_way(self._roots.get(variables.own_names), variables, [], only_bounded=True)
        except Exception:  # Jinja2 says what is wrong
            return None
        if way is None or way.plain is None:
            return None
        self._hits += 1
        return way

    def learn(self, variables: TemplateVariables, render: Callable[[], str]) -> FilledWay | None:
        """Trace a recipient whose way is not known yet.

        :param render: the output of Jinja2 for this recipient.
        :returns: as `fill`; None if the way cannot be compiled.
        """
        may_trace = self._may_trace(variables)
        is_whole = self._may_have_sections and not self._has_sections
        if is_whole and (len(self.ways) >= MAX_COMBINATIONS or not may_trace):
            self._has_sections = may_trace = True
            self._clear()
        if self.is_off or not may_trace:
            return None
        self._traces += 1
        try:
            recording = self._record(variables)
        except LimitExceeded:
            raise
        except Exception as error:
            if _try_render(render) is None:  # an error of the template itself is Jinja2's to tell
                return None
            text = str(error) if isinstance(error, Untraceable) else describe_error(error)
            self.reason = Reason(text, find_template_place(error))
            return None
        try:
            self._builder.add(self._roots, variables.own_names, recording)
        except ContradictoryTrace as error:
            if error.key or self._has_sections:
                self.write_out(frozenset({error.key} - {""}))
            else:
                self.turn_off(str(error))
            return None
        filled = self.fill(variables)
        self._hits -= 1
        if filled is None:
            self.turn_off("its compiled form fails")
            return None
        return filled if self.compare(filled, render) else None

    def _record(self, variables: TemplateVariables) -> Recording:
        """Trace the template. Sections that turn out to be inseparable are written out from now on."""
        while True:
            self._environment.has_sections = self._has_sections
            self._environment.whole_sections = self._whole
            try:
                return self._environment.run(self._load(self._environment), variables)
            except Inseparable as error:
                self.write_out(error.keys)

    def write_out(self, keys: frozenset[str]) -> None:
        """Give these sections no ways of their own any more: each of their ways is one of what is around them."""
        new = keys - self._whole
        self._whole |= new
        if not new or len(self._whole) > MAX_WHOLE:
            self._may_have_sections = self._has_sections = False
        self._clear()

    def _clear(self) -> None:
        """Forget all ways, and begin anew."""
        self._roots.clear()
        self._builder = self._new_builder()
        self._traces = max(0, self._traces - FREE_TRACES)

    def _new_builder(self) -> WayBuilder:
        return WayBuilder(self._environment.growth_factors, self._environment.plain_gains, self._numbers)

    def compare(self, filled: FilledWay, render: Callable[[], str]) -> bool:
        """Whether the output is that of Jinja2, which `render` gives. If not, the program is turned off."""
        is_same = filled.write() == _try_render(render)
        if not is_same:
            self.turn_off("its compiled form differs from Jinja2's output")
        return is_same

    @property
    def ways(self) -> list[Way]:
        """The ways through the template and through its sections."""
        return self._builder.ways

    def explain(self) -> Explanation:
        """How much of the template is compiled, after some recipients were rendered."""
        ways = [] if self.is_off else self.ways
        constant = sum(way.length for way in ways)
        varying = sum(way.slot_length for way in ways)
        place = self.reason.place if self.reason else None
        return Explanation(
            name=self.name,
            ways=len(ways),
            apart=len({section.key.removesuffix(" if") for way in ways for section in way.sections}),
            written_out=_list_places(self._whole if ways else ()),
            slots=count_slots(list_ways(self._roots.values())),
            constant=constant / (constant + varying) if constant + varying else 1.0,
            reason=self.reason.text if self.reason else None,
            place=place if place is not None and place.file != UNNAMED_TEMPLATE else None,
        )

    def _may_trace(self, variables: TemplateVariables) -> bool:
        if len(self.ways) >= MAX_WAYS or self._builder.constant > MAX_CONSTANT:
            return False
        if variables.own_names not in self._roots and len(self._roots) >= MAX_SHAPES:
            return False
        return self._traces < FREE_TRACES + self._hits // HITS_PER_TRACE

    def turn_off(self, text: str) -> None:
        """Leave the template to Jinja2 from now on; `text` says why."""
        self.is_off = True
        self.reason = Reason(text, None)
        self._roots.clear()


def _list_places(keys: Iterable[str]) -> list[Place]:
    """Where sections are in their templates."""
    parts = [key.rsplit(":", 2) for key in keys]
    found = {(show_path(name), int(line)) for name, line, _ in parts}
    return [Place(file, line) for file, line in sorted(found)]


def _try_render(render: Callable[[], str]) -> str | None:
    """What Jinja2 gives; None if it fails."""
    try:
        return render()
    except Exception:
        return None
