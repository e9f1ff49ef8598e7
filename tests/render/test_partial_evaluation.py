"""A folded template gives the text of the one that was written, or nothing."""

import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import TemplateError

from mailer.errors import RenderError
from mailer.render.pages import FOLDED_AFTER
from mailer.render.partial_evaluation import MAX_WORK, Folded, folded
from mailer.render.templates import run_template
from mailer.templating import create_environment
from tests.render.projects import person

VARS = {
    "company": "Bits & <Bobs>",
    "year": 2026,
    "debt": -3,
    "rate": 0.5,
    "on": True,
    "off": False,
    "nobody": None,
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


def both(
    source: str, *, autoescape: bool = True, columns: dict[str, object] | None = None
) -> tuple[str, Folded | None]:
    """What the template gives as written (or its error), and the template folded."""
    env = create_environment(autoescape=autoescape)
    template = env.from_string(source)
    variables = {**env.globals, **VARS, **PERSON, **(columns or {})}
    made = folded(env, template, source, VARS)
    general = text(template, variables)
    if made is not None and made.fits(variables):
        fast = text(made.template, variables)
        assert fast == general or isinstance(fast, Exception)
        assert isinstance(fast, Exception) == isinstance(general, Exception)
    return general, made


def text(template, variables):
    try:
        return re.sub(
            " at 0x[0-9a-f]+", "", "".join(run_template(template, variables, 1 << 20))
        )  # a method shown by mistake
    except Exception as error:
        return Raised(error)


class Raised(Exception):
    def __init__(self, error):
        super().__init__(f"{type(error).__name__}: {error}")

    def __eq__(self, other):
        return isinstance(other, Raised) and str(self) == str(other)

    __hash__ = Exception.__hash__


def pieces(made: Folded) -> list[str]:
    return run_template(made.template, {**VARS, **PERSON}, 1 << 20)


# -- what it makes


@pytest.mark.parametrize("source", [
    "{{ company }}, {{ year }}",
    "{% for row in rows %}{{ loop.index }}/{{ loop.length }} {{ row.title }}{{ row['n'] }}\n{% endfor %}",
    "{% for row in rows %}{% if row.link %}{{ row.link }}{% elif loop.last %}last{% else %}-{% endif %}{% endfor %}",
    "{% for row in rows %}{% for tag in row.tags %}{{ loop.first }}{{ tag }}{% else %}none{% endfor %}{% endfor %}",
    "{% for word in nil %}{{ word }}{% else %}empty {{ company }}{% endfor %}",
    "{% if on and not off %}{{ point.y.z }}{% endif %}{{ company | upper }}{{ rate }}{{ nobody }}{{ on }}",
    "{% for row in rows %}{{ row.extra is defined }}{{ row.extra is undefined }}{% endfor %}",
    "{% if rows %}some{% endif %}{% if nil %}none{% else %}indeed{% endif %}",
])  # fmt: skip
@pytest.mark.parametrize("autoescape", [True, False])
def test_what_depends_on_vars_alone_becomes_one_piece(source, autoescape):
    general, made = both(source, autoescape=autoescape)
    assert pieces(made) == [general]


def test_a_recipients_values_stay_slots():
    _, made = both("{% for row in rows %}{{ row.title }}: {{ name }}{% endfor %}")
    assert len(pieces(made)) == 6


def test_numbers_keep_their_sign_and_their_kind():
    general, made = both("{{ debt ** 2 }} {{ -debt }} {{ debt + year }} {{ credits * rate }} {{ rate // debt }}")
    assert general == "9 3 2023 3.5 -1.0"
    assert made is not None


# -- what it leaves alone


@pytest.mark.parametrize("source", [
    "{{ name }} and nothing of vars",
    "{% extends company %}",
    "{{ company is sameas company }}",
    "{% set company = name %}{{ company }}",
    "{% for company in pages %}{{ company }}{% endfor %}",
    "{% macro company() %}m{% endmacro %}{{ company() }}",
    "{% with company = name %}{{ company }}{% endwith %}",
    "{% if name %}{% set company = 1 %}{% endif %}{{ company }}",
    "{% macro m(company) %}{{ company }}{% endmacro %}{{ m(1) }}",
])  # fmt: skip
def test_names_that_the_template_binds_are_no_constants(source):
    assert both(source)[1] is None


@pytest.mark.parametrize("source", [
    "{% for row in rows %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for row in rows %}{{ loop.previtem }}{% endfor %}",
    "{% for row in rows %}{{ loop.changed(row.n) }}{% endfor %}",
    "{% for row in rows %}{% set x = row.n %}{{ x }}{% endfor %}",
    "{% for row in rows %}{{ row }}{% endfor %}",
    "{% for row in rows if row.n > 0 %}{{ row.title }}{% endfor %}",
    "{% for row in rows %}{{ row.tags | join('-') }}{% endfor %}",
    "{% for row in rows %}{% for tag in row.tags if tag == name %}{{ tag }}{% endfor %}{% endfor %}",
    "{% for row in rows recursive %}{{ row.title }}{% if row.tags %}{{ loop(row.tags) }}{% endif %}{% endfor %}",
    "{% for key, value in point.items() %}{{ key }}{% endfor %}",
    "{% for row in rows %}{{ row.missing }}{% endfor %}",
    "{% for row in rows %}{% for page in pages %}{{ page }}{% else %}{{ loop.index }}{% endfor %}{% endfor %}",
])  # fmt: skip
def test_loops_that_are_not_written_out_give_the_same(source):
    both(source)
    both(source + "{{ company }}")


def test_a_loop_within_one_that_is_written_out_has_its_own_loop():
    general, made = both(
        "{% for row in rows %}{% for page in pages %}{{ loop.index }}{{ row.n }}{% endfor %}{% endfor %}"
    )
    assert general == "112112221-32-3"
    assert len(pieces(made)) > 1


def test_it_is_not_for_a_recipient_whose_column_has_the_name():
    _, made = both("{{ company }} {{ name }}", columns={"company": "mine"})
    assert not made.fits({**VARS, "company": "mine"})
    assert not made.fits({"name": "Ada"})
    assert made.fits({**VARS, **PERSON})
    assert made.fits({**VARS, "year": 1})  # not used


def test_a_list_too_long_is_not_written_out():
    env = create_environment(autoescape=True)
    source = "{% for n in numbers %}{{ n }},{% endfor %}"
    many = {"numbers": list(range(MAX_WORK))}
    assert folded(env, env.from_string(source), source, many) is None
    nested = "{% for a in numbers %}" * 12 + "{{ a }}" + "{% endfor %}" * 12
    assert folded(env, env.from_string(nested), nested, {"numbers": list(range(10))}) is None


def test_the_line_of_an_error_is_kept():
    env = create_environment(autoescape=True)
    source = "{% for row in rows %}\n{{ row.title }}\n{{ missing }}\n{% endfor %}"
    made = folded(env, env.from_string(source), source, VARS)
    with pytest.raises(Exception, match="missing") as caught:
        run_template(made.template, dict(VARS), 1 << 20)
    lines = [entry.lineno for entry in caught.traceback if "__jinja_template__" in entry.frame.f_globals]
    assert [made.template.get_corresponding_lineno(line + 1) for line in lines] == [3]


# -- in a campaign


def test_after_some_messages_a_campaign_uses_it_and_nobody_sees_a_difference(project):
    template = (
        "<p>{{ name }}: {% for row in rows %}{{ loop.index }} {{ row.title }} {% endfor %}</p>\n{{ 6 // credits }}"
    )
    compiled = project.compile(template=template, text="{{ company }} for {{ name }}", vars=VARS)
    first = compiled.render_html(person(name="Ada", credits=2)), compiled.render_text(person(name="Ada", credits=2))
    for _ in range(FOLDED_AFTER):
        assert (
            compiled.render_html(person(name="Ada", credits=2)),
            compiled.render_text(person(name="Ada", credits=2)),
        ) == first
    assert compiled.render_html(person(name="Bob", credits=3)) == first[0].replace("Ada", "Bob")[:-1] + "2"
    own = person(name="Ada", credits=2, company="Mine", rows=[{"title": "T"}])
    assert compiled.render_text(own) == "Mine for Ada"
    assert compiled.render_html(own) == "<p>Ada: 1 T </p>\n3"
    with pytest.raises(RenderError, match=r"body\.html:2: .*division"):
        compiled.render_html(person(name="Ada", credits=0))


# -- random templates

# What is right wherever it stands, what is right in a loop over rows, or words, and what mostly is an error.
ANYWHERE = """company year debt rate on off nobody loop_ words[0] words[-1] point.x point.y.z point.items point['x']
    shadowed rows[0].title rows[1]['n'] rows[0].tags rows nil words name plan credits pages email '<text>' 1 -2
    point.get('x') range(3)|list company|upper words|length name|e company|safe words|join(',') rows|first
    missing|default(company) rows[0].extra|default(1) name.upper() credits~company words|join(name) company[1:3]"""
IN_ROWS = """row.title row.link row.n row.tags row['title'] row.tags|length row.title|upper row.extra|default('d') row
    row.title~name row.n*2 row.get('n') row.title|safe"""
IN_WORDS = "word word word[0] word|upper word~name"
IN_LOOP = """loop.index loop.index0 loop.first loop.last loop.revindex loop.revindex0 loop.length loop.cycle(1,2)
    loop.depth loop.nextitem|default('x') loop.changed(name)"""
WILD = "missing row.missing row.title.y loop word.x company.y rows[9] point.get(row) a b.c loop.missing"
TESTS = ["is defined", "is undefined", "is none", "is string", "== 'pro'", "== 1", "in words", "is sameas true"]
OPERATORS = ["and", "or", "~", "==", "!=", "and", "or", "+", "*", "**", "<"]


def atom(r, near):
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
                f"{{% set {r.choice(['row', 'shadowed', 'x'])} = {expression(r, near)} %}}" if r.random() < 0.1 else "-"
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
        case number if number >= 30:
            return loop(r, near, depth - 1)
    return f"{{{{ {expression(r, near) if r.random() < 0.3 else atom(r, near)} }}}}"


def block(r, near, depth):
    return "".join(statement(r, near, depth) for _ in range(r.randrange(1, 4)))


def template(r):
    return block(r, [], 3)


columns = st.dictionaries(
    st.sampled_from(["company", "rows", "words", "on", "plan"]), st.sampled_from(["", "<v>", 3, []])
)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.randoms(use_true_random=False).map(template), columns, st.booleans())
def test_any_template_gives_the_same_folded(source, own, autoescape):
    with suppress(TemplateError):  # what Jinja2 itself refuses: a block twice
        both(source, autoescape=autoescape, columns=own)
