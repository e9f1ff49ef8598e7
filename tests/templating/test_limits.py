"""Templates that would use up the machine are stopped, in bounded time and memory."""

from __future__ import annotations

import resource

import pytest
from jinja2 import TemplateSyntaxError

from mailer.bounded_process import ProcessLimits, TimeLimitExceeded, run_bounded
from mailer.errors import InputError, Place
from mailer.templating import LimitExceeded, compile_where, create_environment
from mailer.templating.limits import MAX_TEXT, check_size, measure_size

PLACE = Place("a.yaml", 1)
GROW = "{% set ns = namespace(x=START, y=START) %}{% for i in range(10000) %}STEP{% endfor %}SHOW"


def grow(start: str, step: str, show: str = "{{ ns.x }}") -> str:
    return GROW.replace("START", start).replace("STEP", step).replace("SHOW", show)


HUGE = [
    "{{ 'a' * 10**10 }}",
    "{{ 10**10 * 'a' }}",
    "{{ 9**99999 }}",
    "{{ ((9**999)**99)**99 }}",
    "{{ [1] * 10**9 }}",
    "{{ (1,) * 10**9 }}",
    "{{ 'a'|safe * 10**10 }}",
    "{{ 'x'.ljust(10**10) }}",
    "{{ 'x'.rjust(10**10, '-') }}",
    "{{ 'x'.center(10**10) }}",
    "{{ 'x'['center'](10**10) }}",
    "{{ ('x'|attr('zfill'))(10**10) }}",
    "{{ '\t'.expandtabs(10**9) }}",
    "{{ ('a' * 10**6).replace('a', 'b' * 10**6) }}",
    "{{ ('a' * 10**6).replace('', 'b' * 10**6) }}",
    "{{ ('a' * 10**5).join(['x'] * 10**5) }}",
    "{{ ('a' * 10**6).translate({97: 'b' * 10**6}) }}",
    "{{ '%1000000000d' % 5 }}",
    "{{ '%.1000000000f' % 5 }}",
    "{{ '%*d' % (10**9, 5) }}",
    "{{ '%1000000000d'|format(5) }}",
    "{{ ('%(a)s' * 10**6) % {'a': 'x' * 10**6} }}",
    "{{ ('%(a)s' * 10**6)|format(a='x' * 10**6) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{w}}'.format(1, w=10**9) }}",
    "{{ '{0:>{1}}'.format('x', 10**9) }}",
    "{{ ('{0}' * 10**6).format('x' * 10**6) }}",
    "{{ ('{x}' * 10**6).format_map({'x': 'y' * 10**6}) }}",
    "{{ ('{0}'|safe * 10**6).format('x' * 10**6) }}",
    "{{ 'x'|center(10**10) }}",
    "{{ 'a\nb'|indent(10**10) }}",
    "{{ ('a\n' * 10**6)|indent('x' * 10**6) }}",
    "{{ ('a' * 10**6)|replace('a', 'b' * 10**6) }}",
    "{{ (['x'] * 10**5)|join('a' * 10**6) }}",
    "{{ (['x' * 10**6] * 10**5)|join }}",
    "{{ ('<' * 10**7)|forceescape }}",
    "{{ ('a' * 10**7)|list }}",
    "{{ ('a ' * 10**7)|wordwrap(1) }}",
    "{{ ('www.a.de ' * 10**6)|urlize }}",
    "{{ [1]|tojson(indent=10**9) }}",
    "{{ [1]|batch(10**9, 3)|list }}",
    "{{ [1]|slice(10**9)|list }}",
    "{{ 5|round(-10**9) }}",
    "{{ 5|round(10**9, 'ceil') }}",
    "{{ 5|round(precision=-10**9) }}",
    "{{ (5)|round(method='floor', precision=10**9) }}",
    "{{ ([[1] * 10**5] * 10**5)|sum(start=[]) }}",
    "{{ ('a' * 12000000).rfind('ab' ~ 'a' * 4000000) }}",
    "{{ ('a' * 12000000).rindex('ab' ~ 'a' * 4000000) }}",
    "{{ ('a' * 12000000).rpartition('ab' ~ 'a' * 4000000) }}",
    "{{ ('a' * 12000000).rsplit('ab' ~ 'a' * 4000000) }}",
    "{{ ('a' * 12000000).count('ab' ~ 'a' * 4000000) }}",
    "{{ ('a' * 12000000).replace('ab' ~ 'a' * 4000000, '') }}",
    "{{ ('ab' * 6000000).strip('c' * 4000000 ~ 'ab') }}",
    "{{ ('a ' * 8000000).split() }}",
    "{{ ('a ' * 8000000).rsplit(' ') }}",
    "{{ ('\\n' * 8000000).splitlines() }}",
    "{{ dict(range(0, 99999 * 2305843009213693951, 2305843009213693951)|batch(2)) }}",
    "{{ ('f' * 8000000)|int(0, 16) }}",
    "{% set big = 'x' * 16000000 %}{{ ([big ~ 'a'] * 100000).index(big ~ 'b') }}",
    "{{ ([['a'] * 50000] * 400)|pprint }}",
    grow("'abc'", "{% set ns.x = ns.x ~ ns.x %}"),
    grow("'abc'", "{% set ns.x = ns.x + ns.x %}"),
    grow("'abc'", "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"),
    grow("'abc'", "{% set ns.x = '%s%s' % (ns.x, ns.x) %}"),
    grow("'abc'", "{% set ns.x = '{0}{0}'.format(ns.x) %}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x]|join %}"),
    grow("[1]", "{% set ns.x = ns.x + ns.x %}"),
    grow("3", "{% set ns.x = ns.x * ns.x %}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x] %}"),
    grow("'abc'", "{% set ns.x = {'a': ns.x, 'b': ns.x} %}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x] %}", "{{ ns.x ~ '' }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x] %}", "{{ ns.x|string }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x] %}", "{{ ns.x|tojson }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x] %}", "{{ ns.x|pprint }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x] %}", "{{ '%s' % ns.x }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x] %}", "{{ '{}'.format(ns.x) }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x] %}", "{{ '{!r}'.format(ns.x) }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x]%}{% set ns.y = [ns.y, ns.y] %}", "{{ ns.x == ns.y }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x]%}{% set ns.y = [ns.y, ns.y] %}", "{{ ns.x < ns.y }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x]%}{% set ns.y = [ns.y, ns.y] %}", "{{ ns.x in [ns.y] }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x]%}{% set ns.y = [ns.y, ns.y] %}", "{{ ns.x is eq ns.y }}"),
    grow(
        "'abc'",
        "{% set ns.x = [ns.x, ns.x]%}{% set ns.y = [ns.y, ns.y] %}",
        "{{ [ns.x]|select('eq', ns.y)|list }}",
    ),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x]%}{% set ns.y = [ns.y, ns.y] %}", "{{ [ns.x].index(ns.y) }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x]%}{% set ns.y = [ns.y, ns.y] %}", "{{ [ns.x, ns.y]|sort }}"),
    grow("'abc'", "{% set ns.x = [ns.x, ns.x]%}{% set ns.y = [ns.y, ns.y] %}", "{{ [ns.x, ns.y]|max }}"),
    grow("'abc'", "{% set ns.x = (ns.x, ns.x) %}", "{{ {ns.x: 1} }}"),
    grow("'abc'", "{% set ns.x = (ns.x, ns.x) %}", "{{ {}[ns.x] }}"),
    grow("'abc'", "{% set ns.x = (ns.x, ns.x) %}", "{{ {}.get(ns.x) }}"),
    grow("'abc'", "{% set ns.x = (ns.x, ns.x) %}", "{{ [ns.x]|unique|list }}"),
    grow("'abc'", "{% set ns.x = (ns.x, ns.x) %}", "{{ dict([[ns.x, 1]]) }}"),
]


