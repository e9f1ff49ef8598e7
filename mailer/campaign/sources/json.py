"""JSON and JSON Lines (RFC 8259), an object or an address at a time: a list's size is not memory's concern."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Generator, Iterator
from typing import BinaryIO, NoReturn, TextIO

from mailer.campaign.model import Recipient
from mailer.campaign.sources.rows import MAX_SHOWN, recipient_from_value
from mailer.campaign.sources.text import MAX_LINE, open_text, read_lines
from mailer.errors import InputError, Place, Problem, append_remainder

_CHUNK = 65_536
_BLANK = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_DEPTH = 100


def _parse_integer(text: str) -> int:
    if len(text) > 400:  # Python itself refuses more than 4,300; no template has a use for either
        raise ValueError("a number of more than 400 digits")
    return int(text)


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is out of range")
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON has")


def _build_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {repeated[:60]!r} is repeated")
    return found


_decoder = json.JSONDecoder(
    object_pairs_hook=_build_object, parse_int=_parse_integer, parse_float=_parse_float, parse_constant=_refuse_constant
)


def read_jsonl(binary: BinaryIO, shown: str, encoding: str | None) -> Generator[Recipient, None, None]:
    """One object a line; blank lines are skipped. Lines that are no JSON are an error of the list, told at its end."""
    wrong: list[Problem] = []
    count = 0
    with open_text(binary, shown, encoding) as stream:
        for number, line in enumerate(read_lines(stream, shown), 1):
            if line.isspace():
                continue
            try:
                row = _parse_line(line.strip(), Place(shown, number))
            except InputError as error:
                count += 1
                wrong += error.problems if count <= MAX_SHOWN else ()
            else:
                yield row
    if count:
        raise InputError(append_remainder(wrong, count))


def _parse_line(line: str, place: Place) -> Recipient:
    try:
        value = _decoder.decode(line)
    except json.JSONDecodeError as error:
        raise _input_error(Place(place.file, place.line, error.pos + 1), error) from None
    except (ValueError, RecursionError) as error:
        raise _input_error(place, error) from None
    return _check_value(value, line, place)


def read_json(binary: BinaryIO, shown: str, encoding: str | None) -> Generator[Recipient, None, None]:
    """The items of the one array that the file is."""
    with open_text(binary, shown, encoding) as stream:
        yield from _ArrayReader(stream, shown).rows()


class _ArrayReader:
    """An array's items from a text that is never held whole: a window that moves along, and knows its place."""

    def __init__(self, stream: TextIO, shown: str) -> None:
        self._stream = stream
        self._shown = shown
        self._window = ""
        self._at = 0
        self._line = 1
        self._column = 1
        self._ended = False

    def rows(self) -> Iterator[Recipient]:
        if self._peek_character() != "[":
            what = "the file is empty" if not self._window else "the file is not an array"
            self._raise_problem(f"{what}; expected [ with an object for each recipient")
        self._advance(1)
        if self._peek_character() == "]":
            return self._expect_end()
        while True:
            self._peek_character()
            place = self._current_place()
            value, source = self._next_value()
            yield _check_value(value, source, place)
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
        """The next item. One that is cut off by the window's end is tried again with twice as much."""
        if self._peek_character() in ("", ",", "]"):
            self._raise_problem("expected an object (or an address in quotes) for each recipient")
        place = self._current_place()
        while True:
            try:
                value, end = _decoder.raw_decode(self._window, self._at)
                if end == len(self._window) and self._read_more():  # a number may go on
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
        """Twice the text of the item that begins here, unless that is all or too much."""
        if self._ended or len(self._window) - self._at >= MAX_LINE:
            return False
        self._fill_window(max(_CHUNK, len(self._window) - self._at))
        return True

    def _peek_character(self) -> str:
        """The next character that is not a blank, or nothing at the end."""
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


def _check_value(value: object, source: str, place: Place) -> Recipient:
    """JSON can write half of a surrogate pair, which is no character, and nest deeper than anything downstream."""
    if _HALF.search(source):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return Recipient(
                "", {}, place, Problem(place, "half of a surrogate pair (\\ud800 to \\udfff) is no character")
            )
    if source.count("[") + source.count("{") > _DEPTH and _measure_depth(value) > _DEPTH:
        return Recipient("", {}, place, Problem(place, f"nested deeper than {_DEPTH} levels"))
    return recipient_from_value(value, place)


def _measure_depth(value: object) -> int:
    """Levels of nesting, without recursion."""
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
        text = f"it is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
    else:
        text = str(error)
    return InputError(Problem(place, text))
