"""YAML 1.2: what plain scalars become, and bounds that hold whatever the file says. Both of PyYAML's parsers."""

from __future__ import annotations

import io
import json
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.campaign.schema import compose as compose_module
from mailer.campaign.schema.compose import MAX_VALUES, compose, stream_items
from mailer.campaign.schema.nodes import Mapping, Scalar, Sequence, to_value
from mailer.errors import InputError, Place


@pytest.fixture(params=["libyaml", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "python":
        monkeypatch.setattr(compose_module, "_loader", lambda: yaml.SafeLoader)
    elif not yaml.__with_libyaml__:
        pytest.skip("PyYAML is built without libyaml here")
    return request.param


def value(text: str) -> object:
    node, problems = compose(text, "f")
    assert node is not None
    assert not problems, problems
    return to_value(node)


def refusals(text: str) -> list[str]:
    try:
        _, problems = compose(text, "f")
    except InputError as error:
        problems = list(error.problems)
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(
            (word, word)
            for word in ["NO", "no", "yes", "on", "off", "y", "n", "01234", "12:30", "1_000", "+4930123"]
        ),
        *(
            (word, word)
            for word in ["2026-11-23", "0b11", "1.2.3", "1e", ".", "0o8", "0xg", "True1", "nULL", "="]
        ),
        *((word, True) for word in ["true", "True", "TRUE"]),
        *((word, False) for word in ["false", "False", "FALSE"]),
        *((word, None) for word in ["null", "Null", "NULL", "~"]),
        ("0", 0),
        ("-12", -12),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.50", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1e3", -1000.0),
        ("+1.5", 1.5),
        ("'12'", "12"),
        ('"true"', "true"),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        ("!!float 12", 12.0),
    ],
)
def test_the_core_schema(parser: str, text: str, expected: object) -> None:
    found = value(f"a: {text}")
    assert found == {"a": expected}
    assert type(found["a"]) is type(expected)  # type: ignore[index]


def test_places_count_from_one_in_characters(parser: str) -> None:
    node, _ = compose("a: 1\n☃😀: [x, 'é', {b: c}]\n", "f")
    assert isinstance(node, Mapping)
    assert node.keys == {"a": Place("f", 1, 1), "☃😀": Place("f", 2, 1)}
    items = node.entries["☃😀"]
    assert isinstance(items, Sequence)
    assert [item.place for item in items.items] == [Place("f", 2, 6), Place("f", 2, 9), Place("f", 2, 14)]


def test_keys_are_text_as_written(parser: str) -> None:
    assert value("{1: a, true: b, ~: c, 01: d}") == {"1": "a", "true": "b", "~": "c", "01": "d"}


