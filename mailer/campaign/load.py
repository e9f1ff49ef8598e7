"""A campaign file to a `Campaign`: every problem at once, each with its place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mailer.campaign.files import NamedFile, encoding_by_mark, printable
from mailer.campaign.model import Attachment, Campaign, Pattern, Unsubscribe
from mailer.campaign.schema import yaml
from mailer.campaign.schema.field_types import Reading, Scope, Wrong
from mailer.campaign.schema.fields import CAMPAIGN, check_campaign_name
from mailer.campaign.schema.special_types import check_variable
from mailer.campaign.sources import InlineSource
from mailer.errors import InputError, Place, Problem, by_place

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
    overrides = _checked_overrides(variables or {})
    absolute = Path(os.path.abspath(path))
    node, problems = yaml.compose(_read(NamedFile(absolute, shown)), shown)
    if node is None:
        raise InputError(Problem(Place(shown), "the file is empty; expected a campaign"))
    try:
        reading = CAMPAIGN.survey(node, Scope(absolute.parent, Path(path).parent))
    except Wrong as error:
        raise InputError([*problems, *error.problems]) from None
    reading.problems.extend(problems)
    reading.values["vars"] = {**reading.values.get("vars", {}), **overrides}
    name = _name(reading)
    if reading.problems:
        raise InputError(by_place([*reading.problems, *_later(reading.values)]))
    return _build(absolute, name, reading.values)


def project_root(path: Path) -> Path:
    """The folder that templates and files must lie in: the campaign's, or its parent where that is `campaigns`."""
    return path.parent.parent if path.parent.name == "campaigns" else path.parent


def _build(path: Path, name: str, values: Mapping[str, Any]) -> Campaign:
    values = {_RENAMED.get(key, key): value for key, value in values.items()}
    return Campaign(**{**values, "path": path, "root": project_root(path), "name": name})


def _name(reading: Reading) -> str:
    """The campaign's name, rendered. What is wrong with it joins the other problems."""
    pattern: Pattern | None = reading.values.get("campaign")
    if pattern is None or (reading.problems and "{" in pattern.source):
        return ""  # with `vars` in doubt its problems would only be echoes
    try:
        name = pattern.source
        if "{" in name:
            from mailer.templating import render_pattern

            name = render_pattern(pattern.source, reading.values["vars"], pattern.place)
        return check_campaign_name(name)
    except InputError as error:
        reading.problems.extend(error.problems)
    except ValueError as error:
        reading.problems.append(Problem(pattern.place, str(error)))
    return ""


def _later(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What would only be found when the campaign is compiled and its list is read: all errors of a file at once."""
    from mailer.templating import pattern_problem

    for pattern in _patterns(list(values.values())):
        if "{" in pattern.source and (problem := pattern_problem(pattern.source, pattern.place)):
            yield problem
    if isinstance(rows := values.get("recipients"), InlineSource):
        yield from rows.problems()


def _patterns(value: object) -> Iterator[Pattern]:
    if isinstance(value, Pattern):
        yield value
    elif isinstance(value, Attachment):
        yield from _patterns([value.path, value.filename])
    elif isinstance(value, Unsubscribe):
        yield from _patterns([value.url, value.mailto])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _patterns(item)
    elif isinstance(value, dict):
        yield from _patterns(list(value.values()))


def _read(file: NamedFile) -> str:
    with file.open() as stream:
        content = stream.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise InputError(
            Problem(Place(file.shown), f"a campaign file has at most {MAX_FILE // 1024 // 1024} MB; this one has more"),
            hint="a long list of recipients goes into a file of its own: recipients: people.csv",
        )
    codec = encoding_by_mark(content) or "utf-8"
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        name = codec.removesuffix("-sig").upper()
        before = content[: error.start].decode(codec, "replace")
        place = yaml.place_of(before, len(before), file.shown)
        text = f"not {name} (found 0x{content[error.start]:02X}); expected a file saved as UTF-8"
        raise InputError(Problem(place, text)) from None


def _checked_overrides(variables: Mapping[str, str]) -> dict[str, str]:
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
