"""Ways through a template's branches: trees of straight-line code, and the output at each end.

A tree is made of recordings (`symbols.py`): a node computes what its guard asks about; the guard's outcome
leads to the next node. At the end is a way: it computes the other registers, and has constant texts, slots
and sections. A section is a branch or a loop with a tree of its own, so that independent branches need no
way for each combination of theirs; the rounds of a loop share one tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any, NamedTuple

from mailer.dataclass import dataclass
from mailer.render.growth import Growth
from mailer.render.plainness import PlainGains, PlainMeasure, PlainSlots, find_plain_slots
from mailer.render.recording import Instruction, Recording, SectionRecord, SlotRegisters
from mailer.render.templates import TemplateVariables
from mailer.render.way_code import Code, CodeWriter, Outcome

MAX_BOUNDED_ROUNDS = 64  # of a loop that is known to be little work
_NOTHING = Code("", lambda _variables, _registers: None)


@dataclass(slots=True)
class Way:
    """One way through a template's branches: its output as texts, numbers of slots and sections, and each slot's
    registers.
    """

    number: int  # of no other way that its program has or had
    pieces: list[str | int | Section]
    raw: list[int]
    shown: list[int]
    length: int  # characters of the constant texts
    slot_length: int  # characters in the slots, for the recipient with whom it was traced
    sections: list[Section]
    compute: Code = _NOTHING  # the registers that no guard asked about
    plain: PlainSlots | None = None
    skeletons: dict[object, Any] = field(
        default_factory=dict
    )  # what `template_page.py` makes of this way, by its shape
    plan: Any = None  # how `transform.py` finds the shape
    fragment: Any = None  # what `assembly.py` makes of this way if all of its slots are tokens
    measure: PlainMeasure | None = None  # how much is made of this way if it is plain


@dataclass(slots=True)
class Section:
    """A part of a way's output with ways of its own; see `recording.SectionRecord`."""

    key: str
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
            filled = follow(root, variables, registers.copy(), only_bounded)
            return None if filled is None else [filled]
        items, made = registers[self.items], []
        count = len(items)
        if only_bounded and count > MAX_BOUNDED_ROUNDS:
            return None
        for number, item in enumerate(items):
            filled = follow(root, variables, [*registers, item, number, count], only_bounded)
            if filled is None:
                return None
            made.append(filled)
        return made


@dataclass(slots=True)
class Node:
    """A guard, or the end of the template or section."""

    decide: Code | None  # computes what the guard asks about, and returns its outcome; None at the end
    is_bounded: bool  # the work up to here, and of the whole way at its end
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
    way = find_way(node, variables, registers, only_bounded)
    if way is None:
        return None
    way.compute.run(variables, registers)
    sections = []
    for section in way.sections:
        rounds = section.follow(variables, registers, only_bounded)
        if rounds is None:
            return None
        sections.append(rounds)
    return FilledWay(way, registers, sections)


def find_way(
    node: Node | None, variables: TemplateVariables, registers: list[Any], only_bounded: bool
) -> Way | None:
    """As `follow`, but compute only what the guards ask about."""
    while node is not None:
        if only_bounded and not node.is_bounded:
            return None
        if node.decide is None:
            return node.way
        node = node.next.get(node.decide.run(variables, registers))  # type: ignore[arg-type]
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

    def __init__(
        self, growth_factors: dict[Callable[..., Any], int], plain_gains: PlainGains, numbers: Iterator[int]
    ) -> None:
        """`growth_factors` are those of `list_growth_factors`, `plain_gains` those of `list_plain_gains`.

        `numbers` are those of the ways that are made.
        """
        self._growth_factors, self._plain_gains = growth_factors, plain_gains
        self._numbers = numbers
        self.ways: list[Way] = []
        self.constant = 0  # characters of the constant texts of all ways

    def add(self, roots: dict[Any, Node], key: object, recording: Recording) -> None:
        """Add a recording of the whole template to the tree `roots[key]`.

        :raises ContradictoryTrace: if the trace does not agree with those before it.
        """
        self._add(roots, key, recording, _Path(CodeWriter(), Growth(self._growth_factors), ""))

    def _add(self, roots: dict[Any, Node], root: object, recording: Recording, path: _Path) -> None:
        nodes: dict[Any, Node] = roots
        key: Any = root
        code, growth, section = path
        for step in recording.steps:
            if isinstance(step, Instruction):
                code.add(step)
                growth.add(step)
                continue
            source = code.write_guard(step)
            node = nodes.get(key)
            if node is None:
                node = nodes[key] = Node(source.compile(), growth.is_bounded)
            elif node.decide is None or node.decide.source != source.text:
                raise ContradictoryTrace(section)
            nodes, key = node.next, step.outcome
        if (node := nodes.get(key)) is None:
            node = nodes[key] = Node(None, growth.is_bounded)
        if node.decide is not None:
            raise ContradictoryTrace(section)
        self._end(node, recording, path)

    def _end(self, node: Node, recording: Recording, path: _Path) -> None:
        code, growth, section = path
        rest = code.rest
        source = code.write_rest()
        way = self._make_way(recording, code.places)
        if node.way is None:
            way.compute = source.compile()
            if not section and not way.sections:  # a section's ways show other values
                way.plain = find_plain_slots(code.steps, _list_needed(rest, recording), self._plain_gains)
            node.way = way
            self.ways.append(way)
            self.constant += way.length
        elif node.way.compute.source != source.text or _describe(node.way) != _describe(way):
            raise ContradictoryTrace(section)
        records = [piece for piece in recording.pieces if isinstance(piece, SectionRecord)]
        for made, record in zip(node.way.sections, records, strict=True):
            for recorded in record.rounds:
                inner = growth.fork(record.base, record.items, len(records), MAX_BOUNDED_ROUNDS)
                inputs = 0 if record.items is None else 3
                self._add(
                    made.nodes, None, recorded, _Path(code.fork(record.base, inputs), inner, record.key)
                )

    def _make_way(self, recording: Recording, places: Mapping[int, int]) -> Way:
        numbers: dict[tuple[int, int], int] = {}
        slot_length = 0
        written: list[str | int | Section] = []
        for piece in recording.pieces:
            if isinstance(piece, SlotRegisters):
                slot_length += piece.length
                written.append(numbers.setdefault((piece.raw, piece.shown), len(numbers)))
            elif isinstance(piece, SectionRecord):
                written.append(Section(piece.key, None if piece.items is None else places[piece.items]))
            else:
                written.append(piece)
        length = sum(len(piece) for piece in written if isinstance(piece, str))
        sections = [piece for piece in written if isinstance(piece, Section)]
        raw, shown = [places[raw] for raw, _ in numbers], [places[shown] for _, shown in numbers]
        return Way(next(self._numbers), written, raw, shown, length, slot_length, sections)


class _Path(NamedTuple):
    """The way through a template, or through the section `section`, that a recording is added to."""

    code: CodeWriter
    growth: Growth
    section: str


def _list_needed(rest: Iterable[Instruction], recording: Recording) -> list[int]:
    """The registers that a recipient's message needs beside those that guards ask about."""
    slots = [piece for piece in recording.pieces if isinstance(piece, SlotRegisters)]
    return [step.register for step in rest] + [number for slot in slots for number in slot[:2]]


def _describe(way: Way) -> tuple[Any, ...]:
    pieces = [(piece.key, piece.items) if isinstance(piece, Section) else piece for piece in way.pieces]
    return pieces, way.raw, way.shown
