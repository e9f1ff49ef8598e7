from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from markupsafe import Markup

from mailer.templating import BoundedEnvironment, create_environment

DATA: dict[str, Any] = {
    "name": "Zoë <3",
    "n": 7,
    "price": 1234.5,
    "items": [{"t": "a", "n": 3, "values": [1]}, {"t": "b&c", "n": 1, "values": []}],
    "words": ["x", "y", "<z>"],
    "d": {"k": {"deep": "v"}, "items": "shadowed"},
    "none": None,
    "html": Markup("<b>ok</b>"),
}

ORDINARY = [
    "Hello {{ name }}, {{ name|upper }} {{ name|e }} {{ name|title }} {{ name|length }} {{ html }}",
    "{{ n + 1 }} {{ n * 2 }} {{ n ** 2 }} {{ n % 4 }} {{ n // 2 }} {{ -n }} {{ n / 2 }} {{ n - 1 }}",
    "{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ words + [1] }} {{ [1] * 2 }} {{ name ~ n ~ html }}",
    "{{ '%.2f' % price }} {{ '%s/%05d' % (name, n) }} {{ '%(a)s' % {'a': 1} }} {{ '%.1f'|format(price) }}",
    "{{ '{:,.2f}'.format(price) }} {{ '{a}-{0!r}'.format(name, a=n) }} {{ '{x}'.format_map({'x': 1}) }}",
    "{{ ('<i>{}</i>'|safe).format(name) }} {{ html % () }} {{ html.striptags() }} {{ ('%s'|safe) % name }}",
    "{{ name.upper() }} {{ name.replace('Z', 'S') }} {{ name.split() }} {{ ', '.join(words) }} {{ name.center(20) }}|",
    "{% for i in items %}{{ loop.index }}/{{ loop.length }} {{ i.t }}{{ i['n'] }} {{ i.values() }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}{{ d.k.deep }} {{ d['items'] }} {{ d.get('zz', 3) }}",
    "{{ items|map(attribute='t')|join(', ') }} {{ items|sum(attribute='n') }} {{ items|sort(attribute='n') }}",
    "{{ items|groupby('t') }} {{ words|reverse|list }} {{ words|batch(2)|list }} {{ words|slice(2)|list }}",
    "{{ items|selectattr('n', 'gt', 2)|list }} {{ words|select('in', ['x'])|list }} {{ [3, 1]|min }} {{ words|unique|list }}",
    "{{ price|round(1) }} {{ price|int }} {{ '3'|int + 1 }} {{ 123456|filesizeformat }} {{ 'a b'|urlencode }}",
    "{{ 'www.example.com'|urlize }} {{ 'a b c d'|wordwrap(3) }} {{ 'a\nb'|indent }} {{ 'x'|center(5) }}| {{ name|truncate(4) }}",
    "{{ items|tojson }} {{ {'a': 1}|xmlattr }} {{ words|first }} {{ words|last }} {{ d|dictsort }} {{ name|pprint }}",
    "{% set ns = namespace(t=0) %}{% for i in items %}{% set ns.t = ns.t + i.n %}{% endfor %}{{ ns.t }}",
    "{% macro m(a, b=2) %}[{{ a }}{{ b }}{{ varargs }}{{ kwargs }}]{% endmacro %}{{ m(name) }}{{ m(1, 3, 4, z=5) }}",
    "{% macro w() %}<{{ caller(1) }}>{% endmacro %}{% call(x) w() %}{{ x }}{{ name }}{% endcall %}",
    "{% filter upper %}a{{ name }}{% endfilter %}{% set x %}{{ name }}!{% endset %}{{ x }} {{ x|length }}",
    "{% if name == 'x' or n > 3 and 'x' in words and n is odd and none is none %}yes{% endif %}{{ n if n else 0 }}",
    "{{ words == words }} {{ n < price }} {{ 1 < n <= 7 }} {{ name in words }} {{ {'a': n}.a }} {{ {n: 1} }}",
    "{{ words[0] }} {{ words[-1] }} {{ words[:2] }} {{ name[1:3] }} {{ items[0].t }} {{ nothing|default('d') }}",
    "{{ nothing is defined }} {{ 'x' if false }} {{ none }} {{ true }} {{ 1.50 }} {{ [1, 'a', none] }} {{ (1, 2) }}",
    "{% block b %}{{ name }}{% endblock %}{{ self.b() }}{% autoescape false %}{{ name }}{{ name ~ n }}{% endautoescape %}",
    "{% for a in items recursive %}{{ a.t }}{{ loop(a.values) if a.values is iterable and a.t == 'q' }}{% endfor %}",
    "{% set c = cycler('odd', 'even') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set j = joiner() %}{{ j() }}{{ j() }}",
    "{% for i in range(3) %}{{ loop.cycle('a', 'b') }}{{ loop.first }}{{ loop.previtem is defined }}{% else %}none{% endfor %}",
    "{% with a = name, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ dict(a=1)|length }} {{ 'abc'|list }} {{ name|string }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }} {{ words|join('-') }} {{ words|join(html) }} {{ 'aXa'|replace('X', name) }}",
]


