"""A way with one recipient's values, the texts and tokens in its slots, and its output with marks around sections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from mailer.render.skeleton import make_marks, make_token
from mailer.render.transform import Plan, Shape
from mailer.render.ways import FilledWay


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


class MarkedOutput:
    """The output of an instance. Number 0 is the whole; each section, or round of a loop, has the next number."""

    def __init__(self, root: Instance) -> None:
        self.instances: list[Instance] = []
        self.first_slots: list[int] = []
        self.children: list[
            list[list[int]]
        ] = []  # of each instance: for each section the numbers of its rounds
        self.rounds: set[int] = set()
        self._keys: list[str] = []
        self._parents: list[int] = []
        self._slot_count = 0
        self._add(root, "", -1, is_round=False)

    def _add(self, instance: Instance, key: str, parent: int, *, is_round: bool) -> int:
        number = len(self.instances)
        self.instances.append(instance)
        self._keys.append(key)
        self._parents.append(parent)
        self.first_slots.append(self._slot_count)
        self._slot_count += len(instance.shown)
        if is_round:
            self.rounds.add(number)
        made: list[list[int]] = []
        self.children.append(made)
        for section, rounds in zip(instance.filled.way.sections, instance.sections, strict=True):
            made.append(
                [
                    self._add(child, section.key, number, is_round=section.items is not None)
                    for child in rounds
                ]
            )
        return number

    def find_keys(self, numbers: Iterable[int]) -> frozenset[str]:
        """The keys of sections; of all if there is none."""
        found = {self._keys[number] for number in numbers if number} or {key for key in self._keys if key}
        return frozenset(found)

    def list_children(self, number: int) -> list[int]:
        """The numbers of the sections, or of their rounds, that are right in the section `number`."""
        return [child for rounds in self.children[number] for child in rounds]

    def find_path(self, number: int) -> frozenset[int]:
        """The numbers of a section and of those that it is in."""
        path = {number}
        while (number := self._parents[number]) >= 0:
            path.add(number)
        return frozenset(path)

    def write(self, *, has_marks: bool = True, only: frozenset[int] | None = None, number: int = 0) -> str:
        """The output with tokens, and with marks around the sections.

        :param only: the sections that are written; the marks of others have nothing between them.
        """
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
                    is_written = only is None or child in only
                    inner = self.write(has_marks=has_marks, only=only, number=child) if is_written else ""
                    written += [start, inner, end]
        return "".join(written)
