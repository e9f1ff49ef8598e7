"""The compiled form of a template gives what Jinja2 gives, or leaves the recipient to Jinja2."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import DictLoader

from mailer.errors import RenderError
from mailer.render import programs
from mailer.render.programs import FREE_TRACES
from mailer.render.template_page import COMPILED_AFTER
from mailer.render.templates import TemplateEnvironment, TemplateVariables, run_template
from mailer.render.tracing import IMPURE
from mailer.templating.filters import create_filters, create_tests
from tests.render.projects import person

VARS = {
    "company": "Bits & <Bobs>",
    "year": 2026,
    "debt": -3,
    "rate": 0.5,
    "on": True,
    "off": False,
    "absent": None,
    "loop_": "x",
    "nil": [],
    "words": ["one", "two", "<three>"],
    "point": {"x": 1, "y": {"z": "deep"}, "items": "hidden"},
    "rows": [
        {"title": "A & B", "link": "https://example.com/", "tags": ["n", "m"], "n": 1},
        {"title": "C", "link": "", "tags": [], "n": 2, "extra": "yes"},
        {"title": "{{ D }}", "link": None, "tags": ["<o>"], "n": -3},
    ],
    "shadowed": "general",
}
PERSON = {"name": "Ada <Lovelace>", "plan": "pro", "credits": 7, "pages": [1, 2], "email": "ada@example.com"}
OTHERS = [
    {"name": "Zoë", "plan": "free", "credits": 0, "pages": [], "email": "zoe@example.com"},
    {"name": "", "plan": "", "credits": None, "pages": None, "email": "x@example.com"},
    {
        "name": "<b>",
        "plan": "pro",
        "credits": 1.5,
        "pages": [3, {"title": "t", "n": 1}],
        "email": "b@example.com",
    },
    {"name": ["a", "b"], "plan": True, "credits": "7", "pages": "xy", "email": "c@example.com"},
]
FILES = {
    "base": "<{% block a %}base {{ company }}{% endblock %}|{% block b %}{{ name }}{% endblock %}>",
    "part": "({{ company }}{{ name }}{{ x|default('-') }})",
    "tools": "{% macro hi(who, sign='!') %}Hi {{ who }}{{ sign }}{% if caller is defined %}{{ caller() }}{% endif %}"
    "{% endmacro %}"
    "{% set greeting = 'Hello' %}",
    "part-pro": "[pro {{ credits }}]",
    "part-free": "[free {{ credits }}]",
}


@pytest.fixture(autouse=True)
def _sections_from_the_first_way(monkeypatch):
    monkeypatch.setattr(programs, "MAX_COMBINATIONS", 0)


class _Loader(DictLoader):
    """Templates in memory, as a project's loader has them in files."""

    def __init__(self, files):
        super().__init__(files)
        self.sources = files

    def resolve(self, name, beside=None):
        return name


class Both:
    """A template, and its compiled form."""

    def __init__(self, source, *, autoescape=True, has_sections=True):
        self.environment = TemplateEnvironment(_Loader({**FILES, "main": source}), autoescape=autoescape)
        self.template = self.environment.get_template("main")
        self.program = self.environment.make_program(
            lambda tracing: tracing.get_template("main"), "main", 1 << 20, has_sections=has_sections
        )

    def variables(self, columns):
        return TemplateVariables({**self.environment.globals, **VARS, **columns}, tuple(columns))

    def render(self, columns):
        """What Jinja2 gives, or its error."""
        try:
            return "".join(run_template(self.template, self.variables(columns), 1 << 20))
        except Exception as error:
            return error

    def fill(self, columns):
        """What the compiled form gives; None if it leaves this recipient to Jinja2."""
        variables = self.variables(columns)
        filled = self.program.fill(variables) or self.program.learn(variables, lambda: self.render(columns))
        return filled and filled.write()

    def check(self, *people):
        """Each recipient twice, the second time by what the others have taught."""
        for columns in (*people, *people):
            filled = self.fill(columns)
            if filled is not None:
                assert filled == self.render(columns)
        assert not self.program.is_off, self.program.reason
        return self


def check(source, **options):
    return Both(source, **options).check(PERSON, *OTHERS)


def constants(both, columns=PERSON):
    """The constant texts on a recipient's way."""
    return [
        piece for piece in both.program.fill(both.variables(columns)).way.pieces if isinstance(piece, str)
    ]


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


# -- random templates

_WITH_ARGUMENTS = {
    "attr": "attr('n')",
    "batch": "batch(2)|list",
    "default": "default('d', true)",
    "format": "format(1)",
    "groupby": "groupby('n')|list",
    "indent": "indent(2)",
    "join": "join(', ')",
    "map": "map('string')|list",
    "reject": "reject('none')|list",
    "rejectattr": "rejectattr('n')|list",
    "replace": "replace('a', plan)",
    "reverse": "reverse|list",
    "round": "round(1)",
    "select": "select('string')|list",
    "selectattr": "selectattr('n', 'defined')|list",
    "slice": "slice(2)|list",
    "sort": "sort|list",
    "sum": "sum(attribute='n')",
    "truncate": "truncate(3, true)",
    "unique": "unique|list",
    "wordwrap": "wordwrap(4)",
}
_TESTS_OF_TWO = frozenset("divisibleby eq equalto ge gt greaterthan in le lessthan lt ne sameas".split())  # noqa: SIM905

