"""YAML 1.2 text to nodes that know their places. Safe by construction: no object is ever instantiated.

PyYAML (with libyaml if it is built in) gives the events. Composing and resolving are done here, because
PyYAML resolves as YAML 1.1 does (`NO` is false, `12:30` is 750), accepts repeated keys, recurses without a
limit and unfolds aliases. Plain scalars resolve by the core schema (YAML 1.2.2, 10.3) with one exception: an
integer with a leading zero or a plus sign is text, because a postcode or a telephone number needs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import yaml

from mailer.campaign.schema.scalars import (
    CORE,
    MAX_QUOTED,
    ScalarValue,
    scalar_value,
    show_tag,
    written_number,
)
from mailer.errors import InputError, Place, Problem
from mailer.text import shorten

MAX_DEPTH = 100  # keeps the recursion below far from Python's limit
MAX_VALUES = 500_000  # nodes of one file, counted with aliases unfolded
MAX_PROBLEMS = 1_000

# YAML 1.2.2, 5.1 (printable). NEL, LS and PS are printable, but line ends only in YAML 1.1, which libyaml
# speaks.
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")

# `key: {{ name }} hi`, and `key: "Name" <address>`: texts that YAML takes for something else.
_UNQUOTED_TAG = re.compile(r"(\s*(?:- )?[\w-]+\s*:\s+|\s*-\s+)(\{\{.*\}\}.*|\{%.*%\}.*)")
_QUOTED_NAME = re.compile(r"(\s*(?:- )?[\w-]+\s*:\s+|\s*-\s+)(\"[^\"]*\"\s*<[^>]*>)\s*")

type_names = {str: "text", bool: "true or false", int: "a number", float: "a number", type(None): "nothing"}


@dataclass(slots=True)
class Scalar:
    """`value` as the core schema resolves it; `text` as written."""

    place: Place
    value: ScalarValue
    text: str
    size: int = 1


@dataclass(slots=True)
class Sequence:
    """A list of nodes."""

    place: Place
    items: list[Node] = field(default_factory=list)
    size: int = 1


@dataclass(slots=True)
class Mapping:
    """Keys are text as written; `keys` holds their places.

    `is_broken` means that a problem with it is known.
    """

    place: Place
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    size: int = 1
    is_broken: bool = False


Node = Scalar | Sequence | Mapping


class TextStream(Protocol):
    """A text that is read in pieces."""

    def read(self, size: int = -1, /) -> str: ...


def describe(node: Node) -> str:
    """Return what a node is, for `expected …, found …`."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return f"the text {shorten(node.value, MAX_QUOTED)!r}"
    return f"{shorten(node.text, MAX_QUOTED)}, {type_names[type(node.value)]}"


