"""Idioms that make a sentence hard to read, and where they are: `python -m tests.prose [FILE...]`.

The list has what a reader of the project stumbled over, each with a plainer way to say it. Names of functions
count too: `_` is a blank.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLAINER = {
    r"(?<=[a-z] )(?:nobody|everybody)(?!@)|(?:nobody|everybody)(?= [a-z])": "no recipient, every recipient, other users …",
    r"whoever|whosoever|thereof|therein": "name the person or the thing",
    r"(?:stands|stood)(?! (?:for|in))": "is",
    r"goes on|went on|going on": "continues",
    r"where (?:it|they) (?:can|cannot|has|have|does|do)": "if, when",
    r"where there (?:is|are|was|were)": "if there is",
    r"is no (?:matter|concern|business)": "does not concern",
    r"nor (?:does|do|is|are|did)": "a second sentence with `not`",
    r"heed(?:s|ed)?|turn(?:s|ed)? away|put(?:s)? (?:back|aside)": "obeys, refuses, requeues, postpones",
    r"so be it|as the case may be": "say what",
}
_IDIOM = re.compile(
    "|".join(f"(?P<_{number}>\\b(?:{idiom})\\b)" for number, idiom in enumerate(PLAINER)), re.I
)
_SUFFIXES = {".py", ".md", ".yml", ".yaml", ".toml", ".sh", ".html", ".css", ".js", ".j2", ".csv", ""}
# Texts that are not the project's prose: this list, texts that a test sends, and the licence.
_LEFT_OUT = {"tests/prose.py", "tests/test_project.py", "LICENSE"}


def find_idioms(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the idiom and a plainer way to say it, for each idiom in `text`."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in _IDIOM.finditer(line.replace("_", " ")):
            yield number, match[0], list(PLAINER.values())[int(match.lastgroup.strip("_"))]


def committed_files() -> list[Path]:
    """Return the files of the project that hold prose."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [
        ROOT / name for name in listed.split() if Path(name).suffix in _SUFFIXES and name not in _LEFT_OUT
    ]


def main(names: list[str]) -> int:
    """Print each idiom as FILE:LINE, and return 1 if there is one."""
    is_clean = True
    for path in map(Path, names) if names else committed_files():
        for number, idiom, plainer in find_idioms(path.read_text(encoding="utf-8")):
            is_clean = False
            print(f"{path.relative_to(ROOT) if path.is_absolute() else path}:{number}: {idiom!r}: {plainer}")
    return not is_clean


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
