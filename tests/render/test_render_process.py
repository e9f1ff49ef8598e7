"""Rendering without a preflight: within limits, in this process if little work is certain, else in a child."""

from __future__ import annotations

import re

import pytest

from mailer.campaign.model import Recipient
from mailer.errors import Place, RenderError
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message
from mailer.render.render_process import RenderProcess
from tests.render.projects import Project, list_children, person

PLACE = Place("people.csv", 2)
LEARNED = 40  # messages after which a template that one way leads through is known


def learn(compiled: CompiledCampaign) -> None:
    for number in range(LEARNED):
        compiled.render(person(name=f"Name {number}", city="Rome", amount=f"{number}"))


def is_rendered_here(compiled: CompiledCampaign, **columns: object) -> bool:
    """Whether a message is rendered without a child. If it is, it is the same message."""
    recipient = person(**{"name": "Zoë", "city": "Oslo", "amount": "7", **columns})
    message = compiled.render_if_bounded(recipient)
    if message is not None:
        assert message.content == compiled.render(recipient).content
    return message is not None


@pytest.mark.parametrize(
    "template",
    [
        "Hi {{ name }}, {{ city|upper|trim }}",
        "{{ name|title }} {{ amount|int + 1 }} {{ '%.2f'|format(amount|float) }}",
        "{% if city in ['Rome', 'Oslo'] %}{{ city|default('x') }}{% endif %}{{ name|urlencode }}",
        "{% if amount|int < 100 %}{{ name ~ ' ' ~ city }}{% endif %}{{ row.name|truncate(9) }}",
        "{% for a in [1, 2, 3] %}{{ a * 2 }}{{ name|replace('a', 'bb') }}{% endfor %}{{ name[:3]|length }}",
    ],
)
def test_what_is_known_to_be_little_work_needs_no_child(project: Project, template: str) -> None:
    compiled = project.compile(template=f"<p>{template}", text=template, subject="Hi {{ name }}")
    assert not is_rendered_here(compiled)  # the way through the template is not known yet
    learn(compiled)
    assert is_rendered_here(compiled)


@pytest.mark.parametrize(
    "template",
    [
        "{{ name * 3 }}",
        "{{ name.replace('a', name) }}",
        "{{ name|replace('a', city) }}",
        "{{ name|wordwrap(5) }}",
        "{{ amount|int ** 9 }}",
        "{{ ('%' ~ amount ~ 'd')|format(3) }}",
        "{% set a = name %}" + "{% set a = a ~ a %}" * 12 + "{{ a|length }}",
        "{{ name|list|map('upper')|join }}",
        "{{ name" + "|e" * 8 + " }}",
        "{% for a in range(amount|int * 99) %}{% endfor %}",
    ],
)
def test_what_may_be_much_work_needs_a_child(project: Project, template: str) -> None:
    compiled = project.compile(text=template)
    learn(compiled)
    assert not is_rendered_here(compiled)


@pytest.mark.parametrize(
    "columns",
    [{"name": "a" * 5000}, {"amount": 1 << 20_000}, {"city": [[[[[[1]]]]]]}, {"city": ["ab"] * 1000}],
    ids=["long text", "long number", "deep list", "long list"],
)
def test_a_recipient_with_long_values_needs_a_child(project: Project, columns: dict[str, object]) -> None:
    compiled = project.compile(text="Hi {{ name }}")
    learn(compiled)
    assert is_rendered_here(compiled)
    assert not is_rendered_here(compiled, **columns)


def test_a_way_that_is_not_known_needs_a_child(project: Project) -> None:
    compiled = project.compile(text="{% if city == 'Lima' %}{{ name * 2 }}{% else %}{{ name }}{% endif %}")
    learn(compiled)
    assert is_rendered_here(compiled)
    assert not is_rendered_here(compiled, city="Lima")


def without_date(message: object) -> tuple[str, bytes]:
    """A message's identifier and its content, without the second in which it was made."""
    assert isinstance(message, Message), message
    return message.message_id, re.sub(rb"Date: [^\r]*", b"", message.content)


def test_messages_come_in_order_however_they_are_rendered(project: Project) -> None:
    compiled = project.compile(text="{% if city == 'Lima' %}{{ name * 2 }}{% else %}{{ name }}{% endif %}")
    people = [
        person(name=f"Name {number}", city="Lima" if number % 3 == 0 else "Rome", amount="1")
        for number in range(200)
    ]
    with RenderProcess(compiled) as process:
        for start in (0, 100):
            rendered = list(process.render_each(people[start : start + 100]))
            expected = [compiled.render(recipient) for recipient in people[start : start + 100]]
            assert list(map(without_date, rendered)) == list(map(without_date, expected))


def test_one_recipient_who_is_stuck_is_the_one_that_is_named(project: Project) -> None:
    large = "x" * 60_000  # several frames for one batch
    compiled = project.compile(
        text="{% if name == 'stuck' %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}"
        "{% endfor %}{% endif %}{{ large * 2 }}",
        seconds=0.3,
        vars={"large": large},
    )
    people = [
        Recipient(f"a{number}@example.com", {"name": "stuck" if number == 13 else "Ada"}, PLACE)
        for number in range(30)
    ]
    with RenderProcess(compiled) as process:
        rendered = list(process.render_each(people))
    assert [isinstance(message, Message) for message in rendered] == [number != 13 for number in range(30)]
    assert isinstance(error := rendered[13], RenderError)
    assert "takes longer than 0.3 s of processor time, for a13@example.com" in str(error)


def test_a_generator_that_is_closed_leaves_no_child(project: Project) -> None:
    compiled = project.compile(text="{{ name * 3 }}")
    before = list_children()
    with RenderProcess(compiled) as process:
        rendered = process.render_each([person(name="Ada")] * 100)
        next(rendered)
        assert len(list_children() - before) == 1
        rendered.close()
    assert list_children() <= before
