"""Report files: which format, and where to.

A file that cannot be written is found before anything is sent.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Protocol, TextIO

from mailer.dataclass import dataclass
from mailer.errors import InputError, Problem
from mailer.files import PRIVATE, check_folder, replace_text_file
from mailer.report.summary import Report

FORMATS = ("json", "csv", "html", "md", "xml")  # a file's suffix, or the word before its name (`md:summary`)
STANDARD_OUTPUT = "-"


class ReportFormat(Protocol):
    """The module of a format. It streams the report, so memory does not grow with the recipients."""

    def write(self, report: Report, stream: TextIO) -> None:
        """Write `report` to `stream` as text."""


@dataclass(frozen=True, slots=True)
class ReportTarget:
    """Where a report goes, and in which format of FORMATS. `path` is None for standard output."""

    format: str
    path: Path | None

    def __str__(self) -> str:
        return STANDARD_OUTPUT if self.path is None else str(self.path)


def parse_report_target(text: str | Path) -> ReportTarget:
    """Return the target that `text`, `FILE` or `FORMAT:FILE`, names; FILE `-` is standard output.

    Raises InputError if neither the suffix nor a FORMAT says the format.
    """
    word, separator, name = str(text).partition(":")
    if separator and word in FORMATS and name:
        return ReportTarget(word, None if name == STANDARD_OUTPUT else Path(name))
    if (suffix := Path(text).suffix.lower().removeprefix(".")) in FORMATS:
        return ReportTarget(suffix, Path(text))
    raise InputError(
        f"report {text}: {_explain_format(text)}", hint=f"FORMAT:FILE names it, such as md:{text}"
    )


def check_report_targets(
    texts: Iterable[str | Path], *, keep: Mapping[Path, str] | None = None
) -> tuple[ReportTarget, ...]:
    """Return the targets that `texts` name if each can be written.

    None may replace a file of `keep`, which maps paths to what they are. Missing folders are made. Raises
    InputError with every problem.
    """
    kept = {os.path.realpath(path): what for path, what in (keep or {}).items()}
    problems: list[Problem] = []
    hint: str | None = None
    seen: dict[str, ReportTarget] = {}
    for text in texts:
        try:
            target = parse_report_target(text)
        except InputError as error:
            problems += error.problems
            hint = error.hint
            continue
        place = STANDARD_OUTPUT if target.path is None else os.path.realpath(target.path)
        fault = _find_fault(target.path)
        if fault is None and place in kept:
            fault = f"this is the {kept[place]}, and a report would replace it"
        if fault is None and place in seen:
            fault = f"two reports cannot go to one file ({seen[place]})"
        if fault is not None:
            problems.append(Problem(None, f"report {target}: {fault}"))
        seen.setdefault(place, target)
    if problems:
        raise InputError(problems, hint=hint)
    return tuple(seen.values())


def write_report(report: Report, target: ReportTarget | Path | str) -> None:
    """Write `report` to `target`: a file as a whole or not at all, with mode 0600.

    Raises InputError if that fails.
    """
    if not isinstance(target, ReportTarget):
        target = parse_report_target(target)
    report_format = _load_format(target.format)
    try:
        with (
            _standard_output()
            if target.path is None
            else replace_text_file(target.path, mode=PRIVATE) as stream
        ):
            report_format.write(report, stream)
    except OSError as error:
        raise InputError(f"report {target}: cannot be written: {_explain(error)}") from error


def _load_format(name: str) -> ReportFormat:
    """Import only the format that is asked for: the HTML report needs Jinja2."""
    if name == "csv":
        from mailer.report.formats import csv

        return csv
    if name == "html":
        from mailer.report.formats import html

        return html
    if name == "md":
        from mailer.report.formats import markdown

        return markdown
    if name == "xml":
        from mailer.report.formats import junit

        return junit
    from mailer.report.formats import json

    return json


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    """UTF-8, whatever the terminal's encoding is: a report is a document."""
    sys.stdout.flush()
    stream = TextIOWrapper(sys.stdout.buffer, encoding="utf-8", errors="backslashreplace", newline="\n")
    try:
        yield stream
        stream.flush()
    finally:
        stream.detach()


def _explain_format(text: str | Path) -> str:
    suffix = Path(text).suffix
    said = f"the suffix {suffix} is" if suffix else "no suffix is"
    return f"{said} not a format; expected one of {' '.join(f'.{name}' for name in FORMATS)}"


def _find_fault(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except (OSError, ValueError) as error:
        return f"cannot be written: {_explain(error)}"
    if stat.S_ISLNK(mode):
        return "is a symbolic link, and none is followed; name the file itself"
    if stat.S_ISDIR(mode):
        return "is a folder, expected a file"
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    try:
        check_folder(path.parent)
    except OSError as error:
        return f"cannot be written: {_explain(error)}"
    return None


def _explain(error: Exception) -> str:
    """The system's words, with the path they are about if that is another one (a folder above)."""
    if isinstance(error, OSError) and error.strerror:
        is_other = error.filename and not str(error.filename).endswith(".part")
        return error.strerror + (f" ({error.filename})" if is_other else "")
    return str(error)
