"""How text from outside is shown, in one place for all of the package."""

import pytest

from mailer.text import (
    count_noun,
    find_similar,
    make_printable,
    make_printable_lines,
    shorten,
    shorten_middle,
    shorten_quotes,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Zoë 你好 😀", "Zoë 你好 😀"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("a\r\n  b\nc", "a b c"),
        ("\u202eevil", "\\u202eevil"),
        ("nul\x00", "nul\\x00"),
        ("\ud800", "\\ud800"),
        ("wide\u3000space", "wide\u3000space"),
    ],
)
def test_control_characters_are_shown_as_escapes_and_line_ends_as_blanks(text: str, shown: str) -> None:
    assert make_printable(text) == shown


def test_lines_stay_lines_if_lines_are_asked_for() -> None:
    assert make_printable_lines("a\x07\nb") == "a\\x07\nb"


def test_a_long_text_ends_with_an_ellipsis() -> None:
    assert shorten("x" * 61) == "x" * 59 + "…"
    assert shorten("x" * 60) == "x" * 60


def test_the_middle_is_left_out_if_the_end_matters() -> None:
    assert shorten_middle("a" * 50 + "b" * 50, 10) == "aaaaa … bbbbb"
    assert shorten_middle("short", 10) == "short"


def test_nouns_agree_with_their_number() -> None:
    assert [count_noun(n, "recipient") for n in (0, 1, 1200)] == [
        "0 recipients",
        "1 recipient",
        "1,200 recipients",
    ]
    assert count_noun(2, "address") == "2 addresses"


def test_a_misspelt_name_finds_the_one_that_was_meant() -> None:
    assert find_similar("recipents", ["recipients", "server"]) == "recipients"
    assert find_similar("envelope-from", ["envelope_from"]) == "envelope_from"
    assert find_similar("zzz", ["recipients"]) is None


def test_each_quoted_part_of_a_text_is_shortened() -> None:
    text = "no 'kanarienvogel-kanarienvogel' here, \"kanarienvogel-kanarienvogel\" isn't it, nor 'this'"
    assert shorten_quotes(text, 8) == "no 'kanarie…' here, \"kanarie…\" isn't it, nor 'this'"
