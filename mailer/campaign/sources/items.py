"""Lists of items: JSON and JSON Lines (RFC 8259), and YAML.

An item is an object or an address. Items are read one at a time, so that memory use does not grow with the
list.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Generator, Iterator
from typing import BinaryIO, NoReturn, TextIO

from mailer.campaign.model import Recipient
from mailer.campaign.schema.compose import find_unreadable, stream_items
from mailer.campaign.schema.nodes import to_row
from mailer.campaign.schema.scalars import MAX_QUOTED, written_number
from mailer.campaign.sources.rows import MAX_SHOWN, PLAIN_RULES, RowRules, recipients_from_value
from mailer.campaign.sources.text import MAX_LINE, open_text, read_lines
from mailer.errors import InputError, Place, Problem, append_remainder
from mailer.text import shorten

_CHUNK = 65_536
_BLANK = re.compile(r"[ \t\r\n]*")
_ARRAY_BEGIN = re.compile(r'\s*\[\s*([{"]|$)')
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_DEPTH = 100


def _parse_integer(text: str) -> int | str:
    if len(text) > 400:  # Python itself refuses more than 4,300
        raise ValueError("a number of more than 400 digits")
    return written_number(int(text), text)


def _parse_float(text: str) -> float | str:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {shorten(text, MAX_QUOTED)} is out of range")
    return written_number(number, text)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON has")


def _build_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {shorten(key, MAX_QUOTED)!r} is repeated")
            seen.add(key)
    return found


_decoder = json.JSONDecoder(
    object_pairs_hook=_build_object,
    parse_int=_parse_integer,
    parse_float=_parse_float,
    parse_constant=_refuse_constant,
)


def read_jsonl(
    binary: BinaryIO, shown: str, encoding: str | None, rules: RowRules = PLAIN_RULES
) -> Generator[Recipient, None, None]:
    """Yield the recipients of a file with one object per line; blank lines are skipped.

    Lines that are not JSON are an error of the list. It is raised at the end, with the first 20 and their
    number.
    """
    wrong: list[Problem] = []
    count = 0
    with open_text(binary, shown, encoding) as stream:
        for number, line in enumerate(read_lines(stream, shown), 1):
            if line.isspace():
                continue
            try:
                found = _parse_line(line.strip(), Place(shown, number), rules)
            except InputError as error:
                if number == 1 and _ARRAY_BEGIN.match(line):
                    text = "expected an object on each line; a file that is one array is named .json"
                    raise InputError(Problem(Place(shown, 1, 1), text)) from None
                count += 1
                wrong += error.problems if count <= MAX_SHOWN else ()
            else:
                yield from found
    if count:
        raise InputError(append_remainder(wrong, count))


def _parse_line(line: str, place: Place, rules: RowRules) -> Iterator[Recipient]:
    try:
        value = _decoder.decode(line)
    except json.JSONDecodeError as error:
        raise _input_error(Place(place.file, place.line, error.pos + 1), error) from None
    except (ValueError, RecursionError) as error:
        raise _input_error(place, error) from None
    return _check_value(value, line, place, rules)


def read_json(
    binary: BinaryIO, shown: str, encoding: str | None, rules: RowRules = PLAIN_RULES
) -> Generator[Recipient, None, None]:
    """Yield the recipients of a file that is one array."""
    with open_text(binary, shown, encoding) as stream:
        yield from _ArrayReader(stream, shown, rules).read_rows()


class _ArrayReader:
    """Reads an array's items from a text that is never held whole: a window moves along it, and knows its
    place.
    """

    def __init__(self, stream: TextIO, shown: str, rules: RowRules) -> None:
        self._stream = stream
        self._shown = shown
        self._rules = rules
        self._window = ""
        self._at = 0
        self._line = 1
        self._column = 1
        self._ended = False

    def read_rows(self) -> Iterator[Recipient]:
        """Yield the recipients of the array's items."""
        if self._peek_character() != "[":
            what = "the file is empty" if not self._window else "the file is not an array"
            advice = (
                "; a file with an object on each line is named .jsonl"
                if self._peek_character() == "{"
                else ""
            )
            self._raise_problem(f"{what}; expected [ with an object for each recipient{advice}")
        self._advance(1)
        if self._peek_character() == "]":
            return self._expect_end()
        while True:
            self._peek_character()
            place = self._current_place()
            value, source = self._next_value()
            yield from _check_value(value, source, place, self._rules)
            if self._peek_character() == "]":
                return self._expect_end()
            if self._peek_character() != ",":
                self._raise_problem("expected , or ] after an item")
            self._advance(1)

    def _expect_end(self) -> None:
        self._advance(1)
        if self._peek_character():
            self._raise_problem("expected nothing after the array")

    def _next_value(self) -> tuple[object, str]:
        """Return the next item and its source.

        One that the window cuts off is tried again with twice as much text.
        """
        if self._peek_character() in ("", ",", "]"):
            self._raise_problem("expected an object (or an address in quotes) for each recipient")
        place = self._current_place()
        while True:
            try:
                value, end = _decoder.raw_decode(self._window, self._at)
                if end == len(self._window) and self._read_more():  # a number may continue
                    continue
            except json.JSONDecodeError as error:
                if self._read_more():
                    continue
                if not self._ended:
                    self._raise_problem(f"not JSON, or an item of more than {MAX_LINE:,} characters")
                self._advance(error.pos - self._at)
                raise _input_error(self._current_place(), error) from None
            except (ValueError, RecursionError) as error:
                raise _input_error(place, error) from None
            source = self._window[self._at : end]
            self._advance(len(source))
            return value, source

    def _read_more(self) -> bool:
        """Double the text of the item that begins here; return False if there is no more, or too much."""
        if self._ended or len(self._window) - self._at >= MAX_LINE:
            return False
        self._fill_window(max(_CHUNK, len(self._window) - self._at))
        return True

    def _peek_character(self) -> str:
        """Skip blanks; return the next character, or "" at the end."""
        while True:
            match = _BLANK.match(self._window, self._at)
            self._advance(match.end() - self._at if match else 0)
            if self._at < len(self._window):
                return self._window[self._at]
            if self._ended:
                return ""
            self._fill_window(_CHUNK)

    def _fill_window(self, size: int) -> None:
        more = self._stream.read(size)
        self._ended = not more
        self._window, self._at = self._window[self._at :] + more, 0

    def _advance(self, length: int) -> None:
        passed = self._window[self._at : self._at + length]
        ends = passed.count("\n")
        self._line += ends
        self._column = len(passed) - passed.rfind("\n") if ends else self._column + length
        self._at += length

    def _current_place(self) -> Place:
        return Place(self._shown, self._line, self._column)

    def _raise_problem(self, text: str) -> NoReturn:
        raise InputError(Problem(self._current_place(), text))


