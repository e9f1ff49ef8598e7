"""A Jinja2 environment within bounds.

Three layers: Jinja2's immutable sandbox; an allow-list of what can be reached of the types that data is made of; and
bounds on each operation that makes much out of little. The generated code is Jinja2's own, except that what is shown,
joined by `~`, compared or used as a key goes through functions that refuse what is too heavy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, TemplateRuntimeError, TemplateSyntaxError, Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame, operators, optimizeconst
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing, object_type_repr
from markupsafe import Markup, escape

try:
    from markupsafe import _escape_inner  # type: ignore[attr-defined]  # not public: what escape() does to a str, without making Markup of it
except ImportError:
    _escape_inner = escape

from mailer.templating.filters import bounded_filters, bounded_tests
from mailer.templating.limits import PLAIN, light, text_of, weigh
from mailer.templating.operators import BOUNDED_METHODS, METHODS, OPERATORS, formatter, items_of

_LOOP = frozenset({"index", "index0", "revindex", "first", "last", "length", "depth", "previtem", "nextitem"})
_DICT = METHODS[dict]
_FORMATS = frozenset({"format", "format_map"})
_TEXTS = frozenset({str, Markup})
TOO_DEEP = "nested too deeply"


class Unknown(StrictUndefined):
    """An undefined name: any use of it is an error that names it. `unknown_name` is for a hint."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"'{self._undefined_name}' is undefined"
        return f"{object_type_repr(self._undefined_obj)!r} has no {self._undefined_name!r}"


def shown(value: object) -> str:
    """`escape(value)`, for what is light enough. The output itself is never escaped again: it need not be Markup."""
    if value.__class__ is str:
        return _escape_inner(value)
    if value.__class__ not in PLAIN:
        _weigh_shown(value)
    return escape(value)


def shown_text(value: object) -> str:
    """`str(value)`, for what is light enough."""
    if value.__class__ is str:
        return value
    if value.__class__ not in PLAIN:
        _weigh_shown(value)
    return str(value)


def _weigh_shown(value: object) -> None:
    """A function without its `()` would be shown as Python's note of it, with an address in memory."""
    if callable(value) and not isinstance(value, Undefined):
        raise TemplateRuntimeError("a function is shown here, not what it gives; expected a call, with ()")
    weigh(value)


def short_range(*bounds: int) -> range:
    """`range(...)` of at most MOST_ITEMS."""
    made = range(*bounds)
    items_of(len(made))
    return made


def concat(pieces: Iterable[str]) -> str:
    """What a macro, a block or a `{% set %}` has written."""
    pieces = list(pieces)
    text_of(sum(map(len, pieces)))
    return "".join(pieces)


def _joined(join: Callable[[Iterable[Any]], str], values: tuple[object, ...]) -> str:
    text_of(weigh(values))
    return join(values)


