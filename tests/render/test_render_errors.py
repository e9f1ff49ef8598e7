from __future__ import annotations

from typing import Any

import pytest

from mailer.bounded_process import is_limit_error
from mailer.campaign.model import Attachment, Recipient
from mailer.errors import Place, Problem, RenderError
from mailer.render.render_process import RenderProcess
from tests.render.projects import PIXEL, Project, pattern, person


@pytest.mark.parametrize(
    ("fields", "columns", "text"),
    [
        (
            {"template": "<p>\n{{ nmae }}"},
            {"name": "x"},
            "body.html:2: 'nmae' is undefined; did you mean 'name'?",
        ),
        ({"text": "\n\n{{ a.b }}"}, {"a": {}}, "body.txt:3: 'dict object' has no 'b'"),
        ({"text": "{{ row['City'] }}"}, {"city": "x"}, "body.txt:1: 'row' has no 'City'"),
        ({"subject": "{{ x }}"}, {}, "campaign.yaml:1: 'x' is undefined"),
        (
            {"subject": "{{ x }}"},
            {"x": "a\r\nBcc: eve@example.com"},
            "campaign.yaml:1: subject: a line end (U+000D)",
        ),
        ({"headers": {"X-A": "{{ x }}"}}, {"x": "a\0"}, "campaign.yaml:1: headers.X-A: a NUL (U+0000)"),
        ({}, {"name": "a\x1b"}, "people.csv:2: name: a control character (U+001B)"),
        ({"cc": ["{{ x }}"]}, {"x": "a@b@c"}, "campaign.yaml:1: cc: 'a@b@c' is not an address"),
        ({"envelope_from": "{{ x }}"}, {"x": "eve> NOTIFY"}, "campaign.yaml:1: envelope_from: "),
        ({"text": "{{ x }}"}, {"x": "a\0b"}, "people.csv:2: a NUL character"),
        ({"text": "{{ x }}"}, {"x": "a\ud800b"}, "people.csv:2: a lone surrogate"),
        ({"text": "{{ x + 1 }}"}, {"x": "a\x1b[2J"}, "body.txt:1: "),
        (
            {"text": "a\n\n{% set x.y = 1 %}"},
            {"x": 0},
            "body.txt:3: cannot assign attribute on non-namespace object",
        ),
        ({"text": "{{ 1 // x }}"}, {"x": 0}, "body.txt:1: integer division or modulo by zero"),
        ({"text": "{{ x.__class__ }}"}, {"x": 0}, "body.txt:1: not allowed in a template: "),
        ({"template": "<img src='{{ x }}'>"}, {"x": "no.png"}, "no.png: not found"),
        ({"template": "<img src='{{ x }}'>"}, {"x": "../../../etc/passwd"}, "is outside the project root"),
        (
            {"template": "<img src='cid:{{ x }}'>"},
            {"x": "logo"},
            "body.html: image cid:logo: 'logo' is not in the campaign's images",
        ),
        (
            {"template": "{{ image(x) }}"},
            {"x": "logo"},
            "body.html:1: 'logo' is not in the campaign's images (it has none)",
        ),
    ],
)
def test_an_error_names_the_place_the_reason_and_the_recipient(
    project: Project, fields: dict[str, Any], columns: dict[str, object], text: str
) -> None:
    compiled = project.compile(**{"text": "Hi", **fields})
    with pytest.raises(RenderError) as caught:
        compiled.render(person(**columns))
    said = str(caught.value).replace(f"{project.root}/", "")
    assert text in said
    assert "ada@example.com" in said
    assert "people.csv:2" in said
    assert said.isprintable()


def test_all_errors_of_a_recipient_are_told_at_once(project: Project) -> None:
    compiled = project.compile(
        subject="{{ a }}", to="{{ b }}", headers={"X-A": "{{ c }}"}, template="{{ d }}", text="\n{{ e }}"
    )
    with pytest.raises(RenderError) as caught:
        compiled.render(person())
    told = [str(problem).replace(f"{project.root}/", "") for problem in caught.value.problems]
    assert [problem.partition(" is undefined")[0] for problem in told] == [
        "body.html:1: 'd'",
        "body.txt:2: 'e'",
        "campaign.yaml:1: 'a'",
        "campaign.yaml:1: 'b'",
        "campaign.yaml:1: 'c'",
    ]
    assert caught.value.summary == f"{caught.value.problems[0]}; and 4 more problems"
    assert all("ada@example.com" in problem for problem in told)


def test_a_limit_ends_the_search_for_more_errors(project: Project) -> None:
    compiled = project.compile(
        subject="{{ a }}", text="{% for _ in range(10**9) %}x{% endfor %}", max_bytes=1000
    )
    with pytest.raises(RenderError) as caught:
        compiled.render(person())
    assert is_limit_error(caught.value)
    assert len(caught.value.problems) == 1


def test_an_error_in_an_include_names_the_include(project: Project) -> None:
    project.put("templates/part.html", "\n{% macro m() %}\n{{ nothing }}{% endmacro %}")
    compiled = project.compile(template="{% from 'part.html' import m %}{{ m() }}")
    with pytest.raises(
        RenderError, match=r"templates/part\.html:3: 'nothing' is undefined, for ada@example\.com"
    ):
        compiled.render(person())


def test_an_import_says_that_it_does_not_see_the_recipient(project: Project) -> None:
    project.put("templates/part.html", "{% macro m() %}\n{{ name }}{% endmacro %}")
    compiled = project.compile(template="{% from 'part.html' import m %}{{ m() }}")
    said = (
        r"templates/part\.html:2: 'name' is undefined here: an imported template does not see it; pass it as"
    )
    with pytest.raises(RenderError, match=said):
        compiled.render(person(name="Zoë"))