@pytest.mark.parametrize(
    "source",
    [
        *HUGE[::3],
        *(pytest.param(source, marks=pytest.mark.slow) for source in HUGE if source not in HUGE[::3]),
    ],
)
@pytest.mark.parametrize("autoescape", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_nothing_huge_is_made(source: str, autoescape: bool) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((LimitExceeded, RecursionError, TypeError)) as caught:
        create_environment(autoescape=autoescape).from_string(source).render()
    assert not isinstance(caught.value, TimeLimitExceeded)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ range(99999)|map('string')|map('join', range(99999)|map('string')|list)|list }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(100) }}",
        "{% for x in [[1, [1]]] recursive %}{{ loop([x, x]) if loop.depth < 90 }}{% endfor %}",
        "{% set c = cycler(1, 2) %}{% for a in range(99999) %}{% for b in range(9999) %}{{ c.next() }}{% endfor %}{% endfor %}",
    ],
)
def test_what_does_not_end_is_stopped(source: str) -> None:
    def render() -> None:
        for _ in create_environment().from_string(source).generate():
            pass

    with pytest.raises((LimitExceeded, RecursionError)):
        run_bounded(render, ProcessLimits(seconds=0.2))


@pytest.mark.parametrize(
    "source",
    [
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = ns.l + [('x' * 1000000) ~ i] %}{% endfor %}",
        "{% macro m() %}{% for i in range(99999) %}{{ ('x' * 100000) ~ i }}{% endfor %}{% endmacro %}{{ m() }}",
    ],
)
def test_memory_that_grows_bit_by_bit_is_bounded(source: str) -> None:
    with pytest.raises(LimitExceeded, match="memory"):
        run_bounded(lambda: create_environment().from_string(source).render())


def test_a_template_that_calls_itself_is_stopped() -> None:
    with pytest.raises(RecursionError):
        create_environment().from_string("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").render()


def test_the_size_counts_a_shared_part_each_time_it_occurs() -> None:
    inner = ["x" * 100] * 10
    assert measure_size([inner, inner]) == 2 * measure_size(inner) + 16
    assert measure_size({"a": "bc"}) == 3 * 16 + 3
    assert measure_size(None) == 16


def test_ordinary_values_pass_the_size_check() -> None:
    value = {"a": [1, 2, ("x", None)], "b": {"c"}}
    assert check_size(value) is value
    with pytest.raises(LimitExceeded, match="more than"):
        check_size(["x" * (MAX_TEXT + 1)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ [" + "1, " * 100_000 + "] }}", "at most 100,000 names"),
        ("{{ a }}" * 60_000, "at most 100,000 names"),
        ("{{ f(" + ", ".join(f"a{number}=1" for number in range(256)) + ") }}", "at most 255 arguments"),
        ("{{ 1|round(" + "1, " * 256 + ") }}", "at most 255 arguments"),
    ],
    ids=["list", "expressions", "arguments of a call", "arguments of a filter"],
)
def test_a_template_that_takes_long_to_compile_is_refused(source: str, problem: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=problem):
        create_environment().from_string(source)
    with pytest.raises(InputError, match="where: .*" + problem):
        compile_where(
            source[2:-2] if source.count("{{") == 1 else f"[{source[2:-2].replace('}}{{', ',')}]", PLACE
        )