class BoundedCode(CodeGenerator):
    """Jinja2's code generator with the bounded functions in the places where values are used up."""

    def write_commons(self) -> None:
        super().write_commons()
        for name in ("shown", "shown_text", "light", "joined", "joined_text"):
            self.writeline(f"{name} = environment.{name}")
        self.writeline("attribute = environment.getattr")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile:
            self.write("(shown if context.eval_ctx.autoescape else shown_text)(")
        else:
            self.write("shown(" if frame.eval_ctx.autoescape else "shown_text(")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - the visitor's
        if frame.eval_ctx.volatile:
            self.write("(joined if context.eval_ctx.autoescape else joined_text)((")
        else:
            self.write("joined((" if frame.eval_ctx.autoescape else "joined_text((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        """Two variables are weighed before they are compared; against a constant, a comparison is quick."""
        others = [node.expr, *(operand.expr for operand in node.ops)]
        if sum(not _constant(other) for other in others) < 2:
            super().visit_Compare(node, frame)
            return
        self.write("(")
        self._light(node.expr, frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self._light(operand.expr, frame)
        self.write(")")

    @optimizeconst
    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802
        """As Jinja2's, with the environment's method at hand: what a loop does most."""
        self.write("attribute(")
        self.visit(node.node, frame)
        self.write(f", {node.attr!r})")

    def visit_Assign(self, node: nodes.Assign, frame: Frame) -> None:  # noqa: N802
        """Jinja2 looks whether `{% set a.b = 1 %}` has a namespace before it notes the line."""
        self.newline(node)
        super().visit_Assign(node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        """A key is hashed, with all its parts."""
        self.write("{")
        for item in node.items:
            self._light(item.key, frame)
            self.write(": ")
            self.visit(item.value, frame)
            self.write(", ")
        self.write("}")

    def _light(self, node: nodes.Expr, frame: Frame) -> None:
        if _constant(node):
            self.visit(node, frame)
            return
        self.write("light(")
        self.visit(node, frame)
        self.write(")")


def _constant(node: nodes.Expr) -> bool:
    if isinstance(node, (nodes.Tuple, nodes.List)):
        return all(map(_constant, node.items))
    return isinstance(node, nodes.Const)


def _levels(tree: nodes.Node) -> Iterator[list[nodes.Node]]:
    """The nodes by how deep they stand, without recursion."""
    level: list[nodes.Node] = [tree]
    while level:
        yield level
        level = [child for node in level for child in node.iter_child_nodes()]


def _deepest_line(tree: nodes.Node) -> int:
    """Where the nesting is deepest."""
    *_, deepest = _levels(tree)
    return deepest[0].lineno


def _repeated_argument(tree: nodes.Node) -> tuple[str, int] | None:
    """What Python refuses, and Jinja2 lets through: `f(a=1, a=2)` and `macro m(a, a)`, with the line."""
    for node in chain.from_iterable(_levels(tree)):
        names = [argument.key for argument in getattr(node, "kwargs", None) or ()]
        if isinstance(node, nodes.Macro | nodes.CallBlock):
            names += [argument.name for argument in node.args]
        seen: set[str] = set()
        for name in names:
            if name in seen:
                return f"the argument {name!r} is repeated", node.lineno
            seen.add(name)
    return None


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, StrictUndefined, and bounds; see the module. Time is bounded by `bounded()` around a render."""

    code_generator_class = BoundedCode
    intercepted_binops = frozenset(OPERATORS)

    shown_text = staticmethod(shown_text)
    concat = staticmethod(concat)
    light = staticmethod(light)
    joined = staticmethod(partial(_joined, markup_join))
    joined_text = staticmethod(partial(_joined, str_join))

    def __init__(self, **options: Any) -> None:
        options.setdefault("undefined", Unknown)
        super().__init__(**options)
        self.shown: Callable[[Any], str] = shown  # how a template writes a value; `render` puts its own here
        self.filters.update(bounded_filters())
        self.tests.update(bounded_tests())
        self.globals["range"] = short_range
        self.globals.pop("lipsum", None)  # random: a message sent again would be another one
        self.binop_table.update(OPERATORS)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parser = Parser(self, source, name, filename)
        try:
            return parser.parse()
        except RecursionError:
            parser.fail(TOO_DEEP, parser.stream.current.lineno)
        except ValueError:  # Python's own bound of a number that is written out
            parser.fail("a number of too many digits", parser.stream.current.lineno)

    def compile(
        self, source: Any, name: Any = None, filename: Any = None, raw: Any = False, defer_init: Any = False
    ) -> Any:
        """What is deeper than Jinja2's compiler, or Python's, can go, is an error of the template."""
        if isinstance(source, str):
            source = self.parse(source, name, filename)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", SyntaxWarning
                )  # about `{{ 1[0] }}`: Python's, on what Jinja2 made of it
                return super().compile(source, name, filename, raw, defer_init)
        except TemplateSyntaxError:
            raise
        except (RecursionError, MemoryError, SyntaxError) as error:  # of the Python that Jinja2 makes
            repeated = _repeated_argument(source) if isinstance(error, SyntaxError) else None
            what, line = repeated or (TOO_DEEP, _deepest_line(source))  # Python's own bounds of nesting
            raise TemplateSyntaxError(what, line, name, filename) from None

    def getattr(self, obj: Any, attribute: str) -> Any:
        kind = obj.__class__
        if kind is dict and attribute in obj and attribute not in _DICT:  # what a loop over rows does most
            return obj[attribute]
        if kind is LoopContext and attribute in _LOOP:
            return getattr(obj, attribute)
        allowed = METHODS.get(kind)
        if allowed is None:
            return super().getattr(obj, attribute)
        if attribute in allowed:
            return getattr(obj, attribute)
        if kind is dict:
            return self.undefined(obj=obj, name=attribute)
        if kind in _TEXTS:
            if attribute in BOUNDED_METHODS:
                return partial(BOUNDED_METHODS[attribute], obj)
            if attribute in _FORMATS:
                return formatter(self, obj, mapping=attribute == "format_map")
        if hasattr(obj, attribute):
            return self.unsafe_undefined(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if argument.__class__ not in PLAIN and not isinstance(argument, slice):
            weigh(argument)
        try:
            return obj[argument]
        except (TypeError, LookupError):
            if isinstance(argument, str) and obj.__class__ is not dict:
                return self.getattr(obj, str(argument))
        return self.undefined(obj=obj, name=argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not isinstance(obj, type) and super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        if not isinstance(__obj, Macro):
            for value in args:
                light(value)
        return super().call(__context, __obj, *args, **kwargs)


def environment(loader: BaseLoader | None = None, *, autoescape: bool = False) -> BoundedEnvironment:
    """A new environment; templates keep their last line end, as a file's text does."""
    return BoundedEnvironment(loader=loader, autoescape=autoescape, keep_trailing_newline=True, cache_size=400)
