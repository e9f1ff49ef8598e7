"""Branches and loops with ways of their own: the same messages as Jinja2 alone, and few ways."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mailer.campaign.model import Recipient
from mailer.render import programs
from mailer.render.compiled import CompiledCampaign
from mailer.render.template_page import COMPILED_AFTER
from tests.render.projects import Project, parsed, person

STYLE = "<style>td{padding:4px} p{margin:0} .x{color:red} @media (max-width:600px){td{padding:0}}</style>"
ROW = "<tr><td>{{ item.name }}</td><td>{{ item.price }}</td></tr>"
LOOP = "{% for item in items %}" + ROW + "{% endfor %}"
LOCAL = {
    "rows": f"<table>{LOOP}</table>",
    "rows on lines": f"<p>x</p>\n<table>\n{{% for item in items %}}\n{ROW}\n{{% endfor %}}\n</table>\n<p>y</p>",
    "rows under a heading": f"<table><tr><th>Item</th><th>Price</th></tr>{LOOP}</table>",
    "a branch in a loop": "<ul>{% for i in items %}<li>{{ loop.index }} {{ i.name }}{% if i.sale %} <b>sale</b>{% endif %}</li>"
    "{% endfor %}</ul>",
    "first and last": "<p>{% for i in items %}{% if loop.first %}(first){% endif %} {{ i.name }}{{ '.' if loop.last else ',' }}"
    "{% endfor %}</p>",
    "blocks": "".join(f"{{% if c{n} %}}<p>block {n} {{{{ name }}}}</p>{{% endif %}}\n" for n in range(4)),
    "two arms": "".join(f"{{% if c{n} %}}<p>p{n}</p>{{% else %}}<div>d{n}</div>{{% endif %}}" for n in range(4)),
    "words": "<p>You have " + " ".join(f"{{% if c{n} %}}item {n},{{% endif %}}" for n in range(4)) + " and so on.</p>",
    "elif": "{% if plan == 'pro' %}<p>Pro {{ name }}</p>{% elif plan == 'team' %}<h2>T</h2>{% else %}free{% endif %}<p>x</p>",
    "an else of a loop": "<p>a</p>{% for i in items %}<p>{{ i.name }}</p>{% else %}<p>none</p>{% endfor %}<p>b</p>",
    "nested": "{% for i in items %}<p>{{ i.name }}{% for t in i.tags %} <i>{{ t }}</i>{% endfor %}</p>{% endfor %}",
    "a macro": "{% macro m(x) %}{% if x.sale %}<p>S {{ x.name }}</p>{% else %}<p>{{ x.name }}</p>{% endif %}{% endmacro %}"
    "{% for i in items %}{{ m(i) }}{% endfor %}",
    "hidden": "<div style='display:none'>{% if c0 %}a{% endif %}{% if c1 %}b{% endif %}</div><p>{{ name }}</p>",
}  # fmt: skip
NOT_LOCAL = {
    "in a tag": "<p {% if c0 %}class=x{% endif %}>{{ name }}</p>",
    "in an attribute": "<p class='{% if c0 %}x{% else %}y{% endif %}'>{{ name }}</p>",
    "in a style sheet": "<style>{% if c0 %}p{color:red}{% endif %}</style><p>{{ name }}</p>",
    "in a link": "<a href='https://e.com/'>{% if c0 %}yes{% else %}https://e.com/{% endif %}</a>",
    "unclosed": "{% if c0 %}<b>{% endif %}{{ name }}{% if c0 %}</b>{% endif %}<p>x</p>",
    "a numbered list": "<ol>{% for i in items %}<li>{{ i.name }}</li>{% endfor %}<li>last</li></ol>",
    "a list without text": "<ul><li>{% if c0 %}a{% endif %}{% if c1 %}b{% endif %}</li></ul>",
    "a cell": "<table><tr><td>a</td>{% if c0 %}<td>b</td>{% endif %}</tr></table>",
    "neighbours": "<style>p+p{color:red} p:first-child{margin:1px}</style><div>{% if c0 %}<p>a</p>{% endif %}<p>b</p></div>",
    "rows that make a table of data": "<table><tr><th>a</th><th>b</th></tr>{% if c0 %}<tr><td>c</td><td>d</td></tr>{% endif %}"
    "{% if c1 %}<tr><td>e</td><td>f</td></tr>{% endif %}</table>",
    "a block in a cell": "<table><tr><td>{% if c0 %}<p>a</p>{% endif %}</td>"
    "<td>{% if c1 %}<p>b</p>{% endif %}c</td></tr></table>",
    "paragraphs between the rows of a table in a branch": "<p>a</p>{% if c0 or c1 or c2 %}<table>"
    "{% for i in items %}<tr><td>{{ i.name }}</td></tr><p>{{ i.name }}</p>{% endfor %}</table>{% endif %}",
    "a paragraph that a block ends": "<p>a{% if c0 %}<div>b</div>{% endif %} c</p>{% if c1 %}<p>d</p>{% endif %}",
    "icons": "<a href='https://e.com/'><img alt=''></a>{% if c0 %}<a href='https://f.com/'>f</a>{% endif %}"
    "<a href='https://e.com/'>e</a>",
    "preformatted": "<pre>a {% if c0 %} b{% endif %} c</pre>",
    "a filter": "{% filter upper %}{% if c0 %}<p>a</p>{% endif %}{% endfilter %}<p>{{ name }}</p>",
    "a cycler": "{% set cell = cycler('a', 'b') %}{% if c0 %}{{ cell.next() }}{% endif %}<p>{{ cell.next() }}</p>",
    "the next item": "<p>{% for i in items %}{{ i.name }}{{ ', ' if loop.nextitem is defined }}{% endfor %}</p>",
    "changed": "<p>{% for i in items %}{% if loop.changed(i.sale) %}*{% endif %}{{ i.name }}{% endfor %}</p>",
    "a namespace": "{% set ns = namespace(n=0) %}{% for i in items %}{% if i.sale %}{% set ns.n = ns.n + 1 %}{% endif %}"
    "{% endfor %}<p>{{ ns.n }}</p>",
    "a set in a branch": "{% if c0 %}{% set x = 'a' %}{% else %}{% set x = 'b' %}{% endif %}<p>{{ x }}</p>",
}  # fmt: skip
OPTIONS: list[dict[str, Any]] = [{"css": "keep", "text": "x"}, {"css": "keep"}, {"css": "inline"}]


@pytest.fixture(autouse=True)
def _sections_from_the_first_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "MAX_COMBINATIONS", 0)


def make_people(count: int, seed: int = 1) -> list[Recipient]:
    r = random.Random(seed)
    return [
        person(
            name=r.choice(["Ada", "Zoë <b>", "", " x "]) + str(n),
            plan=r.choice(["pro", "team", "free"]),
            **{f"c{k}": r.choice(["", "yes"]) for k in range(4)},
            items=[
                {
                    "name": r.choice(["Tea & Co", "x", "", "a\nb", "<i>"]),
                    "price": r.randrange(9),
                    "sale": r.random() < 0.5,
                    "tags": ["t", "<u>"][: r.randrange(3)],
                }
                for _ in range(r.randrange(4))
            ],
        )
        for n in range(count)
    ]


def check_same(compiled: CompiledCampaign, plain: CompiledCampaign, people: list[Recipient]) -> None:
    """What the compiled campaign makes is what Jinja2 makes."""
    for recipient in people:
        assert compiled.render_html(recipient) == plain.render_html(recipient)
        assert compiled.render_text(recipient) == plain.render_text(recipient)
    for recipient in people[::5]:
        for eight_bit in (False, True):
            assert list_parts(compiled, recipient, eight_bit) == list_parts(plain, recipient, eight_bit)


def list_parts(
    campaign: CompiledCampaign, recipient: Recipient, eight_bit: bool
) -> list[tuple[str, object, object]]:
    """The type, Content-ID and content of each part of a message."""
    parts = parsed(campaign.render(recipient, eight_bit=eight_bit).content).walk()
    return [
        (part.get_content_type(), part["content-id"], None if part.is_multipart() else part.get_content())
        for part in parts
    ]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("body", [*LOCAL.values(), *NOT_LOCAL.values()], ids=[*LOCAL, *NOT_LOCAL])
def test_each_combination_of_ways_is_what_jinja2_makes(
    new_project: Callable[[], Project], body: str, options: dict[str, Any]
) -> None:
    template = f"{STYLE}<body>{body}</body>" if options["css"] == "inline" else f"<body>{body}</body>"
    compiled, plain = (new_project().compile(template=template, **options) for _ in range(2))
    plain.use_jinja2_alone()
    check_same(compiled, plain, make_people(COMPILED_AFTER + 60))
    (program,) = [program for program in compiled.list_programs() if program.name.endswith("html")]
    assert not program.is_off, program.reason


@pytest.mark.parametrize("options", OPTIONS[:2])
@pytest.mark.parametrize("name", [name for name in LOCAL if name != "hidden"])
def test_independent_branches_and_rounds_need_few_ways(
    project: Project, name: str, options: dict[str, Any]
) -> None:
    compiled = project.compile(template=f"<body>{LOCAL[name]}</body>", **options)
    for recipient in make_people(COMPILED_AFTER + 120):
        compiled.render(recipient)
    program = next(iter(compiled.list_programs()))
    assert 2 <= len(program.ways) <= 16


@pytest.mark.parametrize("counts", [(2, 3, 1), (1, 2, 0), (3, 1, 2)])
def test_what_a_parser_moves_out_of_each_round_is_there_for_each_round(
    new_project: Callable[[], Project], counts: tuple[int, ...]
) -> None:
    """A browser shows a paragraph between two rows before the table, which is in the branch, but not in the loop."""
    row = "<tr><td>{{ i.name }}</td></tr><p class=x>{{ name }}</p>"
    body = f"{{% if c0 %}}<table>{{% for i in items %}}{row}{{% endfor %}}</table>{{% endif %}}{{{{ name }}}}"
    compiled, plain = (new_project().compile(template=f"{STYLE}<body>{body}</body>") for _ in range(2))
    plain.use_jinja2_alone()
    for count in (*[2] * COMPILED_AFTER, *counts):
        recipient = person(name=f"Ada {count}", c0="yes", items=[{"name": "Tea"}] * count)
        check_same(compiled, plain, [recipient])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "inner", ["{% if i.sale %}x{% endif %}", "{{ i.name }}", "{% for t in i.tags %}{{ t }}{% endfor %}"]
)
def test_what_was_made_before_a_section_is_written_out_is_not_used_after_it(
    new_project: Callable[[], Project], inner: str, options: dict[str, Any]
) -> None:
    """The first recipient with an item shows that the loop is not separable: all ways are made anew."""
    loop = f"{{% for i in items %}}<p>{{% filter upper %}}{inner}{{% endfilter %}}</p>{{% endfor %}}"
    body = f"{{% if c0 %}}<p>A {{{{ name }}}}</p>{{% endif %}}{loop}{{% if c1 %}}<p>B</p>{{% endif %}}"
    compiled, plain = (new_project().compile(template=f"<body>{body}</body>", **options) for _ in range(2))
    plain.use_jinja2_alone()
    people = make_people(COMPILED_AFTER + 20, seed=2)
    without_items = [replace(one, columns={**one.columns, "items": []}) for one in people]
    check_same(compiled, plain, without_items)
    check_same(compiled, plain, people)


def test_a_few_combinations_of_branches_are_ways_of_the_whole(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "MAX_COMBINATIONS", 8)
    branches = [f"{{% if c{n} %}}<p>{n} {{{{ name }}}}</p>{{% endif %}}" for n in range(4)]
    few = project.compile(template=f"<body>{''.join(branches[:2])}</body>", css="keep")
    many = project.compile(template=f"<body>{''.join(branches)}</body>", css="keep")
    plain = project.compile(template=f"<body>{''.join(branches)}</body>", css="keep")
    plain.use_jinja2_alone()
    people = make_people(COMPILED_AFTER + 100)
    for recipient in people:
        few.render(recipient)
    check_same(many, plain, people)
    ways = [next(iter(made.list_programs())).ways for made in (few, many)]
    assert [any(way.sections for way in found) for found in ways] == [False, True]


SELECTED = {
    "a class of one branch": "{% if c0 %}<p class=x>a</p>{% endif %}<p>{{ name }}</p>{% if c1 %}<p>b</p>{% endif %}",
    "a class of two branches": "{% if c0 %}<p class=x>a</p>{% endif %}{% if c1 %}<p class=x>b</p>{% endif %}<p>c</p>",
    "a class within another": "<div class=y>{% if c0 %}<b class=x>a</b>{% if c1 %}<td class=z>b{% endif %}{% endif %}</div>",
    "rows of a table": "<table>{% if c0 %}<tr><td class=x>a</td></tr>{% endif %}{% for i in items %}<tr class=z><td>b</td></tr>"
    "{% endfor %}</table>",
    "a round of some": "{% for i in items %}<p{% if i.sale %} class=x{% endif %}>{{ i.name }}</p>{% endfor %}"
    "{% if c0 %}a{% endif %}",
    "a style sheet in a branch": "{% if c0 %}<style>.q{r:s}</style><p class=x>a</p>{% endif %}<p class=q>b</p>"
    "{% if c1 %}<p>c</p>{% endif %}",
}  # fmt: skip
USED = "<style>.x,.z{color:red} .y .x{margin:0}\n.x:hover{a:b} td,p{c:d} @media print{.x{e:f}} .never{g:h}</style>"


@pytest.mark.parametrize("body", SELECTED.values(), ids=SELECTED)
def test_rules_that_select_something_in_no_section_stay_in_the_style_sheet(
    new_project: Callable[[], Project], body: str
) -> None:
    template = f"{USED}<body>{body}</body>"
    compiled, plain = (new_project().compile(template=template, css="inline") for _ in range(2))
    plain.use_jinja2_alone()
    people = make_people(COMPILED_AFTER + 60)
    check_same(compiled, plain, people)
    sheets = {str(plain.render_html(recipient)).partition("</style>")[0] for recipient in people}
    assert len(sheets) > 1


def test_branches_that_select_what_nothing_else_does_have_ways_of_their_own(project: Project) -> None:
    body = "".join(f"{{% if c{n} %}}<p class=x{n}>{n}</p>{{% endif %}}" for n in range(4))
    rules = "".join(f".x{n}{{color:red}}" for n in range(4))
    compiled = project.compile(template=f"<style>{rules}</style><body>{body}</body>", css="inline")
    for recipient in make_people(COMPILED_AFTER + 60):
        compiled.render(recipient)
    (program,) = [program for program in compiled.list_programs() if program.name.endswith("html")]
    assert any(way.sections for way in program.ways)
    assert len(program.ways) <= 9