@pytest.mark.parametrize("autoescape", [True, False])
@pytest.mark.parametrize("source", ORDINARY)
def test_ordinary_templates_are_rendered_as_jinja2_does(source: str, autoescape: bool) -> None:
    expected = _result(Environment(autoescape=autoescape, undefined=StrictUndefined), source)
    assert _result(create_environment(autoescape=autoescape), source) == expected


def _result(env: Environment, source: str) -> str:
    try:
        return env.from_string(source).render(DATA)
    except UndefinedError:
        return "undefined"


@given(st.text(max_size=60), st.integers(), st.floats(allow_nan=False))
def test_any_value_is_shown_as_jinja2_shows_it(text: str, number: int, real: float) -> None:
    source = "{{ t }}|{{ n }}|{{ r }}|{{ t ~ n }}|{{ [t, n] }}|{{ t|e }}|{{ t.upper() }}|{{ t == n }}|{{ t|replace('a', n) }}"
    values = {"t": text, "n": number, "r": real}
    for autoescape in (True, False):
        expected = Environment(autoescape=autoescape).from_string(source).render(values)
        assert create_environment(autoescape=autoescape).from_string(source).render(values) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ [].__class__.__base__.__subclasses__() }}",
        "{{ x.__init__.__globals__ }}",
        "{{ (1).__class__ }}",
        "{{ none.__class__ }}",
        "{{ cycler.__init__ }}",
        "{{ dict.fromkeys('ab') }}",
        "{{ dict.mro() }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ range.__class__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ self.__init__ }}",
        "{{ caller.__globals__ }}",
        "{% macro m() %}{% endmacro %}{{ m._func }}",
        "{% macro m() %}{% endmacro %}{{ m.__init__ }}",
        "{% for a in [1] %}{{ loop._iterator }}{{ loop.__class__ }}{% endfor %}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{0[__class__]}'.format('') }}",
        "{{ '{x.__class__}'.format_map({'x': 1}) }}",
        "{{ ('{0.__class__}'|safe).format(1) }}",
        "{{ 'x'.format.__self__ }}",
        "{{ 'x'.join.func }}{{ 'x'.join.__self__ }}",
        "{{ [[1]]|map(attribute='__class__')|list }}",
        "{{ [1]|map('attr', '__class__')|list }}",
        "{{ ['{0.__class__}']|map('format', 1)|list ~ ''.__class__ }}",
        "{{ words.append(1) }}",
        "{{ d.update(a=1) }}",
        "{{ d.pop('k') }}",
        "{{ d.setdefault('z', 1) }}",
        "{{ 'x'.encode() }}",
        "{{ (5).to_bytes(9, 'big') }}",
        "{{ (5).from_bytes('x') }}",
        "{{ (1.5).fromhex('1') }}",
        "{{ lipsum(n=3) }}",
        "{{ lipsum.__globals__ }}",
        "{% include 'x' %}",
        "{% set x.y = 1 %}",
    ],
)
@pytest.mark.parametrize("autoescape", [True, False])
def test_there_is_no_way_out_of_the_sandbox(source: str, autoescape: bool) -> None:
    class Thing:
        def __init__(self) -> None:
            self.y = 1

    with pytest.raises((SecurityError, TemplateError, TypeError, AttributeError)):
        create_environment(autoescape=autoescape).from_string(source).render({**DATA, "x": Thing()})


