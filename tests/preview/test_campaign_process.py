from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.campaign import Recipient
from mailer.errors import Place
from mailer.preview.campaign_process import CampaignProcess

pytestmark = pytest.mark.slow  # each test starts a process

ADA = Recipient(
    "ada@example.com", {"email": "ada@example.com", "name": "Ada", "code": "7"}, Place("people.csv", 2)
)


@pytest.fixture
def process(project: Path) -> Iterator[CampaignProcess]:
    process = CampaignProcess(project, {})
    yield process
    process.close()


def test_it_loads_and_renders(process: CampaignProcess) -> None:
    state = process.load()
    assert (state.name, list(state.problems)) == ("spring", [])
    assert state.list_file is not None
    assert state.list_file.name == "people.csv"
    made = process.render(ADA)
    assert b"Dear Ada, your code is 7." in made.content
    assert (made.sender, list(made.recipients)) == ("ada@example.com", ["ada@example.com"])


def test_an_error_has_its_place(process: CampaignProcess, project: Path) -> None:
    Path("letter.html.j2").write_text("<p>\n{{ nosuch }}</p>")
    assert list(process.load().problems) == []
    (problem,) = process.render(ADA).problems
    assert str(problem).startswith("letter.html.j2:2: ")
    assert "nosuch" in problem.text


def test_a_campaign_that_cannot_be_loaded_has_its_problems(process: CampaignProcess, project: Path) -> None:
    project.write_text("campaign: spring\nsubjekt: x\n")
    state = process.load()
    assert any("subjekt" in problem.text for problem in state.problems)
    assert process.render(ADA).problems


def test_findings_are_those_of_check(process: CampaignProcess) -> None:
    Path("letter.html.j2").write_text(
        '<html lang="en"><body><p>x</p><a href="http://localhost/">y</a></body></html>'
    )
    process.load()
    assert {finding.rule for finding in process.lint(ADA)} >= {"link-local"}


def test_the_first_message_that_fails_is_found(process: CampaignProcess) -> None:
    Path("letter.html.j2").write_text("{{ 1 // code|int }}")
    process.load()
    rows = [
        Recipient(f"p{n}@example.com", {"name": "x", "code": str(n)}, Place("people.csv", 2))
        for n in (1, 2, 0, 3)
    ]
    searched = process.find_failing(rows, 60.0)
    assert (searched.count, searched.has_failed) == (2, True)
    searched = process.find_failing(rows[:2], 60.0)
    assert (searched.count, searched.has_failed) == (2, False)


@pytest.mark.slow
def test_a_process_that_takes_too_long_is_ended_and_the_next_one_works(project: Path) -> None:
    Path("letter.html.j2").write_text(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    )
    process = CampaignProcess(project, {}, seconds=6.0)
    try:
        process.load()
        (problem,) = process.render(ADA).problems
        assert "ada@example.com" in problem.text
        Path("letter.html.j2").write_text("fine")
        assert list(process.load().problems) == []
        assert b"fine" in process.render(ADA).content
    finally:
        process.close()


def test_after_the_end_it_answers_with_a_problem(process: CampaignProcess) -> None:
    process.load()
    process.close()
    assert "has ended" in str(process.render(ADA).problems[0])


def test_the_password_of_the_server_is_not_read(process: CampaignProcess, project: Path) -> None:
    server = "server: {host: 127.0.0.1, username: a, password: {command: 'touch was-run; echo x'}}\n"
    project.write_text(project.read_text() + server)
    assert list(process.load().problems) == []
    assert process.render(ADA).content
    assert process.load().server is not None
    assert not Path("was-run").exists()


def test_environment_variables_that_the_campaign_names_are_read(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELEASE", "v4.2")
    project.write_text(project.read_text() + "vars: {release: {env: RELEASE}}\n")
    Path("letter.html.j2").write_text("<p>{{ release }}</p>")
    process = CampaignProcess(project, {})
    try:
        process.load()
        assert b"v4.2" in process.render(ADA).content
    finally:
        process.close()
