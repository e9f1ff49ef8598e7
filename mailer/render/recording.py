"""What a trace records: instructions, guards, and the output of a template or of a section of it."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Untraceable(Exception):
    """The template does something that cannot be traced; `str()` says what."""


class Inseparable(Exception):
    """Sections cannot have ways of their own. `keys` are theirs."""

    def __init__(self, keys: frozenset[str]) -> None:
        super().__init__("a branch or a loop is not independent of what is around it")
        self.keys = keys


class Instruction(NamedTuple):
    """`register = function(arguments)` as Python source; `constants` are the names that the source uses."""

    register: int
    source: str
    uses: frozenset[int]
    constants: dict[str, object]


class Guard(NamedTuple):
    """A question about a register whose answer decides how the template continues.

    `true`: is it true? `iterates`: is it an iterator? `value`: what is it?
    """

    register: int
    question: Literal["true", "iterates", "value"]
    outcome: bool | int | str


class SlotRegisters(NamedTuple):
    """The registers of a slot: of the text before it is escaped, and of what is written."""

    raw: int
    shown: int
    length: int


class Recording(NamedTuple):
    """What one run of a template, or of a section of it, did: its instructions and guards, and its output."""

    steps: list[Instruction | Guard]
    pieces: list[str | SlotRegisters | SectionRecord]


class SectionRecord(NamedTuple):
    """A section of the output that has ways of its own: what a branch wrote, or each round of a loop.

    A section sees the first `base` registers of what is around it. `items` is the register of a loop's list; a
    round's own registers begin with its item, its number and the number of rounds.
    """

    key: str
    base: int
    items: int | None
    rounds: list[Recording]
