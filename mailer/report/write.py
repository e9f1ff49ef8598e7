"""Report files: the suffix says the format, and a path that cannot work is found before anything is sent."""

from __future__ import annotations

import importlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, TextIO, cast

from mailer.errors import InputError, Problem
from mailer.report.output_files import atomically, try_folder
from mailer.report.summary import Report

SUFFIXES = {".json": "json", ".csv": "csv", ".html": "html", ".md": "markdown", ".xml": "junit"}


class Format(Protocol):
    """What a format's module gives: it streams the report, so that memory does not grow with the recipients."""

    def write(self, report: Report, stream: TextIO) -> None: ...


def write_report(report: Report, path: Path | str) -> Path:
    """Write `report` to `path`, atomically, in the format of its suffix; InputError where that fails."""
    path = Path(path)
    module = _format(path)
    try:
        with atomically(path) as stream:
            module.write(report, stream)
    except OSError as error:
        raise InputError(f"report {path}: cannot be written: {_why(error)}") from error
    return path


def check_report_paths(paths: Iterable[Path | str], *, keep: Mapping[Path, str] | None = None) -> tuple[Path, ...]:
    """The paths, if each can be written and none would replace what `keep` names (file -> what it is).

    Missing folders are made. Raises InputError with every problem.
    """
    kept = {os.path.realpath(path): what for path, what in (keep or {}).items()}
    problems: list[Problem] = []
    seen: dict[str, Path] = {}
    for path in map(Path, paths):
        real = os.path.realpath(path)
        fault = _fault(path)
        if fault is None and real in kept:
            fault = f"this is the {kept[real]}, and a report would replace it"
        if fault is None and real in seen:
            fault = f"two reports cannot go to one file ({seen[real]})"
        if fault is not None:
            problems.append(Problem(None, f"report {path}: {fault}"))
        seen.setdefault(real, path)
    if problems:
        raise InputError(problems)
    return tuple(seen.values())


def _format(path: Path) -> Format:
    name = SUFFIXES.get(path.suffix.lower())
    if name is None:
        raise InputError(f"report {path}: {_unknown(path)}")
    return cast(Format, importlib.import_module(f"mailer.report.formats.{name}"))


def _unknown(path: Path) -> str:
    said = f"the suffix {path.suffix} is" if path.suffix else "no suffix is"
    return f"{said} not a format; expected one of {' '.join(SUFFIXES)}"


def _fault(path: Path) -> str | None:
    if path.suffix.lower() not in SUFFIXES:
        return _unknown(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except (OSError, ValueError) as error:
        return f"cannot be written: {_why(error)}"
    if stat.S_ISDIR(mode):
        return "is a folder, expected a file"
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    try:
        try_folder(Path(os.path.realpath(path)).parent)
    except OSError as error:
        return f"cannot be written: {_why(error)}"
    return None


def _why(error: Exception) -> str:
    """The system's words, with the path they are about where that is another one (a folder above)."""
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename and not str(error.filename).endswith(".part") else ""
        return error.strerror + where
    return str(error)
