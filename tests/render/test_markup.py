from __future__ import annotations

import builtins
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markupsafe import escape

from mailer.errors import MissingExtra, RenderError
from tests.render.projects import PIXEL, Project, parsed, pattern, person

LETTER = """\
# Hello {{ name }}

Some *emphasis*, `code {{ name }}`, and a [link](https://e.com/{{ name }}).

- one {{ name }}
- two

| A | B |
| - | - |
| {{ name }} | 2 |

<p title="{{ name }}">raw</p>
"""
MJML = """\
<mjml><mj-body><mj-section><mj-column>
<mj-text>Hello {{ name }}</mj-text>
<mj-button href="https://e.com/{{ name }}">Go</mj-button>
<mj-image src="logo.png" alt="{{ name }}" width="{{ width }}px"></mj-image>
</mj-column></mj-section></mj-body></mjml>
"""
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


def plain(html: str) -> str:
    return re.sub(r' style="[^"]*"', "", html)


def test_markdown_becomes_html(project: Project) -> None:
    project.put("letter.md", LETTER)
    html = plain(project.compile(template="letter.md").render_html(person(name="Zoë")) or "")
    assert "<h1>Hello Zoë</h1>" in html
    assert '<em>emphasis</em>, <code>code Zoë</code>, and a <a href="https://e.com/Zoë">link</a>.' in html
    assert "<li>one Zoë</li>" in html
    assert "<td>Zoë</td>" in html
    assert '<p title="Zoë">raw</p>' in html


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES.filter(lambda value: bool(value.strip()) and not value.strip().replace(".", "").isdigit()))
@example("*bold* _it_ `code` [x](javascript:alert(1))")
@example("<script>alert(1)</script>")
@example("\n\n# heading\n\n- list\n\n    code")
@example("| a | b |")
@example("{{ 7 * 7 }}")
@example("&amp; \\* \"'")
def test_in_markdown_data_is_data(project: Project, name: str) -> None:
    project.put("letter.md.j2", LETTER)
    compiled = project.compile(template="letter.md.j2")
    html = compiled.render_html(person(name=name)) or ""
    assert html.count(str(escape(name))) >= 6
    expected = compiled.render_html(person(name="QQQ")) or ""
    assert html == expected.replace("QQQ", str(escape(name)))


def test_images_of_markdown_are_inline_parts(project: Project) -> None:
    project.put("images/x.png", PIXEL)
    project.put("letter.md", "![alt](images/x.png) ![logo](cid:logo)")
    compiled = project.compile(template="letter.md", images={"logo": "images/x.png"})
    message = parsed(compiled.render(person()).content)
    assert [part.get_content_type() for part in message.walk()].count("image/png") == 2


def test_markdown_derives_its_text(project: Project) -> None:
    project.put("letter.md", "Hello *{{ name }}*, [read](https://e.com/{{ name }})\n\n- a\n- b")
    text = project.compile(template="letter.md").render_text(person(name="<b>"))
    assert text == "Hello <b>, read <https://e.com/<b>>\n\n  * a\n  * b\n"


def test_a_value_changed_after_it_was_written_is_an_error(project: Project) -> None:
    project.put("letter.md", "{% filter upper %}Hello {{ name }}{% endfilter %}")
    with pytest.raises(RenderError, match=r"letter.md: a value is changed after it was written"):
        project.compile(template="letter.md").render_html(person(name="Ada"))


def test_mjml_becomes_html(project: Project) -> None:
    project.put("logo.png", PIXEL)
    project.put("letter.mjml", MJML)
    compiled = project.compile(template="letter.mjml")
    html = compiled.render_html(person(name="<Zoë>", width=120)) or ""
    assert "Hello &lt;Zoë&gt;" in html
    assert 'href="https://e.com/&lt;Zoë&gt;"' in html
    assert 'src="cid:' in html
    assert 'width="120"' in html
    assert "Hello <Zoë>" in compiled.render_text(person(name="<Zoë>", width=120))