def _check_value(value: object, source: str, place: Place, rules: RowRules) -> Iterator[Recipient]:
    """Yield the recipients of an item that can be written as JSON again: no half surrogate pair, no deep
    nesting.
    """
    text = ""
    if _HALF.search(source):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            text = "half of a surrogate pair (\\ud800 to \\udfff) is not a character"
    if source.count("[") + source.count("{") > _DEPTH and _measure_depth(value) > _DEPTH:
        text = f"nested deeper than {_DEPTH} levels"
    if text:
        yield Recipient("", {}, place, Problem(place, text))
    else:
        yield from recipients_from_value(value, place, rules)


def _measure_depth(value: object) -> int:
    """Return the levels of nesting, without recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            item
            for node in level
            if isinstance(node, (dict, list))
            for item in (node.values() if isinstance(node, dict) else node)
        ]
    return depth


def _input_error(place: Place, error: Exception) -> InputError:
    if isinstance(error, RecursionError):
        text = "nested too deeply"
    elif isinstance(error, json.JSONDecodeError):
        text = f"it is not JSON: {error.msg[:1].lower()}{error.msg[1:].removesuffix(' at')}"
    else:
        text = str(error)
    return InputError(Problem(place, text))


# -- YAML


def read_yaml(
    binary: BinaryIO, shown: str, encoding: str | None, rules: RowRules = PLAIN_RULES
) -> Generator[Recipient, None, None]:
    """Yield the recipients of a file that is one list."""
    with open_text(binary, shown, encoding) as stream:
        for node, problems in stream_items(_CheckedStream(stream, shown), shown):
            if problems:
                yield Recipient("", {}, node.place, problems[0])
            else:
                yield from recipients_from_value(to_row(node), node.place, rules)


class _CheckedStream:
    """Finds characters that YAML does not allow before the parser does, with their place."""

    def __init__(self, stream: TextIO, shown: str) -> None:
        self._stream = stream
        self._shown = shown
        self._line, self._column = 0, 0

    def read(self, size: int = -1) -> str:
        text = self._stream.read(size)
        if found := find_unreadable(text):
            offset, what = found
            self._count_lines(text[:offset])
            raise InputError(Problem(Place(self._shown, self._line + 1, self._column + 1), what))
        self._count_lines(text)
        return text

    def _count_lines(self, text: str) -> None:
        ends = text.count("\n") or text.count("\r")
        self._line += ends
        after = len(text) - (max(text.rfind("\n"), text.rfind("\r")) + 1)
        self._column = after if ends else self._column + after
