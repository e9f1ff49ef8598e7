"""Symbols: stand-ins for a recipient's values while a template is traced.

A trace runs a template once with one recipient's values. Each value that comes from a column is wrapped in a
Symbol, and each operation on a Symbol is recorded as an instruction beside its result. Everything else
(inheritance, includes, macros, loops over `vars`) is simply executed by Jinja2 and leaves only constant text.
If the template asks whether a Symbol is true, or how many items it has, the answer becomes a guard: the trace
is valid for the recipients whose guards have the same outcomes.

A Symbol that reaches code which is not prepared for it raises Untraceable. The template is then left to
Jinja2.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from markupsafe import Markup

from mailer.templating.limits import check_size

MAX_INSTRUCTIONS = 5000  # of one trace
MAX_LOOP = 200  # items of a recipient's list that are written out
_SCALARS = frozenset({str, int, float, bool, type(None), Markup, bytes})
_VIEWS: tuple[type[Any], ...] = (type({}.keys()), type({}.values()), type({}.items()))


class Untraceable(Exception):
    """The template does something that cannot be traced; `str()` says what."""


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


class Symbol:
    """A value that depends on the recipient. `value` is that of the traced recipient."""

    __slots__ = ("_is_used", "is_iterator", "register", "trace", "value")
    __hash__ = None  # type: ignore[assignment]  # a hash would be that of one recipient's value

    def __init__(self, trace: Trace, register: int, value: Any, *, is_iterator: bool = False) -> None:
        self.trace = trace
        self.register = register
        self.value = value
        self.is_iterator = is_iterator
        self._is_used = False

    def use(self) -> int:
        """The register's number. An iterator can be used once, as Jinja2's own."""
        if self.is_iterator:
            if self._is_used:
                raise Untraceable("a generator is used twice")
            self._is_used = True
        return self.register

    def __bool__(self) -> bool:
        return self.trace.decide(self)

    def __iter__(self) -> Iterator[Any]:
        items = self.trace.apply(list, self)
        count = self.trace.fix(self.trace.apply(len, items))
        if count > MAX_LOOP:
            raise Untraceable(f"a loop over more than {MAX_LOOP} items of a column")
        return iter([self.trace.apply(operator.getitem, items, n) for n in range(count)])

    def __len__(self) -> int:
        return int(self.trace.fix(self.trace.apply(len, self)))

    def __eq__(self, other: object) -> Any:
        return self.trace.compare("eq", self, other)

    def __ne__(self, other: object) -> Any:
        return self.trace.compare("ne", self, other)

    def __lt__(self, other: object) -> Any:
        return self.trace.compare("lt", self, other)

    def __le__(self, other: object) -> Any:
        return self.trace.compare("lteq", self, other)

    def __gt__(self, other: object) -> Any:
        return self.trace.compare("gt", self, other)

    def __ge__(self, other: object) -> Any:
        return self.trace.compare("gteq", self, other)

    def __neg__(self) -> Symbol:
        return self.trace.apply(operator.neg, self)

    def __pos__(self) -> Symbol:
        return self.trace.apply(operator.pos, self)

    def _refuse(self, *_: object) -> Any:
        raise Untraceable("a column's value is used in a way that is not compiled")

    __str__ = __int__ = __float__ = __index__ = __format__ = __contains__ = __getitem__ = __complex__ = (
        _refuse
    )
    __reversed__ = __round__ = __repr__ = _refuse


class ColumnSymbol(Symbol):
    """The value of a column. It gets a register when it is used first."""

    __slots__ = ("name",)

    def __init__(self, trace: Trace, name: str, value: Any) -> None:
        super().__init__(trace, -1, value)
        self.name = name

    def use(self) -> int:
        if self.register < 0:
            self.register = self.trace.load(self.name)
        return self.register


class Slot(NamedTuple):
    """A place of the output that a Symbol fills.

    `shown` is what is written, `raw` the text before it is escaped.
    """

    raw: Symbol
    shown: Symbol


Piece = str | Slot


class TextSymbol(Symbol):
    """What a macro, a block or `{% set %}` wrote, if it has slots in it.

    It gets a register only if it is needed.
    """

    __slots__ = ("is_markup", "pieces")

    def __init__(self, trace: Trace, pieces: list[Piece], *, is_markup: bool) -> None:
        super().__init__(trace, -1, None)
        self.pieces = pieces
        self.is_markup = is_markup

    def use(self) -> int:
        if self.register < 0:
            parts = tuple(piece.shown if isinstance(piece, Slot) else piece for piece in self.pieces)
            made = self.trace.apply(join_markup if self.is_markup else join_text, parts)
            self.register, self.value = made.register, made.value
        return self.register


class JoinedSymbol(Symbol):
    """Plain texts side by side (`a ~ b`). It gets a register only if it is needed."""

    __slots__ = ("function", "parts")

    def __init__(
        self, trace: Trace, function: Callable[[tuple[Any, ...]], str], parts: list[str | Symbol]
    ) -> None:
        super().__init__(trace, -1, None)
        self.function = function
        self.parts = parts

    def use(self) -> int:
        if self.register < 0:
            made = self.trace.apply(self.function, tuple(self.parts))
            self.register, self.value = made.register, made.value
        return self.register


def join_text(parts: tuple[str, ...]) -> str:
    return "".join(parts)


def join_markup(parts: tuple[str, ...]) -> Markup:
    return Markup("".join(parts))  # noqa: S704 - each part was escaped when it was shown


def has_symbol(value: object, depth: int = 8) -> bool:
    """Whether `value` is a Symbol, or has one among its parts."""
    kind = value.__class__
    if kind in _SCALARS:
        return False
    if isinstance(value, Symbol):
        return True
    if isinstance(value, dict):
        parts: Any = (*value.keys(), *value.values())
    elif isinstance(value, (list, tuple, set, frozenset, *_VIEWS)):
        parts = value
    elif isinstance(value, slice):
        parts = (value.start, value.stop, value.step)
    else:
        return False
    if depth == 0:
        raise Untraceable("values are nested too deeply")
    return any(has_symbol(part, depth - 1) for part in parts)


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


class Trace:
    """The record of one run of a template."""

    def __init__(self) -> None:
        self.steps: list[Instruction | Guard] = []
        self._count = 0
        self._known: dict[tuple[object, ...], Symbol] = {}
        self._answers: dict[tuple[int, bool], bool | int | str] = {}
        self._kept: list[object] = []  # so that no id() is given twice during the trace

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
        is_scalar = value.__class__ in _SCALARS
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
