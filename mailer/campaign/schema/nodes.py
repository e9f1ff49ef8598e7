"""The nodes of a YAML document: scalars, lists and mappings that know their places."""

from __future__ import annotations

from dataclasses import field

from mailer.campaign.schema.scalars import MAX_QUOTED, ScalarValue, written_number
from mailer.dataclass import dataclass
from mailer.errors import Place
from mailer.text import shorten

MAX_DEPTH = 100  # keeps the recursion of all that reads nodes far from Python's limit

type_names = {str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "nothing"}


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
