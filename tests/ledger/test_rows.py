import json

import pytest

from mailer.ledger import rows


def test_a_long_reply_is_cut_at_a_kilobyte_between_characters():
    assert rows.shorten_text("x" * 1024) == "x" * 1024
    short = rows.shorten_text("é" * 1_000_000)
    assert short is not None
    assert short.endswith("é…")
    assert 1020 <= len(short.encode()) <= 1024
    assert rows.shorten_text("\udce9") == "\\udce9"
    assert rows.shorten_text(None) is None


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), 1j])
def test_a_value_that_cannot_be_stored_is_named(value):
    with pytest.raises(ValueError, match="'odd' has a value that cannot be stored"):
        rows.encode_columns({"email": "a@example.com", "odd": value})


def test_a_column_that_contains_itself_is_refused():
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="'odd'"):
        rows.encode_columns({"odd": circle})


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"email": "a@example.com", "name": "Zoë"},
        {"50%": "%s", 'a"b': "x\\y"},
        {"text": "\ud800\0\x7f\u2028"},
        {"email": "a@example.com", "n": 1, "list": [1.5, None, {"a": True}]},
    ],
)
def test_columns_are_stored_as_json_of_ascii(columns):
    stored = rows.encode_columns(columns)
    assert json.loads(stored) == columns
    assert stored.isascii()
    assert stored == json.dumps(columns, separators=(",", ":"))
