"""Names of Jinja2 and MarkupSafe that are not public, and that the package overrides or uses.

When a new version changes one of them, the size checks could stop working without an error. So each is named here,
with its parameters, and pyproject.toml excludes the next minor version.
"""

from __future__ import annotations

import inspect
from typing import Any

import markupsafe
import pytest
from jinja2 import compiler, environment, nodes, parser, runtime, sandbox

OVERRIDDEN = [
    (compiler.CodeGenerator, "write_commons", ["self"]),
    (compiler.CodeGenerator, "signature", ["self", "node", "frame", "extra_kwargs"]),
    (compiler.CodeGenerator, "_output_child_to_const", ["self", "node", "frame", "finalize"]),
    (compiler.CodeGenerator, "_output_child_pre", ["self", "node", "frame", "finalize"]),
    (compiler.CodeGenerator, "visit_EvalContextModifier", ["self", "node", "frame"]),
    (compiler.CodeGenerator, "visit_Concat", ["self", "node", "frame"]),
    (compiler.CodeGenerator, "visit_Compare", ["self", "node", "frame"]),
    (compiler.CodeGenerator, "visit_Getattr", ["self", "node", "frame"]),
    (compiler.CodeGenerator, "visit_Assign", ["self", "node", "frame"]),
    (compiler.CodeGenerator, "visit_Dict", ["self", "node", "frame"]),
    (environment.Environment, "_parse", ["self", "source", "name", "filename"]),
    (environment.Environment, "compile", ["self", "source", "name", "filename", "raw", "defer_init"]),
    (runtime.StrictUndefined, "_undefined_message", None),
    (sandbox.SandboxedEnvironment, "call", ["_SandboxedEnvironment__self", "_SandboxedEnvironment__context",
                                            "_SandboxedEnvironment__obj", "args", "kwargs"]),
    (parser.Parser, "parse", ["self"]),
    (markupsafe, "_escape_inner", None),
]  # fmt: skip


@pytest.mark.parametrize(("owner", "name", "parameters"), OVERRIDDEN)
def test_a_private_name_is_as_this_package_expects(
    owner: Any, name: str, parameters: list[str] | None
) -> None:
    found = getattr(owner, name)
    if parameters is not None:
        assert list(inspect.signature(found).parameters) == parameters


def test_every_expression_is_output_through_the_functions_that_check_its_size() -> None:
    from mailer.templating import create_environment

    source = "{{ a }}{{ a ~ b }}{{ a == b }}{{ {a: b} }}{{ a.b }}"
    code = create_environment(autoescape=True).compile(source, raw=True)
    for call in ("show_html(", "join_html((", "check_size(", "attribute("):
        assert call in code


def test_compiling_evaluates_no_expression() -> None:
    from mailer.templating import create_environment

    calls: list[object] = []
    environment_ = create_environment(autoescape=True)
    environment_.filters["noted"] = calls.append
    environment_.tests["noted"] = calls.append
    environment_.from_string(
        "{{ 'a'|noted }}{{ 1 is noted }}{% if 'a'|noted %}{% endif %}{% set a = 'a'|noted %}"
        "{% autoescape 'a'|noted %}{{ 1 }}{% endautoescape %}{{ ['a'|noted] }}{{ x[1|noted] }}"
    )
    assert calls == []
    assert isinstance(environment_.parse("{{ 1 }}"), nodes.Template)