def test_a_row_with_a_problem_has_no_message(project: Project) -> None:
    problem = Problem(Place("people.csv", 9), "'x' is not an address")
    with pytest.raises(RenderError, match=r"^people.csv:9: 'x' is not an address$"):
        project.compile(text="Hi").render(Recipient("x", {}, Place("people.csv", 9), problem))


def test_time_and_size_are_bounded(project: Project) -> None:
    endless = "\n{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    expected = r"body.txt:2: stopped: it takes longer than 0.1 s of processor time, for ada@example.com"
    with (
        RenderProcess(project.compile(text=endless, seconds=0.1)) as process,
        pytest.raises(RenderError, match=expected),
    ):
        process.render(person())
    with pytest.raises(
        RenderError, match=r"body.txt:2: stopped: it writes more than 1,000 characters, for ada"
    ):
        project.compile(text="\n{% for a in range(99999) %}aaaaaaaa{% endfor %}", max_bytes=1000).render(
            person()
        )
    with pytest.raises(RenderError, match=r"the message is .*; the limit is 2,000 bytes, for ada"):
        project.compile(text="x" * 3000, max_message=2000).render(person())


def test_a_large_attachment_is_refused_before_it_is_read(project: Project) -> None:
    with (project.root / "large.bin").open("wb") as file:
        file.truncate(26 * 1024 * 1024)
    compiled = project.compile(text="Hi", attachments=(Attachment(pattern("{{ file }}")),))
    with pytest.raises(RenderError, match=r"attachment large.bin: is 26.0 MB; the limit is 25.0 MB"):
        compiled.render(person(file="large.bin"))


@pytest.mark.parametrize("value", ["../dkim.pem", "a/b.pdf", ".env", "..", "a\\b.pdf", "/etc/passwd"])
def test_a_value_is_one_segment_of_a_path(project: Project, value: str) -> None:
    project.put("docs/a/b.pdf", b"%PDF")
    with pytest.raises(RenderError, match="is not a single segment of a path"):
        project.compile(text="Hi", attachments=(Attachment(pattern("docs/{{ doc }}")),)).render(
            person(doc=value)
        )
    compiled = project.compile(text="Hi", attachments=(Attachment(pattern("docs/{{ doc|path }}")),))
    for _ in range(20):
        compiled.render(person(doc="a/b.pdf"))
    with pytest.raises(RenderError, match=r"not found|outside|hidden"):
        compiled.render(person(doc="../../" + value))


@pytest.mark.parametrize(
    "template",
    ["<img src='{{ photo }}'>", "<img src={{ photo }}>", "<p>{{ x|random }}<img src='{{ photo }}'>"],
)
@pytest.mark.parametrize("count", [1, 20])
def test_a_value_in_src_is_an_address_and_never_a_file(project: Project, template: str, count: int) -> None:
    project.put("scan.png", PIXEL)
    compiled = project.compile(text="Hi", template=template)
    for n in range(count):
        assert b"https://e.com/" in compiled.render(person(photo=f"https://e.com/{n}", x=[1])).content
    with pytest.raises(RenderError, match=r"body.html.*a value of the list chooses no file"):
        compiled.render(person(photo="scan.png", x=[1]))


@pytest.mark.parametrize("count", [0, 16, 17, 30])
def test_an_error_is_the_same_however_many_messages_were_made_before(project: Project, count: int) -> None:
    compiled = project.compile(text="Hi {{ n }}\n{{ city }}", subject="{{ 6 // n }}")
    for n in range(count):
        compiled.render(person(n=n + 1, city="Rome"))
    with pytest.raises(
        RenderError, match=r"^campaign.yaml:1: .*by zero, for ada@example.com \(people.csv:2\)$"
    ):
        compiled.render(person(n=0, city="Rome"))
    with pytest.raises(RenderError, match=r"body.txt:2: 'city' is undefined; did you mean 'cty'\?, for ada"):
        compiled.render(person(n=1, cty="Rome"))


@pytest.mark.parametrize("css", ["inline", "keep"])
@pytest.mark.parametrize("count", [0, 30])
def test_a_lone_surrogate_in_html_is_named_however_many_messages_were_made(
    project: Project, count: int, css: str
) -> None:
    compiled = project.compile(template="<style>p{color:red}</style><p>{{ city }}", css=css)
    for n in range(count):
        compiled.render(person(city=f"Rome {n}"))
    with pytest.raises(
        RenderError, match=r"^people.csv:2: a lone surrogate \(U\+D800\) is not a character, for ada@"
    ):
        compiled.render(person(city="a\ud800"))


@pytest.mark.parametrize(("field", "place"), [("subject", "campaign.yaml:1"), ("text", "body.txt:1")])
@pytest.mark.parametrize("count", [0, 16, 30])
def test_a_limit_is_at_its_place_on_a_way_that_is_new(
    project: Project, count: int, field: str, place: str
) -> None:
    source = "{% if big %}{{ n ** n }}{% else %}{{ n }}{% endif %}"
    compiled = project.compile(**({"text": "Hi"} | {field: source}))
    for n in range(count):
        compiled.render(person(n=n, big=""))
    with pytest.raises(RenderError, match=rf"{place}: stopped: a number that is too large, for ada@"):
        compiled.render(person(n=10**12, big="yes"))
