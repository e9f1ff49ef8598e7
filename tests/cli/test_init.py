from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

SHARED = ["campaigns/campaign.schema.json", "campaigns/spring.csv", "campaigns/spring.yaml"]
FILES = {
    "html": [*SHARED, "templates/spring.html.j2", "templates/spring.txt.j2"],
    "markdown": [*SHARED, "templates/spring.md.j2"],
    "mjml": [*SHARED, "templates/spring.mjml.j2"],
}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", FILES)
def test_a_new_campaign_has_no_error_and_no_warning(command: Command, tmp_path: Path, kind: str) -> None:
    ended = command("init", "spring", "--format", kind)
    assert ended.code == 0
    assert sorted(ended.out.split()) == files(tmp_path) == FILES[kind]
    checked = command("check", "spring")
    assert (checked.code, checked.err) == (0, "")
    assert checked.out.splitlines()[-1].endswith("3 recipients, no errors, 0 warnings"), checked.out


def test_the_editors_line_names_the_schema_that_was_written(command: Command, tmp_path: Path) -> None:
    command("init", "spring")
    first = (tmp_path / "campaigns/spring.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=campaign.schema.json"
    schema = json.loads((tmp_path / "campaigns/campaign.schema.json").read_text())
    assert "subject" in schema["properties"]
    (tmp_path / "campaigns/campaign.schema.json").write_text("{}")
    assert command("init", "summer").code == 0  # it is shared, and stays
    assert (tmp_path / "campaigns/campaign.schema.json").read_text() == "{}"


@pytest.mark.parametrize("there", [name for name in FILES["html"] if "schema" not in name])
def test_nothing_is_overwritten(command: Command, tmp_path: Path, there: str) -> None:
    path = tmp_path / there
    path.parent.mkdir()
    path.write_text("mine")
    ended = command("init", "spring")
    assert ended.code == 2
    assert there in ended.err
    assert files(tmp_path) == [there]
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["Spring", "../x", "", "-x", "x" * 65, "a b", ".hidden", "é"])
def test_a_name_that_is_none_is_refused(command: Command, tmp_path: Path, name: str) -> None:
    assert command("init", "--", name).code == 2
    assert files(tmp_path) == []


def test_a_file_in_the_place_of_a_folder_is_an_error_and_nothing_is_written(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "templates").write_text("a file")
    ended = command("init", "spring")
    assert ended.code == 2
    assert "nothing was written" in ended.err
    assert files(tmp_path) == ["templates"]
