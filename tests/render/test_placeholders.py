from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailer.render.placeholders import MAX_KEPT, Filling, Slots, Transformation
from mailer.render.plain_text import derive_text
from tests.render.projects import Project, person

TEMPLATES = [
    "<p>Hello {{ a }},</p><p>{{ b }} and {{ a }}</p>",
    '<p><a href="https://e.com/{{ a }}">{{ b }}</a> <a href="{{ b }}">{{ b }}</a></p>',
    "<table><tr><td>{{ a }}<td>{{ b }}</tr></table>",
    "<table><tr><th>{{ a }}<th>B</tr><tr><td>{{ b }}<td>x</tr></table>",
    '<div style="display:{{ b }}">{{ a }}</div><{{ c }}>x</{{ c }}>y',
    "<ul>{% for x in a %}<li>{{ x }}{% endfor %}</ul>",
    "{% macro m(x) %}<p>{{ x }}</p>{% endmacro %}{{ m(a) }}{{ m(b) }}{% set s %}{{ a }}{% endset %}{{ s|length }}",
    "{% filter upper %}{{ a }}{% endfilter %}<img alt='{{ b }}' src='https://e.com/x'>",
    "<pre>{{ a }}</pre>{{ n }}{{ n + 1 }}&{{ c }};",
]
VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
    st.sampled_from(
        ["", " ", "none", "a b", "a  b", " a", "p", "li", "#x", "mailto:x", "<b>", "&amp;", "é\n", "cid:x"]
    ),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(VALUES, VALUES, st.sampled_from(["p", "b", "td", "lt", "x"])), min_size=1, max_size=5))
@example([("Ada", "none", "p"), ("Bob", "block", "div"), ("Bob", "Bob", "p")])
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_text_from_the_skeleton_is_that_from_the_html(project: Project, template: str, rows: list[Any]) -> None:
    """The shortcut changes nothing: what is derived for one recipient after another is what each HTML gives."""
    compiled = project.compile(template=template)
    for n, (a, b, c) in enumerate(rows):
        recipient = person(a=a, b=b, c=c, n=n)
        assert compiled.render_text(recipient) == derive_text(compiled.render_html(recipient) or "")
    (project.root / "body.html").unlink()


def test_a_structure_is_transformed_once() -> None:
    calls: list[str] = []

    def upper(text: str) -> str:
        calls.append(text)
        return f"<{text}>"

    transformation = Transformation(upper)
    for value in ("a", "b", "c"):
        slots = Slots()
        assert transformation("x" + slots.mark(value) + "y").fill(slots.values) == f"<x{value}y>"
    assert len(calls) == 1


def test_what_is_kept_is_bounded() -> None:
    transformation = Transformation(str)
    for n in range(MAX_KEPT * 2):
        transformation(f"text {n}")
    transformation("x" * 1_000_000)
    assert len(transformation._kept) == MAX_KEPT


def test_a_broken_mark_is_an_error() -> None:
    mark = Slots().mark("x")
    for broken in (mark.upper(), mark[:-1], mark.title()):
        with pytest.raises(ValueError, match="use a filter on the value"):
            Filling(f"a {broken} b")


def test_the_same_value_has_the_same_mark() -> None:
    slots = Slots()
    assert slots.mark("a") == slots.mark("a") != slots.mark("b")
    slots.clear()
    assert slots.values == []
