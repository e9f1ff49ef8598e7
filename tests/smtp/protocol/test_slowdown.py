"""When a server that answers slower and slower is left for a new session."""

import pytest

from mailer.smtp.protocol.slowdown import MIN_ERRORS, SAMPLE, SlowdownDetector


def note(detector: SlowdownDetector, seconds: float, count: int = SAMPLE, *, is_refused: bool = True) -> bool:
    for _ in range(count):
        detector.note_result(seconds, is_refused=is_refused)
    return detector.is_new_session_cheaper


def test_a_tarpit_is_left() -> None:
    detector = SlowdownDetector(session_cost=0.5)
    assert not note(detector, 0.05, 10, is_refused=False)
    assert not note(detector, 0.05, MIN_ERRORS)
    assert note(detector, 1.0)


def test_a_slow_server_is_not_a_tarpit() -> None:
    detector = SlowdownDetector(session_cost=0.5)
    assert not note(detector, 2.0, 20, is_refused=False)
    assert not note(detector, 2.0, 20)


def test_slowness_without_errors_is_not_a_tarpit() -> None:
    detector = SlowdownDetector(session_cost=0.5)
    note(detector, 0.05, 10, is_refused=False)
    assert not note(detector, 1.0, 50, is_refused=False)


@pytest.mark.parametrize(("seconds", "is_cheaper"), [(1.0, False), (4.0, True)])
def test_a_session_that_is_dear_is_kept_for_longer(seconds: float, is_cheaper: bool) -> None:
    detector = SlowdownDetector(session_cost=30.0)
    note(detector, 0.05, 10)
    assert note(detector, seconds) is is_cheaper


def test_one_slow_answer_is_an_accident() -> None:
    detector = SlowdownDetector(session_cost=0.1)
    note(detector, 0.05, MIN_ERRORS)
    note(detector, 0.05, SAMPLE)
    assert not note(detector, 10.0, 1, is_refused=False)
    assert not note(detector, 0.05, SAMPLE)


def test_replies_that_are_written_at_once_do_not_hide_a_tarpit() -> None:
    """The second message of each two seems to take no time."""
    detector = SlowdownDetector(session_cost=0.5)
    note(detector, 0.05, 10)
    assert any(note(detector, seconds, 1, is_refused=False) for seconds in (2.0, 0.0) * 3)


@pytest.mark.parametrize(("session_cost", "is_cheaper"), [(0.5, True), (10.0, False)])
def test_one_refusal_that_takes_seconds_is_enough(session_cost: float, is_cheaper: bool) -> None:
    """Courier's first delay is 8 s, and the next ones are twice as long each."""
    detector = SlowdownDetector(session_cost)
    assert not note(detector, 0.05, 10, is_refused=False)
    assert not note(detector, 8.0, 1, is_refused=False)
    assert note(detector, 8.0, 1) is is_cheaper


def test_refusals_as_slow_as_acceptances_are_no_tarpit() -> None:
    detector = SlowdownDetector(session_cost=0.5)
    assert not note(detector, 8.0, 10, is_refused=False)
    assert not note(detector, 9.0, 1)