# Names that are right anywhere, in a loop over rows, in a loop over words, and names that are mostly an error.
ANYWHERE = """company year debt rate on off absent loop_ words[0] words[-1] point.x point.y.z point.items point['x']
    shadowed rows[0].title rows[1]['n'] rows[0].tags rows nil words name plan credits pages email '<text>' 1 -2
    point.get('x') range(3)|list company|upper words|length name|e company|safe words|join(',') rows|first
    missing|default(company) rows[0].extra|default(1) name.upper() credits~company words|join(name) company[1:3]
    name|upper name|length name|default('x',true) name[:2] name|replace('a',company) pages|length pages|join('-')
    pages[0] pages|first plan|title plan|e plan|safe
    [name,plan] [name,company]|join({'a':plan}.a) credits|int credits|string
    pages|map('string')|list rows|map(attribute='n')|list|sum 'a'~name~'b' (name,plan)[0] {'pro':1}.get(plan,2)
    'x'.join([plan,'y']) '%s-%s'|format(name,credits) name|tojson {'a':credits}|xmlattr name|wordcount plan|urlencode
    rows|selectattr('n','gt',credits)|list|length words|map('replace','o',plan)|join pages|reverse|list name|list|first
    words|select('in',pages)|list [credits,1]|max pages|batch(2)|list name.split() self.__class__ name|trim|upper"""
IN_ROWS = """row.title row.link row.n row.tags row['title'] row.tags|length row.title|upper row.extra|default('d') row
    row.title~name row.n*2 row.get('n') row.title|safe"""
IN_WORDS = "word word word[0] word|upper word~name"
IN_LOOP = """loop.index loop.index0 loop.first loop.last loop.revindex loop.revindex0 loop.length loop.cycle(1,2)
    loop.depth loop.nextitem|default('x') loop.changed(name)"""
WILD = "missing row.missing row.title.y loop word.x company.y rows[9] point.get(row) a b.c loop.missing"
# Every filter and test that needs no argument, and those that do, with one.
FILTERS = [
    *(name for name in sorted(create_filters()) if name not in IMPURE | _WITH_ARGUMENTS.keys()),
    *_WITH_ARGUMENTS.values(),
]
TESTS = [
    *(f"is {name}" for name in sorted(create_tests()) if name.isidentifier() and name not in _TESTS_OF_TWO),
    *(f"is {name} {value}" for name in sorted(_TESTS_OF_TWO) for value in ("1", "plan", "words")),
    "is defined",
    "is undefined",
    "is none",
    "is string",
    "== 'pro'",
    "== 1",
    "in words",
    "is sameas true",
]
OPERATORS = ["and", "or", "~", "==", "!=", "and", "or", "+", "*", "**", "<"]


def atom(r, near):
    if r.random() < 0.15:
        chain = "|".join(r.choice(FILTERS) for _ in range(r.randrange(1, 4)))
        return f"({plain_atom(r, near)})|{chain}"
    return plain_atom(r, near)


def plain_atom(r, near):
    found = [ANYWHERE, *near, WILD] if r.random() < 0.02 else [ANYWHERE, *near, *near]
    return r.choice(r.choice(found).split())


def expression(r, near, depth=2):
    def inner():
        return expression(r, near, depth - 1)

    match r.randrange(7 if depth else 1):
        case 4:
            return f"({inner()} {r.choice(TESTS)})"
        case 5:
            return f"({inner()} {r.choice(OPERATORS[:7] if r.random() < 0.9 else OPERATORS)} {inner()})"
        case 6:
            return f"({inner()} if not {inner()} else {inner()})"
    return atom(r, near)


def loop(r, near, depth):
    name, listed, more = r.choice([
        ("row", "rows", [IN_ROWS, IN_LOOP]),
        ("row", "rows", [IN_ROWS, IN_LOOP]),
        ("word", "words", [IN_WORDS, IN_LOOP]),
        ("word", "nil", [IN_WORDS, IN_LOOP]),
        ("word", "row.tags" if IN_ROWS in near else "rows[0].tags", [IN_WORDS, IN_LOOP]),
        ("page", "pages", [IN_LOOP]),
        ("a, b", "point.items()" if r.random() < 0.1 else "[[1, 2], [3, 4]]", [IN_LOOP]),
        ("row", "rows if row.n > 1", [IN_ROWS, IN_LOOP]),
        ("row", "rows recursive", [IN_ROWS, IN_LOOP]),
        ("page", "pages", [IN_LOOP]),
        ("row", "pages", [IN_ROWS, IN_LOOP]),
        ("page", "pages if page != plan", [IN_LOOP]),
        ("row", "rows if row.n != credits", [IN_ROWS, IN_LOOP]),
        ("word", "[name, plan, company]", [IN_WORDS, IN_LOOP]),
        ("a, b", "{'k': name, 'l': plan}.items()", [IN_LOOP]),
        ("word", "plan", [IN_WORDS, IN_LOOP]),
    ])  # fmt: skip
    body = block(r, [*(words for words in near if words not in more), *more], depth)
    return f"{{% for {name} in {listed} %}}{body}{{% else %}}{block(r, near, depth)}{{% endfor %}}"


