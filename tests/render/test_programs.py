"""The compiled form of a template gives what Jinja2 gives, or leaves the recipient to Jinja2."""

import pytest

from mailer.errors import RenderError
from mailer.render import programs
from mailer.render.programs import FREE_TRACES
from mailer.render.template_page import COMPILED_AFTER
from tests.render.both import PERSON, VARS, Both, check, constants
from tests.render.projects import person


@pytest.fixture(autouse=True)
def _sections_from_the_first_way(monkeypatch):
    monkeypatch.setattr(programs, "MAX_COMBINATIONS", 0)


# -- what it compiles


@pytest.mark.parametrize("source", [
    "{{ company }}, {{ year }}",
    "{% for row in rows %}{{ loop.index }}/{{ loop.length }} {{ row.title }}{{ row['n'] }}\n{% endfor %}",
    "{% for row in rows %}{% if row.link %}{{ row.link }}{% elif loop.last %}last{% else %}-{% endif %}{% endfor %}",
    "{% for word in nil %}{{ word }}{% else %}empty {{ company }}{% endfor %}",
    "{% if on and not off %}{{ point.y.z }}{% endif %}{{ company | upper }}{{ rate }}{{ absent }}{{ on }}",
    "{% set items = [{'a': 1}, {'a': 2}] %}{% for item in items %}{{ item.a }}{% endfor %}",
    "{% extends 'base' %}{% block b %}{{ super.__class__ is defined }}b{% endblock %}",
    "{% from 'tools' import hi, greeting %}{{ greeting }}{{ hi('you') }}",
    "{% import 'tools' as tools %}{% call tools.hi('you') %}inside{% endcall %}",
    "{{ rows|map(attribute='n')|sum }}{{ rows|selectattr('link')|list|length }}",
])  # fmt: skip
@pytest.mark.parametrize("autoescape", [True, False])
def test_what_depends_on_vars_alone_becomes_one_piece(source, autoescape):
    both = check(source, autoescape=autoescape)
    assert constants(both) == [both.render(PERSON)]


@pytest.mark.parametrize(("source", "ways"), [
    ("{% for row in rows %}{{ row.title }}: {{ name }}{% endfor %}", 1),
    ("{{ name|upper }}{{ name|default('x') }}{{ name.upper() }}{{ 'Hi ' ~ name }}{{ name[:2] }}{{ name[0] }}", 1),
    ("{% if plan == 'pro' %}pro{% else %}free{% endif %}", 2),
    ("{{ {'pro': 'Professional', 'free': 'Free'}[plan] }}", 1),
    ("{% if plan in ['pro', 'free'] %}known{% endif %}{{ 'x' if plan in 'professional' else 'y' }}", 2),
    ("{% for page in pages %}{{ loop.index }}{{ page }},{% else %}none{% endfor %}", 2),
    ("{% extends 'base' %}{% block a %}{{ name }}{{ super() }}{% endblock %}", 1),
    ("{% include 'part' %}{% set x = name %}{% include 'part' %}{% include 'part' ignore missing %}", 1),
    ("{% include 'part-' ~ plan %}", 2),
    ("{% from 'tools' import hi %}{{ hi(name) }}{{ hi(who=name, sign=plan) }}", 1),
    ("{% import 'tools' as tools %}{% call tools.hi(name) %}{{ plan }}{% endcall %}", 1),
    ("{% set greeting %}Dear {{ name }}{% endset %}{{ greeting }}{{ greeting|upper }}{{ greeting|length }}", 1),
    ("{% filter upper %}{{ name }} {{ company }}{% endfilter %}", 1),
    ("{% macro m(x) %}{{ x }}{% endmacro %}{{ m(name) }}{{ m(m(plan)) }}{{ m(m(m(name)|upper)) }}", 1),
    ("{% set ns = namespace(n=0) %}{% for row in rows %}{% set ns.n = ns.n + credits %}{% endfor %}{{ ns.n }}", 1),
    ("{{ [name, plan]|join(', ') }}{{ (name, plan)|list|length }}{{ {'a': name}.a }}{{ dict(a=name).a }}", 1),
    ("{{ rows|selectattr('n', 'lt', credits)|map(attribute='title')|join(', ') }}", 1),
    ("{% for row in rows if row.n < credits %}{{ row.title }}{{ loop.last }}{% endfor %}", 1),
    ("{% autoescape false %}{{ name }}{% endautoescape %}{{ name|safe }}{{ name|e }}{{ '%s!' % name }}", 1),
    ("{{ credits + 1 }}{{ credits * 2 }}{{ -credits }}{{ credits // 2 }}{{ credits is odd }}{{ 1 < credits < 9 }}", 1),
    ("{% for key, value in {'a': name, 'b': plan}.items() %}{{ key }}={{ value }}{% endfor %}", 1),
    ("{{ '{} {x}'.format(name, x=plan) }}{{ ', '.join([name, plan]) }}", 1),
    ("{% set cell = cycler('odd', name) %}{{ cell.next() }}{{ cell.next() }}{{ joiner(name)() }}", 1),
    ("{% block a %}{{ name }}{% endblock %}{{ self.a() }}", 1),
    ("{{ credits|format_decimal(locale='de') }}{{ '2026-11-30'|format_date('long', locale={'pro': 'en'}.get(plan, 'de')) }}", 1),
    ("{% set lang = 'fr' if plan == 'pro' else 'de' %}{{ credits|format_currency('EUR') }}{{ 1|format_percent }}", 2),
    ("{% set locale = plan|replace('pro', 'en')|replace('free', 'de') %}{{ 1234.5|format_number }}", 1),
    ("{% for row in rows recursive %}{{ name }}{% if row.tags %}{{ loop([]) }}{% endif %}{% endfor %}", 1),
])  # fmt: skip
def test_what_depends_on_a_column_becomes_a_slot_or_a_branch(source, ways):
    both = Both(source)
    both.check(
        PERSON, {**PERSON, "name": "Bob"}, {**PERSON, "plan": "free", "pages": []}, {**PERSON, "pages": [3]}
    )
    assert both.program.reason is None
    made = both.program.ways
    assert len(made) - sum(len(way.sections) for way in made) in (ways, ways + 1)
    assert all(both.fill({**PERSON, "name": name}) for name in ("Zoë", "<x>"))
    check(source)


