"""Jinja2's code generator for templates that are traced: comparisons and slices as calls, and branches and loops
as functions.

A branch or a loop that changes nothing but the output can have ways of its own (`sections.py`). Its code is put
into a function, which writes into a list.
"""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.compiler import Frame, optimizeconst

from mailer.templating.environment import CheckedCodeGenerator

# Statements whose effect is seen after the branch or the loop; a `set` within a loop is not.
_LASTING = (
    nodes.Macro,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.Block,
    nodes.NSRef,
    nodes.ExprStmt,
)
_ASSIGNING = (nodes.Assign, nodes.AssignBlock)


class TracingCode(CheckedCodeGenerator):
    """Jinja2's code generator with comparisons and slices as calls, and with the tracing environment's macros."""

    _iterable: nodes.Node | None = None  # of the loop whose head is written now

    def write_commons(self) -> None:
        super().write_commons()
        for name in ("compare", "take_slice", "write_section", "write_loop", "take_rounds"):
            self.writeline(f"{name} = environment.{name}")
        self.writeline("Macro = environment.make_macro")
        self.writeline("Markup = environment.make_markup")
        self.writeline("TemplateReference = environment.make_template_reference")
        self.writeline("LoopContext = environment.make_loop")

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

    def visit_If(self, node: nodes.If, frame: Frame) -> None:  # noqa: N802
        if frame.require_output_check or not _is_only_output(node):
            super().visit_If(node, frame)
            return
        function, inner = self._begin_function(node, frame)
        super().visit_If(node, inner)
        self._end_function("write_section", function, node, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        if frame.require_output_check or not _is_only_output(node) or not _has_plain_rounds(node):
            super().visit_For(node, frame)
            return
        function, inner = self._begin_function(node, frame)
        self._iterable = node.iter
        super().visit_For(node, inner)
        self._end_function("write_loop", function, node, frame)

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """As the visitor's; the list that a loop goes through is given to `take_rounds` first."""
        if node is not self._iterable:
            return super().visit(node, *args, **kwargs)
        self._iterable = None
        self.write("take_rounds(")
        super().visit(node, *args, **kwargs)
        self.write(")")
        return None

    def visit_Assign(self, node: nodes.Assign, frame: Frame) -> None:  # noqa: N802
        if isinstance(node.target, nodes.NSRef) or any(node.target.find_all(nodes.NSRef)):
            self.writeline("environment.check_outside_sections()", node)
        super().visit_Assign(node, frame)

    def _begin_function(self, node: nodes.Node, frame: Frame) -> tuple[str, Frame]:
        """Begin a function that writes into a list; returns its name, and the frame of what is in it."""
        function, inner = self.temporary_identifier(), frame.copy()
        inner.buffer = self.temporary_identifier()
        # Jinja2's names for what a call sees: a loop within the function would make them the function's own.
        names = [name for name, is_set in _list_frame_names(frame) if is_set]
        defaults = "".join(f", {name}={name}" for name in names)
        self.writeline(f"def {function}({inner.buffer}{defaults}):", node)
        self.indent()
        return function, inner

    def _end_function(self, method: str, function: str, node: nodes.Node, frame: Frame) -> None:
        self.outdent()
        key = f"{self.name or ''}:{node.lineno}:{function}"
        self.simple_write(f"{method}({key!r}, {function})", frame, node)


def _list_frame_names(frame: Frame) -> list[tuple[str, bool]]:
    return [("_loop_vars", frame.loop_frame), ("_block_vars", frame.block_frame)]


def _is_only_output(node: nodes.Node, *, is_in_loop: bool = False) -> bool:
    """Whether a statement changes nothing but the output."""
    is_inside = is_in_loop or isinstance(node, nodes.For)
    for child in node.iter_child_nodes():
        if isinstance(child, _LASTING) or (isinstance(child, _ASSIGNING) and not is_inside):
            return False
        if not _is_only_output(child, is_in_loop=is_inside):
            return False
    return True


def _has_plain_rounds(node: nodes.For) -> bool:
    """Whether each round of a loop depends on its own item, its number and the number of rounds alone."""
    if node.recursive:
        return False
    if node.test is None:
        return True
    names = {name.name for part in (*node.body, node.test) for name in part.find_all(nodes.Name)}
    return not node.else_ and "loop" not in names