def test_an_undefined_name_says_its_name() -> None:
    with pytest.raises(UndefinedError, match=r"^'absent' is undefined$"):
        create_environment().from_string("{{ absent }}").render()
    with pytest.raises(UndefinedError, match=r"^'dict object' has no 'x'$"):
        create_environment().from_string("{{ d.x }}").render(d={})
    with pytest.raises(UndefinedError, match="'absent' is undefined"):
        create_environment().from_string("{% if absent %}{% endif %}").render()


@pytest.mark.parametrize("autoescape", [True, False])
@pytest.mark.parametrize(
    "source",
    [
        "{{ image }}",
        "{{ range }}",
        "{{ name.upper }}",
        "{% macro m() %}{% endmacro %}{{ m }}",
        "{{ name.title|upper }}",
        "{{ name.title ~ 1 }}",
        "{{ [[name.title]] }}",
        "{{ {1: name.title} }}",
        "{{ [name.title]|join }}",
        "{{ name.title|safe }}",
        "{{ name.title|center(9) }}",
        "{{ name.title|urlize }}",
        "{{ name.title|replace(1, 2) }}",
        "{{ name.replace|urlencode }}",
        "{{ {1: name.title}|xmlattr }}",
        "{{ '%s' % name.title }}",
        "{{ '%s'|format(name.title) }}",
        "{{ '{!r}'.format([name.title]) }}",
        "{{ ('a'|safe).replace('a', name.title) }}",
        "{{ ('a'|safe).join([name.title]) }}",
        "{{ dict|string }}",
    ],
)
def test_a_function_is_not_shown_as_python_notes_it(source: str, autoescape: bool) -> None:
    with pytest.raises(
        TemplateRuntimeError, match=r"^a function is shown here, .* expected a call, with \(\)$"
    ):
        create_environment(autoescape=autoescape).from_string(source).render(image=str, name="Ada")


@pytest.mark.parametrize(
    "source",
    ["{{ [1, 2]|map('string') }}", "{{ 'ab'|select }}", "{{ [[1]]|batch(1) }}", "{{ 'ab'|map('upper') }}"],
)
def test_an_iterator_is_not_shown_as_python_notes_it(source: str) -> None:
    with pytest.raises(TemplateRuntimeError, match=r"expected \|list, \|join or a loop$"):
        create_environment().from_string(source).render()
    assert create_environment().from_string(source.replace(" }}", "|list }}")).render().startswith("[")


@pytest.mark.parametrize(
    "source", ["{{ cycler(1) }}", "{{ [namespace()] }}", "{{ self ~ '' }}", "{{ joiner() ~ 1 }}"]
)
def test_an_object_of_jinja2_is_not_shown(source: str) -> None:
    with pytest.raises(TemplateRuntimeError, match=r" shown here"):
        create_environment().from_string(source).render()


def test_python_says_nothing_of_a_template_by_itself() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        template = create_environment().from_string("{{ 1[0] }}{{ (1)() }}")
        assert said == []
    with pytest.raises(UndefinedError):
        template.render()


@pytest.mark.parametrize(
    "source",
    [
        "{{ f(a=1, a=2) }}",
        "{{ 1|round(a=1, a=2) }}",
        "{% macro m(a, a) %}{% endmacro %}",
        "{% call(a, a) m() %}{% endcall %}",
    ],
)
def test_a_repeated_argument_is_what_is_wrong_and_where(source: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="the argument 'a' is repeated") as caught:
        create_environment().from_string("\n\n" + source)
    assert caught.value.lineno == 3


def test_each_environment_has_filters_of_its_own() -> None:
    env = create_environment()
    env.filters["mine"] = str
    assert "mine" not in create_environment().filters
    assert isinstance(env, BoundedEnvironment)


@pytest.mark.parametrize("literal", ["9" * 5000, "0x" + "f" * 100_000])
def test_a_number_of_too_many_digits_is_a_syntax_error_with_its_line(literal: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="a number of too many digits") as caught:
        create_environment().from_string("\n{{ 1 }}{{ " + literal + " // 3 }}")
    assert caught.value.lineno == 2
