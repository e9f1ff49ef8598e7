"""Mappings with known keys: the type of a campaign file and of the mappings in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any, Generic, TypeVar

from mailer.campaign.schema import nodes
from mailer.campaign.schema.field_types import (
    FieldType,
    LoadContext,
    Schema,
    ValidationError,
    suggest_nearest,
)
from mailer.campaign.schema.nodes import Node, describe
from mailer.campaign.schema.scalars import MAX_QUOTED
from mailer.dataclass import dataclass
from mailer.errors import Place, Problem
from mailer.text import shorten

T = TypeVar("T")

MAX_PROBLEMS = 1_000  # of one mapping


@dataclass(frozen=True)
class Field:
    """One key of a mapping.

    `description` and `example` (YAML) are for people: editors and the reference of campaign files show them.
    `default` is the value as YAML has it, None if there is none. `also` are other names that people try.
    """

    name: str
    type: FieldType[Any]
    description: str
    required: bool = False
    default: object = None
    also: tuple[str, ...] = ()
    example: str = ""


@dataclass
class ParsedMapping:
    """A mapping as far as it could be read: the valid values, the place of each key, and the problems."""

    place: Place
    context: LoadContext
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, place: Place, text: str, key: str = "") -> Problem:
        """Return a problem at `place` that names the mapping's key, and `key` below it if given."""
        return (self.context.below(key) if key else self.context).problem(place, text)


@dataclass(frozen=True)
class MappingType(Generic[T]):
    """A mapping with the keys of `fields`.

    `check` sees what could be read and yields more problems. `build` makes the value if there is no problem.
    `rules` are added to the JSON Schema.
    """

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
        """Return every value that can be read, and every problem.

        ValidationError if `node` is not a mapping.
        """
        if not isinstance(node, nodes.Mapping):
            raise context.error(node.place, f"expected {self.what}, found {describe(node)}")
        parsed = ParsedMapping(node.place, context, places=dict(node.keys))
        known = {entry.name: entry for entry in self.fields}
        for key, value in node.entries.items():
            if len(parsed.problems) >= MAX_PROBLEMS:
                break
            if isinstance(value, nodes.Mapping) and value.is_broken:
                continue  # its problem is known
            if key not in known:
                parsed.problems.append(context.problem(node.keys[key], self._describe_unknown(key)))
                continue
            try:
                parsed.values[key] = known[key].type.read(value, context.below(key))
            except ValidationError as error:
                parsed.problems.extend(error.problems)
        for entry in self.fields:
            if entry.required and entry.name not in node.entries:
                parsed.problems.append(
                    context.problem(node.place, f"the key {entry.name!r} is missing; it is required")
                )
        parsed.problems.extend(self.check(parsed))
        return parsed

    def _describe_unknown(self, key: str) -> str:
        for other in self.fields:
            if key.lower() in other.also:
                return f"unknown key {key!r}; did you mean {other.name!r}?"
        names = [entry.name for entry in self.fields]
        near = suggest_nearest(key, names)
        return f"unknown key {shorten(key, MAX_QUOTED)!r}{near or '; expected one of ' + ', '.join(names)}"

    def schema(self) -> Schema:
        properties = {}
        for entry in self.fields:
            properties[entry.name] = {"description": entry.description, **entry.type.schema()}
            if entry.default is not None:
                properties[entry.name]["default"] = entry.default
        required = [entry.name for entry in self.fields if entry.required]
        schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
        return {**schema, **({"required": required} if required else {}), **self.rules}


@dataclass(frozen=True)
class OrMapping(Generic[T]):
    """A mapping, or a shorter form (a text, say) that means the same."""

    mapping: MappingType[T]
    short: FieldType[Any]
    build: Callable[[Any], T]

    def read(self, node: Node, context: LoadContext) -> T:
        if isinstance(node, nodes.Mapping):
            return self.mapping.read(node, context)
        return self.build(self.short.read(node, context))

    def schema(self) -> Schema:
        return {"anyOf": [self.short.schema(), self.mapping.schema()]}
