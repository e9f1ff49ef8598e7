from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailer.preview.session import PreviewSession
from tests.preview.conftest import write_people

pytestmark = pytest.mark.slow  # each test starts processes, or is about cost


@pytest.fixture
def session(project: Path) -> Iterator[PreviewSession]:
    session = PreviewSession(project, {})
    session.start()
    yield session
    session.close()


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def html_of(session: PreviewSession, position: int = 0) -> str:
    message = session.render(position)
    assert message is not None
    return "" if message.view is None else message.view.html or ""


def test_it_shows_each_recipient(session: PreviewSession) -> None:
    wait_for(lambda: session.index.count() == 3)
    assert "Dear Person 2, your code is 2." in html_of(session, 2)
    assert session.render(3) is None


def test_a_saved_template_is_read_again(session: PreviewSession) -> None:
    assert "Dear Person 0" in html_of(session)
    before = session.version
    Path("letter.html.j2").write_text("<p>Hi {{ name }}</p>")
    wait_for(lambda: session.version > before)
    wait_for(lambda: "Hi Person 0" in html_of(session))


def test_an_error_is_shown_until_it_is_corrected(session: PreviewSession) -> None:
    good = Path("letter.html.j2").read_text()
    Path("letter.html.j2").write_text("<p>\n{{ nosuch }}</p>")
    wait_for(lambda: html_of(session) == "")
    message = session.render(0)
    assert message is not None
    (shown,) = session.describe_problems(message.problems)
    assert (shown["place"], shown["line"]) == ("letter.html.j2:2", 2)
    assert shown["excerpt"] == [[1, "<p>"], [2, "{{ nosuch }}</p>"]] or shown["excerpt"] == [
        (1, "<p>"),
        (2, "{{ nosuch }}</p>"),
    ]
    Path("letter.html.j2").write_text(good)
    wait_for(lambda: "Dear Person 0" in html_of(session))


def test_a_saved_list_is_read_again(session: PreviewSession) -> None:
    write_people(Path(), 5, lambda n: f"Somebody {n}")
    wait_for(lambda: session.index.count() == 5)
    wait_for(lambda: "Dear Somebody 4" in html_of(session, 4))


def test_a_list_that_is_saved_while_it_is_read_is_read_anew(session: PreviewSession) -> None:
    write_people(Path(), 50_000)
    wait_for(lambda: session.index.count() > 20)
    write_people(Path(), 4, lambda n: f"Later {n}")
    wait_for(lambda: session.index.count() == 4 and session.index.is_complete())
    assert "Dear Later 3" in html_of(session, 3)


def test_a_start_without_a_change_reads_the_campaign_once(project: Path) -> None:
    Path("templates").mkdir()
    Path("templates/other.html.j2").write_text("x")
    campaign = Path("campaigns") / project
    campaign.parent.mkdir()
    campaign.write_text(project.read_text().replace("people.csv", "../people.csv"))
    for file in Path().rglob("*.*"):
        os.utime(file, (1.0, 1.0))
    session = PreviewSession(campaign, {})
    session.start()
    try:
        wait_for(session.index.is_complete)
        time.sleep(0.6)  # longer than the watch needs for its first look
        assert session.version == 1
    finally:
        session.close()


def test_a_campaign_with_an_error_keeps_its_rows(session: PreviewSession, project: Path) -> None:
    wait_for(lambda: session.index.count() == 3)
    good = project.read_text()
    project.write_text(good + "subjekt: x\n")
    wait_for(lambda: bool(session.state.problems))
    assert session.index.count() == 3
    project.write_text(good)
    wait_for(lambda: not session.state.problems)
    assert "Dear Person 0" in html_of(session)


def test_a_list_that_cannot_be_read_is_a_problem(session: PreviewSession) -> None:
    Path("people.csv").write_bytes(b"email,name\n\xff\xfe\xff,x\n")
    wait_for(lambda: bool(session.list_problems))
    assert "people.csv" in str(session.list_problems[0])


def test_a_new_folder_is_watched(session: PreviewSession, project: Path) -> None:
    Path("templates").mkdir()
    Path("templates/other.html.j2").write_text("<p>Other</p>")
    project.write_text(project.read_text().replace("letter.html.j2", "other.html.j2"))
    wait_for(lambda: "Other" in html_of(session))
    Path("templates/other.html.j2").write_text("<p>Changed</p>")
    wait_for(lambda: "Changed" in html_of(session))


def test_the_failing_recipient_is_found(session: PreviewSession) -> None:
    Path("letter.html.j2").write_text("{{ 1 // code|int }}")
    wait_for(lambda: html_of(session, 1) != "" and "Dear" not in html_of(session, 1))
    assert session.find_failing(0) == (0, 0)
    assert session.find_failing(1) == (None, 3)


def test_nothing_is_left_behind(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    session = PreviewSession(project, {})
    session.start()
    assert list(temporary.iterdir())
    session.close()
    assert not list(temporary.iterdir())
    assert session.is_closed
