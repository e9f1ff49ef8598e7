"""What the preview's processes tell each other: plain values that can be pickled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailer.errors import Place, Problem


@dataclass(frozen=True, slots=True)
class CampaignState:
    """A campaign after it was loaded. `problems` is empty if its messages can be rendered.

    `list_fingerprint` changes when the list does; None if that cannot be said (a query).
    """

    problems: Sequence[Problem] = ()
    name: str = ""
    root: Path | None = None
    list_file: Path | None = None
    list_fingerprint: str | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Rendering:
    """A message's octets and envelope, or the problems that keep it from being made."""

    content: bytes = b""
    sender: str = ""
    recipients: Sequence[str] = ()
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class SearchedRows:
    """How many rows were looked at before the first that fails (if `has_failed`) or before time was up."""

    count: int
    has_failed: bool


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding of `mailer check`: where, which rule, what, and why it matters."""

    place: Place
    rule: str
    text: str
    reason: str
