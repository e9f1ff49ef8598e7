"""The arguments of `Campaign(...)`, read by the schema of campaign files, so that both accept and refuse the
same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mailer.campaign.model import (
    Attachment,
    Calendar,
    Delivery,
    Dkim,
    Pattern,
    RecipientSource,
    ServerConfig,
    Unsubscribe,
)
from mailer.campaign.schema import nodes
from mailer.campaign.schema.field_types import FieldType, ListOf, LoadContext, MapOf, ValidationError
from mailer.campaign.schema.fields import CAMPAIGN, check_campaign_name
from mailer.campaign.schema.recipients import Recipients
from mailer.campaign.sources import IterableSource
from mailer.errors import InputError, Place, Problem

PLACE = Place("<campaign>")  # of a value that a program gave
_KEYS = {"sender": "from"}  # arguments with another name than their key
# Values of these types are checked already.
_MODELS = (Pattern, Attachment, Calendar, Unsubscribe, ServerConfig, Delivery, Dkim)
_KEPT = frozenset({"path", "root", "name", "recipients", "warnings", "unknown_variables"})


def check_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `Campaign(...)` as its attributes. InputError with every problem of them."""
    root = Path(os.path.abspath(values["root"] or (Path(values["path"]).parent if values["path"] else ".")))
    path = Path(os.path.abspath(values["path"])) if values["path"] else root / "<campaign>"
    checked: dict[str, Any] = {"path": path, "root": root}
    problems: list[Problem] = []
    context = LoadContext(root if values["path"] is None else path.parent, Path(), root)
    try:
        checked["name"] = check_campaign_name(values["name"]) if isinstance(values["name"], str) else ""
        if not checked["name"]:
            raise ValueError("expected text")
    except ValueError as error:
        problems.append(Problem(PLACE, f"name: {error}"))
    checked["recipients"] = _check_recipients(values["recipients"], context.below("recipients"), problems)
    types = {field.name: field.type for field in CAMPAIGN.fields}
    for name, value in values.items():
        if name in _KEPT:
            checked.setdefault(name, value)
            continue
        key = _KEYS.get(name, name)
        try:
            checked[name] = _read_argument(value, types[key], context.below(name))
        except ValidationError as error:
            problems.extend(error.problems)
    if values["template"] is None and values["text"] is None:
        problems.append(Problem(PLACE, "expected 'template', 'text' or both"))
    if problems:
        raise InputError(problems)
    checked["delivery"] = checked["delivery"] or Delivery()
    return checked


def _check_recipients(value: Any, context: LoadContext, problems: list[Problem]) -> RecipientSource | None:
    if hasattr(value, "fingerprint"):
        return value  # type: ignore[no-any-return]  # a source
    if isinstance(value, (str, os.PathLike, Mapping)):  # a file or a query, as in a campaign file
        try:
            return Recipients().read(_to_node(value, context, 0), context)
        except ValidationError as error:
            problems.extend(error.problems)
            return None
    if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        return IterableSource(value)
    problems.append(Problem(PLACE, "recipients: expected an iterable of mappings with 'email'"))
    return None


def _read_argument(value: Any, field_type: FieldType[Any], context: LoadContext) -> Any:
    """Return `value`, or what `field_type` reads from it if it is not a value of the model."""
    if value is None or (isinstance(value, _MODELS) and not isinstance(field_type, ListOf)):
        return value
    if isinstance(field_type, ListOf):
        if isinstance(value, (str, Pattern)) and field_type.or_one:
            value = (value,)
        if isinstance(value, (list, tuple)):
            return tuple(_read_argument(item, field_type.type, context) for item in value)
    if isinstance(field_type, MapOf) and isinstance(value, Mapping):
        for name in value:
            try:
                field_type.check_key(name)
            except ValueError as error:
                raise context.error(PLACE, str(error)) from None
        return {
            name: _read_argument(item, field_type.type, context.below(name)) for name, item in value.items()
        }
    return field_type.read(_to_node(value, context, 0), context)


def _to_node(value: object, context: LoadContext, depth: int) -> nodes.Node:
    """Return the node that YAML would give for `value`."""
    if depth > nodes.MAX_DEPTH:
        raise context.error(PLACE, f"nested deeper than {nodes.MAX_DEPTH} levels")
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return nodes.Scalar(PLACE, value, "" if value is None else str(value))
    if isinstance(value, Mapping):
        entries = {str(key): _to_node(item, context, depth + 1) for key, item in value.items()}
        return nodes.Mapping(PLACE, entries, dict.fromkeys(entries, PLACE))
    if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        return nodes.Sequence(PLACE, [_to_node(item, context, depth + 1) for item in value])
    return nodes.Scalar(PLACE, str(value), str(value))  # a date, say