@pytest.mark.parametrize(
    "source", ["<mjml><mj-body>", "<mjml><mj-body><mj-include path='/etc/passwd'/></mj-body></mjml>"]
)
def test_wrong_mjml_is_an_error(project: Project, source: str) -> None:
    project.put("letter.mjml.j2", source)
    with pytest.raises(RenderError, match=r"letter.mjml.j2(:1)?: MJML: .*, for ada@example.com"):
        project.compile(template="letter.mjml.j2").render_html(person())


@pytest.mark.parametrize(
    "source",
    [
        "<mjml><mj-body>" + "<mj-wrapper>" * 30_000 + "</mj-wrapper>" * 30_000 + "</mj-body></mjml>",
        "<mjml><mj-body>" + "<mj-section>" * 30_000,
        "<mjml><mj-body>éx></mj-body></mjml>",
        "<a " * 200_000,
    ],
    ids=["deep", "deep and open", "stray text", "many openings"],
)
def test_no_mjml_takes_the_process_along(
    project: Project, source: str, capfd: pytest.CaptureFixture[str]
) -> None:
    project.put("letter.mjml", source)
    with pytest.raises(RenderError, match=r"letter.mjml: MJML: .*, for ada@example.com"):
        project.compile(template="letter.mjml").render_html(person())
    assert capfd.readouterr().err == ""


def test_mjml_without_ends_of_html_is_not_deep(project: Project) -> None:
    text = "<mj-text>" + "a<br>b<br/><img src='https://example.com/x.png'>" * 300 + "</mj-text>"
    source = f"<mjml><mj-body><mj-section><mj-column>{text}</mj-column></mj-section></mj-body></mjml>"
    assert "a<br" in (
        project.compile(template=pattern(project.put("letter.mjml", source).name)).render_html(person()) or ""
    )


def test_without_mrml_the_extra_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without_mrml(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "mrml":
            raise ImportError(name)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_mrml)
    project.put("letter.mjml", "<mjml></mjml>")
    with pytest.raises(MissingExtra) as caught:
        project.compile(template="letter.mjml")
    assert "mailer[mjml]" in str(caught.value.hint)


def test_an_element_that_mjml_does_not_have_is_an_error_with_its_line(project: Project) -> None:
    body = "<mjml><mj-body>\n<mj-section><mj-column>\n{}\n</mj-column></mj-section></mj-body></mjml>"
    project.put("letter.mjml", body.format("<mj-txt>{{ name }}</mj-txt>"))
    with pytest.raises(RenderError, match=r"letter.mjml:3: MJML: <mj-txt> is not .* did you mean <mj-text>"):
        project.compile(template="letter.mjml").render_html(person(name="<mj-x>"))
    kept = "<mj-text>{{ name }}</mj-text><!-- <mj-old> --><mj-raw><mj-own>x</mj-own></mj-raw>"
    project.put("letter.mjml", body.format(kept))
    assert "&lt;mj-x&gt;" in (
        project.compile(template="letter.mjml").render_html(person(name="<mj-x>")) or ""
    )


def test_wrong_mjml_names_its_line(project: Project) -> None:
    project.put("letter.mjml", "<mjml>\n<mj-head>\n<mj-column/></mj-head><mj-body></mj-body></mjml>")
    with pytest.raises(RenderError, match=r"letter.mjml:3: MJML: unexpected element"):
        project.compile(template="letter.mjml").render_html(person())


def test_the_css_of_mjml_is_left_alone_and_that_of_others_is_inlined(project: Project) -> None:
    style = "<style>p { color: red } @media print { p { color: black } } a:hover { color: blue }</style>"
    html = project.compile(template=f"{style}<p>{{{{ name }}}}<a>x</a>").render_html(person(name="Ada")) or ""
    assert '<p style="color: red;">Ada' in html
    assert "@media print" in html
    assert "a:hover" in html
    kept = project.compile(template=f"{style}<p>{{{{ name }}}}<a>x</a>", css="keep")
    assert kept.render_html(person(name="Ada")) == f"{style}<p>Ada<a>x</a>"
    project.put(
        "letter.mjml",
        "<mjml><mj-head><mj-style>p { color: red }</mj-style></mj-head><mj-body><mj-section><mj-column>"
        "<mj-text><p>x</p></mj-text></mj-column></mj-section></mj-body></mjml>",
    )
    assert "<p>x</p>" in (project.compile(template="letter.mjml").render_html(person()) or "")
