"""A campaign file, or the arguments of `Campaign(...)`, to the values of a `Campaign`.

Both are read by the schema of campaign files, so both accept and refuse the same. Every problem is found at
once, each with its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mailer.campaign.access import HINT, TRUSTED, Access, is_project_file, name_stand_ins
from mailer.campaign.model import (
    Attachment,
    Calendar,
    Campaign,
    Delivery,
    Dkim,
    Pattern,
    RecipientSource,
    ServerConfig,
    Unsubscribe,
)
from mailer.campaign.named_file import NamedFile, detect_bom_encoding
from mailer.campaign.providers import PROVIDERS
from mailer.campaign.schema import nodes
from mailer.campaign.schema.compose import compose, place_of
from mailer.campaign.schema.field_types import FieldType, ListOf, LoadContext, MapOf, ValidationError
from mailer.campaign.schema.fields import CAMPAIGN, check_campaign_name
from mailer.campaign.schema.mapping_types import ParsedMapping
from mailer.campaign.schema.recipients import Recipients
from mailer.campaign.sources import InlineSource, IterableSource, check_variable_name
from mailer.dataclass import dataclass
from mailer.errors import InputError, Place, Problem, sort_problems
from mailer.text import make_printable

MAX_FILE = 8 * 1024 * 1024  # octets; a longer list belongs in a file of its own

_RENAMED = {"campaign": "name", "from": "sender"}  # keys that Python or the model uses for something else
_REQUIRED = ("sender", "subject", "recipients")


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A campaign file as far as it can be read.

    `campaign` has the values that are right; it is None if a required one is not. If there are problems it
    must not be sent, but its templates and its list can be checked in the same round.
    """

    campaign: Campaign | None
    problems: tuple[Problem, ...]


def load_campaign(
    path: str | os.PathLike[str], *, variables: Mapping[str, str] | None = None, access: Access = TRUSTED
) -> Campaign:
    """Return the campaign in the YAML file at `path`.

    `variables` (`--var`) take precedence over its `vars`. `access` says what the campaign may make the mailer
    read. Environment variables that `vars` names are read. No secret is read, no command is run and no list
    is opened. InputError has all problems of the file, sorted by place.
    """
    result = read_campaign(path, variables=variables, access=access)
    if result.problems or result.campaign is None:
        raise InputError(result.problems)
    return result.campaign


def read_campaign(
    path: str | os.PathLike[str], *, variables: Mapping[str, str] | None = None, access: Access = TRUSTED
) -> LoadResult:
    """Return what `load_campaign` returns or raises.

    InputError only for a file that is not YAML with a mapping.
    """
    shown = make_printable(os.fspath(path))
    if not shown:
        raise InputError("expected the path of a campaign file, found an empty one")
    overrides = _check_overrides(variables or {})
    file = Path(os.path.abspath(path))
    root = project_root(file)
    if not access.outside_files and not is_project_file(file, root):
        raise InputError(
            Problem(Place(shown), "the campaign file is a link out of the project, or hidden"), hint=HINT
        )
    node, problems = compose(
        _read_text(NamedFile(file, shown, root=None if access.outside_files else root)), shown
    )
    if node is None:
        raise InputError(Problem(Place(shown), "the file is empty; expected a campaign"))
    try:
        parsed = CAMPAIGN.parse(node, LoadContext(file.parent, Path(path).parent, root, access))
    except ValidationError as error:
        raise InputError([*problems, *error.problems]) from None
    parsed.problems.extend(problems)
    unknown = _find_unknown(overrides, parsed)
    parsed.values["vars"] = {**parsed.values.get("vars", {}), **overrides}
    name = _render_name(parsed, access)
    if parsed.problems:
        parsed.problems.extend(_find_later_problems(parsed.values))
    _apply_provider(parsed, node)
    warnings = _find_empty(parsed, overrides)
    campaign = _build_campaign(
        file, root, name, {**parsed.values, "warnings": warnings, "unknown_variables": unknown}
    )
    return LoadResult(campaign, tuple(sort_problems(parsed.problems)))


def project_root(path: Path) -> Path:
    """Return the folder that templates and files must be in: the campaign's, or its parent if that is
    `campaigns`.
    """
    return path.parent.parent if path.parent.name == "campaigns" else path.parent


def _build_campaign(path: Path, root: Path, name: str, values: Mapping[str, Any]) -> Campaign | None:
    values = {_RENAMED.get(key, key): value for key, value in values.items()}
    if not all(key in values for key in _REQUIRED) or not values.keys() & {"template", "text"}:
        return None
    return Campaign(**{**values, "path": path, "root": root, "name": name or "unnamed"})


def _render_name(parsed: ParsedMapping, access: Access) -> str:
    """Return the campaign's name, rendered; "" if it is wrong. Its problems are added to the others."""
    pattern: Pattern | None = parsed.values.get("campaign")
    if pattern is None or (parsed.problems and not pattern.is_constant):
        return ""  # if `vars` is in doubt, the name's problems would only repeat that
    try:
        name = pattern.source
        if not pattern.is_constant:
            from mailer.templating import render_pattern

            name = render_pattern(pattern.source, parsed.values["vars"], pattern.place)
        if not access.environment:
            name = name_stand_ins(name)
        return check_campaign_name(name)
    except InputError as error:
        parsed.problems.extend(
            replace(problem, text=f"campaign: {problem.text}") for problem in error.problems
        )
    except ValueError as error:
        parsed.problems.append(parsed.problem(pattern.place, str(error), "campaign"))
    return ""


