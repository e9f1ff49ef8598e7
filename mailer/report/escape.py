"""Text from outside, made harmless: replies and columns can hold anything.

`printable` is the one rule for what a person reads: no character that moves a cursor, colours a terminal, turns the
direction of writing, ends a line or cannot be encoded is left; each is shown as its escape instead, so that nothing
is hidden and nothing is lost. Formats add their own rule on top (a spreadsheet's formula, Markdown's punctuation).
"""

from __future__ import annotations

import re

# C0, DEL and C1 (ECMA-48: terminal controls), U+2028/2029 (line ends to some readers), the bidirectional controls
# of UAX 9 (they make text read as what it is not), and lone surrogates (no UTF-8 for them).
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_PLAIN_LINE_ENDS = re.compile(r"[ \t]*(?:\r\n|\r|\n)[ \t]*")

# XML 1.0, 2.2 Char: what no escape can bring into a document. Discouraged ones go with the rest of the controls.
_NOT_XML = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _shown(match: re.Match[str]) -> str:
    number = ord(match.group())
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def printable(text: str) -> str:
    """`text` on one line, every control character shown as its escape (`\\x1b`); line ends become a blank."""
    if text.isascii() and text.isprintable():
        return text
    return _UNPRINTABLE.sub(_shown, _PLAIN_LINE_ENDS.sub(" ", text))


def printable_lines(text: str) -> str:
    """As `printable`, line by line."""
    return "\n".join(printable(line) for line in text.splitlines())


def xml_text(text: str) -> str:
    """`text` of characters that XML 1.0 allows; still to be escaped as XML."""
    return _NOT_XML.sub(_shown, printable(text))


def json_text(document: str) -> str:
    """A JSON document whose strings hold no raw control, direction mark or lone surrogate; it still means the same."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", document)
