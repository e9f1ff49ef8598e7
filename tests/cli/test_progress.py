from __future__ import annotations

import pytest

from mailer.cli.progress import LOG_INTERVAL, BarDisplay, LogDisplay
from mailer.ledger.outcome import Outcome, Status


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def outcome(status: Status = Status.SENT) -> Outcome:
    return Outcome("a@example.com", "a@example.com", status)


def test_a_line_every_few_seconds_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = LogDisplay(None, clock)
    lines.on_start(3000, 0)
    for _ in range(1000):
        clock.seconds += 0.01
        lines.on_outcome(outcome())
    lines.on_outcome(outcome(Status.FAILED))
    clock.seconds += LOG_INTERVAL
    lines.on_outcome(outcome())
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert said[-1] == "mailer: 1,002 of 3,000 (sent 1,001, failed 1), 66.8/s, 30 s left"


def test_a_continued_campaign_says_how_many_have_an_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    LogDisplay().on_start(10, 4)
    assert capsys.readouterr().err == "4 of 10 recipients already have an outcome\n"


def test_the_goal_of_a_limited_run_is_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = LogDisplay(None, clock, limit=2)
    lines.on_start(300, 89)
    clock.seconds += LOG_INTERVAL
    lines.on_outcome(outcome())
    assert "mailer: 90 of 91 (sent 1)" in capsys.readouterr().err


def test_the_question_comes_with_the_number_to_send() -> None:
    asked: list[tuple[int, int]] = []
    LogDisplay(lambda *numbers: asked.append(numbers)).on_start(10, 4)
    assert asked == [(6, 4)]


def test_a_hostile_reason_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    for display in (LogDisplay(None, clock), BarDisplay(None, clock)):
        clock.seconds += 10
        with display:
            display.on_start(2, 0)
            display.on_waiting(30, "\x1b]0;owned\x07 [bold]markup[/nonsense]")
            display.on_outcome(outcome())
        shown = capsys.readouterr().err
        assert "\x1b]0;" not in shown
        assert "[bold]markup[/nonsense]" in shown


def test_addresses_kept_for_a_hint_are_few() -> None:
    lines = LogDisplay()
    for n in range(1000):
        lines.on_unknown_user(f"{n}@example.com")
    assert (lines.unknown_count, len(lines.unknown)) == (1000, 3)


@pytest.mark.parametrize(
    ("width", "has_bar", "has_outcomes"), [(100, True, True), (60, False, True), (40, False, False)]
)
def test_a_narrow_terminal_loses_the_bar_first_and_then_the_outcomes(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    has_bar: bool,
    has_outcomes: bool,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    display = BarDisplay(server_name="smtp.example.com:465")
    with display:
        display.on_start(20, 0)
        for _ in range(10):
            display.on_outcome(outcome())
        display.on_finish(None)
    shown = capsys.readouterr().err
    assert "10/20" in shown
    assert ("━" in shown) == has_bar
    assert ("sent 10" in shown) == has_outcomes


def test_the_bar_says_which_server_it_connects_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    display = BarDisplay(server_name="smtp.example.com:465")
    with display:
        display.on_start(20, 0)
    assert display._progress.tasks[0].description == "connecting to smtp.example.com:465"