def statement(r, near, depth):
    def inner():
        return block(r, near, depth - 1)

    match r.randrange(40 if depth else 8):
        case 0 | 1:
            return r.choice(["text & more\n", " ", "<b>"])
        case 2:
            return (
                f"{{% set {r.choice(['row', 'shadowed', 'x'])} = {expression(r, near)} %}}"
                if r.random() < 0.1
                else "-"
            )
        case 8 | 9 | 10 | 11:
            return f"{{% if {expression(r, near)} %}}{inner()}{{% else %}}{inner()}{{% endif %}}"
        case 12 | 13 | 14:
            return f"{{% if {atom(r, near)} %}}{inner()}{{% elif {atom(r, near)} %}}{inner()}{{% endif %}}"
        case 15:
            return f"{{% macro m(row) %}}{inner()}{{% endmacro %}}{{{{ m({atom(r, near)}) }}}}"
        case 16:
            return f"{{% with row = {atom(r, near)} %}}{inner()}{{% endwith %}}"
        case 17:
            return f"{{% block b{r.randrange(1000)} %}}{inner()}{{% endblock %}}"
        case 18:
            return f"{{% filter upper %}}{inner()}{{% endfilter %}}"
        case 19:
            return f"{{% autoescape false %}}{inner()}{{% endautoescape %}}"
        case 20:
            return f"{{% set t %}}{inner()}{{% endset %}}{{{{ t }}}}{{{{ t|{r.choice(['upper', 'length', 'trim'])} }}}}"
        case 21:
            return f"{{% from 'tools' import hi %}}{{% call hi({atom(r, near)}) %}}{inner()}{{% endcall %}}"
        case 22:
            return (
                "{% include "
                + r.choice(["'part'", "'part-' ~ plan", "['none', 'part']", "plan ignore missing"])
                + " %}"
            )
        case 23:
            value = atom(r, near)
            loop_ = f"{{% for q in pages %}}{{% set ns.v = {value} %}}{{% endfor %}}"
            return f"{{% set ns = namespace(v=1) %}}{loop_}{{{{ ns.v }}}}"
        case 24:
            return f"{{% if {atom(r, near)} {r.choice(TESTS)} %}}{inner()}{{% endif %}}"
        case 25:
            return f"{{% autoescape {atom(r, near)} %}}{inner()}{{% endautoescape %}}"
        case number if number >= 30:
            return loop(r, near, depth - 1)
    return f"{{{{ {expression(r, near) if r.random() < 0.3 else atom(r, near)} }}}}"


def block(r, near, depth):
    return "".join(statement(r, near, depth) for _ in range(r.randrange(1, 4)))


def template(r):
    source = whole_template(r)
    if r.random() < 0.2:  # whitespace control
        source = re.sub(r"(?<=\{[{%])|(?=[%}]\})", lambda _: r.choice(["", "", "-"]), source)
    return source


def whole_template(r):
    if r.random() < 0.1:
        first, second = block(r, [], 2), block(r, [], 2)
        child = (
            f"{{% block a %}}{first}{{{{ super() }}}}{{% endblock %}}{{% block b %}}{second}{{% endblock %}}"
        )
        return "{% extends 'base' %}" + child
    return block(r, [], 3)


columns = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["Ada", "", "<b>", " x ", "Zoë", 3, None]),
        "plan": st.sampled_from(["pro", "free", "", None, "one"]),
        "credits": st.sampled_from([0, 7, -1, "7", None, 2.5]),
        "pages": st.sampled_from([[], [1, 2], ["<a>"], [{"n": 1, "title": "T", "tags": []}], "xy", None]),
        "email": st.just("ada@example.com"),
    },
    optional={
        "company": st.sampled_from(["", "<v>", 3, []]),
        "rows": st.sampled_from([[], [{"title": "<v>", "n": 1, "tags": ["x"]}]]),
        "on": st.sampled_from(["", 1]),
    },
)


@pytest.mark.parametrize("part", range(6))  # so that several processes can share them
@settings(max_examples=500, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.lists(columns, min_size=2, max_size=6),
    st.booleans(),
    st.sampled_from([True, True, False]),
)
def test_a_random_template_compiled_gives_what_jinja2_gives(part, r, people, autoescape, has_sections):
    source = template(random.Random(f"{part} {r.random()}"))
    try:
        both = Both(source, autoescape=autoescape, has_sections=has_sections)
    except Exception:  # it cannot be loaded
        return
    for each in (*people, *people):
        if (
            " AT 0X" in str(both.render(each)).upper()
        ):  # a method that is shown by mistake has another address each time
            return
        filled = both.fill(each)
        if filled is not None:
            assert filled == both.render(each)
    assert not both.program.is_off, both.program.reason
