"""A Jinja2 environment that runs templates with Symbols in place of columns, and records a trace.

It compiles the same sources as the environment that it traces. Every operation of a template that looks at a
value (filters, tests, attributes, calls, operators, comparisons, what is shown, names of templates) passes
through a function here. If a Symbol is among the arguments, the operation is recorded with the *plain*
environment's function; if not, it is executed. Control flow is Jinja2's own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from jinja2 import Template
from jinja2.filters import FILTERS
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, LoopContext, Macro, TemplateReference
from jinja2.tests import TESTS
from markupsafe import Markup

from mailer.dataclass import dataclass
from mailer.render.growth import list_growth_factors
from mailer.render.plainness import list_plain_gains
from mailer.render.preheader import AFTER, BEFORE, join_lines, make_preheader
from mailer.render.recording import Inseparable, Recording, SectionRecord, Untraceable
from mailer.render.symbols import (
    MAX_LOOP,
    ColumnSymbol,
    JoinedSymbol,
    Piece,
    Slot,
    Symbol,
    TextSymbol,
    has_symbol,
)
from mailer.render.templates import TemplateEnvironment, TemplateVariables
from mailer.render.trace import Trace, compare_values
from mailer.render.traced_runtime import (
    TracedContext,
    TracedMacro,
    TracedRounds,
    TracedTemplateReference,
    Written,
    find_owner,
    flatten_output,
    hands_on,
    has_state,
)
from mailer.render.tracing_code import TracingCode
from mailer.templating.environment import concat_output, show_html
from mailer.templating.locale_filters import LOCALE_FILTERS

# Filters and tests of Jinja2 that never give an iterator. Any other one may.
_VALUE_FILTERS = frozenset(FILTERS.keys() | TESTS.keys() | LOCALE_FILTERS) - {
    *("batch", "items", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "unique"),
    *("default", "d", "first", "last", "max", "min", "attr"),  # give what they were given, or a part of it
}
IMPURE = frozenset({"random"})  # filters whose result differs each time


class TracingEnvironment(TemplateEnvironment):
    """Traces templates of `plain`. `trace` is the one that is being made."""

    code_generator_class = TracingCode
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, plain: TemplateEnvironment) -> None:
        super().__init__(plain.project_loader, autoescape=bool(plain.autoescape))
        self.plain = plain
        self.trace = Trace()
        self.whole_sections: set[str] = set()  # those that are written out in each way
        self.has_sections = True
        self._loops: list[_OpenLoop] = []
        self.context_class = TracedContext
        self.globals = dict(plain.globals)
        self.filters = {
            name: self._trace_function(name, filter_) for name, filter_ in _functions(plain.filters)
        }
        self.tests = {name: self._trace_function(name, test) for name, test in _functions(plain.tests)}
        self.growth_factors = list_growth_factors(plain) | _GROWTH_FACTORS
        self.plain_gains = list_plain_gains(plain)
        self.show_html = self._show_html
        self.show_text = self._show_text
        self.concat = self._concat
        self.join_html = partial(self._join, plain.join_html)
        self.join_text = partial(self._join, plain.join_text)

    def run(self, template: Template, variables: TemplateVariables) -> Recording:
        """Run a template of this environment with Symbols in place of the recipient's own values.

        :returns: the instructions, the guards, and the output as constant texts, slots and sections.
        :raises Untraceable: if the template does what cannot be traced. An error of the template is raised as it is.
        :raises Inseparable: if sections must be written out in each way.
        """
        self.trace = Trace()
        self._loops.clear()
        names: dict[str, Any] = dict(variables)
        for symbol in variables.own_names:
            names[symbol] = ColumnSymbol(self.trace, symbol, variables[symbol])
        context = TracedContext(self, names, template.name, template.blocks)
        self.trace.begin_section("")
        return self.trace.end_section(flatten_output(template.root_render_func(context)))

    # -- branches and loops

    def write_section(self, key: str, write: Callable[[list[Any]], None]) -> Any:
        """What a branch writes: a section with ways of its own, unless there is only one way."""
        written: list[Any] = []
        if not self.has_sections or key in self.whole_sections:
            write(written)
            return Written(flatten_output(written))
        self.trace.begin_section(key)
        write(written)
        pieces = flatten_output(written)
        if self.trace.dissolve_section():
            return Written(pieces)
        recording = self.trace.end_section(pieces)
        return SectionRecord(key, self.trace.count, None, [recording])

    def write_loop(self, key: str, write: Callable[[list[Any]], None]) -> Any:
        """What a loop writes: a section whose rounds have ways of their own, if it goes through a column's list.

        Whether there are any rounds is a branch.
        """
        return self.write_section(f"{key} if", lambda written: written.append(self._write_rounds(key, write)))

    def _write_rounds(self, key: str, write: Callable[[list[Any]], None]) -> Any:
        written: list[Any] = []
        self._loops.append(loop := _OpenLoop(key, written))
        write(written)
        self._loops.pop()
        if (rounds := loop.rounds) is None or not rounds.rounds:
            return Written(flatten_output(written))
        return SectionRecord(key, self.trace.count, rounds.items, rounds.rounds)

    def take_rounds(self, iterable: Any) -> Any:
        """What a loop goes through: `iterable`, or its rounds if that is a column's list."""
        loop = self._loops[-1]
        if not isinstance(iterable, Symbol) or not self.has_sections or loop.key in self.whole_sections:
            return iterable
        items = self.trace.apply(list, iterable)
        if not items:
            return ()
        if len(items.value) > MAX_LOOP:
            raise Untraceable(f"a loop over more than {MAX_LOOP} items of a column")
        loop.rounds = TracedRounds(self, items, loop.written, loop.key)
        return loop.rounds

    def make_loop(self, iterable: Any, *arguments: Any) -> Any:
        """Jinja2's `LoopContext(...)`."""
        return iterable.run() if isinstance(iterable, TracedRounds) else LoopContext(iterable, *arguments)

    def check_outside_sections(self) -> None:
        """What is done now has an effect on what is behind it: Inseparable within a section."""
        if keys := self.trace.list_open():
            raise Inseparable(keys)

    # -- filters, tests, calls

    def _trace_function(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter or test that records itself if it is given Symbols."""
        wants = getattr(
            function, "jinja_pass_arg", None
        )  # Jinja2: context, evaluation context or environment
        first = 0 if wants is None else 1
        add_arguments = getattr(function, "add_arguments", None)

        def call_or_record(*arguments: Any, **named: Any) -> Any:
            if name in IMPURE:
                raise Untraceable(f"the filter '{name}' gives another value each time")
            if add_arguments is not None:  # what the filter would look up in the template's names
                named |= add_arguments(arguments[0], named)
            if not has_symbol(arguments[first:]) and not has_symbol(named):
                return function(*arguments, **named)
            if first:
                arguments = (self._plain_argument(arguments[0]), *arguments[1:])
            if name in _VALUE_FILTERS:
                return self.trace.apply(function, *arguments, **named)
            return self.trace.apply_iterating(function, *arguments, **named)

        if wants is not None:
            call_or_record.jinja_pass_arg = wants  # type: ignore[attr-defined]
        return call_or_record

    def _plain_argument(self, value: Any) -> Any:
        """What a filter of the plain environment gets in place of this one's context."""
        if isinstance(value, TracingEnvironment):
            return self.plain
        evaluation = value if isinstance(value, EvalContext) else value.eval_ctx
        return (
            self._evaluation(evaluation.autoescape)
            if value is evaluation
            else self._context(evaluation.autoescape)
        )

    def _evaluation(self, autoescape: bool) -> EvalContext:
        made = EvalContext(self.plain)
        made.autoescape = autoescape
        return made

    def _context(self, autoescape: bool) -> Context:
        made = Context(self.plain, {}, None, {})
        made.eval_ctx.autoescape = autoescape
        return made

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        self = __self
        named = {name: value for name, value in kwargs.items() if name not in ("_loop_vars", "_block_vars")}
        owner = find_owner(__obj)
        is_plain = not (isinstance(__obj, Symbol) or has_symbol(args) or has_symbol(named))
        if has_state(__obj, owner):
            self.check_outside_sections()
        if is_plain or hands_on(__obj) or (owner.__class__ in (list, tuple) and has_symbol(owner)):
            return super().call(__context, __obj, *args, **kwargs)
        if __obj is make_preheader and len(args) == 1 and not named:
            text = self.trace.apply(join_lines, *args)
            return TextSymbol(self.trace, [BEFORE, self._show_part(show_html, text), AFTER], is_markup=True)
        if "caller" in named or has_symbol(owner):
            raise Untraceable("a call of what is not a macro")
        context = self._context(bool(__context.eval_ctx.autoescape))
        return self.trace.apply_iterating(_call, self.plain, context, __obj, list(args), dict(named))

    # -- operators

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Symbol):
            return self.trace.apply(self.plain.getattr, obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Symbol) or has_symbol(argument):
            return self.trace.apply(self.plain.getitem, obj, argument)
        return super().getitem(obj, argument)

    def take_slice(self, obj: Any, start: Any, stop: Any, step: Any) -> Any:
        """`obj[start:stop:step]`."""
        part = slice(start, stop, step)
        if isinstance(obj, Symbol) or has_symbol(part):
            return self.trace.apply(operator.getitem, obj, part)
        return obj[part]

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        function = self.binop_table[operator]
        if has_symbol((left, right)):
            return self.trace.apply(function, left, right)
        return function(left, right)

    def compare(self, left: Any, *rest: Any) -> Any:
        """`left op right op ...`; `rest` are operators and operands by turns."""
        result: Any = True
        for name, right in zip(rest[::2], rest[1::2], strict=True):
            if isinstance(left, Symbol) or isinstance(right, Symbol) or has_symbol((left, right)):
                result = self.trace.compare(name, left, right)
            else:
                result = compare_values(name, left, right)
            if len(rest) > 2 and not result:
                return result
            left = right
        return result

    # -- output

    def _show_html(self, value: Any) -> Any:
        if isinstance(value, TextSymbol) and value.is_markup:
            return value
        if isinstance(value, JoinedSymbol):
            return TextSymbol(
                self.trace, [self._show_part(show_html, part) for part in value.parts], is_markup=True
            )
        return self._make_slot(show_html, value)

    def _show_text(self, value: Any) -> Any:
        if isinstance(value, JoinedSymbol):
            return TextSymbol(
                self.trace,
                [self._show_part(self.plain.show_text, part) for part in value.parts],
                is_markup=False,
            )
        return value if isinstance(value, TextSymbol) else self._make_slot(self.plain.show_text, value)

    def _show_part(self, show: Callable[[Any], str], part: str | Symbol) -> Piece:
        piece: Piece = self._make_slot(show, part)
        return piece

    def _make_slot(self, show: Callable[[Any], str], value: Any) -> Any:
        if not has_symbol(value):
            return show(value)
        if not isinstance(value, Symbol):
            value = self.trace.apply(_return_value, value)
        if value.is_iterator:
            raise Untraceable("a generator is shown")
        return Slot(value, self.trace.apply(show, value))

    def _join(self, function: Callable[[tuple[Any, ...]], str], values: tuple[Any, ...]) -> Any:
        """`a ~ b`: the values side by side if all of them are plain text, so that each one is a slot of its
        own.
        """
        if not has_symbol(values):
            return function(values)
        parts: list[str | Symbol] = []
        for value in values:
            if isinstance(value, JoinedSymbol):
                parts += value.parts
            elif value.__class__ is str or self._is_plain_text(value):
                parts.append(value)
            else:
                return self.trace.apply(function, values)
        return JoinedSymbol(self.trace, function, parts)

    def _is_plain_text(self, value: Any) -> bool:
        """Whether a Symbol is text without markup for this recipient; a guard of the trace."""
        if not isinstance(value, Symbol) or isinstance(value, TextSymbol) or value.is_iterator:
            return False
        return self.trace.decide(self.trace.apply(_is_text, value))

    def _concat(self, pieces: Iterable[Any]) -> Any:
        """What a macro, a block or `{% set %}` wrote."""
        flat = flatten_output(pieces)
        if any(isinstance(piece, (Slot, SectionRecord)) for piece in flat):
            return TextSymbol(self.trace, flat, is_markup=False)
        return concat_output(piece for piece in flat if isinstance(piece, str))

    def make_markup(self, value: Any) -> Any:
        """Jinja2's `Markup(...)` around what a block or macro wrote."""
        if isinstance(value, TextSymbol):
            return TextSymbol(self.trace, value.pieces, is_markup=True)
        if isinstance(value, Symbol):
            raise Untraceable("markup is made of a column's value")
        return Markup(value)  # noqa: S704 - as Jinja2's generated code does

    def make_macro(self, *arguments: Any) -> Macro:
        """Jinja2's `Macro(...)`."""
        return TracedMacro(*arguments)

    def make_template_reference(self, context: Context) -> TemplateReference:
        """Jinja2's `self`."""
        return TracedTemplateReference(context)

    # -- names of templates

    def get_template(self, name: Any, parent: str | None = None, globals: Any = None) -> Any:
        return super().get_template(self._fix_name(name), parent, globals)

    def select_template(self, names: Any, parent: str | None = None, globals: Any = None) -> Any:
        return super().select_template([self._fix_name(name) for name in names], parent, globals)

    def get_or_select_template(self, names: Any, parent: str | None = None, globals: Any = None) -> Any:
        return super().get_or_select_template(self._fix_name(names), parent, globals)

    def _fix_name(self, name: Any) -> Any:
        if isinstance(name, Symbol):
            return self.trace.fix(name)
        return [self._fix_name(part) for part in name] if isinstance(name, (list, tuple)) else name


def _functions(table: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    yield from table.items()


@dataclass(slots=True)
class _OpenLoop:
    """A loop that is run now, and what it wrote."""

    key: str
    written: list[Any]
    rounds: TracedRounds | None = None


def _call(
    environment: Any, context: Context, function: Any, arguments: list[Any], named: dict[str, Any]
) -> Any:
    return environment.call(context, function, *arguments, **named)


def _is_text(value: Any) -> bool:
    return value.__class__ is str


def _return_value(value: Any) -> Any:
    return value


_GROWTH_FACTORS: dict[Callable[..., Any], int] = {_is_text: 0, _return_value: 1}
