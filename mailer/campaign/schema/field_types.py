"""The types of value that a campaign file can hold: each reads a node, and says the same as JSON Schema.

`read` returns the value, or raises `ValidationError` with every problem below the node, so that all errors of
a file are shown at once. `schema` is what editors check. It may allow more than `read` (some grammars are too
long for a pattern), but never less.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from mailer.campaign.access import TRUSTED, Access, is_project_file
from mailer.campaign.model import Pattern
from mailer.campaign.named_file import NamedFile
from mailer.campaign.schema import nodes
from mailer.campaign.schema.nodes import Node, Scalar, describe
from mailer.campaign.schema.scalars import MAX_QUOTED
from mailer.dataclass import dataclass
from mailer.errors import Place, Problem
from mailer.text import find_similar, make_printable, shorten, shorten_middle

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Schema = dict[str, Any]

MAX_ITEMS = 1000  # of a list or a mapping, recipients and `vars` excepted: each may be a template to compile
MAX_SHOWN_PATH = 200  # characters of a path in a message
MAX_TEMPLATE = 10_000  # characters; also keeps the search for tags, quadratic at worst, short

_YES, _NO = frozenset({"yes", "on", "y", "true", "1"}), frozenset({"no", "off", "n", "false", "0"})
_TAGS = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ValidationError(Exception):
    """A node does not hold what it should."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(self.problems)


@dataclass(frozen=True, slots=True)
class LoadContext:
    """What a type needs beside its node.

    `folder` is the campaign's folder and `shown_folder` is how messages show it. `root` is the project root.
    `key` is the node's key with those above it, as in "delivery.window"; every problem begins with it.
    `warnings` collects what is allowed but probably not meant.
    """

    folder: Path
    shown_folder: Path
    root: Path
    access: Access = TRUSTED
    key: str = ""
    warnings: list[Problem] = field(default_factory=list)

    def below(self, key: str) -> LoadContext:
        """Return the context of the value of `key` in this node."""
        return replace(self, key=f"{self.key}.{key}" if self.key else key)

    def problem(self, place: Place, text: str) -> Problem:
        """Return a problem at `place` that names the key."""
        return Problem(place, f"{self.key}: {text}" if self.key else text)

    def error(self, place: Place, text: str) -> ValidationError:
        """Return the error with one problem at `place`."""
        return ValidationError([self.problem(place, text)])

    def locate_file(self, name: str, place: Place) -> NamedFile:
        """Return the file `name`, relative to the campaign's folder, as named at `place`."""
        shown = shorten_middle(make_printable(str(self.shown_folder / name)), MAX_SHOWN_PATH)
        return NamedFile(
            self.folder / name, shown, place, self.key, None if self.access.outside_files else self.root
        )

    def may_read(self, file: NamedFile) -> bool:
        """Return whether the campaign is trusted with `file`."""
        return self.access.outside_files or is_project_file(file.path, self.root)


class FieldType(Protocol[T_co]):
    """A type of value. `schema` is its JSON Schema."""

    def read(self, node: Node, context: LoadContext, /) -> T_co: ...

    def schema(self) -> Schema: ...


@dataclass(frozen=True)
class Text(Generic[T]):
    """A text that `parse` accepts; its ValueError becomes the problem."""

    parse: Callable[[str], T]
    what: str = "text"
    pattern: str | None = None
    examples: tuple[str, ...] = ()

    def read(self, node: Node, context: LoadContext) -> T:
        text = require_text(node, context, self.what, self.parse)
        try:
            return self.parse(text)
        except ValueError as error:
            raise context.error(node.place, str(error)) from None

    def schema(self) -> Schema:
        schema: Schema = {"type": "string"}
        if self.pattern is not None:
            schema["pattern"] = f"^(?:{self.pattern})$"
        if self.examples:
            schema["examples"] = list(self.examples)
        return schema


