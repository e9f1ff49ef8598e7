"""Ways through a template's branches: trees of straight-line code, and the output at each end.

A tree is made of recordings (`symbols.py`): a node computes registers and ends with a guard; the guard's outcome
leads to the next node. At the end is a way: constant texts, slots and sections. A section is a branch or a loop
with a tree of its own, so that independent branches need no way for each combination of theirs; the rounds of a
loop share one tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from typing import Any, NamedTuple

from mailer.dataclass import dataclass
from mailer.render.growth import Growth
from mailer.render.recording import Guard, Instruction, Recording, SectionRecord, SlotRegisters
from mailer.render.templates import TemplateVariables

MAX_BOUNDED_ROUNDS = 64  # of a loop that is known to be little work

Outcome = bool | int | str
_QUESTIONS = {"true": "not not {}", "iterates": "hasattr({}, '__next__')", "value": "{}"}


@dataclass(slots=True)
class Way:
    """One way through a template's branches: its output as texts, numbers of slots and sections, and each slot's
    registers.
    """

    number: int  # in its program
    pieces: list[str | int | Section]
    raw: list[int]
    shown: list[int]
    length: int  # characters of the constant texts
    slot_length: int  # characters in the slots, for the recipient with whom it was traced
    sections: list[Section]
    skeletons: dict[object, Any] = field(
        default_factory=dict
    )  # what `template_page.py` makes of this way, by its shape
    plan: Any = None  # how `transform.py` finds the shape
    fragment: Any = None  # what `assembly.py` makes of this way if all of its slots are tokens


@dataclass(slots=True)
class Section:
    """A part of a way's output with ways of its own; see `symbols.SectionRecord`."""

    key: str
    base: int
    items: int | None
    nodes: dict[Any, Node] = field(default_factory=dict)

    def list_ways(self) -> Iterator[Way]:
        """The ways through this section alone."""
        return list_ways(self.nodes.values())

    def follow(
        self, variables: TemplateVariables, registers: list[Any], only_bounded: bool
    ) -> list[FilledWay] | None:
        """The way of each round (of a branch: one) with its registers; None if one is not known."""
        root = self.nodes.get(None)
        if self.items is None:
            filled = follow(root, variables, registers[: self.base], only_bounded)
            return None if filled is None else [filled]
        items, made = registers[self.items], []
        count = len(items)
        if only_bounded and count > MAX_BOUNDED_ROUNDS:
            return None
        before = registers[: self.base]
        for number, item in enumerate(items):
            filled = follow(root, variables, [*before, item, number, count], only_bounded)
            if filled is None:
                return None
            made.append(filled)
        return made


@dataclass(slots=True)
class Node:
    """Code that ends with a guard, or with the end of the template or section."""

    run: Callable[[TemplateVariables, list[Any]], Outcome | None]
    source: str
    is_bounded: bool  # the work of this node and of those before it
    next: dict[Outcome, Node] = field(default_factory=dict)
    way: Way | None = None


class FilledWay(NamedTuple):
    """A way with one recipient's registers, and the rounds of each of its sections."""

    way: Way
    registers: list[Any]
    sections: list[list[FilledWay]]

    def write(self) -> str:
        """The output."""
        written: list[str] = []
        self._write_into(written)
        return "".join(written)

    def _write_into(self, written: list[str]) -> None:
        way, registers, sections = self
        number = 0
        for piece in way.pieces:
            if isinstance(piece, str):
                written.append(piece)
            elif isinstance(piece, int):
                written.append(registers[way.shown[piece]])
            else:
                for filled in sections[number]:
                    filled._write_into(written)
                number += 1

    def list_ways(self) -> Iterator[FilledWay]:
        """This way and those of its sections, in the order of the output's beginning of each."""
        yield self
        for rounds in self.sections:
            for filled in rounds:
                yield from filled.list_ways()

    def list_shown(self) -> list[str]:
        """The values of this way's own slots, as they are written."""
        registers = self.registers
        return [registers[number] for number in self.way.shown]

    def list_raw(self) -> list[Any]:
        """The values of this way's own slots, before they are escaped."""
        registers = self.registers
        return [registers[number] for number in self.way.raw]

    def measure(self) -> int:
        """At least as many characters as the output has."""
        way, registers, sections = self
        size = 2 * way.length
        if way.shown:
            size += sum([len(registers[number]) for number in way.shown]) * (len(way.pieces) + 1) * 2
        for rounds in sections:
            for filled in rounds:
                size += filled.measure()
        return size


def follow(
    node: Node | None, variables: TemplateVariables, registers: list[Any], only_bounded: bool
) -> FilledWay | None:
    """Follow a tree from `node`; None if it does not know the way, or (`only_bounded`) its work is not bounded.

    Errors of the values' operations are raised as they are.
    """
    while node is not None:
        if only_bounded and not node.is_bounded:
            return None
        outcome = node.run(variables, registers) if node.source else None
        if (way := node.way) is not None:
            if not way.sections:
                return FilledWay(way, registers, [])
            sections = []
            for section in way.sections:
                rounds = section.follow(variables, registers, only_bounded)
                if rounds is None:
                    return None
                sections.append(rounds)
            return FilledWay(way, registers, sections)
        node = node.next.get(outcome)  # type: ignore[arg-type]
    return None


