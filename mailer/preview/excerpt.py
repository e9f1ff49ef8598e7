"""The lines of a file around the place of an error or a finding."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from mailer.errors import Place
from mailer.files import UnusableFile, open_regular_file
from mailer.text import make_printable, shorten

AROUND = 2  # lines before and after
MAX_LINE = 200  # characters of a line
MAX_OCTETS = 64 * 1024 * 1024  # of a file that are read to find the line

Excerpt = list[tuple[int, str]]  # line numbers and lines


def read_excerpt(place: Place | None, folders: Iterable[Path], files: Iterable[Path] = ()) -> Excerpt:
    """The lines around `place`; empty if it has none, or if its file is none of `files` and in none of `folders`."""
    if place is None or not place.line or not place.file or place.file.endswith(" "):
        return []
    path = Path(place.file).resolve()
    if path not in {file.resolve() for file in files} and not any(
        path.is_relative_to(folder.resolve()) for folder in folders
    ):
        return []
    first = max(1, place.line - AROUND)
    try:
        with open_regular_file(path) as stream:
            stream.seek(0, 2)
            if stream.tell() > MAX_OCTETS:
                return []
            stream.seek(0)
            lines = list(islice(stream, first - 1, place.line + AROUND))
    except (UnusableFile, OSError):
        return []
    shown = (make_printable(shorten(line.decode("utf-8", "replace").rstrip("\r\n"), MAX_LINE)) for line in lines)
    return [
        (first + offset, _keep_indent(line, text)) for offset, (line, text) in enumerate(zip(lines, shown, strict=True))
    ]


def _keep_indent(line: bytes, text: str) -> str:
    """`text` with the tabs at its beginning as blanks: they are no characters that hide something."""
    indent = len(line) - len(line.lstrip(b"\t"))
    return "    " * indent + text.removeprefix("\\x09" * indent)
