"""No mistake in a campaign or a list ends in an internal error: each has clear lines with their place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from mailer.campaign.load import read_campaign
from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources import FileSource, list_format
from mailer.cli import run
from mailer.errors import InputError, Problem
from mailer.text import make_printable
from tests.campaign import mutations

EVERY = 3  # of several thousand mutations, so that the test takes seconds
MAX_LINE = 400  # characters of a message: the longest lists all keys of a campaign


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    mutations.write_project(folder)
    monkeypatch.setenv("SMTP_PASSWORD", "s3cret")
    return folder


def find_campaign_problems(content: bytes) -> list[Problem]:
    Path("x.yaml").write_bytes(content)
    try:
        return list(read_campaign("x.yaml").problems)
    except InputError as error:
        return list(error.problems)


def find_list_problems(path: Path, content: bytes) -> Iterator[Problem]:
    path.write_bytes(content)
    try:
        for recipient in FileSource(NamedFile(path, path.name), list_format(path.name)):
            if recipient.problem is not None:
                yield recipient.problem
    except InputError as error:
        yield from error.problems


def check_problems(name: str, file: str, problems: Iterable[Problem]) -> None:
    for problem in problems:
        line = str(problem)
        assert line.startswith((f"{file}:", "and ")), (name, line)
        assert len(line) <= MAX_LINE, (name, line)
        assert line == make_printable(line), (name, line)
        assert "x" * 21 not in line or "there is no such file" in line or "cannot be read" in line, (
            name,
            line,
        )


@pytest.mark.slow
def test_a_wrong_campaign_has_clear_lines(project: Path) -> None:
    found = 0
    for name, content in islice(mutations.campaign_mutations(), 0, None, EVERY):
        problems = find_campaign_problems(content)
        check_problems(name, "x.yaml", problems)
        found += bool(problems)
    assert found > 300  # the others are campaigns that may be sent, such as one without `cc`


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".yaml", ".xlsx"])
def test_a_wrong_list_has_clear_lines(folder: Path, suffix: str) -> None:
    path = folder / f"people{suffix}"
    found = 0
    for name, content in islice(mutations.list_mutations(suffix), 0, None, EVERY):
        problems = list(find_list_problems(path, content))
        check_problems(name, path.name, problems)
        found += bool(problems)
    assert found > 15


@pytest.mark.slow
@pytest.mark.parametrize("command", [["check", "x.yaml"], ["send", "x.yaml", "--dry-run"]])
def test_no_wrong_campaign_ends_a_command_in_an_internal_error(
    project: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    total = sum(1 for _ in mutations.campaign_mutations())
    for name, content in islice(mutations.campaign_mutations(), 0, None, total // 20):
        Path("x.yaml").write_bytes(content)
        code = run(command)
        captured = capsys.readouterr()
        assert code in (0, 2), (name, captured.err)
        assert "Traceback" not in captured.err
        assert code == 0 or re.match(r"mailer: error: [\w.]+:", captured.err), (name, captured.err)