@dataclass(frozen=True)
class Template:
    """A Jinja2 source.

    `check` sees a text without any tag, and says by ValueError that it cannot be right.
    """

    check: Callable[[str], object] | None = None
    one_line: bool = True

    def read(self, node: Node, context: LoadContext) -> Pattern:
        source = require_text(node, context, "text")
        if len(source) > MAX_TEMPLATE:
            text = f"expected at most {MAX_TEMPLATE:,} characters; longer templates are files"
            raise context.error(node.place, text)
        if self.one_line:
            source = source.rstrip("\n")  # what a block scalar (`>`, `|`) adds
            if found := _CONTROL.search(_TAGS.sub("", source)):
                text = f"a control character or line end (U+{ord(found[0]):04X}) is not allowed here"
                raise context.error(node.place, text)
        if not source.strip():
            raise context.error(node.place, "expected text, found only blanks")
        if self.check and "{" not in source:
            try:
                self.check(source)
            except ValueError as error:
                raise context.error(node.place, str(error)) from None
        return Pattern(source, node.place, context.key)

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True)
class Integer:
    """A whole number from `minimum` to `maximum`."""

    minimum: int
    maximum: int

    def read(self, node: Node, context: LoadContext) -> int:
        value = node.value if isinstance(node, Scalar) else None
        if not isinstance(node, Scalar) or not isinstance(value, int) or isinstance(value, bool):
            advice = "; without quotes it is a number" if str(value).isdecimal() else ""
            raise context.error(node.place, f"expected a whole number, found {describe(node)}{advice}")
        if not self.minimum <= value <= self.maximum:
            found = shorten(node.text, MAX_QUOTED)
            text = f"expected a number from {self.minimum} to {self.maximum}, found {found}"
            raise context.error(node.place, text)
        return value

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def read(self, node: Node, context: LoadContext) -> bool:
        if not isinstance(node, Scalar) or not isinstance(node.value, bool):
            word = node.text.lower() if isinstance(node, Scalar) else ""
            meant = "true" if word in _YES else "false" if word in _NO else ""
            advice = f"; in YAML 1.2 that is text: write {meant}" if meant else ""
            raise context.error(node.place, f"expected true or false, found {describe(node)}{advice}")
        return node.value

    def schema(self) -> Schema:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice:
    """One of a few words. YAML may read a word as a number (`163`); then its text counts."""

    values: tuple[str, ...]

    def read(self, node: Node, context: LoadContext) -> Any:
        value = node.text if isinstance(node, Scalar) and node.value is not None else None
        if value not in self.values:
            expected = join_words(self.values, "or")
            near = suggest_nearest(value, self.values) if value else ""
            raise context.error(node.place, f"expected {expected}, found {describe(node)}{near}")
        return value

    def schema(self) -> Schema:
        numbers = [int(value) for value in self.values if value.isdecimal()]
        return {"enum": [*self.values, *numbers]}


@dataclass(frozen=True)
class Constant(Generic[T]):
    """One word that means `value` (`auto`, null) where otherwise `type` is expected."""

    word: str | None
    value: T
    type: FieldType[T]

    def read(self, node: Node, context: LoadContext) -> T:
        if isinstance(node, Scalar) and node.value == self.word:
            return self.value
        try:
            return self.type.read(node, context)
        except ValidationError as error:
            raise ValidationError(map(self._add_word, error.problems)) from None

    def _add_word(self, problem: Problem) -> Problem:
        if self.word is None:
            return problem
        before, expected, rest = problem.text.partition("expected ")
        joint = ", " if re.search(", .* or ", rest.partition(", found")[0]) else " or "
        return replace(problem, text=f"{before}{expected}{self.word}{joint}{rest}" if expected else before)

    def schema(self) -> Schema:
        return {"anyOf": [{"const": self.word}, self.type.schema()]}


