"""The types of value that a campaign file can hold: each reads a node, and says the same as JSON Schema.

`read` returns the value, or raises `ValidationError` with every problem below the node, so that all errors of a file
are shown at once. `schema` is what editors check. It may allow more than `read` (some grammars are too long for a
pattern), but never less.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from mailer.campaign.files import NamedFile, printable
from mailer.campaign.model import Pattern
from mailer.campaign.schema import nodes
from mailer.campaign.schema.nodes import Node, Scalar, describe
from mailer.errors import Place, Problem

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Schema = dict[str, Any]

MAX_TEMPLATE = 10_000  # characters; also keeps the search for tags, quadratic at worst, short
MAX_PROBLEMS = 1_000  # of one mapping; nobody reads on

_TAGS = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ValidationError(Exception):
    """A node does not hold what it should."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(self.problems)


def validation_error(place: Place, text: str) -> ValidationError:
    return ValidationError([Problem(place, text)])


@dataclass(frozen=True, slots=True)
class LoadContext:
    """What a type may need beside its node: the campaign's folder, and the folder as messages show it."""

    folder: Path
    shown: Path

    def locate(self, name: str, place: Place) -> NamedFile:
        return NamedFile(self.folder / name, printable(str(self.shown / name)), place)


class FieldType(Protocol[T_co]):
    def read(self, node: Node, context: LoadContext, /) -> T_co: ...

    def schema(self) -> Schema: ...


@dataclass(frozen=True)
class Text(Generic[T]):
    """A text that `parse` takes; its ValueError becomes the problem."""

    parse: Callable[[str], T]
    what: str = "text"
    pattern: str | None = None
    examples: tuple[str, ...] = ()

    def read(self, node: Node, _context: LoadContext) -> T:
        text = require_text(node, self.what, self.parse)
        try:
            return self.parse(text)
        except ValueError as error:
            raise validation_error(node.place, str(error)) from None

    def schema(self) -> Schema:
        schema: Schema = {"type": "string"}
        if self.pattern is not None:
            schema["pattern"] = f"^(?:{self.pattern})$"
        if self.examples:
            schema["examples"] = list(self.examples)
        return schema


@dataclass(frozen=True)
class Template:
    """A Jinja2 source. `check` sees a text without any tag, and says by ValueError that it cannot be right."""

    check: Callable[[str], object] | None = None
    one_line: bool = True

    def read(self, node: Node, _context: LoadContext) -> Pattern:
        source = require_text(node, "text")
        if len(source) > MAX_TEMPLATE:
            raise validation_error(
                node.place, f"expected at most {MAX_TEMPLATE:,} characters; longer templates are files"
            )
        if self.one_line:
            source = source.rstrip("\n")  # what a block scalar (`>`, `|`) adds
            if found := _CONTROL.search(_TAGS.sub("", source)):
                raise validation_error(
                    node.place, f"a control character or line end (U+{ord(found[0]):04X}) cannot stand here"
                )
        if not source.strip():
            raise validation_error(node.place, "expected text, found nothing but blanks")
        if self.check and "{" not in source:
            try:
                self.check(source)
            except ValueError as error:
                raise validation_error(node.place, str(error)) from None
        return Pattern(source, node.place)

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True)
class Integer:
    least: int
    most: int

    def read(self, node: Node, _context: LoadContext) -> int:
        value = node.value if isinstance(node, Scalar) else None
        if not isinstance(value, int) or isinstance(value, bool):
            raise validation_error(node.place, f"expected a whole number, found {describe(node)}")
        if not self.least <= value <= self.most:
            raise validation_error(node.place, f"expected a number from {self.least} to {self.most}, found {value}")
        return value

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Flag:
    def read(self, node: Node, _context: LoadContext) -> bool:
        if not isinstance(node, Scalar) or not isinstance(node.value, bool):
            raise validation_error(node.place, f"expected true or false, found {describe(node)}")
        return node.value

    def schema(self) -> Schema:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice:
    values: tuple[str, ...]

    def read(self, node: Node, _context: LoadContext) -> Any:
        value = node.value if isinstance(node, Scalar) else None
        if value not in self.values:
            expected = ", ".join(self.values[:-1]) + " or " + self.values[-1]
            near = suggest_nearest(value, self.values) if isinstance(value, str) else ""
            raise validation_error(node.place, f"expected {expected}, found {describe(node)}{near}")
        return value

    def schema(self) -> Schema:
        return {"enum": list(self.values)}


@dataclass(frozen=True)
class Constant(Generic[T]):
    """One word that stands for a value (`auto`, null) where otherwise `type` is expected."""

    word: str | None
    value: T
    type: FieldType[T]

    def read(self, node: Node, context: LoadContext) -> T:
        if isinstance(node, Scalar) and node.value == self.word:
            return self.value
        return self.type.read(node, context)

    def schema(self) -> Schema:
        return {"anyOf": [{"const": self.word}, self.type.schema()]}


