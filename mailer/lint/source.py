"""Where in the user's files a finding stands.

Findings are made on rendered messages; a reader wants the line of the template. So the text that a rule objects to is
looked for in the campaign's templates, in the order in which they include each other; a text that only exists once
rendered is placed at the template itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mailer.campaign import Campaign, Pattern
from mailer.errors import Place

_REFERENCE = re.compile(r"\{%-?\s*(?:include|extends|import|from)\s+[\"']([^\"']+)[\"']")
_TOO_LARGE = 1_000_000  # octets; a template larger than this is not searched


class Sources:
    """The campaign file and its templates, read once, to look texts up in."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self._texts: dict[Path, str] = {}
        self._places: dict[tuple[Pattern, str], Place] = {}
        self._trees: dict[str, list[Path]] = {}

    def key(self, name: str) -> Place:
        """The line of a top-level key of the campaign file, or the file alone."""
        shown = self._shown(self.campaign.path)
        found = re.search(rf"^{re.escape(name)}\s*:", self._read(self.campaign.path), re.MULTILINE)
        return self._place(self.campaign.path, found.start()) if found else Place(shown)

    def template(self, pattern: Pattern | None, needle: str) -> Place:
        """Where `needle` first stands in the template that `pattern` names, or in what it includes."""
        if pattern is None:
            return Place(self._shown(self.campaign.path))
        place = self._places.get((pattern, needle))
        if place is None:
            place = self._places[pattern, needle] = self._search(pattern, needle)
        return place

    def _search(self, pattern: Pattern, needle: str) -> Place:
        files = self._trees.get(pattern.source)
        if files is None:
            files = self._trees[pattern.source] = list(self._files(pattern.source))
        for path in files if needle else ():
            if (at := self._read(path).find(needle)) >= 0:
                return self._place(path, at)
        return Place(self._shown(files[0])) if files else pattern.place

    def _files(self, name: str) -> Iterator[Path]:
        """The template and all that it names, breadth first, each once."""
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
            small = path.exists() and path.stat().st_size <= _TOO_LARGE
            self._texts[path] = path.read_text(encoding="utf-8", errors="replace") if small else ""
        return self._texts[path]

    def _place(self, path: Path, offset: int) -> Place:
        before = self._read(path)[:offset]
        return Place(self._shown(path), before.count("\n") + 1, offset - before.rfind("\n"))

    @staticmethod
    def _shown(path: Path) -> str:
        here = Path.cwd()
        return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
