"""The record of one run of a template with Symbols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mailer.render.recording import Guard, Inseparable, Instruction, Recording, Untraceable
from mailer.render.symbols import SCALARS, JoinedSymbol, Piece, Slot, Symbol, TextSymbol, has_symbol
from mailer.templating.limits import check_size

MAX_INSTRUCTIONS = 5000  # of one trace

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": lambda a, b: check_size(a) == check_size(b),
    "ne": lambda a, b: check_size(a) != check_size(b),
    "lt": lambda a, b: check_size(a) < check_size(b),
    "lteq": lambda a, b: check_size(a) <= check_size(b),
    "gt": lambda a, b: check_size(a) > check_size(b),
    "gteq": lambda a, b: check_size(a) >= check_size(b),
    "in": lambda a, b: check_size(a) in check_size(b),
    "notin": lambda a, b: check_size(a) not in check_size(b),
}


def compare_values(name: str, left: Any, right: Any) -> Any:
    """Compare two values that are not Symbols. `name` is that of Jinja2's operator."""
    return COMPARISONS[name](left, right)


class _OpenSection(NamedTuple):
    """The state of a trace when a section began."""

    key: str
    first_step: int
    base: int
    known: dict[tuple[object, ...], Symbol]
    answers: dict[tuple[int, bool], bool | int | str]
    lazy_count: int


