"""Templates with all worked out that no recipient changes: the first form of a campaign compiler.

Most of a newsletter depends on the campaign's `vars` alone. `folded` makes a second template of one, in which names
and attributes of `vars` are constants, a `for` over a list of them stands written out, and an `if` that they decide is
its branch; Jinja2 then escapes and joins what is constant when it compiles. What is left is a recipient's own values.

It gives the same text or none at all:

- Only Output, If and For are looked into, and there only names, attributes, items and `is defined`. Whatever else a
  template has stays as it is; inside a loop that would be written out, it keeps the loop from that.
- A name that the template binds anywhere (set, for, macro, import ...) is not a constant; nor is any in a template
  that extends another one, whose blocks may see names bound there.
- It is used for a recipient whose columns leave every constant that was used alone (`fits`), and when it fails, the
  template as it was written runs and says what is wrong: see pages.py.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from jinja2 import Template, Undefined, nodes

from mailer.templating import BoundedEnvironment
from mailer.templating.limits import MAX_BITS

MAX_WORK = 10_000  # nodes, and 64 characters of text each, that one template may come to
_SPECIAL = frozenset({"loop", "self", "super", "caller", "varargs", "kwargs"})
_SCALARS = frozenset({str, int, bool, type(None)})
_NOTHING = object()

Scope = dict[str, Any]
N = TypeVar("N", bound=nodes.Node)


class Folded(NamedTuple):
    """`constants` are the names that were taken for constants, with their values."""

    template: Template
    constants: tuple[tuple[str, object], ...]

    def fits(self, variables: Mapping[str, object]) -> bool:
        """Whether the constants are the very same objects for this recipient."""
        return all(variables.get(name, _NOTHING) is value for name, value in self.constants)


def folded(environment: BoundedEnvironment, template: Template, source: str, given: Scope) -> Folded | None:
    """`template` with the names `given` folded in; None where nothing is to be gained, or it cannot be done."""
    try:
        tree = environment.parse(source, template.name, template.filename)
        work = _Folding(environment, {name: value for name, value in given.items() if name not in _bound(tree)})
        if tree.find(nodes.Extends) or any(test.name == "sameas" for test in tree.find_all(nodes.Test)):
            return None
        tree.body = work.body(tree.body, _Known(work.constants, frozenset()))
        if not work.used:
            return None
        code = environment.compile_evaluated(tree, template.name, template.filename)
        made = environment.template_class.from_code(environment, code, environment.make_globals(None))
    except Exception:  # whatever it is, the template as it was written is there, and shows it
        return None
    return Folded(made, tuple((name, given[name]) for name in sorted(work.used)))


class _NotKnown(Exception):
    """Something in a loop's body keeps it from being written out."""


class _Known(NamedTuple):
    """What is known where: names with their values; `local` are those which nobody knows when the template runs."""

    values: Scope
    local: frozenset[str]

    def inside(self, **values: Any) -> _Known:
        return _Known(self.values | values, self.local | values.keys())

    def without(self, names: set[str]) -> _Known:
        return _Known({name: value for name, value in self.values.items() if name not in names}, self.local - names)


class _Loop:
    """What a template may know of a loop that is written out."""

    def __init__(self, index0: int, length: int) -> None:
        self.known = {
            "index": index0 + 1,
            "index0": index0,
            "revindex": length - index0,
            "revindex0": length - index0 - 1,
            "first": index0 == 0,
            "last": index0 == length - 1,
            "length": length,
        }