@dataclass(frozen=True)
class FilePath:
    """A path relative to the campaign file; with `exists` the file must be there."""

    exists: bool = False

    def read(self, node: Node, context: LoadContext) -> NamedFile:
        name = require_text(node, "a path")
        if not name or "\0" in name:
            raise validation_error(node.place, "expected a path")
        file = context.locate(name, node.place)
        if self.exists and (problem := file.find_problem()):
            raise ValidationError([problem])
        return file

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True)
class ListOf(Generic[T]):
    type: FieldType[T]

    def read(self, node: Node, context: LoadContext) -> tuple[T, ...]:
        if not isinstance(node, nodes.Sequence):
            raise validation_error(node.place, f"expected a list, found {describe(node)}")
        return tuple(_collect_values(functools.partial(self.type.read, item, context) for item in node.items))

    def schema(self) -> Schema:
        return {"type": "array", "items": self.type.schema()}


@dataclass(frozen=True)
class MapOf(Generic[T]):
    """A mapping whose keys are the user's own; `check_key` says by ValueError that one cannot be."""

    type: FieldType[T]
    check_key: Callable[[str], object]
    key_pattern: str

    def read(self, node: Node, context: LoadContext) -> dict[str, T]:
        if not isinstance(node, nodes.Mapping):
            raise validation_error(node.place, f"expected a mapping, found {describe(node)}")
        values = _collect_values(functools.partial(self._read, node, *entry, context) for entry in node.entries.items())
        return dict(zip(node.entries, values, strict=True))

    def _read(self, node: nodes.Mapping, key: str, value: Node, context: LoadContext) -> T:
        try:
            self.check_key(key)
        except ValueError as error:
            raise validation_error(node.keys[key], str(error)) from None
        return self.type.read(value, context)

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{self.key_pattern})$"},
            "additionalProperties": self.type.schema(),
        }


@dataclass(frozen=True)
class Field:
    """One key: its type, and what it means to a person. `also` are other names people try."""

    name: str
    type: FieldType[Any]
    doc: str
    required: bool = False
    default: object = None
    also: tuple[str, ...] = ()


@dataclass
class ParsedMapping:
    """A mapping as far as it could be read: the values that are right, where each stands, and what is wrong."""

    place: Place
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class MappingType(Generic[T]):
    """A mapping with the keys of `fields`. `check` sees what could be read; `build` runs when nothing is wrong."""

    what: str
    fields: tuple[Field, ...]
    build: Callable[[Mapping[str, Any], ParsedMapping], T]
    check: Callable[[ParsedMapping], Iterator[Problem]] = lambda _parsed: iter(())
    rules: Mapping[str, Any] = field(default_factory=dict)

    def read(self, node: Node, context: LoadContext) -> T:
        parsed = self.parse(node, context)
        if parsed.problems:
            raise ValidationError(parsed.problems)
        return self.build(parsed.values, parsed)

    def parse(self, node: Node, context: LoadContext) -> ParsedMapping:
        """All that can be read, and all that is wrong."""
        if not isinstance(node, nodes.Mapping):
            raise validation_error(node.place, f"expected {self.what}, found {describe(node)}")
        parsed = ParsedMapping(node.place, places=dict(node.keys))
        known = {entry.name: entry for entry in self.fields}
        for key, value in node.entries.items():
            if len(parsed.problems) >= MAX_PROBLEMS:
                break
            if key not in known:
                parsed.problems.append(Problem(node.keys[key], self._unknown(key)))
                continue
            try:
                parsed.values[key] = known[key].type.read(value, context)
            except ValidationError as error:
                parsed.problems.extend(error.problems)
        for entry in self.fields:
            if entry.required and entry.name not in node.entries:
                parsed.problems.append(Problem(node.place, f"the key {entry.name!r} is missing; it is required"))
        parsed.problems.extend(self.check(parsed))
        return parsed

    def _unknown(self, key: str) -> str:
        for other in self.fields:
            if key.lower() in other.also:
                return f"unknown key {key!r}; did you mean {other.name!r}?"
        names = [entry.name for entry in self.fields]
        near = suggest_nearest(key, names)
        return f"unknown key {nodes.shorten(key)!r}{near or '; expected one of ' + ', '.join(names)}"

    def schema(self) -> Schema:
        properties = {}
        for entry in self.fields:
            properties[entry.name] = {"description": entry.doc, **entry.type.schema()}
            if entry.default is not None:
                properties[entry.name]["default"] = entry.default
        required = [entry.name for entry in self.fields if entry.required]
        schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
        return {**schema, **({"required": required} if required else {}), **self.rules}


def require_text(node: Node, what: str, parse: Callable[[str], object] = str) -> str:
    """The text of a scalar that is text; a number or a word that YAML reads otherwise must be quoted."""
    advice = ""
    if isinstance(node, Scalar):
        if isinstance(node.value, str):
            return node.value
        if node.value is not None:
            with contextlib.suppress(ValueError):
                parse(node.text)
                advice = "; in quotes it is text"
    raise validation_error(node.place, f"expected {what}, found {describe(node)}{advice}")


def suggest_nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean …?` with the word that is meant, or nothing."""
    found = difflib.get_close_matches(word[:64].lower().replace("-", "_"), list(words), 1, 0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def _collect_values(reads: Iterable[Callable[[], T]]) -> list[T]:
    """The values of all, or the problems of all."""
    values: list[T] = []
    problems: list[Problem] = []
    for read in reads:
        try:
            values.append(read())
        except ValidationError as error:
            problems.extend(error.problems)
    if problems:
        raise ValidationError(problems)
    return values
