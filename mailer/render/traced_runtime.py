"""What a traced template has in place of Jinja2's own runtime: loops, macros, blocks, and its output."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference, Undefined
from jinja2.utils import Cycler, Joiner, Namespace

from mailer.render.recording import Inseparable, Recording, SectionRecord, Untraceable
from mailer.render.symbols import Piece, Slot, Symbol, TextSymbol

if TYPE_CHECKING:
    from mailer.render.tracing import TracingEnvironment

_TRANSPARENT = (Macro, BlockReference, LoopContext, Cycler, Joiner)  # called with Symbols: they hand them on


class Written(NamedTuple):
    """What a branch wrote that is a part of what is around it."""

    pieces: list[Piece]


def flatten_output(pieces: Iterable[Any]) -> list[Piece]:
    """Pieces of output as texts and slots, neighbouring texts joined."""
    flat: list[Piece] = []
    for piece in pieces:
        parts = piece.pieces if isinstance(piece, (TextSymbol, Written)) else (piece,)
        for part in parts:
            if isinstance(part, (Slot, SectionRecord)):
                flat.append(part)
            elif isinstance(part, Symbol):  # of a filter block: Jinja2 writes its result as it is
                flat.append(Slot(part, part.trace.apply(_require_text, part)))
            elif not isinstance(part, str):
                raise Untraceable("something is written that is not text")
            elif part:
                text = str(part)
                if flat and isinstance(flat[-1], str):
                    flat[-1] += text
                else:
                    flat.append(text)
    return flat


class TracedRounds:
    """The rounds of a loop over a recipient's list, each recorded on its own."""

    def __init__(self, environment: TracingEnvironment, items: Symbol, written: list[Any], key: str) -> None:
        self.environment = environment
        self.key = key
        self.items = items.use()
        self.rounds: list[Recording] = []
        self._values = items.value
        self._written = written

    def run(self) -> Iterator[tuple[Symbol, TracedLoop]]:
        """Yield each round's item and its `loop`; what the loop wrote is taken when the next one is asked for."""
        trace = self.environment.trace
        count = len(self._values)
        for number, value in enumerate(self._values):
            trace.begin_section(self.key)
            item, index0, length = map(trace.add_input, (value, number, count))
            yield item, TracedLoop(self, index0, length)
            self.rounds.append(trace.end_section(flatten_output(self._written)))
            self._written.clear()

    def __iter__(self) -> Iterator[Symbol]:
        return (item for item, _ in self.run())


class TracedLoop:
    """`loop` in a round of TracedRounds."""

    def __init__(self, rounds: TracedRounds, index0: Symbol, length: Symbol) -> None:
        self._rounds = rounds
        self.index0 = index0
        self.length = length
        self.depth, self.depth0 = 1, 0

    @property
    def index(self) -> Symbol:
        return self._rounds.environment.trace.apply(_add_one, self.index0)

    @property
    def revindex0(self) -> Symbol:
        return self._rounds.environment.trace.apply(_count_after, self.index0, self.length)

    @property
    def revindex(self) -> Symbol:
        return self._rounds.environment.trace.apply(operator.sub, self.length, self.index0)

    @property
    def first(self) -> Symbol:
        return self._rounds.environment.trace.apply(_is_zero, self.index0)

    @property
    def last(self) -> Symbol:
        return self._rounds.environment.trace.apply(_is_zero, self.revindex0)

    def cycle(self, *values: Any) -> Any:
        if not values:
            raise TypeError("no items for cycling given")
        return self._rounds.environment.trace.apply(_take_turn, self.index0, values)

    def __getattr__(self, name: str) -> Any:
        raise Inseparable(frozenset({self._rounds.key}))  # it asks for the rounds before or after


class TracedMacro(Macro):
    def _invoke(self, arguments: list[Any], autoescape: bool) -> Any:
        written = self._func(*arguments)
        return self._environment.make_markup(written) if autoescape else written  # type: ignore[attr-defined]


class TracedBlock(BlockReference):
    @property
    def super(self) -> Any:
        if self._depth + 1 >= len(self._stack):
            return super().super
        return TracedBlock(self.name, self._context, self._stack, self._depth + 1)

    def __call__(self) -> Any:
        environment: Any = self._context.environment
        written = environment.concat(self._stack[self._depth](self._context))
        return environment.make_markup(written) if self._context.eval_ctx.autoescape else written


class TracedTemplateReference(TemplateReference):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._context = context

    def __getitem__(self, name: str) -> Any:
        return TracedBlock(name, self._context, self._context.blocks[name], 0)


class TracedContext(Context):
    def super(self, name: str, current: Callable[[Context], Iterator[str]]) -> Any:
        found = super().super(name, current)
        if isinstance(found, Undefined):
            return found
        return TracedBlock(name, self, found._stack, found._depth)


def find_owner(function: Any) -> Any:
    """The object whose method `function` is."""
    if isinstance(function, partial) and function.args:
        return function.args[0]
    return getattr(function, "__self__", None)


def hands_on(function: Any) -> bool:
    """Whether a function of Jinja2 only stores its arguments, or hands them on to a template."""
    if isinstance(function, _TRANSPARENT) or function in (dict, Namespace, Cycler, Joiner):
        return True
    return isinstance(getattr(function, "__self__", None), (LoopContext, TracedLoop, Cycler, Joiner))


def has_state(function: Any, owner: Any) -> bool:
    """Whether the result of a call depends on the calls before it."""
    if isinstance(function, Joiner):
        return True
    return isinstance(owner, Cycler) or (
        isinstance(owner, LoopContext) and getattr(function, "__name__", "") == "changed"
    )


def _require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a filter block gives what is not text")
    return str(value)


def _add_one(number: int) -> int:
    return number + 1


def _count_after(index0: int, length: int) -> int:
    return length - index0 - 1


def _is_zero(number: int) -> bool:
    return number == 0


def _take_turn(number: int, values: tuple[Any, ...]) -> Any:
    return values[number % len(values)]


GROWTH_FACTORS: dict[Callable[..., Any], int] = {
    **dict.fromkeys((_add_one, _count_after, _is_zero, operator.sub), 0),
    **dict.fromkeys((_require_text, _take_turn), 1),
}
