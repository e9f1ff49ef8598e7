"""Random templates: the compiled form gives what Jinja2 gives, or leaves the recipient to Jinja2."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.render import programs
from mailer.render.tracing import IMPURE
from mailer.templating.filters import create_filters, create_tests
from tests.render.both import Both


@pytest.fixture(autouse=True)
def _sections_from_the_first_way(monkeypatch):
    monkeypatch.setattr(programs, "MAX_COMBINATIONS", 0)


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
