from __future__ import annotations

import pytest

from mailer.errors import InputError, Place
from mailer.templating import compile_where, render_pattern

HERE = Place("campaign.yaml", 3, 8)


def test_a_pattern_is_rendered_without_escaping() -> None:
    assert render_pattern("release-{{ v }} <{{ x }}>", {"v": "2.4", "x": "&"}, HERE) == "release-2.4 <&>"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ versoin }}", "campaign.yaml:3:8: 'versoin' is undefined; did you mean 'version'?"),
        ("{{ zzz }}", "campaign.yaml:3:8: 'zzz' is undefined"),
        ("{{ version", "campaign.yaml:3:8: unexpected end of template, expected '}}'"),
        ("{{ version|nofilter }}", "campaign.yaml:3:8: there is no filter 'nofilter'"),
        ("{{ 1 / 0 }}", "campaign.yaml:3:8: division by zero"),
        (
            "{{ 'a' * 10**10 }}",
            "campaign.yaml:3:8: stopped: a text of 10,000,000,000 characters; the limit is",
        ),
        (
            "{{ version.__class__ }}",
            "campaign.yaml:3:8: not allowed in a template: access to attribute '__class__'",
        ),
        ("{% include 'x' %}", "campaign.yaml:3:8: "),
        ("{{ range(10**9) }}", "campaign.yaml:3:8: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line_at_its_place(source: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        render_pattern(source, {"version": "1"}, HERE)
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_what_jinja2_brings_along_is_not_what_was_meant() -> None:
    with pytest.raises(InputError, match=r"'name' is undefined$"):
        render_pattern("{{ name }}", {"namespace": object(), "dict": dict}, HERE)


def test_an_error_is_not_as_long_as_what_is_wrong() -> None:
    with pytest.raises(InputError) as caught:
        render_pattern("{{ " + "a" * 100_000 + " }}", {}, HERE)
    assert len(str(caught.value)) < 700
    assert str(caught.value).endswith("aaa' is undefined")


def test_a_where_decides() -> None:
    where = compile_where("plan == 'pro' and city in ['Paris', 'Rome']", HERE)
    assert where({"plan": "pro", "city": "Rome"})
    assert not where({"plan": "pro", "city": "Oslo"})
    assert where({"plan": "pro", "city": "Paris"}) is True


def test_a_where_that_is_wrong_is_found_at_once() -> None:
    for source in ("plan ==", "", "plan == 'a' }}", "{{ plan }}", "plan|nofilter"):
        with pytest.raises(InputError, match=r"^campaign.yaml:3:8: where: "):
            compile_where(source, HERE)


@pytest.mark.parametrize(
    "source", ["(" * 3000 + "n" + ")" * 3000, "not " * 2400 + "n", "n" + ".a" * 4000, "9" * 5000]
)
def test_a_where_that_is_too_deep_or_long(source: str) -> None:
    with pytest.raises(InputError, match=r"^campaign.yaml:3:8: where: (nested too deeply|Exceeds the limit)"):
        compile_where(source, HERE)


def test_a_where_needs_its_names() -> None:
    where = compile_where("paln == 'pro'", HERE)
    with pytest.raises(
        InputError, match=r"^campaign.yaml:3:8: where: 'paln' is undefined; did you mean 'plan'\?$"
    ):
        where({"plan": "pro"})


def test_a_where_is_bounded() -> None:
    with pytest.raises(InputError, match="stopped"):
        compile_where("'a' * 10**10", HERE)({})
