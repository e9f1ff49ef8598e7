"""YAML lists, an item at a time."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.campaign.sources.items import read_yaml
from mailer.errors import InputError


def test_items_of_a_yaml_list_are_recipients(rows) -> None:
    content = "\ufeff# people\n- ada@example.com\n- {Email: bob@example.com, country: NO, n: 1}\n- email: c@example.com\n"
    content = content.replace("\n", "\r\n")
    found = [(r.place.line, r.email, dict(r.columns)) for r in rows("a.yaml", content)]
    assert found == [
        (2, "ada@example.com", {"email": "ada@example.com"}),
        (3, "bob@example.com", {"email": "bob@example.com", "country": "NO", "n": 1}),
        (4, "c@example.com", {"email": "c@example.com"}),
    ]
    assert [r.email for r in rows("a.yml", "- ada@example.com\n")] == ["ada@example.com"]


def test_a_wrong_item_of_yaml_has_a_problem_and_the_others_are_read(rows) -> None:
    content = "- {email: a@example.com, x: 1, x: 2}\n- 5\n- !x {email: b@example.com}\n- c@example.com\n"
    found = rows("a.yaml", content)
    assert [str(r.problem) for r in found[:3]] == [
        "a.yaml:1:32: the key 'x' is repeated; it is first in line 1",
        "a.yaml:2:3: expected an address or a mapping with 'email', found the number 5",
        "a.yaml:3:3: the tag !x is not allowed; expected a mapping without it",
    ]
    assert found[3].problem is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "a.yaml: the list has no recipients"),
        ("[]", "a.yaml: the list has no recipients"),
        ("a: b\n", "a.yaml:1:1: expected a list of recipients, each starting with '- '"),
        ("- a@example.com\n---\n- b@example.com\n", "a.yaml:2:1: a second document starts here"),
        (
            "- a@example.com\n- {b\n",
            "a.yaml:3:1: it is not YAML: expected ',' or '}' in the mapping that starts in line 2",
        ),
        ("- a@example.com\r\n- b\x07\r\n", "a.yaml:2:4: U+0007 is not allowed in YAML"),
        ("- " + "[" * 500, "a.yaml:1:102: nested deeper than 100 levels"),
        ("- &a [*a]\n", "a.yaml:1:7: the alias *a is inside its own anchor"),
        ("- a@example.com\n- Zoë\n".encode("latin-1"), "a.yaml:2:5: not UTF-8 (found 0xEB)"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_at_its_place(
    refusal, content: str | bytes, expected: str
) -> None:
    assert refusal("a.yaml", content)[0].startswith(expected)


def test_places_are_right_far_into_the_file(refusal) -> None:
    content = "- ada@example.com\n" * 20_000 + "- b\x07\n"
    assert refusal("a.yaml", content)[0].startswith("a.yaml:20001:4: U+0007")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100) | st.text("-&*!{}[]:, \n'\"a@b.c|>?<#", max_size=60).map(str.encode))
def test_random_bytes_raise_only_input_errors(content: bytes) -> None:
    with contextlib.suppress(InputError):
        list(read_yaml(io.BytesIO(content), "a", None))
