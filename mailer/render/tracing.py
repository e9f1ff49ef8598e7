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

from jinja2 import Template, nodes
from jinja2.compiler import Frame, optimizeconst
from jinja2.filters import FILTERS
from jinja2.nodes import EvalContext
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference, Undefined
from jinja2.tests import TESTS
from jinja2.utils import Cycler, Joiner, Namespace
from markupsafe import Markup

from mailer.render.growth import list_growth_factors
from mailer.render.preheader import AFTER, BEFORE, join_lines, make_preheader
from mailer.render.symbols import (
    ColumnSymbol,
    JoinedSymbol,
    Piece,
    Slot,
    Symbol,
    TextSymbol,
    Trace,
    Untraceable,
    compare_values,
    has_symbol,
)
from mailer.render.templates import TemplateEnvironment, TemplateVariables
from mailer.templating.environment import CheckedCodeGenerator, concat_output, show_html
from mailer.templating.locale_filters import LOCALE_FILTERS

# Filters and tests of Jinja2 that never give an iterator. Any other one may.
_VALUE_FILTERS = frozenset(FILTERS.keys() | TESTS.keys() | LOCALE_FILTERS) - {
    *("batch", "items", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "unique"),
    *("default", "d", "first", "last", "max", "min", "attr"),  # give what they were given, or a part of it
}
IMPURE = frozenset({"random"})  # filters whose result differs each time
_TRANSPARENT = (Macro, BlockReference, LoopContext, Cycler, Joiner)  # called with Symbols: they hand them on


class TracingCode(CheckedCodeGenerator):
    """Jinja2's code generator with comparisons and slices as calls, and with this module's macros."""

    def write_commons(self) -> None:
        super().write_commons()
        for name in ("compare", "take_slice"):
            self.writeline(f"{name} = environment.{name}")
        self.writeline("Macro = environment.make_macro")
        self.writeline("Markup = environment.make_markup")
        self.writeline("TemplateReference = environment.make_template_reference")

    @optimizeconst
    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802 - the visitor's
        self.write("compare(")
        self.visit(node.expr, frame)
        for operand in node.ops:
            self.write(f", {operand.op!r}, ")
            self.visit(operand.expr, frame)
        self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("take_slice(")
        self.visit(node.node, frame)
        for bound in (node.arg.start, node.arg.stop, node.arg.step):
            self.write(", ")
            self.visit(bound or nodes.Const(None), frame)
        self.write(")")


class TracingEnvironment(TemplateEnvironment):
    """Traces templates of `plain`. `trace` is the one that is being made."""

    code_generator_class = TracingCode
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, plain: TemplateEnvironment) -> None:
        super().__init__(plain.project_loader, autoescape=bool(plain.autoescape))
        self.plain = plain
        self.trace = Trace()
        self.context_class = _TracedContext
        self.globals = dict(plain.globals)
        self.filters = {
            name: self._trace_function(name, filter_) for name, filter_ in _functions(plain.filters)
        }
        self.tests = {name: self._trace_function(name, test) for name, test in _functions(plain.tests)}
        self.growth_factors = list_growth_factors(plain) | _GROWTH_FACTORS
        self.show_html = self._show_html
        self.show_text = self._show_text
        self.concat = self._concat
        self.join_html = partial(self._join, plain.join_html)
        self.join_text = partial(self._join, plain.join_text)

    def run(self, template: Template, variables: TemplateVariables) -> tuple[Trace, list[Piece]]:
        """Run a template of this environment with Symbols in place of the recipient's own values.

        :returns: the trace, and the output as constant texts and slots.
        :raises Untraceable: if the template does what cannot be traced. An error of the template is raised as it is.
        """
        self.trace = Trace()
        names: dict[str, Any] = dict(variables)
        for symbol in variables.own_names:
            names[symbol] = ColumnSymbol(self.trace, symbol, variables[symbol])
        context = _TracedContext(self, names, template.name, template.blocks)
        return self.trace, _flatten(template.root_render_func(context))

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
        owner = _find_owner(__obj)
        is_plain = not (isinstance(__obj, Symbol) or has_symbol(args) or has_symbol(named))
        if is_plain or _hands_on(__obj) or (owner.__class__ in (list, tuple) and has_symbol(owner)):
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
        flat = _flatten(pieces)
        if any(isinstance(piece, Slot) for piece in flat):
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
        return _TracedMacro(*arguments)

    def make_template_reference(self, context: Context) -> TemplateReference:
        """Jinja2's `self`."""
        return _TracedTemplateReference(context)

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


class _TracedMacro(Macro):
    def _invoke(self, arguments: list[Any], autoescape: bool) -> Any:
        written = self._func(*arguments)
        return self._environment.make_markup(written) if autoescape else written  # type: ignore[attr-defined]


class _TracedBlock(BlockReference):
    @property
    def super(self) -> Any:
        if self._depth + 1 >= len(self._stack):
            return super().super
        return _TracedBlock(self.name, self._context, self._stack, self._depth + 1)

    def __call__(self) -> Any:
        environment: Any = self._context.environment
        written = environment.concat(self._stack[self._depth](self._context))
        return environment.make_markup(written) if self._context.eval_ctx.autoescape else written


class _TracedTemplateReference(TemplateReference):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._context = context

    def __getitem__(self, name: str) -> Any:
        return _TracedBlock(name, self._context, self._context.blocks[name], 0)


class _TracedContext(Context):
    def super(self, name: str, current: Callable[[Context], Iterator[str]]) -> Any:
        found = super().super(name, current)
        if isinstance(found, Undefined):
            return found
        return _TracedBlock(name, self, found._stack, found._depth)


def _functions(table: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    yield from table.items()


def _flatten(pieces: Iterable[Any]) -> list[Piece]:
    """Pieces of output as texts and slots, neighbouring texts joined."""
    flat: list[Piece] = []
    for piece in pieces:
        parts = piece.pieces if isinstance(piece, TextSymbol) else (piece,)
        for part in parts:
            if isinstance(part, Slot):
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


def _hands_on(function: Any) -> bool:
    """Whether a function of Jinja2 only stores its arguments, or hands them on to a template."""
    if isinstance(function, _TRANSPARENT) or function in (dict, Namespace, Cycler, Joiner):
        return True
    return isinstance(getattr(function, "__self__", None), (LoopContext, Cycler, Joiner))


def _find_owner(function: Any) -> Any:
    """The object whose method `function` is."""
    if isinstance(function, partial) and function.args:
        return function.args[0]
    return getattr(function, "__self__", None)


def _call(
    environment: Any, context: Context, function: Any, arguments: list[Any], named: dict[str, Any]
) -> Any:
    return environment.call(context, function, *arguments, **named)


def _require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a filter block gives what is not text")
    return str(value)


def _is_text(value: Any) -> bool:
    return value.__class__ is str


def _return_value(value: Any) -> Any:
    return value


_GROWTH_FACTORS: dict[Callable[..., Any], int] = {_is_text: 0, _return_value: 1, _require_text: 1}
