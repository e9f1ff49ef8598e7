"""Text as people read it: made printable, shortened, counted, and compared with known names.

Text from outside (a server's reply, a column, a file name) can hold anything. `make_printable` is the one
rule for showing it: no character that moves a cursor, colours a terminal, turns the direction of writing,
ends a line or cannot be encoded is left. Each one is shown as its escape, so that nothing is hidden and
nothing is lost. Formats add their own rule on top (a spreadsheet's formula, Markdown's punctuation).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# C0, DEL and C1 (ECMA-48: terminal controls), U+2028/2029 (line ends to some readers), the bidirectional
# controls of UAX 9 (they make text read as what it is not), deprecated format characters (U+206A to U+206F),
# annotation marks (U+FFF9 to U+FFFB), the byte order mark, and lone surrogates (no UTF-8 for them).
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_QUOTED = re.compile(r"(?<!\w)(['\"])(.*?)\1(?!\w)", re.DOTALL)
_LINE_END = re.compile(r"[ \t]*(?:\r\n|\r|\n)[ \t]*")
MAX_COMPARED = 64  # characters of a name that is compared with known ones


def make_printable(text: str) -> str:
    r"""Return `text` on one line, with every control character shown as its escape (`\x1b`).

    A line end, with the blanks around it, becomes one blank. The length is not limited: see `shorten`.
    """
    if text.isascii() and text.isprintable():
        return text
    return UNPRINTABLE.sub(escape_character, _LINE_END.sub(" ", text))


def make_printable_lines(text: str) -> str:
    """Return `text` made printable line by line; its line ends stay."""
    return "\n".join(make_printable(line) for line in text.splitlines())


def escape_character(match: re.Match[str]) -> str:
    r"""Return the escape (`\x1b`, `\u202e`) of the character that `match` found; for use with `re.sub`."""
    number = ord(match.group())
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def shorten(text: str, length: int = 60) -> str:
    """Return `text` with at most `length` characters; one that was longer ends with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def shorten_quotes(text: str, length: int) -> str:
    """Return `text` with at most `length` characters of each part of it that is in quotes."""
    return _QUOTED.sub(lambda found: f"{found[1]}{shorten(found[2], length)}{found[1]}", text)


def shorten_middle(text: str, length: int) -> str:
    """Return the beginning and the end of `text`, together about `length` characters, if it is longer."""
    return text if len(text) <= length else f"{text[: length // 2]} … {text[-length // 2 :]}"


def count_noun(count: int, noun: str) -> str:
    """Return the number and its noun: `1 recipient`, `1,200 recipients`, `2 addresses`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")


def find_similar(word: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` that `word` is probably a misspelling of, or None."""
    import difflib

    found = difflib.get_close_matches(word[:MAX_COMPARED].lower().replace("-", "_"), list(known), 1, 0.6)
    return found[0] if found else None
