"""Compiled templates: a tree of straight-line Python code that fills a template's slots for one recipient.

A Program is the compiled form of one template. Its tree is made of traces (`symbols.py`): a node computes
registers and ends with a guard; the guard's outcome leads to the next node. A leaf is a way through the
template's branches, with the constant texts and the slots of its output. A recipient whose way is not known
yet is traced, which adds a leaf.

A way is added only if its output equals that of Jinja2 for the recipient it was traced with. If a program
fails for a recipient, Jinja2 renders that recipient's message, and says what is wrong if something is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from jinja2 import Template

from mailer.dataclass import dataclass
from mailer.errors import Place
from mailer.render.growth import Growth
from mailer.render.symbols import Guard, Instruction, Piece, Slot, Trace, Untraceable
from mailer.render.templates import TemplateVariables
from mailer.render.tracing import TracingEnvironment
from mailer.templating import UNNAMED_TEMPLATE, LimitExceeded, describe_error, find_template_place
from mailer.text import count_noun

MAX_WAYS = 512  # of one program
MAX_SHAPES = 32  # sets of columns that one program has trees for
MAX_CONSTANT = 32 * 1024 * 1024  # characters of constant text in all ways of one program
FREE_TRACES = 24  # traces before each one has to be paid for by recipients who needed none
HITS_PER_TRACE = 6

Outcome = bool | int | str
_QUESTIONS = {"true": "not not {}", "iterates": "hasattr({}, '__next__')", "value": "{}"}


@dataclass(slots=True)
class Way:
    """One way through a template's branches: its output as texts and numbers of slots, and each slot's
    registers.
    """

    pieces: list[str | int]
    raw: list[int]
    shown: list[int]
    length: int  # characters of the constant texts
    slot_length: int  # characters in the slots, for the recipient with whom it was traced
    skeletons: dict[object, Any] = field(
        default_factory=dict
    )  # what `pages.py` makes of this way, by its shape
    plan: Any = None  # how `transform.py` finds the shape

    def write(self, registers: list[Any]) -> str:
        """The output of a recipient whose registers these are."""
        values = [registers[number] for number in self.shown]
        return "".join([piece if isinstance(piece, str) else values[piece] for piece in self.pieces])


@dataclass(slots=True)
class _Node:
    """Code that ends with a guard, or with the end of the template."""

    run: Callable[[TemplateVariables, list[Any]], Outcome | None]
    source: str
    is_bounded: bool  # the work of this node and of those before it
    next: dict[Outcome, _Node] = field(default_factory=dict)
    way: Way | None = None


@dataclass(slots=True)
class Reason:
    """Why a template, or a way through it, is left to Jinja2."""

    text: str
    place: Place | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How much of a template, or of a pattern of the campaign file, is compiled.

    `ways` are those through its branches that its recipients took. `constant` is the share of its output that
    no recipient changes, from 0 to 1. `reason` and `place` say what is left to Jinja2, and which line is why.
    """

    name: str
    ways: int
    slots: int
    constant: float
    reason: str | None
    place: Place | None

    def __str__(self) -> str:
        if not self.ways:
            return f"{self.place or self.name}: left to Jinja2: {self.reason or 'no recipient was rendered'}"
        said = (
            f"{self.name}: compiled, {count_noun(self.ways, 'way')} through its branches,"
            f" {count_noun(self.slots, 'slot')}, {self.constant:.0%} constant"
        )
        return (
            f"{said}; in part left to Jinja2: {self.place or self.name}: {self.reason}"
            if self.reason
            else said
        )


