"""The helper `preheader`: shown by the list of messages, hidden in the message."""

from __future__ import annotations

import re

import pytest

from mailer.render.template_page import COMPILED_AFTER
from tests.render.projects import Project, person, render_one


@pytest.mark.parametrize("name", ["body.html", "body.md", "body.mjml"])
@pytest.mark.parametrize("count", [1, COMPILED_AFTER + 2])
def test_a_preheader_is_hidden_and_its_values_are_escaped(project: Project, name: str, count: int) -> None:
    source = "{{ preheader('News for ' ~ name) }}\n\nHello {{ name }}\n"
    if name.endswith("mjml"):
        source = f"<mjml><mj-body><mj-raw>{source}</mj-raw></mj-body></mjml>"
    project.put(name, source)
    compiled = project.compile(template=name)
    for n in range(count):
        recipient = person(name=f"Ada {n} <b>*x*</b>\n\n# y")
        html = compiled.render_html(recipient) or ""
        hidden = re.search(r"<div style=\"display:\s*none;[^>]*>(.*?)</div>", html, re.DOTALL)
        assert hidden is not None
        assert hidden[1].startswith(f"News for Ada {n} &lt;b&gt;*x*&lt;/b&gt; # y")
        text = compiled.render_text(recipient)
        assert "News" not in text
        assert f"Hello Ada {n}" in text


def test_a_message_with_a_preheader_is_compiled(project: Project) -> None:
    compiled = project.compile(template="{{ preheader('For ' ~ name) }}<p>Hello {{ name }}</p>")
    html, *_ = compiled.explain([person(name=f"Ada {n}") for n in range(3)])
    assert (html.ways, html.reason) == (1, None)
    assert compiled.render_html(person(name="Bob")) == compiled.render_html(person(name="Ada")).replace(  # type: ignore[union-attr]
        "Ada", "Bob"
    )


def test_an_own_value_named_preheader_takes_precedence(project: Project) -> None:
    message = render_one(project, template="<p>{{ preheader }}</p>", vars={"preheader": "mine"})
    assert "<p>mine</p>" in message.get_body(("html",)).get_content()  # type: ignore[union-attr]