def to_value(node: Node) -> object:
    """Return the node as a JSON value: nested dicts, lists and scalars."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [to_value(item) for item in node.items]
    return {key: to_value(value) for key, value in node.entries.items()}


def to_row(node: Node) -> object:
    """Return the node as `to_value` does, but with numbers that show as they are written."""
    if isinstance(node, Scalar):
        return written_number(node.value, node.text)
    if isinstance(node, Sequence):
        return [to_row(item) for item in node.items]
    return {key: to_row(value) for key, value in node.entries.items()}


def compose(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """Return the one document in `text` (None if it is empty), and the problems that do not end the reading.

    InputError if nothing can be read beyond a point.
    """
    if found := find_unreadable(text):
        offset, what = found
        raise InputError(Problem(place_of(text, offset, file), what))
    composer = _Composer(text, file, text.splitlines())
    with composer:
        node = composer.read_document()
    return node, composer.problems


def stream_items(stream: TextStream, file: str) -> Iterator[tuple[Node, list[Problem]]]:
    """Yield the items of the list that is the one document, each with its own problems."""
    composer = _Composer(stream, file, [])
    with composer:
        yield from composer.read_items()


def find_unreadable(text: str) -> tuple[int, str] | None:
    """Return the offset of the first character that YAML does not allow (or its versions read differently),
    and why.
    """
    match = _UNREADABLE.search(text)
    if match is None:
        return None
    if match[0] == "\0":
        return (
            match.start(),
            "U+0000 is not allowed in YAML; is it UTF-16 without a byte order mark, or not text?",
        )
    what = f"U+{ord(match[0]):04X} is not allowed in YAML; in double quotes, write it as an escape"
    return match.start(), what


def place_of(text: str, offset: int, file: str) -> Place:
    """Return the line and column of `offset` in `text`."""
    before = re.sub(r"\r\n?", "\n", text[:offset])
    return Place(file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _Composer:
    """Makes nodes of events. Recursion is limited by MAX_DEPTH, memory by MAX_VALUES, aliases by both.

    `lines` are those of the file if they are at hand; then a problem can say what to type.
    """

    def __init__(self, source: str | TextStream, file: str, lines: list[str]) -> None:
        self._file = file
        self._lines = lines
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node | None] = {}  # None: still being composed
        self._values = self._kept = 0  # nodes of the current item; those that an alias may still name
        self._parser = _loader()(source)
        self._next: Callable[[], Any] = self._parser.get_event

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self._parser.dispose()
        if isinstance(error, yaml.YAMLError):
            self.problems.append(self._say_what_to_type(_syntax_problem(error, self._file)))
            raise InputError(sorted(set(self.problems), key=str)) from None

    def _say_what_to_type(self, problem: Problem) -> Problem:
        """A value that begins with a tag or a quoted name is a common slip, for which PyYAML has only
        riddles.
        """
        line = problem.place.line if problem.place else 0
        for number in (line, line - 1):  # an error may be noticed on the next line
            if 0 < number <= len(self._lines) and (advice := _advise_quotes(self._lines[number - 1])):
                return Problem(Place(self._file, number, advice[0]), advice[1])
        return problem

    def read_document(self) -> Node | None:
        self._next()  # stream start
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        node = self._compose_node(self._next(), 0)
        self._expect_end()
        return None if isinstance(node, Scalar) and not node.text else node

    def read_items(self) -> Iterator[tuple[Node, list[Problem]]]:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return
        event = self._next()
        if not isinstance(event, yaml.SequenceStartEvent):
            self._fail(event, "expected a list of recipients, each starting with '- '")
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._values = self._kept
            node = self._compose_node(event, 1)
            yield node, self.problems
            self.problems = []
        self._expect_end()

    def _expect_end(self) -> None:
        self._next()  # document end
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            self._fail(event, "a second document starts here; expected one")

    def _compose_node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._resolve_alias(event)
        anchor: str | None = event.anchor
        if anchor:
            self._anchors[anchor] = None
        node = self._compose_new(event, depth)
        if anchor:
            self._anchors[anchor] = node
            self._kept += node.size
        return node

    def _compose_new(self, event: Any, depth: int) -> Node:
        self._count_values(event, 1)
        if isinstance(event, yaml.ScalarEvent):
            return self._compose_scalar(event)
        if depth >= MAX_DEPTH:
            self._fail(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._compose_sequence(event, depth)
        return self._compose_mapping(event, depth)

    def _compose_sequence(self, event: Any, depth: int) -> Sequence:
        self._expect_tag(event, "seq", "a list")
        node = Sequence(self._place_of(event))
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            item = self._compose_node(event, depth + 1)
            node.items.append(item)
            node.size += item.size
        return node

    def _compose_mapping(self, event: Any, depth: int) -> Mapping:
        self._expect_tag(event, "map", "a mapping")
        node = Mapping(self._place_of(event))
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            place, key = self._place_of(event), self._compose_node(event, depth + 1)
            value = self._compose_node(self._next(), depth + 1)
            node.size += key.size + value.size
            if problem := self._find_key_problem(key, event, node):
                node.is_broken = not isinstance(key, Scalar)
                said = self._say_what_to_type(Problem(place, problem))
                self._add_problem(said.place or place, said.text)
            elif isinstance(key, Scalar):
                node.entries[key.text], node.keys[key.text] = value, place
        return node

    def _find_key_problem(self, key: Node, event: Any, mapping: Mapping) -> str | None:
        if not isinstance(key, Scalar):
            return f"a key must be text, found {describe(key)}"
        if key.text == "<<" and getattr(event, "style", None) not in ("'", '"'):
            return "merge keys ('<<') are not part of YAML 1.2; write the keys out"
        if key.text in mapping.keys:
            name = shorten(key.text, MAX_QUOTED)
            return f"the key {name!r} is repeated; it is first in line {mapping.keys[key.text].line}"
        return None

    def _compose_scalar(self, event: Any) -> Scalar:
        text, tag, place = event.value, event.tag, self._place_of(event)
        try:
            value = scalar_value(text, tag, plain=event.implicit[0])
            if not text.isascii() and _SURROGATE.search(text):
                raise ValueError("half of a surrogate pair is not a character")
        except ValueError as error:
            self._add_problem(place, str(error))
            value = text
        return Scalar(place, value, text)

    def _resolve_alias(self, event: Any) -> Node:
        name: str = event.anchor
        if name not in self._anchors:
            shown = shorten(name, MAX_QUOTED)
            self._fail(event, f"the alias *{shown} has no anchor &{shown} before it")
        node = self._anchors[name]
        if node is None:
            self._fail(event, f"the alias *{shorten(name, MAX_QUOTED)} is inside its own anchor")
        self._count_values(event, node.size)
        return node

    def _count_values(self, event: Any, size: int) -> None:
        self._values += size
        if self._values > MAX_VALUES:
            self._fail(event, f"more than {MAX_VALUES:,} values (aliases counted as often as they are used)")

    def _expect_tag(self, event: Any, name: str, what: str) -> None:
        if event.tag not in (None, "!", CORE + name):
            self._add_problem(
                self._place_of(event),
                f"the tag {show_tag(event.tag)} is not allowed; expected {what} without it",
            )

    def _place_of(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(self._file, mark.line + 1, mark.column + 1)

    def _add_problem(self, place: Place, text: str) -> None:
        self.problems.append(Problem(place, text))
        if len(self.problems) >= MAX_PROBLEMS:
            raise InputError(self.problems)

    def _fail(self, event: Any, text: str) -> NoReturn:
        raise InputError([*self.problems, Problem(self._place_of(event), text)])


def _advise_quotes(line: str) -> tuple[int, str] | None:
    """Return the column of a value that needs quotes, and what to type."""
    if match := _UNQUOTED_TAG.fullmatch(line):
        value = match[2].strip()
        quote = "'" if '"' in value else '"'
        shown = value if len(value) <= 60 else "{{ … }} …"
        text = f"a value that begins with {value[:2]} needs quotes: {match[1].strip()} {quote}{shown}{quote}"
        return len(match[1]) + 1, text
    if match := _QUOTED_NAME.fullmatch(line):
        text = f"a quoted name with an address needs quotes around both: {match[1].strip()} '{match[2]}'"
        return len(match[1]) + 1, text if len(
            match[2]
        ) <= 80 else "a quoted name with an address needs ' around both"
    return None


def _syntax_problem(error: yaml.YAMLError, file: str) -> Problem:
    """Return PyYAML's words with the place where the reader should look."""
    if not isinstance(error, yaml.MarkedYAMLError):  # ReaderError: a character that slipped through
        return Problem(Place(file), "it is not YAML: " + str(error).partition("\n")[0])
    # An open quote or bracket is noticed at the end of the file; the reader wants its beginning.
    at_end = "end of stream" in (error.problem or "") or "<stream end>" in (error.problem or "")
    mark = (error.context_mark if at_end else None) or error.problem_mark or error.context_mark
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
    if "nesting depth" in (
        error.problem or ""
    ):  # libyaml 0.2.6 has a bound of its own, and reads ahead up to it
        return Problem(place, f"nested deeper than {MAX_DEPTH} levels")
    text = ", ".join(part for part in (error.problem, error.context) if part)
    if error.context_mark and error.context_mark.line + 1 < place.line:
        text += f" that starts in line {error.context_mark.line + 1}"
    if "tab character" in text or "'\\t'" in text:
        text += " (indent with blanks)"
    elif "cannot start any token" in text:
        text += " (a tab cannot indent; a text that starts with @, ` or % needs quotes)"
    elif "mapping values are not allowed" in text:
        text += " (a text with ': ' in it needs quotes)"
    return Problem(place, f"it is not YAML: {text}")


def _loader() -> type[yaml.SafeLoader] | type[yaml.CSafeLoader]:
    """libyaml's parser where PyYAML was built with it: the same events and marks, ten times as fast."""
    return yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
