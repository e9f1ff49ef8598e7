"""A campaign file to a `Campaign`: every problem at once, each with its place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mailer.campaign.files import NamedFile, detect_bom_encoding, printable
from mailer.campaign.model import Attachment, Campaign, Pattern, Unsubscribe
from mailer.campaign.schema import nodes
from mailer.campaign.schema.field_types import LoadContext, ParsedMapping, ValidationError
from mailer.campaign.schema.fields import CAMPAIGN, check_campaign_name
from mailer.campaign.schema.special_types import check_variable
from mailer.campaign.sources import InlineSource
from mailer.errors import InputError, Place, Problem, sort_problems

MAX_FILE = 8 * 1024 * 1024  # octets; a list of this size belongs into a file of its own

_RENAMED = {"campaign": "name", "from": "sender"}  # the file's words that Python or the model has another use for


def load_campaign(path: str | os.PathLike[str], *, variables: Mapping[str, str] | None = None) -> Campaign:
    """The campaign in the YAML file at `path`; `variables` (`--var`) win over its `vars`.

    InputError holds all problems of the file, sorted. Environment variables that `vars` name are read; no secret is,
    no command runs, and no list is opened.
    """
    shown = printable(os.fspath(path))
    if not shown:
        raise InputError("expected the path of a campaign file, found an empty one")
    overrides = _check_overrides(variables or {})
    absolute = Path(os.path.abspath(path))
    node, problems = nodes.compose(_read_text(NamedFile(absolute, shown)), shown)
    if node is None:
        raise InputError(Problem(Place(shown), "the file is empty; expected a campaign"))
    try:
        parsed = CAMPAIGN.parse(node, LoadContext(absolute.parent, Path(path).parent))
    except ValidationError as error:
        raise InputError([*problems, *error.problems]) from None
    parsed.problems.extend(problems)
    parsed.values["vars"] = {**parsed.values.get("vars", {}), **overrides}
    name = _render_name(parsed)
    if parsed.problems:
        raise InputError(sort_problems([*parsed.problems, *_find_later_problems(parsed.values)]))
    return _build_campaign(absolute, name, parsed.values)


def project_root(path: Path) -> Path:
    """The folder that templates and files must lie in: the campaign's, or its parent where that is `campaigns`."""
    return path.parent.parent if path.parent.name == "campaigns" else path.parent


def _build_campaign(path: Path, name: str, values: Mapping[str, Any]) -> Campaign:
    values = {_RENAMED.get(key, key): value for key, value in values.items()}
    return Campaign(**{**values, "path": path, "root": project_root(path), "name": name})


def _render_name(parsed: ParsedMapping) -> str:
    """The campaign's name, rendered. What is wrong with it joins the other problems."""
    pattern: Pattern | None = parsed.values.get("campaign")
    if pattern is None or (parsed.problems and "{" in pattern.source):
        return ""  # with `vars` in doubt its problems would only be echoes
    try:
        name = pattern.source
        if "{" in name:
            from mailer.templating import render_pattern

            name = render_pattern(pattern.source, parsed.values["vars"], pattern.place)
        return check_campaign_name(name)
    except InputError as error:
        parsed.problems.extend(error.problems)
    except ValueError as error:
        parsed.problems.append(Problem(pattern.place, str(error)))
    return ""


def _find_later_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What would only be found when the campaign is compiled and its list is read: all errors of a file at once."""
    from mailer.templating import find_pattern_problem

    for pattern in _iter_patterns(list(values.values())):
        if "{" in pattern.source and (problem := find_pattern_problem(pattern.source, pattern.place)):
            yield problem
    if isinstance(rows := values.get("recipients"), InlineSource):
        yield from rows.find_problems()


def _iter_patterns(value: object) -> Iterator[Pattern]:
    if isinstance(value, Pattern):
        yield value
    elif isinstance(value, Attachment):
        yield from _iter_patterns([value.path, value.filename])
    elif isinstance(value, Unsubscribe):
        yield from _iter_patterns([value.url, value.mailto])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _iter_patterns(item)
    elif isinstance(value, dict):
        yield from _iter_patterns(list(value.values()))


def _read_text(file: NamedFile) -> str:
    with file.open() as stream:
        content = stream.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise InputError(
            Problem(Place(file.shown), f"a campaign file has at most {MAX_FILE // 1024 // 1024} MB; this one has more"),
            hint="a long list of recipients goes into a file of its own: recipients: people.csv",
        )
    codec = detect_bom_encoding(content) or "utf-8"
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        name = codec.removesuffix("-sig").upper()
        before = content[: error.start].decode(codec, "replace")
        place = nodes.place_of(before, len(before), file.shown)
        text = f"not {name} (found 0x{content[error.start]:02X}); expected a file saved as UTF-8"
        raise InputError(Problem(place, text)) from None


def _check_overrides(variables: Mapping[str, str]) -> dict[str, str]:
    problems = []
    for name, value in variables.items():
        try:
            check_variable(name)
            value.encode()
        except UnicodeEncodeError:
            problems.append(Problem(None, f"--var {name}: the value is not UTF-8"))
        except ValueError as error:
            problems.append(Problem(None, f"--var {name[:80]}: {error}"))
    if problems:
        raise InputError(problems)
    return dict(variables)
