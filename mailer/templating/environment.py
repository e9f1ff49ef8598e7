"""A Jinja2 environment whose templates cannot leave the data, and cannot use more than the limits.

Three layers: Jinja2's immutable sandbox; a list of the attributes that a template may use of the types that
data is made of (`operators.METHODS`); and a size check of each operation whose result can be much larger than
its operands. The generated code is Jinja2's own, except that a value that is shown, joined by `~`, compared
or used as a key goes through a function that checks its size first.

Compiling a template evaluates nothing: Jinja2's optimizer, which would run filters on constants, is off.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, TemplateSyntaxError, nodes
from jinja2.compiler import CodeGenerator, Frame, operators, optimizeconst
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing, object_type_repr
from markupsafe import Markup, escape

try:
    # Not public: what escape() does to a str, without making a Markup of it.
    from markupsafe import _escape_inner  # type: ignore[attr-defined]
except ImportError:
    _escape_inner = escape

from mailer.templating.filters import create_filters, create_tests
from mailer.templating.limits import (
    SCALARS,
    check_item_count,
    check_shown,
    check_size,
    check_text_length,
    limit_exceeded,
    measure_size,
)
from mailer.templating.operators import (
    CHECKED_ITEM_METHODS,
    CHECKED_METHODS,
    METHODS,
    OPERATORS,
    create_formatter,
)

_LOOP = frozenset({"index", "index0", "revindex", "first", "last", "length", "depth", "previtem", "nextitem"})
_DICT = METHODS[dict]
_FORMATS = frozenset({"format", "format_map"})
_TEXTS = frozenset({str, Markup})
_LISTS = frozenset({list, tuple})
MAX_INTEGER = (
    1 << 53
)  # of range(): larger integers may have the same hash, which makes a dict of them quadratic
MAX_TOKENS = 100_000  # names, numbers, operators and texts of one template: about a second of compiling
MAX_ARGUMENTS = 255  # of one call: Python's compiler compares each name with all the others
TOO_DEEP = "nested too deeply"
TOO_MANY_DIGITS = "a number of too many digits"


OWN_KINDS = {"RowView": "row"}  # what templates call our own types


class UndefinedName(StrictUndefined):
    """An undefined name: any use of it is an error that says the name."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"'{self._undefined_name}' is undefined"
        kind = OWN_KINDS.get(type(self._undefined_obj).__name__) or object_type_repr(self._undefined_obj)
        return f"{kind!r} has no {self._undefined_name!r}"


def show_html(value: object) -> str:
    """Return `escape(value)` after a size check. Output is not escaped again, so it need not be a Markup."""
    if value.__class__ is str:
        return _escape_inner(value)
    if value is None:  # null in a list or in `vars` is empty, as an empty cell is
        return ""
    if value.__class__ not in SCALARS:
        check_shown(value)
    return escape(value)


def show_text(value: object) -> str:
    """Return `str(value)` after a size check."""
    if value.__class__ is str:
        return value
    if value is None:
        return ""
    if value.__class__ not in SCALARS:
        check_shown(value)
    return str(value)


def bounded_range(*arguments: int) -> range:
    """`range(...)` of at most MAX_ITEMS items, with arguments of at most MAX_INTEGER."""
    if any(isinstance(value, int) and abs(value) > MAX_INTEGER for value in arguments):
        raise limit_exceeded(f"range() of a number over {MAX_INTEGER:,}")
    made = range(*arguments)
    check_item_count(len(made))
    return made


def concat_output(pieces: Iterable[str]) -> str:
    """Join what a macro, a block or a `{% set %}` wrote, after a size check."""
    pieces = list(pieces)
    check_text_length(sum(map(len, pieces)))
    return "".join(pieces)


def _join_checked(join: Callable[[Iterable[Any]], str], values: tuple[object, ...]) -> str:
    check_text_length(measure_size(values, becomes_text=True))
    return join(values)


class TokenLimit(Extension):
    """A template has at most MAX_TOKENS tokens. Text outside of tags is one token."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Yield the tokens of `stream`. Raises TemplateSyntaxError after too many, or for too long a number."""
        text = f"a template has at most {MAX_TOKENS:,} names, numbers, operators and texts; this one has more"
        try:
            for count, token in enumerate(stream):
                if count == MAX_TOKENS:
                    raise TemplateSyntaxError(text, token.lineno, stream.name, stream.filename)
                yield token
        except ValueError:  # Python's own limit for the digits of a number
            line = stream.current.lineno
            raise TemplateSyntaxError(TOO_MANY_DIGITS, line, stream.name, stream.filename) from None


