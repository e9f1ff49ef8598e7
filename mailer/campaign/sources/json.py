"""JSON and JSON Lines (RFC 8259), an object or an address at a time: a list's size is not memory's concern."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Generator, Iterator
from typing import BinaryIO, NoReturn, TextIO

from mailer.campaign.model import Recipient
from mailer.campaign.sources.rows import MAX_SHOWN, from_value
from mailer.campaign.sources.text import MAX_LINE, decoded, lines
from mailer.errors import InputError, Place, Problem, with_count

_CHUNK = 65_536
_BLANK = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_DEPTH = 100


def _whole(text: str) -> int:
    if len(text) > 400:  # Python itself refuses more than 4,300; no template has a use for either
        raise ValueError("a number of more than 400 digits")
    return int(text)


def _decimal(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is out of range")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON has")


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {repeated[:60]!r} is repeated")
    return found


_decoder = json.JSONDecoder(
    object_pairs_hook=_unrepeated, parse_int=_whole, parse_float=_decimal, parse_constant=_no_constant
)


def read_jsonl(binary: BinaryIO, shown: str, encoding: str | None) -> Generator[Recipient, None, None]:
    """One object a line; blank lines are skipped. Lines that are no JSON are an error of the list, told at its end."""
    wrong: list[Problem] = []
    count = 0
    with decoded(binary, shown, encoding) as stream:
        for number, line in enumerate(lines(stream, shown), 1):
            if line.isspace():
                continue
            try:
                row = _row(line.strip(), Place(shown, number))
            except InputError as error:
                count += 1
                wrong += error.problems if count <= MAX_SHOWN else ()
            else:
                yield row
    if count:
        raise InputError(with_count(wrong, count))


def _row(line: str, place: Place) -> Recipient:
    try:
        value = _decoder.decode(line)
    except json.JSONDecodeError as error:
        raise _wrong(Place(place.file, place.line, error.pos + 1), error) from None
    except (ValueError, RecursionError) as error:
        raise _wrong(place, error) from None
    return _checked(value, line, place)


def read_json(binary: BinaryIO, shown: str, encoding: str | None) -> Generator[Recipient, None, None]:
    """The items of the one array that the file is."""
    with decoded(binary, shown, encoding) as stream:
        yield from _Array(stream, shown).rows()


class _Array:
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
        if self._peek() != "[":
            what = "the file is empty" if not self._window else "the file is not an array"
            self._stop(f"{what}; expected [ with an object for each recipient")
        self._step(1)
        if self._peek() == "]":
            return self._finish()
        while True:
            self._peek()
            place = self._place()
            value, source = self._value()
            yield _checked(value, source, place)
            if self._peek() == "]":
                return self._finish()
            if self._peek() != ",":
                self._stop("expected , or ] after an item")
            self._step(1)

    def _finish(self) -> None:
        self._step(1)
        if self._peek():
            self._stop("expected nothing after the array")

    def _value(self) -> tuple[object, str]:
        """The next item. One that is cut off by the window's end is tried again with twice as much."""
        if self._peek() in ("", ",", "]"):
            self._stop("expected an object (or an address in quotes) for each recipient")
        place = self._place()
        while True:
            try:
                value, end = _decoder.raw_decode(self._window, self._at)
                if end == len(self._window) and self._more():  # a number may go on
                    continue
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                if not self._ended:
                    self._stop(f"not JSON, or an item of more than {MAX_LINE:,} characters")
                self._step(error.pos - self._at)
                raise _wrong(self._place(), error) from None
            except (ValueError, RecursionError) as error:
                raise _wrong(place, error) from None
            source = self._window[self._at : end]
            self._step(len(source))
            return value, source

    def _more(self) -> bool:
        """Twice the text of the item that begins here, unless that is all or too much."""
        if self._ended or len(self._window) - self._at >= MAX_LINE:
            return False
        self._fill(max(_CHUNK, len(self._window) - self._at))
        return True

    def _peek(self) -> str:
        """The next character that is not a blank, or nothing at the end."""
        while True:
            match = _BLANK.match(self._window, self._at)
            self._step(match.end() - self._at if match else 0)
            if self._at < len(self._window):
                return self._window[self._at]
            if self._ended:
                return ""
            self._fill(_CHUNK)

    def _fill(self, size: int) -> None:
        more = self._stream.read(size)
        self._ended = not more
        self._window, self._at = self._window[self._at :] + more, 0

    def _step(self, length: int) -> None:
        passed = self._window[self._at : self._at + length]
        ends = passed.count("\n")
        self._line += ends
        self._column = len(passed) - passed.rfind("\n") if ends else self._column + length
        self._at += length

    def _place(self) -> Place:
        return Place(self._shown, self._line, self._column)

    def _stop(self, text: str) -> NoReturn:
        raise InputError(Problem(self._place(), text))


def _checked(value: object, source: str, place: Place) -> Recipient:
    """JSON can write half of a surrogate pair, which is no character, and nest deeper than anything downstream."""
    if _HALF.search(source):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return Recipient(
                "", {}, place, Problem(place, "half of a surrogate pair (\\ud800 to \\udfff) is no character")
            )
    if source.count("[") + source.count("{") > _DEPTH and _depth(value) > _DEPTH:
        return Recipient("", {}, place, Problem(place, f"nested deeper than {_DEPTH} levels"))
    return from_value(value, place)


def _depth(value: object) -> int:
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


def _wrong(place: Place, error: Exception) -> InputError:
    if isinstance(error, RecursionError):
        text = "nested too deeply"
    elif isinstance(error, json.JSONDecodeError):
        text = f"it is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
    else:
        text = str(error)
    return InputError(Problem(place, text))