@pytest.mark.parametrize("pages", [[1, 2], "xy", [], ["<a>"]])
def test_an_iterator_is_one_for_each_use_whatever_the_value_is(pages):
    both = Both(
        "{{ pages|reverse|list }}{{ pages|reverse|list }}{{ pages|unique|join }}{{ pages|first|default('-') }}"
    )
    both.check({**PERSON, "pages": [1]}, {**PERSON, "pages": "ab"}, {**PERSON, "pages": pages})
    assert both.fill({**PERSON, "pages": pages}) == both.render({**PERSON, "pages": pages})


def test_a_recipients_values_are_read_as_often_as_needed():
    both = check("{{ name|upper }}{{ name|upper }}{{ 1 if plan }}{{ 2 if plan }}")
    way, registers, _ = both.program.fill(both.variables(PERSON))
    assert way.shown == [way.shown[0]]
    assert len(registers) == 4


@pytest.mark.parametrize(("source", "reason"), [
    ("{{ [1, 2, name]|random }}", "another value each time"),
    ("{{ {name: 1} }}", "unhashable"),
    ("{{ pages|map('string') }}", "a generator is shown"),
    ("{% for n in pages * 200 %}{{ n }}{% endfor %}", "more than 200 items"),
    ("{% set g = pages|map('string') %}{{ g|join }}{{ g|join }}", "used twice"),
])  # fmt: skip
def test_the_rest_is_left_to_jinja2_and_the_reason_is_known(source, reason):
    both = Both("\n" + source).check(PERSON)
    assert both.fill(PERSON) is None
    assert reason in both.program.reason.text
    assert both.program.reason.place.line == 2


def test_an_error_of_the_template_is_left_to_jinja2():
    both = Both("{{ 6 // credits }}").check(PERSON, {**PERSON, "credits": 3})
    assert both.fill({**PERSON, "credits": 0}) is None
    assert isinstance(both.render({**PERSON, "credits": 0}), ZeroDivisionError)
    assert not both.program.is_off


def test_a_recipient_with_other_columns_has_another_tree():
    both = Both("{{ company }} {{ name }} {{ extra|default('none') }}")
    both.check(PERSON, {**PERSON, "company": "mine"}, {**PERSON, "extra": "more"})
    assert both.fill({**PERSON, "company": "yours"}) == "yours Ada &lt;Lovelace&gt; none"
    assert len(both.program.ways) == 3


