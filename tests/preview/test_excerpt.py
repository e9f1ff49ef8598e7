from __future__ import annotations

from pathlib import Path

import pytest

from mailer.errors import Place
from mailer.preview.session import read_excerpt


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.html.j2"
    path.write_text("".join(f"line {n}\n" for n in range(1, 11)))
    return path


def test_the_lines_around_a_place_are_read(file: Path, tmp_path: Path) -> None:
    assert read_excerpt(Place("a.html.j2", 5, 3), [tmp_path]) == [(n, f"line {n}") for n in range(3, 8)]
    assert read_excerpt(Place("a.html.j2", 1), [tmp_path]) == [(n, f"line {n}") for n in range(1, 4)]
    assert read_excerpt(Place("a.html.j2", 10), [tmp_path]) == [(n, f"line {n}") for n in range(8, 11)]


def test_control_characters_of_a_line_are_made_visible(file: Path, tmp_path: Path) -> None:
    file.write_bytes(b"\t\tdeep \x1b[31m" + "\u202e".encode() + b"x" * 500)
    ((_, text),) = read_excerpt(Place("a.html.j2", 1), [tmp_path])
    assert text.startswith("        deep \\x1b[31m\\u202e")
    assert len(text) < 300


def test_a_place_without_a_line_has_no_excerpt(file: Path, tmp_path: Path) -> None:
    for place in (None, Place("a.html.j2"), Place("missing", 3), Place("row ", 3), Place(".", 1)):
        assert read_excerpt(place, [tmp_path]) == []


def test_no_file_outside_of_the_project_is_read(file: Path, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(file)
    assert read_excerpt(Place("a.html.j2", 1), [tmp_path / "inside"]) == []
    assert read_excerpt(Place("inside/link", 1), [tmp_path / "inside"]) == []
    assert read_excerpt(Place("inside/../a.html.j2", 1), [tmp_path / "inside"]) == []
    assert read_excerpt(Place("a.html.j2", 1), [tmp_path / "inside"], [file])[0] == (1, "line 1")
