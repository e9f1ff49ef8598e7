"""A message that is said to be sure to render does, whatever the values are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.campaign.model import Attachment, Unsubscribe
from mailer.errors import RenderError
from mailer.render.template_page import COMPILED_AFTER
from tests.render.projects import Project, pattern, person

FIELDS: dict[str, Any] = {
    "template": "<style>p{color:red}</style><p>{{ name }} {{ 6 // n }} <a href='https://e.com/{{ code }}'>x</a>"
    "{% if code %}<b>{{ code|upper }}</b>{% endif %}</p>",
    "subject": "Hi {{ name }}",
    "cc": ("{{ copy }}",),
    "headers": {"X-Code": "{{ code }}"},
    "unsubscribe": Unsubscribe(pattern("https://e.com/{{ code }}"), None, True),
}
PLAIN: dict[str, Any] = {
    "template": "<p>{{ name|title }} {% if code %}<a href='https://e.com/{{ code|urlencode }}'>{{ code|upper }}</a>"
    "{% endif %}</p>",
    "text": "{{ name|default('you') }}, {{ code }}",
    "subject": "Hi {{ name|lower }}",
    "css": "keep",
}
WITHOUT_COPIES = {name: value for name, value in FIELDS.items() if name != "cc"}
TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", "a\0b", "\ud800", "x\ny", "x" * 4000, "é" * 1500, "<b>", "https://e.com/", " a "]),
)
COPIES = st.sampled_from(["", "a@example.com", "nobody", "a@b@c", "Zoë <z@bücher.example>"])
NUMBERS = st.sampled_from([0, 1, 6, "6", None, 10**30])


def teach(project: Project, **fields: Any) -> Any:
    compiled = project.compile(**fields)
    for n in range(COMPILED_AFTER * 2 + 2):
        compiled.learn(person(name=f"Ada {n}", n=2, code=("", "t7")[n % 2], copy=("", "b@e.com")[n % 3 == 0]))
    return compiled


@pytest.mark.parametrize("fields", [FIELDS, WITHOUT_COPIES, PLAIN], ids=["copies", "no copies", "plain"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(TEXTS, NUMBERS, TEXTS, COPIES), min_size=20, max_size=20))
def test_a_message_that_is_sure_to_render_renders(
    new_project: Callable[[], Project], fields: dict[str, Any], rows: list[Any]
) -> None:
    compiled = teach(new_project(), **fields)
    for name, n, code, copy in rows:
        recipient = person(name=name, n=n, code=code, copy=copy)
        if compiled.is_sure_to_render(recipient):
            compiled.render(recipient)
            compiled.render(recipient, eight_bit=True)


@pytest.mark.parametrize("fields", [FIELDS, WITHOUT_COPIES], ids=["copies", "no copies"])
def test_plain_values_on_a_known_way_are_sure(project: Project, fields: dict[str, Any]) -> None:
    compiled = teach(project, **fields)
    for code in ("", "t8"):
        assert compiled.is_sure_to_render(person(name="Zoë <Łukasz>", n=3, code=code, copy="c@example.com"))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "a\0"),
        ("name", "a\ud800"),
        ("name", "a\nb"),
        ("n", 0),
        ("copy", "nobody"),
        ("code", "x" * 5000),
    ],
)
@pytest.mark.parametrize("fields", [FIELDS, WITHOUT_COPIES], ids=["copies", "no copies"])
def test_a_value_that_can_make_the_message_fail_is_not_sure(
    project: Project, fields: dict[str, Any], column: str, value: Any
) -> None:
    if column == "copy" and "cc" not in fields:
        fields = fields | {"reply_to": ("{{ copy }}",)}
    compiled = teach(project, **fields)
    columns = {"name": "Zoë", "n": 3, "code": "t8", "copy": ""} | {column: value}
    assert not compiled.is_sure_to_render(person(**columns))


def test_a_message_that_may_be_too_large_is_not_sure(project: Project) -> None:
    compiled = teach(project, text="{{ name }} {{ n }} {{ code }} {{ copy }}", max_message=2000)
    assert compiled.is_sure_to_render(person(name="a", n=2, code="", copy=""))
    large = person(name="é" * 400, n=2, code="", copy="")
    assert not compiled.is_sure_to_render(large)
    with pytest.raises(RenderError, match="the limit is 2,000 bytes"):
        compiled.render(large)


def test_a_campaign_with_files_of_each_recipient_is_never_sure(project: Project) -> None:
    project.put("a.pdf", b"%PDF")
    compiled = teach(project, text="{{ name }}", attachments=(Attachment(pattern("{{ 'a' }}.pdf")),))
    assert not compiled.is_sure_to_render(person(name="a", n=2, code="", copy=""))


def test_nothing_is_sure_before_a_message_was_made_or_by_jinja2_alone(project: Project) -> None:
    recipient = person(name="Ada", n=2, code="", copy="")
    assert not project.compile(**FIELDS).is_sure_to_render(recipient)
    compiled = teach(project, **FIELDS)
    compiled.use_jinja2_alone()
    assert not compiled.is_sure_to_render(recipient)


@pytest.mark.parametrize("field", ["subject", "text"])
def test_a_way_whose_branches_have_ways_of_their_own_is_not_plain(project: Project, field: str) -> None:
    """What a branch shows is not among the values of the way around it."""
    names = ("a", "b", "c", "d", "e", "f")
    shown = "".join(f"{{% if {name} %}}{{{{ {name} }}}}{{% endif %}}" for name in names)
    compiled = project.compile(**({"text": "Hi"} | {field: f"Hi {{{{ g }}}}{shown}"}))
    for n in range(128):
        compiled.learn(person(g="x", **{name: "x" * (n >> bit & 1) for bit, name in enumerate(names)}))
    for value in ("a\nb", "a\0b"):
        recipient = person(g="x", **dict.fromkeys(names, value))
        if compiled.is_sure_to_render(recipient):
            compiled.render(recipient)