def _apply_provider(parsed: ParsedMapping, node: nodes.Node) -> None:
    """Set the provider's rate, unless the campaign says one (or that there is none)."""
    server = parsed.values.get("server")
    own = node.entries.get("delivery") if isinstance(node, nodes.Mapping) else None
    has_rate = isinstance(own, nodes.Mapping) and "rate" in own.entries
    if server is not None and server.provider and not has_rate:
        delivery = parsed.values.get("delivery", Delivery())
        parsed.values["delivery"] = replace(delivery, rate=PROVIDERS[server.provider].rate)


def _find_unknown(overrides: Mapping[str, str], parsed: ParsedMapping) -> tuple[str, ...]:
    """Return the names of `--var` that the campaign file does not have: only a template may use them."""
    known = set(parsed.values.get("vars", {}))
    for _, pattern in _iter_patterns("", parsed.values):
        if not pattern.is_constant:
            known.update(re.findall(r"\w+", pattern.source))
    return tuple(name for name in overrides if name not in known)


def _find_empty(parsed: ParsedMapping, overrides: Mapping[str, str]) -> tuple[Problem, ...]:
    """Return warnings about values that are empty although somebody meant to give them."""
    warnings = [
        Problem(None, f"--var {name}: the value is empty") for name, value in overrides.items() if not value
    ]
    return (*warnings, *parsed.context.warnings)


def _find_later_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what would only be found when the campaign is compiled and its list is read."""
    from mailer.templating import find_pattern_problem

    for key, pattern in _iter_patterns("", values):
        if not pattern.is_constant and (problem := find_pattern_problem(pattern.source, pattern.place)):
            yield replace(problem, text=f"{key}: {problem.text}")
    if isinstance(rows := values.get("recipients"), InlineSource):
        yield from rows.find_problems()


def _iter_patterns(key: str, value: object) -> Iterator[tuple[str, Pattern]]:
    """Yield the patterns in a value, each with its key, as in "unsubscribe.url"."""
    below: Iterable[tuple[str, object]] = ()
    if isinstance(value, Pattern):
        yield key, value
    elif isinstance(value, Attachment):
        below = [(key, value.path), (f"{key}.filename", value.filename)]
    elif isinstance(value, Calendar):
        below = [(key, value.path)]
    elif isinstance(value, Unsubscribe):
        below = [(f"{key}.url", value.url), (f"{key}.mailto", value.mailto)]
    elif isinstance(value, list | tuple):
        below = [(key, item) for item in value]
    elif isinstance(value, dict) and key != "vars":
        below = [(f"{key}.{name}" if key else name, item) for name, item in value.items()]
    for name, item in below:
        yield from _iter_patterns(name, item)


def _read_text(file: NamedFile) -> str:
    with file.open() as stream:
        content = stream.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise InputError(
            Problem(
                Place(file.shown),
                f"a campaign file has at most {MAX_FILE // 1024 // 1024} MB; this one has more",
            ),
            hint="a long list of recipients goes into a file of its own: recipients: people.csv",
        )
    codec = detect_bom_encoding(content) or "utf-8"
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        name = codec.removesuffix("-sig").upper()
        before = content[: error.start].decode(codec, "replace")
        place = place_of(before, len(before), file.shown)
        text = f"not {name} (found 0x{content[error.start]:02X}); expected a file saved as UTF-8"
        raise InputError(Problem(place, text)) from None


def _check_overrides(variables: Mapping[str, str]) -> dict[str, str]:
    problems = []
    for name, value in variables.items():
        try:
            check_variable_name(name)
            value.encode()
        except UnicodeEncodeError:
            problems.append(Problem(None, f"--var {name}: the value is not UTF-8"))
        except ValueError as error:
            problems.append(Problem(None, f"--var {name[:20]}: {error}"))
    if problems:
        raise InputError(problems)
    return dict(variables)


# -- the arguments of `Campaign(...)`

PLACE = Place("<campaign>")  # of a value that a program gave
_KEYS = {"sender": "from"}  # arguments with another name than their key
# Values of these types are checked already.
_MODELS = (Pattern, Attachment, Calendar, Unsubscribe, ServerConfig, Delivery, Dkim)
_KEPT = frozenset({"path", "root", "name", "recipients", "warnings", "unknown_variables"})


def check_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `Campaign(...)` as its attributes. InputError with every problem of them."""
    for name in ("path", "root"):
        if not isinstance(values[name], str | os.PathLike | None):
            raise InputError(Problem(PLACE, f"{name}: expected a path, found {type(values[name]).__name__}"))
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
                field_type.check_key(str(name))
            except ValueError as error:
                raise context.error(PLACE, str(error)) from None
        return {
            str(name): _read_argument(item, field_type.type, context.below(str(name)))
            for name, item in value.items()
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
