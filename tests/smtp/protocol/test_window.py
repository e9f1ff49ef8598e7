"""How the window grows: in messages, with the time that a message takes."""

import pytest

from mailer.smtp.protocol.window import FREE, FREE_IF_QUICK, INITIAL, MAX_MESSAGES, MAX_OCTETS, Window


def run(window: Window, seconds: float, rounds: int = 20, *, full: bool = True) -> int:
    """So many windows of messages that each took as long; the limit then."""
    for _ in range(rounds):
        if full:
            window.note_full()
        for _ in range(window.limit):
            window.note_result(seconds)
    return window.limit


def test_a_new_session_starts_small():
    assert Window().free_slots(0, 0) == INITIAL


def test_it_reaches_the_most_where_messages_come_back_as_fast_as_a_lone_one():
    assert run(Window(), 0.1) == MAX_MESSAGES


def test_three_round_trips_are_enough_for_a_long_line():
    assert run(Window(), 0.1, rounds=3) == MAX_MESSAGES


def test_where_messages_queue_it_rests_at_what_a_commit_is_for():
    window = Window()
    window.note_result(0.001)
    assert run(window, 0.1) == FREE


def test_where_messages_queue_shortly_a_commit_is_for_more_of_them():
    window = Window()
    window.note_result(0.001)
    assert run(window, 0.01) == FREE_IF_QUICK


def test_it_grows_again_when_the_wire_is_idle_again():
    window = Window()
    window.note_result(0.001)
    run(window, 0.01)
    assert run(window, 0.0015) == MAX_MESSAGES


def test_queueing_never_takes_it_beyond_free():
    window = Window()
    window.note_result(0.001)
    for _ in range(10):
        assert run(window, 0.1, rounds=1) <= FREE


def test_it_stays_small_if_something_else_limits_the_rate():
    assert run(Window(), 0.001, full=False) == INITIAL


@pytest.mark.parametrize("maximum", [1, 2, 10, FREE, 100, 1000])
@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_a_maximum_is_never_exceeded(maximum, seconds):
    window = Window(maximum)
    window.note_result(0.001)
    for _ in range(12):
        assert run(window, seconds, rounds=1) <= maximum
        assert window.free_slots(0, 0) <= maximum


def test_no_room_for_messages_or_for_octets():
    window = Window()
    assert window.free_slots(INITIAL, 0) == 0
    assert window.free_slots(INITIAL + 5, 0) == 0
    assert window.free_slots(1, MAX_OCTETS) == 0


def test_a_window_for_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Window(0)


def test_a_ceiling_is_doubled_by_success_until_it_is_gone():
    window = Window(ceiling=2)
    assert window.limit == 2
    limits = [run(window, 0.001, rounds=1) for _ in range(60)]
    assert limits == sorted(limits)
    assert limits[0] == 2
    assert window.ceiling is None
    assert limits[-1] > 64


def test_a_ceiling_beyond_the_maximum_is_gone_at_once():
    window = Window(4, ceiling=2)
    run(window, 0.001, rounds=12)
    assert window.ceiling is None
    assert window.limit == 4
