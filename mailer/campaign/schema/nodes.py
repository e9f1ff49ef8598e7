"""YAML 1.2 text to nodes that know where they stand. Safe by construction: nothing is ever instantiated.

PyYAML (libyaml where it is built in) gives the events; composing and resolving are ours, because PyYAML resolves as
YAML 1.1 does (`NO` is false, `12:30` is 750), takes repeated keys, recurses without bound and unfolds aliases.
Plain scalars resolve by the core schema (YAML 1.2.2, 10.3) with one exception: an integer with a leading zero or a
plus sign is text, because a postcode or a telephone number would lose what makes it one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import yaml

from mailer.errors import InputError, Place, Problem

MAX_DEPTH = 100  # nobody nests deeper by hand; keeps the recursion below far from Python's limit
MAX_VALUES = 500_000  # nodes of one file, counted with aliases unfolded
MAX_DIGITS = 400
MAX_PROBLEMS = 1_000

_CORE = "tag:yaml.org,2002:"
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_WHOLE = r"(?:0|[1-9][0-9]*)"
_FLOAT = re.compile(rf"[-+]?(?:(?:\.[0-9]+|{_WHOLE}\.[0-9]*)(?:[eE][-+]?[0-9]+)?|{_WHOLE}[eE][-+]?[0-9]+)")
_FIRST = frozenset("-+.0123456789~nNtTfF")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}
# YAML 1.2.2, 5.1 (printable). NEL, LS and PS are printable, but line ends only in YAML 1.1, which libyaml speaks.
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]")
_TAGS: dict[str, tuple[type, ...]] = {
    _CORE + "null": (type(None),),
    _CORE + "bool": (bool,),
    _CORE + "int": (int,),
    _CORE + "float": (int, float),
}
_SURROGATE = re.compile("[\ud800-\udfff]")

type_names = {str: "text", bool: "true or false", int: "a number", float: "a number", type(None): "nothing"}


@dataclass(slots=True)
class Scalar:
    """`value` as the core schema resolves it; `text` as written."""

    place: Place
    value: str | int | float | bool | None
    text: str
    size: int = 1


@dataclass(slots=True)
class Sequence:
    place: Place
    items: list[Node] = field(default_factory=list)
    size: int = 1


@dataclass(slots=True)
class Mapping:
    """Keys are text as written; `keys` holds their places."""

    place: Place
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    size: int = 1


Node = Scalar | Sequence | Mapping


class TextStream(Protocol):
    def read(self, size: int = -1, /) -> str: ...


def describe(node: Node) -> str:
    """What a node is, for `expected …, found …`."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return f"the text {shorten(node.value)!r}"
    return f"{shorten(node.text)}, {type_names[type(node.value)]}"


def shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def to_value(node: Node) -> object:
    """The node as a JSON value: nested dicts, lists and scalars."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [to_value(item) for item in node.items]
    return {key: to_value(value) for key, value in node.entries.items()}


def compose(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The one document in `text` (None where it is empty), and what is wrong with it.

    InputError where nothing can be read beyond a point.
    """
    if found := find_unreadable(text):
        offset, what = found
        raise InputError(Problem(place_of(text, offset, file), what))
    composer = _Composer(text, file)
    with composer:
        node = composer.document()
    return node, composer.problems


def stream_items(stream: TextStream, file: str) -> Iterator[tuple[Node, list[Problem]]]:
    """The items of the list that is the one document, one at a time, each with its own problems."""
    composer = _Composer(stream, file)
    with composer:
        yield from composer.items()


def find_unreadable(text: str) -> tuple[int, str] | None:
    """The first character that YAML does not allow (or that its versions read differently): its offset, and why."""
    match = _UNREADABLE.search(text)
    if match is None:
        return None
    if match[0] == "\0":
        return match.start(), "U+0000 cannot stand in YAML; is it UTF-16 without a byte order mark, or no text at all?"
    what = f"U+{ord(match[0]):04X} cannot stand in YAML as it is; in double quotes, write it as an escape"
    return match.start(), what