class Trace:
    """The record of one run of a template."""

    def __init__(self) -> None:
        self.steps: list[Instruction | Guard] = []
        self._count = 0
        self._known: dict[tuple[object, ...], Symbol] = {}
        self._answers: dict[tuple[int, bool], bool | int | str] = {}
        self._kept: list[object] = []  # so that no id() is given twice during the trace
        self._lazy: list[Symbol] = []  # symbols that got a register when they were used first
        self._open: list[_OpenSection] = []

    def begin_section(self, key: str) -> None:
        """What is recorded from now on belongs to a section, until `end_section` or `dissolve_section`."""
        self._open.append(
            _OpenSection(
                key, len(self.steps), self._count, dict(self._known), dict(self._answers), len(self._lazy)
            )
        )

    def end_section(self, pieces: list[Piece]) -> Recording:
        """Take the innermost section out of the trace. `pieces` are its output."""
        resolved = [piece.find_registers() if isinstance(piece, Slot) else piece for piece in pieces]
        section = self._open.pop()
        steps = self.steps[section.first_step :]
        del self.steps[section.first_step :]
        self._count, self._known, self._answers = section.base, section.known, section.answers
        for symbol in self._lazy[section.lazy_count :]:
            symbol.register = -1
        del self._lazy[section.lazy_count :]
        return Recording(steps, resolved)

    def dissolve_section(self) -> bool:
        """Make the innermost section a part of what is around it, if it has but one way. Returns whether it did."""
        steps = self.steps[self._open[-1].first_step :]
        has_ways = any(isinstance(step, Guard) and step.question != "iterates" for step in steps)
        if not has_ways:
            self._open.pop()
        return not has_ways

    def add_input(self, value: object) -> Symbol:
        """A register that is filled before a round of a loop begins."""
        register, self._count = self._count, self._count + 1
        return Symbol(self, register, value)

    def list_open(self) -> frozenset[str]:
        """The keys of the sections that are not ended yet."""
        return frozenset(section.key for section in self._open if section.key)

    @property
    def count(self) -> int:
        """The number of registers so far."""
        return self._count

    @property
    def base(self) -> int:
        """The number of registers that were there before the innermost section."""
        return self._open[-1].base if self._open else 0

    def check_own(self, register: int) -> None:
        """Inseparable if the register was there before the innermost section: its value can be used only once."""
        if register < self.base:
            raise Inseparable(frozenset({self._open[-1].key}))

    def note_lazy(self, symbol: Symbol) -> None:
        """A symbol got its register now: after the section it has none."""
        self._lazy.append(symbol)

    def load(self, name: str) -> int:
        """Record that a column is read; returns its register."""
        return self._add("c[{K0}]", frozenset(), {"K0": name})

    def compare(self, name: str, left: object, right: object) -> Symbol:
        return self.apply(COMPARISONS[name], left, right)

    def apply(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Symbol:
        """Record `function(*arguments, **named)`, some of which hold Symbols, and compute it for this
        recipient.

        The same function of the same arguments is recorded once. It must be pure, and never give an iterator.
        """
        return self._apply(function, arguments, named, may_iterate=False)

    def apply_iterating(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Symbol:
        """As `apply`, for a function that may give an iterator.

        Whether it does is checked for each recipient.
        """
        return self._apply(function, arguments, named, may_iterate=True)

    def _apply(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        named: dict[str, Any],
        *,
        may_iterate: bool,
    ) -> Symbol:
        values, uses = _ArgumentWriter(), set[int]()
        written = [values.write(argument, uses) for argument in arguments]
        if named:
            written.append(f"**{values.write(named, uses)}")
        key = (id(function), tuple(named), *values.identity)
        if (known := self._known.get(key)) is not None:
            return known
        self._kept += (function, arguments, named)
        result = function(
            *map(_value_of, arguments), **{name: _value_of(part) for name, part in named.items()}
        )
        is_iterator = hasattr(result, "__next__")
        if is_iterator and not may_iterate:
            raise Untraceable("a function gives an iterator")
        call = f"{{F}}({', '.join(written)})"
        register = self._add(call, frozenset(uses), {"F": function} | values.constants)
        if may_iterate:
            self.steps.append(Guard(register, "iterates", is_iterator))
        if is_iterator:
            register = self._add(f"list(v{register})", frozenset({register}), {})
        made = Symbol(self, register, list(result) if is_iterator else result, is_iterator=is_iterator)
        if not is_iterator:
            self._known[key] = made
        return made

    def decide(self, symbol: Symbol) -> bool:
        """Whether `symbol` is true for this recipient; a guard of the trace."""
        register = symbol.use()
        if symbol.is_iterator:
            raise Untraceable("a generator is tested for truth")
        if (register, True) not in self._answers:
            outcome = self._answers[register, True] = bool(symbol.value)
            self.steps.append(Guard(register, "true", outcome))
        return bool(self._answers[register, True])

    def fix(self, symbol: Symbol) -> Any:
        """The value of `symbol`, a text or a number, for this recipient; a guard of the trace."""
        register, value = symbol.use(), symbol.value
        if value.__class__ not in (str, int):
            raise Untraceable("a column's value decides what is loaded, and is not a text")
        if (register, False) not in self._answers:
            self._answers[register, False] = value
            self.steps.append(Guard(register, "value", value))
        return value

    def _add(self, source: str, uses: frozenset[int], constants: dict[str, object]) -> int:
        if len(self.steps) >= MAX_INSTRUCTIONS:
            raise Untraceable("the template does too much with a column's values")
        register, self._count = self._count, self._count + 1
        self.steps.append(Instruction(register, source, uses, constants))
        return register


class _ArgumentWriter:
    """Arguments as Python source: registers by their number, constants by a name."""

    def __init__(self) -> None:
        self.constants: dict[str, object] = {}
        self.identity: list[object] = []

    def write(self, value: Any, uses: set[int]) -> str:
        if isinstance(value, Symbol):
            register = value.use()
            uses.add(register)
            self.identity += ("register", register)
            return f"iter(v{register})" if value.is_iterator else f"v{register}"
        if not has_symbol(value):
            return self._write_constant(value)
        self.identity.append(value.__class__)
        if value.__class__ in (list, tuple):
            self.identity.append(len(value))
            parts = "".join(f"{self.write(part, uses)}, " for part in value)
            return f"[{parts}]" if value.__class__ is list else f"({parts})"
        if value.__class__ is dict:
            self.identity.append(len(value))
            parts = "".join(
                f"{self._write_constant(key)}: {self.write(part, uses)}, " for key, part in value.items()
            )
            return f"{{{{{parts}}}}}"
        if value.__class__ is slice:
            parts = ", ".join(self.write(part, uses) for part in (value.start, value.stop, value.step))
            return f"slice({parts})"
        raise Untraceable(f"a {value.__class__.__name__} with a column's value in it")

    def _write_constant(self, value: object) -> str:
        is_scalar = value.__class__ in SCALARS
        self.identity += (
            (value.__class__, repr(value) if value.__class__ is float else value)
            if is_scalar
            else (id(value),)
        )
        name = f"K{len(self.constants)}"
        self.constants[name] = value
        return f"{{{name}}}"


def _value_of(argument: Any) -> Any:
    """An argument with this recipient's values in place of the Symbols."""
    if isinstance(argument, Symbol):
        if isinstance(argument, (TextSymbol, JoinedSymbol)):
            argument.use()
        return iter(argument.value) if argument.is_iterator else argument.value
    if not has_symbol(argument):
        return argument
    if isinstance(argument, dict):
        return {key: _value_of(part) for key, part in argument.items()}
    if isinstance(argument, slice):
        return slice(*map(_value_of, (argument.start, argument.stop, argument.step)))
    return argument.__class__(map(_value_of, argument))