def test_aliases_are_shared(parser: str) -> None:
    assert value("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3:1: the key 'a' is repeated; it is first in line 1"),
        ("a: {<<: {b: 1}}", "f:1:5: merge keys ('<<') are not part of YAML 1.2; write the keys out"),
        ("a: !!python/object:os.system x", "f:1:4: the tag !!python/object:os.sy… is not allowed"),
        ("a: !x {}", "f:1:4: the tag !x is not allowed; expected a mapping without it"),
        ("a: !x []", "f:1:4: the tag !x is not allowed; expected a list without it"),
        ("a: !!binary aGk=", "f:1:4: the tag !!binary is not allowed"),
        ("a: !!int x", "f:1:4: 'x' is not what its tag !!int says"),
        ("? [a]\n: b\n", "f:1:3: a key must be text, found a list"),
        ("a: .inf", "f:1:4: infinity and NaN are not numbers here; in quotes they are text"),
        ("a: .nan", "f:1:4: infinity and NaN are not numbers here"),
        ("a: 1e999", "f:1:4: infinity and NaN are not numbers here"),
        ("a: " + "9" * 5000, "f:1:4: a number of more than 400 digits; in quotes it is text"),
        ("a: &x {b: *x}", "f:1:11: the alias *x is inside its own anchor"),
        ("a: *x", "f:1:4: the alias *x has no anchor &x before it"),
        ("a: 1\n---\nb: 2\n", "f:2:1: a second document starts here; expected one"),
        ("a: [" * 5000, "f:1:201: nested deeper than 100 levels"),
        ("[" * 500, "f:1:101: nested deeper than 100 levels"),
        ("- " * 5000, "f:1:201: nested deeper than 100 levels"),
        ("a: b\x07", "f:1:5: U+0007 is not allowed in YAML"),
        ("a: 1\nb: c\u2028d", "f:2:5: U+2028 is not allowed in YAML"),
        ("a: 'b\nc: d\n", "f:1:4: it is not YAML: "),
        ("a: {b: c\n", "f:"),
        ("a: b: c\n", "f:1:5: it is not YAML: ': ' is not allowed inside a value; a text with ': ' in it"),
        ("a:\n\t- b\n", "f:2:1: it is not YAML: "),
        ("a: @b\n", "f:1:4: it is not YAML: "),
        ("%YAML 2.0\n---\na: b\n", "f:1:1: it is not YAML: "),
    ],
)
def test_yaml_that_is_refused_has_its_place_and_reason(parser: str, text: str, expected: str) -> None:
    assert refusals(text)[0].startswith(expected)


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{" * 5000, "- " + "[a, " * 5000])
def test_nesting_that_libyaml_refuses_has_the_same_message(parser: str, text: str) -> None:
    assert re.fullmatch(r"f:1:\d+: nested deeper than 100 levels", refusals(text)[0])


def test_a_file_without_a_document_gives_none() -> None:
    assert [compose(text, "f")[0] for text in ("", "\n", "# x\n", "---\n")] == [None] * 4


def test_problems_do_not_end_the_reading(parser: str) -> None:
    text = "a: 1\na: 2\nb: !x y\n? [c]\n: d\n"
    assert [line.split(": ")[0] for line in refusals(text)] == ["f:2:1", "f:3:4", "f:4:3"]


@pytest.mark.slow
def test_a_stream_does_not_count_values_of_earlier_items() -> None:
    count = MAX_VALUES // 3 + 1000
    text = "".join(f"- {{e: {number}}}\n" for number in range(count))
    assert sum(1 for _ in stream_items(io.StringIO(text), "f")) == count


@pytest.mark.slow
def test_a_stream_counts_anchored_values_of_earlier_items() -> None:
    text = "".join(f"- &a{number} [{'x,' * 99}]\n" for number in range(MAX_VALUES // 100 + 10))
    with pytest.raises(InputError, match="more than 100,000 values"):
        list(stream_items(io.StringIO(text), "f"))


def test_a_stream_keeps_problems_with_their_item(parser: str) -> None:
    items = list(stream_items(io.StringIO("- {a: 1, a: 2}\n- b\n"), "f"))
    assert [len(problems) for _, problems in items] == [1, 0]


# JSON writes what lies beyond the first plane as two surrogates, which YAML does not put together.
_TEXT = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), max_size=20)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=20)


@settings(max_examples=200, deadline=None)
@given(_VALUES)
def test_any_json_document_is_read_as_yaml(document: object) -> None:
    """YAML 1.2 contains JSON: what JSON writes (in ASCII) comes back the same."""
    node, problems = compose(json.dumps({"x": document}), "f")
    assert not problems
    assert isinstance(node, Mapping)
    assert to_value(node) == {"x": document}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_libyaml_and_pure_python_give_the_same_nodes(text: str) -> None:
    """libyaml and pure Python: what both take is the same (they differ a little in what they refuse)."""
    results = []
    for loader in (yaml.CSafeLoader, yaml.SafeLoader):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compose_module, "_loader", lambda loader=loader: loader)
            try:
                node, problems = compose(text, "f")
                results.append((node and to_value(node), len(problems)))
            except InputError:
                results.append(None)
    assert None in results or results[0] == results[1]


def test_a_scalar_keeps_its_text_beside_its_value() -> None:
    node, _ = compose("1.50", "f")
    assert isinstance(node, Scalar)
    assert (node.value, node.text) == (1.5, "1.50")
