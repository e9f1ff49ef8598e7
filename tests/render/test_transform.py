"""What is made of a skeleton, filled, is what would be made of the output itself."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailer.render import plain_text, programs
from mailer.render.body import BodyEncoder
from mailer.render.plain_text import derive_text
from mailer.render.skeleton import Skeleton, make_token
from mailer.render.template_page import COMPILED_AFTER
from tests.render.projects import Project, person

TEMPLATES = [
    "<p>Hello {{ a }},</p><p>{{ b }} and {{ a }}</p>",
    '<p><a href="https://e.com/{{ a }}">{{ b }}</a> <a href="{{ b }}">{{ b }}</a></p>',
    '<a href="{{ a }}">x</a> <a href="mailto:{{ b }}">{{ a }}</a> <a href="#{{ c }}">{{ a }}</a>',
    '<a href="{{ a }}"></a><a href="mailto:{{ b }}"></a>',
    "<table><tr><td>{{ a }}<td>{{ b }}</tr></table>",
    "<table><tr><th>{{ a }}<th>B</tr><tr><td>{{ b }}<td>x</tr></table>",
    '<div style="display:{{ b }}">{{ a }}</div><{{ c }}>x</{{ c }}>y',
    "<ul>{% for x in a %}<li>{{ x }}{% endfor %}</ul>",
    "{% macro m(x) %}<p>{{ x }}</p>{% endmacro %}{{ m(a) }}{{ m(b) }}{% set s %}{{ a }}{% endset %}{{ s|length }}",
    "{% filter upper %}{{ a }}{% endfilter %}<img alt='{{ b }}' src='https://e.com/x'>",
    '<a href="{{ a }}"><img alt="" src="https://e.com/x"></a><a href="{{ b }}">{{ c }}</a><a href="{{ a }}">x</a>',
    "<pre>{{ a }}</pre>{{ n }}{{ n + 1 }}&{{ c }};",
    "<style>p { color: {{ c }} }</style><p class='{{ c }}' title={{ a }}>{{ b }}",
    "<!-- {{ a }} --><script>{{ b }}</script>",
    "<p hidden='{{ c }}'>{{ a }}</p><p {{ c }}>{{ b }}</p>{% if b %}<b>{{ b }}</b>{% endif %}",
]
ODD_VALUES = [None, True, False, 0, -1.5, 10**20, "", [], [None], "None"]
VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
    st.sampled_from(
        [
            "",
            " ",
            "none",
            "a b",
            "a  b",
            " a",
            "p",
            "li",
            "#x",
            "mailto:x",
            "<b>",
            "&amp;",
            "é\n",
            "cid:x",
            "https://e.com/",
            "https://e.com/x",
        ]
    ),
)
ROWS = st.lists(
    st.tuples(VALUES, VALUES, st.sampled_from(["p", "b", "td", "lt", "x"])), min_size=1, max_size=5
)


def compare_all(project: Project, rows: list[Any], *, n: Any = None, **fields: Any) -> None:
    """Each recipient by the compiled form and by Jinja2 alone. The column `n` is by default the row's number."""
    compiled, plain = project.compile(**fields), project.compile(**fields)
    plain.use_jinja2_alone()
    for _ in range(COMPILED_AFTER):
        compiled.render_html(person(a="x", b="y", c="p", n=n or 0))
    for number, (a, b, c) in enumerate(rows):
        recipient = person(a=a, b=b, c=c, n=n or number)
        one, other = (unescape(each.render_html(recipient) or "") for each in (compiled, plain))
        assert one == other  # css-inline writes a quotation mark in text as it is
        assert compiled.render_text(recipient) == plain.render_text(recipient)
        for eight_bit in (True, False):
            made, direct = (each.render(recipient, eight_bit=eight_bit) for each in (compiled, plain))
            assert contents(made) == contents(direct)
            assert max(map(len, made.content.split(b"\r\n"))) <= 998
    for path in project.root.glob("body.*"):
        path.unlink()


def contents(message: Any) -> list[str]:
    from tests.render.projects import parsed

    return [
        unescape(part.get_content())
        for part in parsed(message.content).walk()
        if part.get_content_maintype() == "text"
    ]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_character_without_meaning_is_the_same_in_both(project: Project, template: str) -> None:
    rows = [(f"a{odd}b", f"{odd}b", f"p{odd}") for odd in "\ufdd0\ufdd1\ufdef\ufffe\uffff\ue0c1\ue0c2"]
    compare_all(project, [*rows, *[(c, a, b) for a, b, c in rows]], template=template)