class CheckedCodeGenerator(CodeGenerator):
    """Jinja2's code generator, with the size checks at the places that use a value.

    Jinja2's own methods that this class overrides are not public. `tests/templating/test_jinja2_internals.py`
    names each of them.
    """

    def write_commons(self) -> None:
        super().write_commons()
        for name in ("show_html", "show_text", "check_size", "join_html", "join_text"):
            self.writeline(f"{name} = environment.{name}")
        self.writeline("attribute = environment.getattr")

    def signature(self, node: Any, frame: Frame, extra_kwargs: Any = None) -> None:
        """The arguments of a call, a filter or a test; at most MAX_ARGUMENTS."""
        if len(node.args) + len(node.kwargs) > MAX_ARGUMENTS:
            self.fail(f"a call has at most {MAX_ARGUMENTS} arguments; this one has more", node.lineno)
        super().signature(node, frame, extra_kwargs)

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        """Only a literal is a constant, unless the optimizer is on; an expression is evaluated at each
        render.
        """
        if self.optimizer is None and not isinstance(node, (nodes.TemplateData, nodes.Const)):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile:
            self.write("(show_html if context.eval_ctx.autoescape else show_text)(")
        else:
            self.write("show_html(" if frame.eval_ctx.autoescape else "show_text(")

    def visit_EvalContextModifier(self, node: nodes.EvalContextModifier, frame: Frame) -> None:  # noqa: N802 - the visitor's
        """`{% autoescape EXPRESSION %}`: Jinja2 would evaluate the expression when it compiles the template."""
        for keyword in node.options:
            self.writeline(f"context.eval_ctx.{keyword.key} = ")
            self.visit(keyword.value, frame)
            if isinstance(keyword.value, nodes.Const):
                setattr(frame.eval_ctx, keyword.key, keyword.value.value)
            else:
                frame.eval_ctx.volatile = True

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        if frame.eval_ctx.volatile:
            self.write("(join_html if context.eval_ctx.autoescape else join_text)((")
        else:
            self.write("join_html((" if frame.eval_ctx.autoescape else "join_text((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        """Check the operands when two of them are not constant; a comparison with a constant is fast."""
        others = [node.expr, *(operand.expr for operand in node.ops)]
        if sum(not _is_constant(other) for other in others) < 2:
            super().visit_Compare(node, frame)
            return
        self.write("(")
        self._visit_checked(node.expr, frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self._visit_checked(operand.expr, frame)
        self.write(")")

    @optimizeconst
    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802
        """As Jinja2 does it, but through a local name: a loop looks up attributes more than anything else."""
        self.write("attribute(")
        self.visit(node.node, frame)
        self.write(f", {node.attr!r})")

    def visit_Assign(self, node: nodes.Assign, frame: Frame) -> None:  # noqa: N802
        """Note the line first: Jinja2 checks that `a` is a namespace in `{% set a.b = 1 %}` before it does."""
        self.newline(node)
        super().visit_Assign(node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        """Check each key: it is hashed with all its parts."""
        self.write("{")
        for item in node.items:
            self._visit_checked(item.key, frame)
            self.write(": ")
            self.visit(item.value, frame)
            self.write(", ")
        self.write("}")

    def _visit_checked(self, node: nodes.Expr, frame: Frame) -> None:
        if _is_constant(node):
            self.visit(node, frame)
            return
        self.write("check_size(")
        self.visit(node, frame)
        self.write(")")


def _is_constant(node: nodes.Expr) -> bool:
    if isinstance(node, (nodes.Tuple, nodes.List)):
        return all(map(_is_constant, node.items))
    return isinstance(node, nodes.Const)


def _node_levels(tree: nodes.Node) -> Iterator[list[nodes.Node]]:
    """The nodes of each depth, from the root downward, without recursion."""
    level: list[nodes.Node] = [tree]
    while level:
        yield level
        level = [child for node in level for child in node.iter_child_nodes()]


def _find_deepest_line(tree: nodes.Node) -> int:
    *_, deepest = _node_levels(tree)
    return deepest[0].lineno


def _find_long_number(tree: nodes.Node) -> int:
    constants = (node for node in chain.from_iterable(_node_levels(tree)) if isinstance(node, nodes.Const))
    return max(constants, key=lambda node: node.value if isinstance(node.value, int) else 0).lineno


def _find_repeated_argument(tree: nodes.Node) -> tuple[str, int] | None:
    """The problem and its line, for `f(a=1, a=2)` and `macro m(a, a)`: Python refuses what Jinja2 makes of
    them.
    """
    for node in chain.from_iterable(_node_levels(tree)):
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
    """Jinja2's sandbox with StrictUndefined and size checks; see the module.

    The processor time of a render is not limited here: render in a process of `mailer.bounded_process`.
    """

    code_generator_class = CheckedCodeGenerator
    intercepted_binops = frozenset(OPERATORS)

    show_text = staticmethod(show_text)
    concat = staticmethod(concat_output)
    check_size = staticmethod(check_size)
    join_html = staticmethod(partial(_join_checked, markup_join))
    join_text = staticmethod(partial(_join_checked, str_join))

    def __init__(self, **options: Any) -> None:
        """`options` are those of `jinja2.Environment`."""
        options.setdefault("undefined", UndefinedName)
        options["extensions"] = (*options.get("extensions", ()), TokenLimit)
        super().__init__(optimized=False, **options)
        self.show_html: Callable[[Any], str] = show_html  # `render` may set a function of its own
        self.filters.update(create_filters())
        self.tests.update(create_tests())
        self.globals["range"] = bounded_range
        self.globals.pop("lipsum", None)  # random: a message that is sent again would differ
        self.binop_table.update(OPERATORS)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parser = Parser(self, source, name, filename)
        try:
            return parser.parse()
        except RecursionError:
            parser.fail(TOO_DEEP, parser.stream.current.lineno)

    def compile(
        self, source: Any, name: Any = None, filename: Any = None, raw: Any = False, defer_init: Any = False
    ) -> Any:
        """As Jinja2's.

        Nesting that is too deep for Jinja2's compiler, or Python's, is an error of the template.
        """
        if isinstance(source, str):
            source = self.parse(source, name, filename)
        try:
            with warnings.catch_warnings():
                # Python's warning about `{{ 1[0] }}` concerns the code that Jinja2 generates.
                warnings.simplefilter("ignore", SyntaxWarning)
                return super().compile(source, name, filename, raw, defer_init)
        except TemplateSyntaxError:
            raise
        except (RecursionError, MemoryError, SyntaxError) as error:  # from Python's compiler
            repeated = _find_repeated_argument(source) if isinstance(error, SyntaxError) else None
            what, line = repeated or (TOO_DEEP, _find_deepest_line(source))
            raise TemplateSyntaxError(what, line, name, filename) from None
        except (
            ValueError
        ):  # Python's own limit for the digits of a number: a hexadecimal literal passes the parser
            raise TemplateSyntaxError(TOO_MANY_DIGITS, _find_long_number(source), name, filename) from None

    def compile_evaluated(self, tree: nodes.Template, name: str | None, filename: str | None) -> Any:
        """As `compile`, but evaluate the filters and tests of constants, once and now."""
        self.optimized = True
        try:
            return self.compile(tree, name, filename)
        finally:
            self.optimized = False

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As the sandbox's, for the attributes in METHODS; anything else is undefined or unsafe."""
        kind = obj.__class__
        if kind is dict and attribute in obj and attribute not in _DICT:  # the usual case in a loop over rows
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
            if attribute in CHECKED_METHODS:
                return partial(CHECKED_METHODS[attribute], obj)
            if attribute in _FORMATS:
                return create_formatter(self, obj, is_mapping=attribute == "format_map")
        elif kind in _LISTS and attribute in CHECKED_ITEM_METHODS:
            return partial(CHECKED_ITEM_METHODS[attribute], obj)
        if hasattr(obj, attribute):
            return self.unsafe_undefined(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """As the sandbox's, after a size check of the key."""
        if argument.__class__ not in SCALARS and not isinstance(argument, slice):
            measure_size(argument)
        try:
            return obj[argument]
        except (TypeError, LookupError):
            if isinstance(argument, str) and obj.__class__ is not dict:
                return self.getattr(obj, str(argument))
        return self.undefined(obj=obj, name=argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """No attribute of a type is safe; otherwise as the sandbox says."""
        return not isinstance(obj, type) and super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """As the sandbox's, after a size check of the arguments.

        A macro's arguments are checked when it uses them.
        """
        if not isinstance(__obj, Macro):
            for value in args:
                check_size(value)
        return super().call(__context, __obj, *args, **kwargs)


def create_environment(loader: BaseLoader | None = None, *, autoescape: bool = False) -> BoundedEnvironment:
    """Return a new environment. `loader` finds included templates; `autoescape` is for HTML.

    Templates keep their last line end, as the text of a file does.
    """
    return BoundedEnvironment(
        loader=loader, autoescape=autoescape, keep_trailing_newline=True, cache_size=400
    )
