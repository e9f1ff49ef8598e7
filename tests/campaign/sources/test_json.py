"""JSON and JSON Lines lists."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.campaign.sources import items as items_module
from mailer.campaign.sources.items import read_json, read_jsonl
from mailer.campaign.sources.rows import recipients_from_value
from mailer.errors import InputError, Place


def test_each_line_of_jsonl_is_a_recipient(rows) -> None:
    content = '\ufeff{"email": "ada@example.com", "n": 1, "deep": {"a": [null]}}\n\n  "bob@example.com"  \r\n'
    found = [(r.place.line, r.email, dict(r.columns)) for r in rows("a.jsonl", content)]
    assert found == [
        (1, "ada@example.com", {"email": "ada@example.com", "n": 1, "deep": {"a": [""]}}),
        (3, "bob@example.com", {"email": "bob@example.com"}),
    ]


def test_a_json_array_gives_a_recipient_for_each_element(rows) -> None:
    content = (
        '\n[ {"email": "ada@example.com"},\n  {"Email": "bob@example.com", "x": "é]"} , "c@example.com"\n]\n'
    )
    found = [(r.place.line, r.place.column, r.email) for r in rows("a.json", content)]
    assert found == [(2, 3, "ada@example.com"), (3, 3, "bob@example.com"), (3, 45, "c@example.com")]


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("5", "expected an address or a mapping with 'email'"),
        ("null", "expected an address or a mapping with 'email'"),
        ('["ada@example.com"]', "expected an address or a mapping with 'email'"),
        ("{}", "there is no 'email'"),
        ('{"email": null}', "the address is empty"),
        ('{"email": 5}', "email: expected an address"),
        ('{"email": "a@example.com", "image": 1}', "'image' needs another name"),
        ('{"email": "a@example.com", "x": "\\ud800"}', "half of a surrogate pair"),
        ('{"email": "a@example.com", "\\uDFFF": 1}', "half of a surrogate pair"),
        ('{"email": "a@example.com", "x": ' + "[" * 200 + "]" * 200 + "}", "nested deeper than 100 levels"),
    ],
)
def test_a_wrong_item_of_json_has_a_problem_and_the_others_are_read(rows, item: str, problem: str) -> None:
    for name, content in {
        "a.jsonl": f'{item}\n"bob@example.com"\n',
        "a.json": f'[{item}\n,"bob@example.com"]',
    }.items():
        found = rows(name, content)
        assert problem in str(found[0].problem)
        assert (found[1].email, found[1].problem, found[1].place.line) == ("bob@example.com", None, 2)


def test_whole_surrogate_pairs_are_characters(rows) -> None:
    (row,) = rows("a.jsonl", '{"email": "a@example.com", "x": "\\ud83d\\ude00"}')
    assert row.columns["x"] == "😀"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"email": x}', "a.jsonl:1:11: it is not JSON: expecting value"),
        ('"a@example.com"\n{"email": "b@example.com"', "a.jsonl:2:26: it is not JSON: "),
        ('{"email": "a@example.com"} {}', "a.jsonl:1:28: it is not JSON: extra data"),
        ('{"a": NaN}', "a.jsonl:1: NaN is not a number that JSON has"),
        ('{"a": 1e999}', "a.jsonl:1: the number 1e999 is out of range"),
        ('{"a": ' + "9" * 5000 + "}", "a.jsonl:1: a number of more than 400 digits"),
        ('{"a": 1, "a": 2}', "a.jsonl:1: the key 'a' is repeated"),
        ("[" * 100_000, "a.jsonl:1: nested too deeply"),
        ('{"a": "\0"}', "a.jsonl:1:8: a NUL character"),
        ("", "a.jsonl: the list has no recipients"),
    ],
)
def test_jsonl_that_cannot_be_read_is_refused_at_its_place(refusal, content: str, expected: str) -> None:
    assert refusal("a.jsonl", content)[0].startswith(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "a.json:1:1: the file is empty; expected [ with an object for each recipient"),
        ("\n {}", "a.json:2:2: the file is not an array"),
        ("[]", "a.json: the list has no recipients"),
        ("[", "a.json:1:2: expected an object"),
        ('["a@example.com",]', "a.json:1:18: expected an object"),
        ('["a@example.com"\n "b@example.com"]', "a.json:2:2: expected , or ] after an item"),
        ('["a@example.com"]\n]', "a.json:2:1: expected nothing after the array"),
        ('["a@example.com",\n{"email": "b', "a.json:2:11: it is not JSON: unterminated string"),
        ('["a@example.com",\n\n  {"email": oops}]', "a.json:3:13: it is not JSON: expecting value"),
        ("[[" * 50_000, "a.json:1:2: nested too deeply"),
        ('["' + "x" * 9_000_000, "a.json:1:2: not JSON, or an item of more than 4,194,304 characters"),
    ],
)
def test_json_that_cannot_be_read_is_refused_at_its_place(refusal, content: str, expected: str) -> None:
    assert refusal("a.json", content)[0].startswith(expected)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=8) | st.lists(st.booleans())),
        max_size=8,
    ),
    st.integers(0, 2),
    st.integers(1, 40),
)
def test_an_array_read_in_pieces_gives_what_the_whole_text_gives(
    items: list[dict[str, object]], indent: int, chunk: int
) -> None:
    """However the text is cut into pieces, an array's items come out as json.loads has them."""
    document = [{**item, "email": "a@example.com"} for item in items] + ["b@example.com"]
    text = json.dumps(document, indent=indent or None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items_module, "_CHUNK", chunk)
        found = list(read_json(io.BytesIO(text.encode()), "a.json", None))
    expected = [row for item in json.loads(text) for row in recipients_from_value(item, Place("a.json"))]
    assert [(r.columns, r.problem is None) for r in found] == [
        (r.columns, r.problem is None) for r in expected
    ]


_PIECES = st.sampled_from(
    [
        '{"email"',
        ":",
        '"a@example.com"',
        "}",
        "[",
        "]",
        ",",
        "\n",
        " ",
        "1",
        "-",
        "e9",
        '"',
        "\\u",
        "tr",
        "null",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=100)
    | st.lists(_PIECES, max_size=20).map(lambda pieces: ("[" + "".join(pieces)).encode())
)
def test_random_bytes_raise_only_input_errors(content: bytes) -> None:
    for read in (read_json, read_jsonl):
        try:
            found = list(read(io.BytesIO(content), "a", None))
        except InputError:
            continue
        for recipient in found:
            json.dumps(dict(recipient.columns), ensure_ascii=False).encode()


def test_all_lines_of_jsonl_that_cannot_be_read_are_listed(refusal) -> None:
    content = '{"email": \n"a@example.com"\n{"a": 1, "a": 2}\n'
    assert refusal("a.jsonl", content) == [
        "a.jsonl:1:10: it is not JSON: expecting value",
        "a.jsonl:3: the key 'a' is repeated",
    ]
    found = refusal("a.jsonl", "x\n" * 23)
    assert len(found) == 21
    assert found[-1] == "and 3 more"


def test_json_under_the_other_suffix_is_named(refusal) -> None:
    for content in ('[\n {"email": "a@example.com"}\n]\n', '[{"email": "a@example.com"},\n"b@example.com"]'):
        assert refusal("a.jsonl", content) == [
            "a.jsonl:1:1: expected an object on each line; a file that is one array is named .json"
        ]
    assert refusal("a.json", '{"email": "a@example.com"}\n{"email": "b@example.com"}\n') == [
        "a.json:1:1: the file is not an array; expected [ with an object for each recipient; a file with an object"
        " on each line is named .jsonl"
    ]
