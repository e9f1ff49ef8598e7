from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mailer.ledger.outcome import Outcome, Status
from mailer.report.formats.html import MAX_BARS, MIN_BARS, Timeline, draw_chart

Row = Callable[..., Outcome]
START = int(datetime(2026, 11, 23, 9, tzinfo=UTC).timestamp())


def at(seconds: int) -> str:
    return datetime.fromtimestamp(START + seconds, UTC).isoformat().replace("+00:00", "Z")


def outcome(seconds: int) -> Outcome:
    return Outcome("a@example.com", "a", Status.SENT, at=at(seconds))


def timeline(*seconds: int) -> Timeline:
    line = Timeline()
    for second in seconds:
        line.add(outcome(second))
    return line


def test_each_second_has_a_bar() -> None:
    bars = timeline(0, 0, 1, 3).list_bars()
    assert [(bar.start - START, bar.total) for bar in bars] == [(0, 2), (1, 1), (2, 0), (3, 1)]


def test_a_pause_is_cut_out() -> None:
    first, second = timeline(0, 86_400).list_bars()
    assert (first.pause, second.pause) == (0, 86_399)


def test_outcomes_without_a_time_are_not_drawn() -> None:
    line = Timeline()
    line.add(Outcome("a@example.com", "a", Status.PENDING))
    assert line.list_bars() == []
    assert draw_chart(line.list_bars()) is None


@given(st.lists(st.integers(-(10**8), 10**8), min_size=1, max_size=1500))
def test_the_chart_is_bounded_and_no_outcome_is_lost(seconds: list[int]) -> None:
    line = timeline(*seconds)
    bars = line.list_bars()
    assert len(bars) <= MAX_BARS
    assert sum(bar.total for bar in bars) == len(seconds)
    assert [bar.start for bar in bars] == sorted(bar.start for bar in bars)
    picture = draw_chart(bars)
    assert (picture is None) == (len(bars) < MIN_BARS)
    assert picture is None or all(
        0 <= piece.x <= picture.width and piece.height >= 0 <= piece.width for piece in picture.pieces
    )