def list_ways(nodes: Iterable[Node]) -> Iterator[Way]:
    """The ways that begin at nodes, without those of their sections."""
    for node in nodes:
        if node.way is not None:
            yield node.way
        yield from list_ways(node.next.values())


def count_slots(ways: Iterable[Way]) -> int:
    """The slots of the way that has the most of them, with those of its sections."""
    return max(
        (len(way.shown) + sum(count_slots(section.list_ways()) for section in way.sections) for way in ways),
        default=0,
    )


class ContradictoryTrace(Exception):
    """A trace does not agree with those before it. `key` is that of the section; empty for the whole template."""

    def __init__(self, key: str) -> None:
        super().__init__("it differs each time it is rendered")
        self.key = key


class WayBuilder:
    """Adds recordings to the trees of one program."""

    def __init__(self, growth_factors: dict[Callable[..., Any], int]) -> None:
        self._growth_factors = growth_factors
        self.ways: list[Way] = []
        self.constant = 0  # characters of the constant texts of all ways

    def add(self, roots: dict[Any, Node], key: object, recording: Recording) -> None:
        """Add a recording of the whole template to the tree `roots[key]`.

        :raises ContradictoryTrace: if the trace does not agree with those before it.
        """
        self._add(roots, key, recording, Growth(self._growth_factors), "")

    def _add(
        self, roots: dict[Any, Node], root: object, recording: Recording, growth: Growth, section: str
    ) -> None:
        nodes: dict[Any, Node] = roots
        key: Any = root
        steps: list[Instruction] = []
        for step in [*recording.steps, None]:
            if isinstance(step, Instruction):
                steps.append(step)
                growth.add(step)
                continue
            source, constants = _write_code(steps, step)
            node = nodes.get(key)
            if node is None:
                node = nodes[key] = Node(_compile(source, constants), source, growth.is_bounded)
            elif node.source != source:
                raise ContradictoryTrace(section)
            if step is None:
                self._end(node, recording, growth, section)
                break
            nodes, key, steps = node.next, step.outcome, []

    def _end(self, node: Node, recording: Recording, growth: Growth, section: str) -> None:
        way = self._make_way(recording)
        if node.way is None:
            node.way = way
            self.ways.append(way)
            self.constant += way.length
        elif _describe(node.way) != _describe(way):
            raise ContradictoryTrace(section)
        records = [piece for piece in recording.pieces if isinstance(piece, SectionRecord)]
        for made, record in zip(node.way.sections, records, strict=True):
            for recorded in record.rounds:
                inner = growth.fork(record.base, record.items, len(records), MAX_BOUNDED_ROUNDS)
                self._add(made.nodes, None, recorded, inner, record.key)

    def _make_way(self, recording: Recording) -> Way:
        numbers: dict[tuple[int, int], int] = {}
        slot_length = 0
        written: list[str | int | Section] = []
        for piece in recording.pieces:
            if isinstance(piece, SlotRegisters):
                slot_length += piece.length
                written.append(numbers.setdefault((piece.raw, piece.shown), len(numbers)))
            elif isinstance(piece, SectionRecord):
                written.append(Section(piece.key, piece.base, piece.items))
            else:
                written.append(piece)
        length = sum(len(piece) for piece in written if isinstance(piece, str))
        sections = [piece for piece in written if isinstance(piece, Section)]
        raw, shown = [raw for raw, _ in numbers], [shown for _, shown in numbers]
        return Way(len(self.ways), written, raw, shown, length, slot_length, sections)


def _describe(way: Way) -> tuple[Any, ...]:
    pieces = [
        (piece.key, piece.base, piece.items) if isinstance(piece, Section) else piece for piece in way.pieces
    ]
    return pieces, way.raw, way.shown


def _write_code(steps: list[Instruction], guard: Guard | None) -> tuple[str, dict[str, object]]:
    """The source of a node's function, and the constants that it names.

    `c` are the template's variables, `r` the registers so far. Registers are numbered in the order in which
    they are computed, so that appending them puts each at its number.
    """
    constants: dict[str, object] = {}
    own = {step.register for step in steps}
    needed = set().union(*(step.uses for step in steps), [guard.register] if guard else []) - own
    if not steps and guard is None:
        return "", {}
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
    return "def run(c, r):\n" + "\n".join(lines) + "\n", constants


def _rename(source: str, step: Instruction) -> str:
    """The instruction's own constants (F, K0, K1 ...) under names that are unique in the node."""
    return source.format_map({name: f"{name}_{step.register}" for name in step.constants})


def _do_nothing(_variables: TemplateVariables, _registers: list[Any]) -> None:
    pass


def _compile(
    source: str, constants: dict[str, object]
) -> Callable[[TemplateVariables, list[Any]], Outcome | None]:
    namespace: dict[str, Any] = dict(constants)
    namespace["run"] = _do_nothing  # if there is no source
    exec(compile(source, "<compiled template>", "exec"), namespace)  # noqa: S102 - written above, without any text of the template
    function: Callable[[TemplateVariables, list[Any]], Outcome | None] = namespace["run"]
    return function
