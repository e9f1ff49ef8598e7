"""SASLprep (RFC 4013): how SCRAM wants a user name and a password before they are hashed (RFC 5802 2.2).

The tables are those of the standard library's `stringprep`. "Query" strings may hold unassigned code points
(RFC 3454 7), so only what RFC 4013 2.3 prohibits is refused.
"""

from __future__ import annotations

import stringprep
import unicodedata

_PROHIBITED = (  # RFC 4013 2.3
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepare_string(text: str) -> str:
    """Return `text` prepared; plain ASCII comes back as it is.

    Raises ValueError if RFC 4013 forbids a character.
    """
    mapped = "".join(_map(char) for char in text)
    prepared = unicodedata.normalize("NFKC", mapped)
    if any(prohibited(char) for char in prepared for prohibited in _PROHIBITED):
        raise ValueError("holds a character that SASLprep (RFC 4013) prohibits")
    _check_direction(prepared)
    return prepared


def _map(char: str) -> str:
    """RFC 4013 2.1: other spaces become a space, what is "commonly mapped to nothing" goes."""
    if stringprep.in_table_c12(char):
        return " "
    return "" if stringprep.in_table_b1(char) else char


def _check_direction(text: str) -> None:
    """RFC 3454 6: a right-to-left text begins and ends so, and holds nothing left-to-right."""
    right_to_left = [stringprep.in_table_d1(char) for char in text]
    if not any(right_to_left):
        return
    if any(map(stringprep.in_table_d2, text)) or not (right_to_left[0] and right_to_left[-1]):
        raise ValueError("mixes right-to-left and left-to-right letters (RFC 3454 section 6)")