@dataclass(frozen=True)
class FilePath:
    """A path relative to the campaign file. With `exists` the file must be there."""

    exists: bool = False

    def read(self, node: Node, context: LoadContext) -> NamedFile:
        name = require_text(node, context, "a path")
        if not name or "\0" in name:
            raise context.error(node.place, "expected a path")
        file = context.locate_file(name, node.place)
        if (
            self.exists
            and context.access.own_machine
            and context.may_read(file)
            and (problem := file.find_problem())
        ):
            raise ValidationError([problem])
        return file

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True)
class ListOf(Generic[T]):
    """A list of values of one type, at least `minimum`. With `or_one` a value alone is a list of one."""

    type: FieldType[T]
    or_one: bool = False
    minimum: int = 0

    def read(self, node: Node, context: LoadContext) -> tuple[T, ...]:
        if self.or_one and isinstance(node, Scalar):
            return (self.type.read(node, context),)
        if not isinstance(node, nodes.Sequence):
            raise context.error(node.place, f"expected a list, found {describe(node)}")
        if len(node.items) < self.minimum:
            raise context.error(
                node.place, f"expected a list of {self.minimum} or more, found {len(node.items)}"
            )
        if len(node.items) > MAX_ITEMS:
            raise _too_many_items(len(node.items), node, context)
        return tuple(collect_values(functools.partial(self.type.read, item, context) for item in node.items))

    def schema(self) -> Schema:
        items = self.type.schema()
        many: Schema = {
            "type": "array", "items": items, "minItems": self.minimum, "maxItems": MAX_ITEMS
        }  # fmt: skip
        return {"anyOf": [items, many]} if self.or_one else many


@dataclass(frozen=True)
class MapOf(Generic[T]):
    """A mapping whose keys are the user's own. `check_key` says by ValueError that one is not allowed."""

    type: FieldType[T]
    check_key: Callable[[str], object]
    key_pattern: str

    def read(self, node: Node, context: LoadContext) -> dict[str, T]:
        if not isinstance(node, nodes.Mapping):
            raise context.error(node.place, f"expected a mapping, found {describe(node)}")
        if len(node.entries) > MAX_ITEMS:
            raise _too_many_items(len(node.entries), node, context)
        values = collect_values(
            functools.partial(self._read, node, *entry, context) for entry in node.entries.items()
        )
        return dict(zip(node.entries, values, strict=True))

    def _read(self, node: nodes.Mapping, key: str, value: Node, context: LoadContext) -> T:
        try:
            self.check_key(key)
        except ValueError as error:
            raise context.error(node.keys[key], str(error)) from None
        return self.type.read(value, context.below(key))

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{self.key_pattern})$"},
            "additionalProperties": self.type.schema(),
            "maxProperties": MAX_ITEMS,
        }


def _too_many_items(count: int, node: Node, context: LoadContext) -> ValidationError:
    return context.error(node.place, f"expected at most {MAX_ITEMS:,} items, found {count:,}")


def text_matching(pattern: str, what: str, *examples: str) -> Text[str]:
    """Return the type of a text that matches the regular expression `pattern` as a whole.

    `what` says in messages what is expected; `examples` are for the JSON Schema.
    """

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {what}")
        return text

    return Text(parse, what, pattern, examples)


def require_text(node: Node, context: LoadContext, what: str, parse: Callable[[str], object] = str) -> str:
    """Return the text of a scalar that is text.

    ValidationError for anything else. A number, or a word that YAML reads otherwise, must be quoted; the
    problem says so if `parse` accepts its text. `what` says what is expected.
    """
    advice = ""
    if isinstance(node, Scalar):
        if isinstance(node.value, str):
            return node.value
        if node.value is not None:
            with contextlib.suppress(ValueError):
                parse(node.text)
                advice = "; in quotes it is text"
    raise context.error(node.place, f"expected {what}, found {describe(node)}{advice}")


def suggest_nearest(word: str, words: Iterable[str]) -> str:
    """Return `; did you mean …?` with the word that is probably meant, or nothing."""
    found = find_similar(word, words)
    return f"; did you mean {found!r}?" if found else ""


def join_words(words: Iterable[str], conjunction: str) -> str:
    """Return "a, b or c"."""
    *first, last = words
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def collect_values(reads: Iterable[Callable[[], T]]) -> list[T]:
    """Return the values of all `reads`, or raise ValidationError with the problems of all."""
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
