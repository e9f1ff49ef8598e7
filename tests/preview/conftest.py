"""A small project whose files a test changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

CAMPAIGN = """campaign: spring
from: "Ada Example <ada@example.com>"
subject: "Hello {{ name }}"
template: letter.html.j2
recipients: people.csv
"""
TEMPLATE = """<!doctype html><html lang="en"><head><title>x</title></head><body>
<p>Dear {{ name }}, your code is {{ code }}.</p>
<p><a href="https://example.com/">Our page</a></p>
</body></html>
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The campaign's path, relative to the working directory, which is the project's root."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spring.yaml").write_text(CAMPAIGN)
    (tmp_path / "letter.html.j2").write_text(TEMPLATE)
    write_people(tmp_path, 3)
    return Path("spring.yaml")


def write_people(folder: Path, count: int, name: Callable[[int], str] = lambda n: f"Person {n}") -> None:
    rows = (f"p{n}@example.com,{name(n)},{n}\n" for n in range(count))
    (folder / "people.csv").write_text("email,name,code\n" + "".join(rows))
