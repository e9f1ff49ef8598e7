from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

FILES = ["campaigns/spring.csv", "campaigns/spring.yaml", "templates/spring.html.j2", "templates/spring.txt.j2"]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_new_campaign_is_right_at_once(command: Command, tmp_path: Path) -> None:
    ended = command("init", "spring")
    assert ended.code == 0
    assert sorted(ended.out.split()) == files(tmp_path) == FILES
    checked = command("check", "campaigns/spring.yaml")
    assert (checked.code, checked.err) == (0, "")
    assert "3 recipients, no errors" in checked.out


@pytest.mark.parametrize("there", FILES)
def test_nothing_is_overwritten(command: Command, tmp_path: Path, there: str) -> None:
    path = tmp_path / there
    path.parent.mkdir()
    path.write_text("mine")
    ended = command("init", "spring")
    assert ended.code == 2
    assert there in ended.err
    assert files(tmp_path) == [there]
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["Spring", "../spring", "", ".hidden", "a" * 65, "a b", "é"])
def test_names(command: Command, tmp_path: Path, name: str) -> None:
    assert command("init", name).code == 2
    assert files(tmp_path) == []


def test_a_file_in_the_way(command: Command, tmp_path: Path) -> None:
    (tmp_path / "templates").write_text("a file")
    ended = command("init", "spring")
    assert ended.code == 2
    assert "nothing was written" in ended.err
    assert files(tmp_path) == ["templates"]