def test_a_template_whose_recipients_all_differ_is_not_traced_for_each():
    both = Both("{% for page in pages recursive %}{{ page }}{% endfor %}")
    for n in range(FREE_TRACES + 50):
        both.fill({**PERSON, "pages": [*range(n)]})
    assert len(both.program.ways) == FREE_TRACES


def test_a_program_that_differs_is_not_used_again():
    both = Both("{{ name }}")
    assert both.program.learn(both.variables(PERSON), lambda: "something else") is None
    assert both.program.is_off
    assert both.fill(PERSON) is None


# -- in a campaign


def test_after_some_messages_a_campaign_uses_it_and_no_recipient_sees_a_difference(project):
    template = "<p>{{ name }}: {% for row in rows %}{{ loop.index }} {{ row.title }} {% endfor %}</p>\n{{ 6 // credits }}"
    compiled = project.compile(template=template, text="{{ company }} for {{ name }}", vars=VARS)
    people = [person(name=f"Ada {n}", credits=2) for n in range(COMPILED_AFTER * 2)]
    made = [(compiled.render_html(each), compiled.render_text(each)) for each in people]
    for each, (html, text) in zip(people, made, strict=True):
        assert html == made[0][0].replace("Ada 0", each.columns["name"])
        assert text == f"Bits & <Bobs> for {each.columns['name']}"
    assert [len(program.ways) for program in compiled.list_programs() if program.ways] == [1, 1]
    own = person(name="Ada", credits=2, company="Mine", rows=[{"title": "T"}])
    assert compiled.render_text(own) == "Mine for Ada"
    assert compiled.render_html(own) == "<p>Ada: 1 T </p>\n3"
    with pytest.raises(RenderError, match=r"body\.html:2: .*division"):
        compiled.render_html(person(name="Ada", credits=0))


def test_preflight_can_compare_the_compiled_form_with_jinja2(project):
    compiled = project.compile(template="<p>{{ name }}", subject="Hi {{ name }}")
    assert compiled.compare_with_jinja2(person(name="Ada"))
    program = next(iter(compiled.list_programs()))
    program.ways[0].pieces[0] = "<b>"
    assert not compiled.compare_with_jinja2(person(name="Bob"))
    assert compiled.render_html(person(name="Bob")) == "<p>Bob"


def test_a_campaign_explains_how_much_of_it_is_compiled(project, monkeypatch):
    monkeypatch.setattr(programs, "MAX_COMBINATIONS", 32)
    template = (
        "{% if pro %}<p>{{ name }} has read a long constant text</p>{% endif %}{{ [1]|random if wild }}"
    )
    compiled = project.compile(template=template, text="{{ [1]|random }}", subject="Hi {{ name }}")
    people = [person(name="Ada", pro=n % 2, wild=n == 3) for n in range(4)] + [person(pro=1)]
    html, text, subject = compiled.explain(people)
    assert (html.ways, html.slots, text.ways, subject.ways) == (2, 1, 0, 1)
    assert 0.9 < html.constant < 1
    assert str(html).startswith(f"{project.root}/body.html: compiled, 2 ways through its branches, 1 slot, 9")
    random = "the filter 'random' gives another value each time"
    assert str(html).endswith(f"left to Jinja2: {project.root}/body.html:1: {random}")
    assert str(text) == f"{project.root}/body.txt:1: left to Jinja2: {random}"
    assert str(subject) == "campaign.yaml:1: compiled, 1 way through its branches, 1 slot, 50% constant"


def test_branches_and_loops_on_their_own_are_explained_and_those_that_cannot_be(project):
    template = (
        "<body>{% for i in items %}\n<p>{{ i }}</p>{% endfor %}{% if c0 %}<p>{{ name }} and {{ name|upper }}</p>{% endif %}"
        "\n<p {% if c1 %}class=x{% endif %}>a</p></body>"
    )
    compiled = project.compile(template=template, css="keep", text="x")
    people = [
        person(name=f"Ada {n}", c0=n & 1, c1=n & 2, items=["x"] * (n % 5)) for n in range(COMPILED_AFTER + 60)
    ]
    html, *_ = compiled.explain(people)
    path = f"{project.root}/body.html"
    assert (html.apart, html.slots, html.reason) == (2, 3, None)
    assert f"(branches and loops with ways of their own: 2), 3 slots, {html.constant:.0%} constant" in str(
        html
    )
    assert str(html).endswith(f"; branches and loops that depend on what is around them: {path}:3")