def place_of(text: str, offset: int, file: str) -> Place:
    before = re.sub(r"\r\n?", "\n", text[:offset])
    return Place(file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _Composer:
    """Events to nodes. Recursion is bounded by MAX_DEPTH, memory by MAX_VALUES, aliases by both."""

    def __init__(self, source: str | TextStream, file: str) -> None:
        self._file = file
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node | None] = {}  # None: still being composed
        self._values = self._kept = 0
        self._parser = _loader()(source)
        self._next: Callable[[], Any] = self._parser.get_event

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self._parser.dispose()
        if isinstance(error, yaml.YAMLError):
            self.problems.append(_syntax_problem(error, self._file))
            raise InputError(sorted(self.problems, key=str)) from None

    def document(self) -> Node | None:
        self._next()  # stream start
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        node = self._node(self._next(), 0)
        self._end()
        return None if isinstance(node, Scalar) and not node.text else node

    def items(self) -> Iterator[tuple[Node, list[Problem]]]:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return
        event = self._next()
        if not isinstance(event, yaml.SequenceStartEvent):
            self._stop(event, "expected a list of recipients, each starting with '- '")
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._values = self._kept  # what went by is forgotten, but for what an alias may still name
            node = self._node(event, 1)
            yield node, self.problems
            self.problems = []
        self._end()

    def _end(self) -> None:
        self._next()  # document end
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            self._stop(event, "a second document starts here; expected one")

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        anchor: str | None = event.anchor
        if anchor:
            self._anchors[anchor] = None
        node = self._compose(event, depth)
        if anchor:
            self._anchors[anchor] = node
            self._kept += node.size
        return node

    def _compose(self, event: Any, depth: int) -> Node:
        self._count(event, 1)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if depth >= MAX_DEPTH:
            self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, depth)
        return self._mapping(event, depth)

    def _sequence(self, event: Any, depth: int) -> Sequence:
        self._expect_tag(event, "seq", "a list")
        node = Sequence(self._place(event))
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            item = self._node(event, depth + 1)
            node.items.append(item)
            node.size += item.size
        return node

    def _mapping(self, event: Any, depth: int) -> Mapping:
        self._expect_tag(event, "map", "a mapping")
        node = Mapping(self._place(event))
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            place, key = self._place(event), self._node(event, depth + 1)
            value = self._node(self._next(), depth + 1)
            node.size += key.size + value.size
            if problem := self._key_problem(key, event, node):
                self._note(place, problem)
            elif isinstance(key, Scalar):
                node.entries[key.text], node.keys[key.text] = value, place
        return node

    def _key_problem(self, key: Node, event: Any, mapping: Mapping) -> str | None:
        if not isinstance(key, Scalar):
            return f"a key must be text, found {describe(key)}"
        if key.text == "<<" and getattr(event, "style", None) not in ("'", '"'):
            return "merge keys ('<<') are not part of YAML 1.2; write the keys out"
        if key.text in mapping.keys:
            return f"the key {shorten(key.text)!r} is repeated; it first stands in line {mapping.keys[key.text].line}"
        return None

    def _scalar(self, event: Any) -> Scalar:
        text, tag, place = event.value, event.tag, self._place(event)
        try:
            value = _value(text, tag, plain=event.implicit[0])
            if not text.isascii() and _SURROGATE.search(text):
                raise ValueError("half of a surrogate pair is not a character")
        except ValueError as error:
            self._note(place, str(error))
            value = text
        return Scalar(place, value, text)

    def _alias(self, event: Any) -> Node:
        name: str = event.anchor
        if name not in self._anchors:
            self._stop(event, f"the alias *{shorten(name)} has no anchor &{shorten(name)} before it")
        node = self._anchors[name]
        if node is None:
            self._stop(event, f"the alias *{shorten(name)} stands inside its own anchor")
        self._count(event, node.size)
        return node

    def _count(self, event: Any, size: int) -> None:
        self._values += size
        if self._values > MAX_VALUES:
            self._stop(event, f"more than {MAX_VALUES:,} values (aliases counted as often as they are used)")

    def _expect_tag(self, event: Any, name: str, what: str) -> None:
        if event.tag not in (None, "!", _CORE + name):
            self._note(self._place(event), f"the tag {_show_tag(event.tag)} is not allowed; expected {what} without it")

    def _place(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(self._file, mark.line + 1, mark.column + 1)

    def _note(self, place: Place, text: str) -> None:
        self.problems.append(Problem(place, text))
        if len(self.problems) >= MAX_PROBLEMS:
            raise InputError(self.problems)

    def _stop(self, event: Any, text: str) -> NoReturn:
        raise InputError([*self.problems, Problem(self._place(event), text)])


def _value(text: str, tag: str | None, *, plain: bool) -> str | int | float | bool | None:
    if tag is not None:
        return _tagged(text, tag)
    return resolve(text) if plain else text


def resolve(text: str) -> str | int | float | bool | None:
    """A plain scalar's value. ValueError for a number that no JSON reader could hold."""
    if not text:
        return None
    if text[0] not in _FIRST:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a number of more than {MAX_DIGITS} digits; in quotes it is text")
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return _finite(float(text))
    if _SPECIAL_FLOAT.fullmatch(text):
        return _finite(math.inf)
    return text


def _finite(number: float) -> float:
    if math.isinf(number):
        raise ValueError("infinity and NaN are no numbers here; in quotes it is text")
    return number


def _tagged(text: str, tag: str) -> str | int | float | bool | None:
    """An explicit tag of the core schema asks for that type; any other is refused."""
    if tag in ("!", _CORE + "str"):
        return text
    types = _TAGS.get(tag)
    if types is None:
        raise ValueError(f"the tag {_show_tag(tag)} is not allowed; expected a plain value")
    value = resolve(text)
    if type(value) not in types:
        raise ValueError(f"{shorten(text)!r} is not what its tag {_show_tag(tag)} says")
    return float(value) if tag == _CORE + "float" and isinstance(value, int) else value


def _show_tag(tag: str) -> str:
    return shorten("!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag)


def _syntax_problem(error: yaml.YAMLError, file: str) -> Problem:
    """PyYAML's words are kept, with the place where the reader should look."""
    if not isinstance(error, yaml.MarkedYAMLError):  # ReaderError: a character that slipped through
        return Problem(Place(file), "it is not YAML: " + str(error).partition("\n")[0])
    # An open quote or bracket is noticed at the end of the file; the reader wants its beginning.
    at_end = "end of stream" in (error.problem or "") or "<stream end>" in (error.problem or "")
    mark = (error.context_mark if at_end else None) or error.problem_mark or error.context_mark
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
    if "nesting depth" in (error.problem or ""):  # libyaml 0.2.6 has a bound of its own, and reads ahead up to it
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
