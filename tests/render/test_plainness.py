"""A message whose values are plain text is known to be made by a look at them."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from mailer.render.plainness import MAX_PLAIN, is_plain, list_plain_gains
from mailer.render.template_page import COMPILED_AFTER
from mailer.templating import BoundedEnvironment
from tests.render.projects import Project, person

ENVIRONMENT = BoundedEnvironment()
GAINS = list_plain_gains(ENVIRONMENT)
# What HTML neither collapses nor drops: `transform.py` makes a slot of such a value.
WORDS = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]+(?: [^\s\x00-\x1f\x7f-\x9f]+)*")
PRINTABLE = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isprintable() and chr(code) != " "]


@pytest.mark.parametrize("text", ["a", "Zoë Łukasz", "<b> & 'c' \"d\"", "王小明", "a: b", "0"])
def test_words_with_single_blanks_are_plain(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", " a", "a ", "a  b", "a\nb", "a\tb", "a\0", "\ud800", "a\x85b", "a\u2028b", "a\xa0b", "\x7f"],
)
def test_other_texts_are_not_plain(text: str) -> None:
    assert not is_plain(text)


def test_plain_text_is_words_that_can_be_sent() -> None:
    for start in range(0, len(PRINTABLE), 1000):
        text = " ".join(PRINTABLE[start : start + 1000])
        assert is_plain(text)
        assert WORDS.fullmatch(text)
        assert text.encode("utf-8")


@pytest.mark.parametrize("function", GAINS, ids=[function.__name__ for function in GAINS])
def test_a_function_makes_plain_text_of_every_plain_text(function: Any) -> None:
    most = max(GAINS[function], 1)
    for start in range(0, len(PRINTABLE), 5):  # each character alone, and beside others
        characters = PRINTABLE[start : start + 5]
        for text in (*characters, "".join(characters), " ".join(characters), f"a{characters[0]}b"):
            made = function(text)
            assert is_plain(made), (text, made)
            assert len(made) <= most * len(text), (text, made)


def teach(project: Project, template: str, **fields: Any) -> Any:
    compiled = project.compile(template=template, **fields)
    for n in range(COMPILED_AFTER * 2 + 2):
        compiled.learn(person(name=f"Ada {n}", city=("", "Rome", "Oslo")[n % 3], count=("3", "8")[n % 2]))
    return compiled


def is_measured(compiled: Any, **columns: Any) -> bool:
    """Whether it is known that HTML and text can be made, by a look at the values."""
    recipient = person(**{"name": "Zoë <Łukasz>", "city": "Rome", "count": "7"} | columns)
    measured = compiled._pages.measure_plain(compiled._variables(recipient, only_bounded=True))
    assert measured is None or compiled.is_sure_to_render(recipient)
    return measured is not None


@pytest.mark.parametrize(
    "template",
    [
        "<p>{{ name }}</p>",
        "<p>{{ name|title|upper }} {{ city|default('nowhere', true) }}</p>",
        "<p>{% if city == 'Rome' %}{{ city|lower }}{% endif %}{% if count|int > 5 %}{{ name|trim }}{% endif %}</p>",
        "<p>{% if city in ['Oslo', 'Rome'] %}{{ name }}{% else %}none{% endif %}</p>",
        "<style>p{color:red}</style><p><a href='https://e.com/{{ name|urlencode }}'>x</a></p>",
        "<p>no column</p>",
    ],
)
def test_a_way_of_texts_is_known_by_a_look_at_the_values(project: Project, template: str) -> None:
    assert is_measured(teach(project, template))


@pytest.mark.parametrize(
    "template",
    [
        "<p>{{ count|int }}</p>",
        "<p>{{ name[0] }}</p>",
        "<p>{{ name|replace('a', 'b') }}</p>",
        "<p>{{ name|safe }}</p>",
        "<p>{{ name|e }}</p>",
        "<p>{{ row['name'] }}</p>",
        "<p>{% set unused = 6 // count|int %}x</p>",
        "<p style='{{ name }}'>x</p>",
        "<a href='{{ name }}'>x</a>",
        "<a href='https://e.com/{{ name }}'>https://e.com/{{ city }}</a>",
    ],
)
def test_a_way_that_computes_more_is_not(project: Project, template: str) -> None:
    assert not is_measured(teach(project, template))


@pytest.mark.parametrize(
    "value", ["", " a", "a  b", "a\0b", "\ud800", "a\nb", 5, None, ["a"], "x" * (MAX_PLAIN + 1)]
)
def test_a_value_that_is_not_plain_text_is_not_measured(project: Project, value: Any) -> None:
    assert not is_measured(teach(project, "<p>{{ name }}</p>"), name=value)


def test_a_value_that_is_not_shown_need_not_be_plain(project: Project) -> None:
    assert is_measured(teach(project, "<p>{{ name }}</p>"), count=["a"], city="a\n")


def test_a_way_that_was_not_taken_before_is_not_measured(project: Project) -> None:
    template = "<p>{% if city == 'Lima' %}{{ name }}{% endif %}</p>"
    compiled = teach(project, template)
    assert is_measured(compiled)
    assert not is_measured(compiled, city="Lima")


def test_a_value_with_a_colon_may_name_an_image_if_the_html_is_sent_as_it_is(project: Project) -> None:
    compiled = teach(project, "<p>{{ name }}</p>", text="{{ name }}", css="keep")
    assert is_measured(compiled)
    assert not is_measured(compiled, name="cid:logo")
    assert is_measured(teach(project, "<p>{{ name }}</p>"), name="cid:logo")


def test_what_may_be_longer_than_a_template_may_write_is_not_measured(project: Project) -> None:
    compiled = teach(project, "<p>{{ name }}</p>" * 10, max_bytes=10 * 5 * MAX_PLAIN)
    assert not is_measured(compiled)
    assert compiled.is_sure_to_render(person(name="Zoë", city="Rome", count="7"))
