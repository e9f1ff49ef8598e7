"""The place of a finding in the user's files.

Findings are made on rendered messages, and a reader wants the line of the template. So the text that a rule
objects to is looked for in the campaign's templates, in the order in which they include each other. A text
that exists only in the rendered message gets the place of the template itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mailer.campaign import Campaign, Pattern
from mailer.errors import Place
from mailer.files import show_path

_REFERENCE = re.compile(r"\{%-?\s*(?:include|extends|import|from)\s+[\"']([^\"']+)[\"']")
MAX_SEARCHED = 1_000_000  # octets; a template larger than this is not searched


class Sources:
    """The campaign file and its templates, read once, to look texts up in."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self._texts: dict[Path, str] = {}
        self._places: dict[tuple[Pattern, str], Place] = {}
        self._trees: dict[str, list[Path]] = {}

    def find_key(self, name: str) -> Place:
        """Return the place of a top-level key of the campaign file, or the file alone."""
        shown = show_path(self.campaign.path)
        found = re.search(rf"^{re.escape(name)}\s*:", self._read(self.campaign.path), re.MULTILINE)
        return self._make_place(self.campaign.path, found.start()) if found else Place(shown)

    def find_comment(self, name: str) -> str | None:
        """Return the comment behind the unquoted value of a top-level key, if it looks like more of the value.

        That is, a word follows `#` at once: `subject: Offer #1`.
        """
        value = r"[^\s\"'#|>\[{&*!][^\n]*?"
        pattern = rf"^{re.escape(name)}[ \t]*:[ \t]+{value}[ \t](#[^\s#][^\n]*)"
        found = re.search(pattern, self._read(self.campaign.path), re.MULTILINE)
        return found[1].rstrip() if found else None

    def find_in_template(self, pattern: Pattern | None, needle: str) -> Place:
        """Return the place of the first `needle` in the template that `pattern` names, or in what it
        includes.
        """
        if pattern is None:
            return Place(show_path(self.campaign.path))
        place = self._places.get((pattern, needle))
        if place is None:
            place = self._places[pattern, needle] = self._search(pattern, needle)
        return place

    def _search(self, pattern: Pattern, needle: str) -> Place:
        files = self._trees.get(pattern.source)
        if files is None:
            files = self._trees[pattern.source] = list(self._list_files(pattern.source))
        for path in files if needle else ():
            if (at := self._read(path).find(needle)) >= 0:
                return self._make_place(path, at)
        return Place(show_path(files[0])) if files else pattern.place

    def _list_files(self, name: str) -> Iterator[Path]:
        """The template and all that it includes, breadth first, each once."""
        waiting, known = [name], set[Path]()
        while waiting:
            path = self._find(waiting.pop(0))
            if path is None or path in known:
                continue
            known.add(path)
            yield path
            waiting += _REFERENCE.findall(self._read(path))

    def _find(self, name: str) -> Path | None:
        for folder in (self.campaign.path.parent, self.campaign.root / "templates"):
            path = (folder / name).resolve()
            if path.is_file() and path.is_relative_to(self.campaign.root.resolve()):
                return path
        return None

    def _read(self, path: Path) -> str:
        if path not in self._texts:
            # A campaign that a program makes has no file.
            small = path.exists() and path.stat().st_size <= MAX_SEARCHED
            self._texts[path] = path.read_text(encoding="utf-8", errors="replace") if small else ""
        return self._texts[path]

    def _make_place(self, path: Path, offset: int) -> Place:
        before = self._read(path)[:offset]
        return Place(show_path(path), before.count("\n") + 1, offset - before.rfind("\n"))
