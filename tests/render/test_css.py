"""Rules of <style> in style attributes: as the cascade says, and the same for a compiled template."""

from __future__ import annotations

import pytest

from mailer.render.markup import inline_css
from mailer.render.template_page import COMPILED_AFTER
from tests.render.projects import Project, person


def style_of(rules: str, element: str) -> str:
    html = inline_css(f"<style>{rules}</style>{element}")
    found = html.rpartition('style="')[2].partition('"')[0] if 'style="' in html else ""
    return found.replace(" ", "").rstrip(";")


@pytest.mark.parametrize(
    ("rules", "element", "expected"),
    [
        ("p{color:red}.a{color:blue}", "<p class=a>x</p>", "color:blue"),
        (".a{color:blue}p{color:red}", "<p class=a>x</p>", "color:blue"),
        ("#i{color:green}p.a.b{color:blue}", "<p id=i class='a b'>x</p>", "color:green"),
        ("p{color:red}p{color:blue}", "<p>x</p>", "color:blue"),
        ("p{color:red!important}.a{color:blue}", "<p class=a>x</p>", "color:red!important"),
        ("p{color:red}", "<p style='color:blue'>x</p>", "color:blue"),
        ("p{color:red!important}", "<p style='color:blue'>x</p>", "color:red!important"),
        ("p{color:red;colr}q}p{margin:0}", "<p>x</p>", "color:red"),
        ("p:hover{color:red}", "<p>x</p>", ""),
        ("@media (max-width:600px){p{color:red}}", "<p>x</p>", ""),
    ],
)
def test_the_cascade_decides(rules: str, element: str, expected: str) -> None:
    assert style_of(rules, element).startswith(expected)
    assert bool(style_of(rules, element)) == bool(expected)


@pytest.mark.parametrize(
    "kept",
    [
        "p:hover{color:red}",
        "@media (max-width:600px){p{color:red}}",
        "@media(prefers-color-scheme:dark){p{color:red}}",
    ],
)
def test_what_cannot_be_inlined_stays_in_the_style_sheet(kept: str) -> None:
    sheet = (
        inline_css(f"<style>{kept} i{{margin:0}}</style><p>x</p><i>y</i>")
        .partition("<style")[2]
        .partition("</style")[0]
    )
    assert kept.partition("{")[0].replace(" ", "") in sheet.replace(" ", "")


@pytest.mark.parametrize("template", [
    "<style>p{color:red}.a{color:blue!important}</style><p class=a style='color:green'>{{ name }}</p>",
    "<style>@media (max-width:600px){p{color:red}} p:hover{color:red}</style><p>{{ name }}</p>",
    "<style>p{color:red</style><p>{{ name }}</p>",
    "<style>p{{ '{' }}colr:} {{ '}}' }} q{margin:0}</style><q>{{ name }}</q>",
    "<style>td{padding:1px}</style><!--[if mso]><table><tr><td>{{ name }}</td></tr></table><![endif]--><td>{{ name }}</td>",
    "<style>p{color:red}</style><![if !mso]><p>{{ name }}</p><![endif]>",
    "<style>.{{ plan }}{color:red} p{margin:0}</style><p class='{{ plan }}'>{{ name }}</p>",
    "<style>p{color:{{ color }}}</style><p>{{ name }}</p>{% if plan == 'pro' %}<p class=b>{{ plan }}</p>{% endif %}",
    "<style>a[href^='https']{color:red}</style><a href='{{ link }}'>{{ name }}</a>",
    "<style>p:empty{color:red} p:first-child{margin:0}</style><div><p>{{ empty }}</p><p>{{ name }}</p></div>",
])  # fmt: skip
def test_a_compiled_template_is_inlined_as_each_message_would_be(project: Project, template: str) -> None:
    compiled, plain = project.compile(template=template), project.compile(template=template)
    plain.use_jinja2_alone()
    people = [
        person(
            name=f"Ada {n} <b>",
            plan=("pro", "free")[n % 2],
            color=("red", "blue")[n // 2 % 2],
            link=("https://e.com/", "mailto:a@e.com")[n % 2],
            empty=("", "x")[n % 2],
        )
        for n in range(COMPILED_AFTER + 6)
    ]
    for recipient in people:
        assert compiled.render_html(recipient) == plain.render_html(recipient)
        assert compiled.render_text(recipient) == plain.render_text(recipient)
