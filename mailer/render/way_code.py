"""Straight-line Python code for a way through a template: what each guard asks about, and the rest at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mailer.render.recording import Guard, Instruction
from mailer.render.templates import TemplateVariables

Outcome = bool | int | str
_QUESTIONS = {"true": "not not {}", "iterates": "hasattr({}, '__next__')", "value": "{}"}


class Code(NamedTuple):
    """A function that appends registers to those computed so far, and returns a guard's outcome."""

    source: str
    run: Callable[[TemplateVariables, list[Any]], Outcome | None]


class CodeSource(NamedTuple):
    """The source of a function, and the constants that it names."""

    text: str
    constants: dict[str, object]

    def compile(self) -> Code:
        """Return the function."""
        namespace: dict[str, Any] = dict(self.constants)
        exec(compile(self.text, "<compiled template>", "exec"), namespace)  # noqa: S102 - written below, without any text of the template
        return Code(self.text, namespace["run"])


class CodeWriter:
    """Writes the code of one way, from its begin to its end.

    The registers of a trace are computed in another order than that of the trace: first what a guard asks
    about. `places` are those of the registers in the list that the code appends to.
    """

    def __init__(self, places: dict[int, int] | None = None, count: int = 0) -> None:
        """`places` are those of the registers that are there at the begin; the list has `count` of them."""
        self.places: dict[int, int] = places or {}
        self._count = count
        self._waiting: dict[int, Instruction] = {}
        self.steps: list[Instruction] = []  # all of them

    def fork(self, base: int, inputs: int) -> CodeWriter:
        """The writer of a section that sees the registers before `base`, and has `inputs` of its own."""
        places = {register: place for register, place in self.places.items() if register < base}
        places |= {base + number: self._count + number for number in range(inputs)}
        return CodeWriter(places, self._count + inputs)

    def add(self, step: Instruction) -> None:
        """Take the next instruction."""
        self._waiting[step.register] = step
        self.steps.append(step)

    def write_guard(self, guard: Guard) -> CodeSource:
        """The code that a guard needs: what it asks about, if that is not computed yet, and its question."""
        needed: set[int] = set()
        asked = [guard.register]
        while asked:
            if (step := self._waiting.get(asked.pop())) is not None and step.register not in needed:
                needed.add(step.register)
                asked += step.uses
        return self._write([step for step in self.steps if step.register in needed], guard)

    @property
    def rest(self) -> list[Instruction]:
        """What no guard has asked about so far."""
        return list(self._waiting.values())

    def write_rest(self) -> CodeSource:
        """The code for what no guard has asked about."""
        return self._write(self.rest, None)

    def _write(self, steps: Iterable[Instruction], guard: Guard | None) -> CodeSource:
        """`c` are the template's variables, `r` the registers so far."""
        constants: dict[str, object] = {}
        computed: list[int] = []
        lines: list[str] = []
        used = {guard.register} if guard else set[int]()
        for step in steps:
            names = {name: f"{name}_{step.register}" for name in step.constants}
            constants |= {names[name]: value for name, value in step.constants.items()}
            source = step.source.format_map(names) if names else step.source
            lines.append(f" v{step.register} = {source}")
            used |= step.uses
            computed.append(step.register)
        loads = [
            f" v{register} = r[{self.places[register]}]" for register in sorted(used.difference(computed))
        ]
        if computed:
            lines.append(f" r += ({''.join(f'v{register}, ' for register in computed)})")
        lines.append(f" return {_QUESTIONS[guard.question].format(f'v{guard.register}') if guard else None}")
        for register in computed:
            del self._waiting[register]
            self.places[register] = self._count
            self._count += 1
        return CodeSource("def run(c, r):\n" + "\n".join([*loads, *lines]) + "\n", constants)
