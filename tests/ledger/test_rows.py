import pytest

from mailer.ledger import rows


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("Ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
        ("straße@example.com", "straße@example.com"),
        ("\u017fam@example.com", "\u017fam@example.com"),  # a long s: another mailbox than sam@
        ("STRA\u00dfE@example.com", "stra\u00dfe@example.com"),
        ("Jose\u0301@example.com", "jos\u00e9@example.com"),
        ("no address", "no address"),
        ("a@\u2603\u2603.", "a@\u2603\u2603."),
    ],
)
def test_addresses_are_compared_in_one_form(address, expected):
    assert rows.normalize_address(address) == expected


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


def test_a_circle_is_not_stored():
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="'odd'"):
        rows.encode_columns({"odd": circle})
