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
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from mailer.render.recording import Inseparable, SectionRecord, SlotRegisters, Untraceable

if TYPE_CHECKING:
    from mailer.render.trace import Trace

MAX_LOOP = 200  # items of a recipient's list that are written out
SCALARS = frozenset({str, int, float, bool, type(None), Markup, bytes})
_VIEWS: tuple[type[Any], ...] = (type({}.keys()), type({}.values()), type({}.items()))


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
            self.trace.check_own(self.register)
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
            self.trace.note_lazy(self)
        return self.register


class Slot(NamedTuple):
    """A place of the output that a Symbol fills.

    `shown` is what is written, `raw` the text before it is escaped.
    """

    raw: Symbol
    shown: Symbol

    def find_registers(self) -> SlotRegisters:
        """The registers of both, and the length of what is written for the traced recipient."""
        return SlotRegisters(self.raw.use(), self.shown.use(), len(str(self.shown.value)))


Piece = str | Slot | SectionRecord


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
            keys = frozenset(piece.key for piece in self.pieces if isinstance(piece, SectionRecord))
            if keys:  # its text is not only shown
                raise Inseparable(keys)
            parts = tuple(piece.shown if isinstance(piece, Slot) else piece for piece in self.pieces)
            made = self.trace.apply(join_markup if self.is_markup else join_text, parts)
            self.register, self.value = made.register, made.value
            self.trace.note_lazy(self)
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
            self.trace.note_lazy(self)
        return self.register


def join_text(parts: tuple[str, ...]) -> str:
    return "".join(parts)


def join_markup(parts: tuple[str, ...]) -> Markup:
    return Markup("".join(parts))  # noqa: S704 - each part was escaped when it was shown


def has_symbol(value: object, depth: int = 8) -> bool:
    """Whether `value` is a Symbol, or has one among its parts."""
    kind = value.__class__
    if kind in SCALARS:
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