class _Folding:
    def __init__(self, environment: BoundedEnvironment, constants: Scope) -> None:
        self.environment = environment
        self.constants = constants
        self.used: set[str] = set()
        self._room = MAX_WORK

    # -- statements

    def body(self, statements: Sequence[nodes.Node], known: _Known) -> list[nodes.Node]:
        made: list[nodes.Node] = []
        for statement in statements:
            for new in self._statement(statement, known):
                if isinstance(new, nodes.Output) and made and isinstance(made[-1], nodes.Output):
                    made[-1].nodes += new.nodes  # one Output joins its constants
                else:
                    made.append(new)
        return made

    def _statement(self, node: nodes.Node, known: _Known) -> list[nodes.Node]:
        if isinstance(node, nodes.Output):
            return [self._with(node, nodes=[self._expression(child, known) for child in node.nodes])]
        if isinstance(node, nodes.If):
            return self._if(node, known)
        if isinstance(node, nodes.For) and not node.recursive:
            return self._for(node, known)
        if known.local:
            raise _NotKnown
        return [node]

    def _if(self, node: nodes.If, known: _Known) -> list[nodes.Node]:
        """Without the branches that are never taken."""
        cases: list[nodes.If] = []
        otherwise = node.else_
        for case in (node, *node.elif_):
            test, decided = self._test(case.test, known)
            if decided is _NOTHING:
                cases.append(self._with(case, test=test, body=self.body(case.body, known), elif_=[], else_=[]))
            elif decided:
                otherwise = case.body
                break
        rest = self.body(otherwise, known)
        if not cases:
            return rest
        cases[0].elif_, cases[0].else_ = cases[1:], rest
        return [cases[0]]

    def _for(self, node: nodes.For, known: _Known) -> list[nodes.Node]:
        try:
            return self._written_out(node, known)
        except _NotKnown:
            pass
        if known.local and node.test is not None:
            raise _NotKnown
        inner = known.without({"loop", *(name.name for name in _names(node.target))})
        if any(name.name == "loop" for statement in node.else_ for name in _names(statement)):
            return self._as_it_is(node, known)
        return [
            self._with(
                node,
                iter=self._expression(node.iter, known),
                body=self.body(node.body, inner),
                else_=self.body(node.else_, known),
            )
        ]

    def _as_it_is(self, node: nodes.Node, known: _Known) -> list[nodes.Node]:
        if known.local:
            raise _NotKnown
        return [node]

    def _written_out(self, node: nodes.For, known: _Known) -> list[nodes.Node]:
        """The body once for each item."""
        items = self._value(node.iter, known)
        if items.__class__ is not list or node.test is not None or not isinstance(node.target, nodes.Name):
            raise _NotKnown
        if not items:
            return self.body(node.else_, known)
        made: list[nodes.Node] = []
        for n, item in enumerate(items):
            made += self.body(node.body, known.inside(**{node.target.name: item, "loop": _Loop(n, len(items))}))
        return made

    # -- expressions

    def _expression(self, node: N, known: _Known) -> N | nodes.Const:
        value = self._value(node, known)
        if isinstance(node, nodes.Test) and node.name in ("defined", "undefined") and node.args == []:
            value = self._is_defined(node, known)
        if _plain(value):
            return nodes.Const(value, lineno=node.lineno, environment=self.environment)
        if isinstance(node, nodes.Name) and node.name in known.local:
            raise _NotKnown
        return self._rebuilt(node, lambda part: self._expression(part, known))

    def _value(self, node: nodes.Node, known: _Known) -> Any:
        """What a name, an attribute or an item stands for, if it is data of `vars`; else _NOTHING."""
        if isinstance(node, nodes.Const):
            return node.value
        if isinstance(node, nodes.Name) and node.name in known.values:
            if node.name not in known.local:
                self.used.add(node.name)
            return known.values[node.name]
        if not isinstance(node, (nodes.Getattr, nodes.Getitem)):
            return _NOTHING
        whole = self._value(node.node, known)
        if isinstance(whole, _Loop):
            return self._of_loop(node, whole)
        found = self._part(node, whole, known)
        return found if found.__class__ in (list, dict) or _plain(found) else _NOTHING

    def _of_loop(self, node: nodes.Getattr | nodes.Getitem, loop: _Loop) -> Any:
        if isinstance(node, nodes.Getattr) and node.attr in loop.known:
            return loop.known[node.attr]
        raise _NotKnown

    def _part(self, node: nodes.Getattr | nodes.Getitem, whole: Any, known: _Known) -> Any:
        """As the template would find it, Undefined among what there may be."""
        if whole is _NOTHING:
            return _NOTHING
        if isinstance(node, nodes.Getattr):
            return self.environment.getattr(whole, node.attr)
        key = self._value(node.arg, known)
        return self.environment.getitem(whole, key) if _plain(key) else _NOTHING

    def _is_defined(self, node: nodes.Test, known: _Known) -> Any:
        if not isinstance(node.node, (nodes.Getattr, nodes.Getitem)):
            return _NOTHING
        whole = self._value(node.node.node, known)
        if isinstance(whole, _Loop):
            return _NOTHING
        found = self._part(node.node, whole, known)
        return _NOTHING if found is _NOTHING else isinstance(found, Undefined) == (node.name == "undefined")

    def _test(self, node: nodes.Node, known: _Known) -> tuple[nodes.Node, Any]:
        """A test, and its value if it is made of constants, as Jinja2 folds them; else _NOTHING."""
        value = self._value(node, known)
        if value.__class__ in (list, dict):
            return node, value
        test = self._expression(node, known)
        try:
            return test, test.as_const(nodes.EvalContext(self.environment)) if isinstance(
                test, nodes.Expr
            ) else _NOTHING
        except Exception:  # Jinja2's Impossible, or an error that the template is to show when it runs
            return test, _NOTHING

    # -- nodes

    def _with(self, node: N, /, **fields: Any) -> N:
        """A copy of `node` with other fields."""
        self._room -= 1
        if self._room < 0:
            raise _NotKnown
        made = copy.copy(node)
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    def _rebuilt(self, node: N, change: Callable[[nodes.Node], nodes.Node]) -> N:
        """A copy of `node` with its parts changed."""
        if isinstance(node, nodes.TemplateData):
            self._room -= len(node.data) // 64
        fields: dict[str, Any] = {}
        for name, value in node.iter_fields():
            if isinstance(value, nodes.Node):
                fields[name] = change(value)
            elif isinstance(value, list):
                fields[name] = [change(part) if isinstance(part, nodes.Node) else part for part in value]
        return self._with(node, **fields)


def _plain(value: Any) -> bool:
    """Whether Python's own notation gives back the very same value."""
    if value.__class__ is float:
        return math.isfinite(value)
    return value.__class__ in _SCALARS and not (value.__class__ is int and value.bit_length() > MAX_BITS)


def _names(node: nodes.Node) -> Iterator[nodes.Name]:
    if isinstance(node, nodes.Name):
        yield node
    yield from node.find_all(nodes.Name)


def _bound(tree: nodes.Template) -> set[str]:
    """Every name that the template itself gives a meaning, wherever."""
    names = set(_SPECIAL)
    for node in tree.find_all((nodes.Name, nodes.NSRef, nodes.Import, nodes.FromImport, nodes.Macro)):
        if (isinstance(node, nodes.Name) and node.ctx != "load") or isinstance(node, (nodes.NSRef, nodes.Macro)):
            names.add(node.name)
        elif isinstance(node, nodes.Import):
            names.add(node.target)
        elif isinstance(node, nodes.FromImport):
            names |= {name if isinstance(name, str) else name[1] for name in node.names}
    return names
