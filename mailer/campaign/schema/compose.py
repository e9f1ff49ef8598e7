"""YAML 1.2 text to nodes that know their places. Safe by construction: no object is ever instantiated.

PyYAML (with libyaml if it is built in) gives the events. Composing and resolving are done here, because
PyYAML resolves as YAML 1.1 does (`NO` is false, `12:30` is 750), accepts repeated keys, recurses without a
limit and unfolds aliases. Plain scalars resolve by the core schema (YAML 1.2.2, 10.3) with one exception: an
integer with a leading zero or a plus sign is text, because a postcode or a telephone number needs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import yaml

from mailer.campaign.schema.nodes import MAX_DEPTH, Mapping, Node, Scalar, Sequence, describe
from mailer.campaign.schema.scalars import CORE, MAX_QUOTED, scalar_value, show_tag
from mailer.errors import InputError, Place, Problem, sort_problems
from mailer.text import shorten

MAX_VALUES = 100_000  # nodes of one file, counted with aliases unfolded: less than a second
MAX_PROBLEMS = 1_000
MAX_SHOWN = 20  # values without quotes that are listed after a syntax error

# YAML 1.2.2, 5.1 (printable). NEL, LS and PS are printable, but line ends only in YAML 1.1, which libyaml
# speaks. A pattern of what is printable takes 2 ms to compile, because of the characters beyond the BMP.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")

# `key: {{ name }} hi`, and `key: "Name" <address>`: texts that YAML takes for something else.
_UNQUOTED_TAG = re.compile(r"(\s*(?:- )?[\w-]+\s*:\s+|\s*-\s+)(\{\{.*\}\}.*|\{%.*%\}.*)")
_QUOTED_NAME = re.compile(r"(\s*(?:- )?[\w-]+\s*:\s+|\s*-\s+)(\"[^\"]*\"\s*<[^>]*>)\s*")

# What the two parsers say, and what a person can do about it. The first that is found counts.
_SYNTAX_ERRORS = (
    ("quoted scalar, found unexpected end", "a quote is opened here and never closed"),
    ("unexpected end of stream, while scanning a quoted", "a quote is opened here and never closed"),
    ("unexpected document", "a quote is opened before this line and never closed"),
    ("unknown escape", "there is no such escape; in single quotes a backslash is only a backslash"),
    ("expected ',' or ']'", "expected ',' or ']' in the list"),
    ("expected ',' or '}'", "expected ',' or '}' in the mapping"),
    ("while parsing a flow node", "expected a value; is a bracket or brace opened and never closed?"),
    (
        "<document start>",
        "this text belongs to no key; all keys of a mapping begin in the same column",
    ),
    ("'-' indicator", "expected '- ' in the same column as the list's other items"),
    (
        "<block end>",
        "expected a key with ': ' below the other keys; or does the value before it need quotes?",
    ),
    (
        "did not find expected key",
        "expected a key with ': ' below the other keys; or does the value before it need quotes?",
    ),
    ("expected ':'", "expected ': ' and a value after this key"),
    ("mapping values", "': ' is not allowed inside a value; a text with ': ' in it needs quotes"),
    ("sequence entries", "a list cannot begin here; its items begin with '- ' on lines of their own"),
    ("tab character", "a tab cannot indent; use blanks"),
    ("'\\t' that cannot start", "a tab cannot indent; use blanks"),
    ("cannot start any token", "a tab cannot indent, and a text that begins with @, ` or % needs quotes"),
    ("directive", "a line that begins with % is a directive; in quotes it is text"),
    ("incompatible", "this version of YAML is not read; expected no %YAML line, or 1.1 or 1.2"),
    ("while parsing a block node", "expected a value or a key here"),
    ("scanning an anchor", "expected a name after &; a text that begins with & needs quotes"),
    ("scanning an alias", "expected a name after *; a text that begins with * needs quotes"),
    ("block scalar", "expected the end of the line after | or >"),
    ("tag", "expected a value; a text that begins with ! needs quotes"),
)


class TextStream(Protocol):
    """A text that is read in pieces."""

    def read(self, size: int = -1, /) -> str: ...


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
            self.problems.append(
                self._say_what_to_type(_describe_syntax_error(error, self._file, self._lines))
            )
            self.problems += self._find_unquoted_values()
            raise InputError(sort_problems(self.problems)) from None

    def _say_what_to_type(self, problem: Problem) -> Problem:
        """A value that begins with a tag or a quoted name is a common slip, for which PyYAML has only
        riddles.
        """
        line = problem.place.line if problem.place else 0
        for number in (line, line - 1):  # an error may be noticed on the next line
            if 0 < number <= len(self._lines) and (advice := _advise_quotes(self._lines[number - 1])):
                return Problem(Place(self._file, number, advice[0]), advice[1])
        return problem

    def _find_unquoted_values(self) -> list[Problem]:
        """Return what to type for each key of the file that needs quotes: a syntax error ends the reading."""
        found = [
            (number, _advise_quotes(line)) for number, line in enumerate(self._lines, 1) if line[:1] > " "
        ]
        advice = [Problem(Place(self._file, number, said[0]), said[1]) for number, said in found if said]
        return advice[:MAX_SHOWN]

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
            text = f"more than {MAX_VALUES:,} values (aliases counted as often as they are used)"
            self._fail(event, f"{text}; a long list goes into a file of its own")

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
        value = shorten(match[2].strip(), MAX_QUOTED)
        quote = "'" if '"' in value else '"'
        start = match[2][:2]
        key = shorten(match[1].strip(), MAX_QUOTED)
        return len(
            match[1]
        ) + 1, f"a value that begins with {start} needs quotes: {key} {quote}{value}{quote}"
    if match := _QUOTED_NAME.fullmatch(line):
        value = shorten(match[2], MAX_QUOTED)
        key = shorten(match[1].strip(), MAX_QUOTED)
        return len(match[1]) + 1, f"a quoted name with an address needs quotes around both: {key} '{value}'"
    return None


def _describe_syntax_error(error: yaml.YAMLError, file: str, lines: list[str]) -> Problem:
    """Return what is wrong in plain words, at the place where the reader should look.

    `lines` are those of the file if they are at hand.
    """
    if not isinstance(error, yaml.MarkedYAMLError):  # ReaderError: a character that slipped through
        return Problem(Place(file), "it is not YAML: " + str(error).partition("\n")[0])
    said, context = error.problem or "", error.context or ""
    mark = error.problem_mark or error.context_mark
    # An open quote or bracket is noticed at the end of the file; the reader wants its beginning.
    is_end = "end of stream" in said or "<stream end>" in said or (lines and mark and mark.line >= len(lines))
    if error.context_mark and (is_end or "expected ':'" in said):
        mark = error.context_mark
    if mark is None:
        return Problem(Place(file), f"it is not YAML: {said}")
    place = Place(file, mark.line + 1, mark.column + 1)
    if "nesting depth" in said:  # libyaml 0.2.6 has a bound of its own, and reads ahead up to it
        return Problem(place, f"nested deeper than {MAX_DEPTH} levels")
    line = lines[mark.line] if mark.line < len(lines) else ""
    text = _explain_syntax_error(f"{said}, {context}", line, mark.column)
    if error.context_mark and error.context_mark.line < mark.line and text.endswith((" list", " mapping")):
        text += f" that starts in line {error.context_mark.line + 1}"
    return Problem(place, f"it is not YAML: {text}")


def _explain_syntax_error(said: str, line: str, column: int) -> str:
    """Return what a parser said, in plain words. `line` is the line of the error, "" if it is not known."""
    if "cannot start any token" in said and line:
        start = line[column : column + 1]
        return (
            "a tab cannot indent; use blanks"
            if start == "\t"
            else f"a text that begins with {start} needs quotes"
        )
    if "mapping values" in said and line and ": " not in line[:column]:
        return "this line continues the value above; is it indented wrongly, or has the line above no ': '?"
    return next((text for part, text in _SYNTAX_ERRORS if part in said), said.removesuffix(", "))


def _loader() -> type[yaml.SafeLoader] | type[yaml.CSafeLoader]:
    """Return libyaml's parser if PyYAML was built with it: the same events and marks, ten times as fast."""
    return yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