class Program:
    """The compiled form of one template."""

    def __init__(
        self,
        environment: TracingEnvironment,
        load: Callable[[TracingEnvironment], Template],
        name: str,
        max_output: int,
    ) -> None:
        """`load` loads the template from the tracing environment; `name` is its name for the user."""
        self._environment = environment
        self._load = load
        self._max_output = max_output
        self.name = name
        self._roots: dict[tuple[str, ...], _Node] = {}
        self._hits = self._traces = self._constant = 0
        self.ways: list[Way] = []
        self.reason: Reason | None = None
        self.is_off = False

    def fill(self, variables: TemplateVariables) -> tuple[Way, list[Any]] | None:
        """The way of a recipient, with the recipient's registers; None if it is not known, or fails.

        None too if `variables` ask for bounded work only, and the way's is not.
        """
        registers: list[Any] = []
        only_bounded = variables.only_bounded
        node = self._roots.get(variables.own_names)
        try:
            while node is not None:
                if only_bounded and not node.is_bounded:
                    return None
                outcome = node.run(variables, registers)
                if (way := node.way) is not None:
                    self._hits += 1
                    return (way, registers) if self._fits(way, registers) else None
                node = node.next.get(outcome)  # type: ignore[arg-type]
        except Exception:  # Jinja2 renders this recipient, and says what is wrong
            return None
        return None

    def learn(self, variables: TemplateVariables, render: Callable[[], str]) -> tuple[Way, list[Any]] | None:
        """Trace a recipient whose way is not known yet.

        :param render: the output of Jinja2 for this recipient.
        :returns: as `fill`; None if the way cannot be compiled.
        """
        if self.is_off or not self._may_trace(variables):
            return None
        self._traces += 1
        try:
            trace, pieces = self._environment.run(self._load(self._environment), variables)
            way = _make_way(pieces)
        except LimitExceeded:
            raise
        except Exception as error:
            if _try_render(render) is None:  # an error of the template itself is Jinja2's to tell
                return None
            text = str(error) if isinstance(error, Untraceable) else describe_error(error)
            self.reason = Reason(text, find_template_place(error))
            return None
        if not self._insert(variables.own_names, trace, way):
            self.turn_off("it differs each time it is rendered")
            return None
        filled = self.fill(variables)
        self._hits -= 1
        if filled is None:
            self.turn_off("its compiled form fails")
            return None
        return filled if self.compare(filled, render) else None

    def compare(self, filled: tuple[Way, list[Any]], render: Callable[[], str]) -> bool:
        """Whether the output is that of Jinja2, which `render` gives. If not, the program is turned off."""
        way, registers = filled
        is_same = way.write(registers) == _try_render(render)
        if not is_same:
            self.turn_off("its compiled form differs from Jinja2's output")
        return is_same

    def explain(self) -> Explanation:
        """How much of the template is compiled, after some recipients were rendered."""
        ways = [] if self.is_off else self.ways
        constant = sum(way.length for way in ways)
        varying = sum(way.slot_length for way in ways)
        place = self.reason.place if self.reason else None
        return Explanation(
            name=self.name,
            ways=len(ways),
            slots=max((len(way.shown) for way in ways), default=0),
            constant=constant / (constant + varying) if constant + varying else 1.0,
            reason=self.reason.text if self.reason else None,
            place=place if place is not None and place.file != UNNAMED_TEMPLATE else None,
        )

    def _fits(self, way: Way, registers: list[Any]) -> bool:
        """Whether the output is surely within the limit; if not, Jinja2 says so."""
        if way.length * 2 > self._max_output:
            return False
        size = sum(map(len, map(registers.__getitem__, way.shown)))
        return size * (len(way.pieces) + 1) * 2 <= self._max_output

    def _may_trace(self, variables: TemplateVariables) -> bool:
        if len(self.ways) >= MAX_WAYS or self._constant > MAX_CONSTANT:
            return False
        if variables.own_names not in self._roots and len(self._roots) >= MAX_SHAPES:
            return False
        return self._traces < FREE_TRACES + self._hits // HITS_PER_TRACE

    def turn_off(self, text: str) -> None:
        """Leave the template to Jinja2 from now on; `text` says why."""
        self.is_off = True
        self.reason = Reason(text, None)
        self._roots.clear()

    def _insert(self, shape: tuple[str, ...], trace: Trace, way: Way) -> bool:
        """Add a way to the tree; False if the trace does not agree with those before it."""
        nodes: dict[Any, _Node] = self._roots
        key: Any = shape
        steps: list[Instruction] = []
        growth = Growth(self._environment.growth_factors)
        for step in [*trace.steps, None]:
            if isinstance(step, Instruction):
                steps.append(step)
                growth.add(step)
                continue
            source, constants = _write_code(steps, step)
            node = nodes.get(key)
            if node is None:
                node = nodes[key] = _Node(_compile(source, constants), source, growth.is_bounded)
            elif node.source != source:
                return False
            if step is None:
                if node.way is not None:
                    return False
                node.way = way
                break
            nodes, key, steps = node.next, step.outcome, []
        self.ways.append(way)
        self._constant += way.length
        return True


def _try_render(render: Callable[[], str]) -> str | None:
    """What Jinja2 gives; None if it fails."""
    try:
        return render()
    except Exception:
        return None


def _make_way(pieces: list[Piece]) -> Way:
    numbers: dict[tuple[int, int], int] = {}
    slot_length = 0
    written: list[str | int] = []
    for piece in pieces:
        if isinstance(piece, Slot):
            registers = piece.raw.use(), piece.shown.use()
            slot_length += len(str(piece.shown.value))
            written.append(numbers.setdefault(registers, len(numbers)))
        else:
            written.append(piece)
    length = sum(len(piece) for piece in written if isinstance(piece, str))
    return Way(written, [raw for raw, _ in numbers], [shown for _, shown in numbers], length, slot_length)


def _write_code(steps: list[Instruction], guard: Guard | None) -> tuple[str, dict[str, object]]:
    """The source of a node's function, and the constants that it names.

    `c` are the template's variables, `r` the registers so far. Registers are numbered in the order in which
    they are computed, so that appending them puts each at its number.
    """
    constants: dict[str, object] = {}
    own = {step.register for step in steps}
    needed = set().union(*(step.uses for step in steps), [guard.register] if guard else []) - own
    lines = [f" v{register} = r[{register}]" for register in sorted(needed)]
    for step in steps:
        source = step.source
        for name, value in step.constants.items():
            constants[f"{name}_{step.register}"] = value
        if step.constants:
            source = _rename(source, step)
        lines.append(f" v{step.register} = {source}")
    if steps:
        lines.append(f" r += ({''.join(f'v{step.register}, ' for step in steps)})")
    if guard is not None:
        lines.append(f" return {_QUESTIONS[guard.question].format(f'v{guard.register}')}")
    return "def run(c, r):\n" + ("\n".join(lines) or " pass") + "\n", constants


def _rename(source: str, step: Instruction) -> str:
    """The instruction's own constants (F, K0, K1 ...) under names that are unique in the node."""
    return source.format_map({name: f"{name}_{step.register}" for name in step.constants})


def _compile(
    source: str, constants: dict[str, object]
) -> Callable[[TemplateVariables, list[Any]], Outcome | None]:
    namespace: dict[str, Any] = dict(constants)
    exec(compile(source, "<compiled template>", "exec"), namespace)  # noqa: S102 - written above, without any text of the template
    function: Callable[[TemplateVariables, list[Any]], Outcome | None] = namespace["run"]
    return function