@pytest.mark.parametrize(
    "template", [*TEMPLATES, "<p>{% for i in n %}{% if c %}{{ i }} {{ b }}{% endif %}{% endfor %}"]
)
def test_a_value_that_is_not_text_is_shown_as_in_html(
    project: Project, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is null is empty, in sections too, and no other value is."""
    monkeypatch.setattr(programs, "MAX_COMBINATIONS", 0)
    rows = [
        (one, other, c)
        for one, other in zip(ODD_VALUES, ODD_VALUES[3:] + ODD_VALUES[:3], strict=True)
        for c in ("p", None)
    ]
    compare_all(
        project, rows, template=template.replace("x in a", "x in [a, b]").replace("n + 1", "n"), n=ODD_VALUES
    )


@pytest.mark.parametrize("template", TEMPLATES)
def test_invisible_characters_of_a_value_are_a_padding_in_both(project: Project, template: str) -> None:
    odd = [
        "\u200d" * 3,
        "a\u200c\u200c\u200cb",
        "a\u200c \u200c \u200cb",
        "\u200da",
        "a\u200d",
        "a\u200db",
        "a\u00ad\u034f",
    ]
    rows = [(a, b, "p") for a, b in zip(odd, reversed(odd), strict=True)]
    compare_all(project, rows, template="\u200c\u200c" + template)


def test_a_row_of_data_has_bars_however_long_a_value_is(project: Project) -> None:
    template = "<table><tr><th>a</th><th>b</th></tr><tr><td>{{ a }}</td><td>{{ b }}</td></tr></table>"
    compare_all(project, [("x" * n, "y é" * n, "p") for n in (1, 50, 199, 201, 1000)], template=template)


def test_an_image_that_is_null_is_none(project: Project) -> None:
    compiled = project.compile(template="<img src='{{ item.photo }}'><p>{{ item.photo }}</p>")
    for photo in [*(f"https://e.com/{n}.png" for n in range(COMPILED_AFTER + 2)), None]:
        html = compiled.render_html(person(item={"photo": photo}))
    assert html == "<img src=''><p></p>"


def test_a_character_of_private_use_is_a_character_of_the_text(project: Project) -> None:
    compiled = project.compile(template="<table><tr><td>{{ a }}</td><td>\ue0c2</td></tr></table>")
    assert compiled.render_text(person(a="x\ue0c1y")) == "x\ue0c1y  \ue0c2\n"


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ROWS)
@example([("Ada", "none", "p"), ("Bob", "block", "div"), ("Bob", "Bob", "p")])
@pytest.mark.parametrize(
    "template",
    [*TEMPLATES[:4], *(pytest.param(template, marks=pytest.mark.slow) for template in TEMPLATES[4:])],
)
def test_a_text_from_the_skeleton_is_that_from_the_html(
    project: Project, template: str, rows: list[Any]
) -> None:
    compare_all(project, rows, template=template)
    compiled = project.compile(template=template)
    compiled.use_jinja2_alone()
    for n, (a, b, c) in enumerate(rows):
        recipient = person(a=a, b=b, c=c, n=n)
        assert compiled.render_text(recipient) == derive_text(compiled.render_html(recipient) or "")
    (project.root / "body.html").unlink()


@pytest.mark.parametrize(
    ("pieces", "values"),
    [
        (["a=", "b"], ["_mark"]),
        (["a=_m", "b"], ["ark"]),
        (["a", "_mark"], ["="]),
        (["a=", "_mark"], [""]),
        (["a", "b"], ["=_mark"]),
        (["a", "", "c"], ["=_m", "ark"]),
        (["=", "", "mark"], ["_", ""]),
    ],
)
@pytest.mark.parametrize("eight_bit", [True, False])
def test_values_that_complete_a_boundary_are_encoded(
    pieces: list[str], values: list[str], eight_bit: bool
) -> None:
    encoder = BodyEncoder(b"=_mark")
    body = Skeleton(pieces, list(range(len(values)))).encode(values, encoder, eight_bit=eight_bit)
    assert body.encoding == b"quoted-printable"
    assert b"=_mark" not in body.content


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ROWS)
@pytest.mark.parametrize("template", [
    "# Hello {{ a }}\n\n{{ b }} *is* {{ n }}\n\n{{ n }}. {{ c }}\n\n- {{ a }}\n\n[{{ a }}](https://e.com/{{ c }})",
    "{{ n }} {{ a }}{{ n }}\n{% if b %}> {{ b }}{% endif %}\n\n<b title='{{ c }}'>{{ n }}</b>",
])  # fmt: skip
def test_markdown_from_the_skeleton_is_that_from_the_output(
    project: Project, template: str, rows: list[Any]
) -> None:
    project.put("letter.md", template)
    compare_all(project, rows, template="letter.md")


def test_a_structure_is_transformed_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def derive(html: str, compared: object = None) -> str:
        calls.append(html)
        return derive_text(html)

    monkeypatch.setattr(plain_text, "derive_text", derive)
    compiled = project.compile(template="<p>{{ name }}</p>{% if pro %}<b>pro</b>{% endif %}")
    for n in range(COMPILED_AFTER + 40):
        compiled.render(person(name=f"Ada {n}", pro=n % 2))
    assert len(calls) == COMPILED_AFTER + 2


def test_a_broken_token_is_an_error() -> None:
    token = make_token(0)
    for broken in (token.upper(), token[:-1], token.title()):
        with pytest.raises(ValueError, match="use a filter on the value"):
            Skeleton.from_text(f"a {broken} b")


def test_pages_need_no_thread_and_no_signal(project: Project) -> None:
    """A compiled campaign works in a forked child, whatever was compiled before the fork."""
    import os

    compiled = project.compile(template="<p>{{ name }}", subject="Hi {{ name }}")
    for n in range(COMPILED_AFTER + 2):
        compiled.render(person(name=f"Ada {n}"))
    child = os.fork()
    if child == 0:
        made = all(b"Zo " in compiled.render(person(name=f"Zo {n}")).content for n in range(40))
        os._exit(0 if made else 1)
    assert os.waitpid(child, 0)[1] == 0
