import itertools

import pytest

from mailer.campaign.model import Rate
from mailer.delivery.pacing import Pacer


def run(pacer, seconds, *, wanted=64, start=0.0, oversleep=0.0):
    """Send as fast as the pacer lets us; the instants at which messages started."""
    now, sent = start, []
    while now < start + seconds:
        if count := pacer.reserve(wanted, now):
            pacer.note_started(count, now)
            sent += [now] * count
        else:
            now += max(pacer.seconds_until_next(now), 1e-6) + oversleep
    return sent


def test_without_a_rate_all_may_start():
    pacer = Pacer(None)
    assert pacer.reserve(500, 0.0) == 500
    pacer.note_started(500, 0.0)
    assert pacer.reserve(500, 0.0) == 500
    assert pacer.seconds_until_next(0.0) == 0


def test_messages_start_evenly_from_the_first_one_on():
    sent = run(Pacer(Rate(30, 60)), 60)
    assert len(sent) == pytest.approx(30, abs=1)
    assert min(b - a for a, b in itertools.pairwise(sent)) >= 2.0 * 0.9


@pytest.mark.parametrize("rate", [Rate(14, 1), Rate(500, 1), Rate(5000, 1)])
def test_a_late_start_is_made_up_for(rate):
    sent = run(Pacer(rate), 5, oversleep=0.001)
    assert len(sent) == pytest.approx(5 * rate.count / rate.seconds, rel=0.02)


def test_no_burst_after_a_pause():
    pacer = Pacer(Rate(10, 1))
    run(pacer, 2)
    after = run(pacer, 1, start=3600.0)
    assert len(after) <= 11
    assert after.count(3600.0) == 1


def test_one_pace_for_all_connections():
    pacer = Pacer(Rate(10, 1))
    assert pacer.reserve(8, 100.0) == 1
    pacer.note_started(1, 100.0)
    assert pacer.reserve(8, 100.0) == 0  # the other connection asks
    assert pacer.seconds_until_next(100.0) == pytest.approx(0.1, abs=0.011)


def test_asking_without_starting_a_message_changes_nothing():
    pacer = Pacer(Rate(10, 1))
    assert pacer.reserve(1, 5.0) == 1
    pacer.note_started(0, 5.0)
    assert pacer.reserve(1, 5.0) == 1


def test_a_throttling_pauses_then_ramps_up_slowly():
    pacer = Pacer(None)
    pacer.note_started(100, 0.0)
    pacer.accept(100)
    pacer.pause(30, 10.0)  # it took 10 a second
    assert pacer.is_paused(39.0)
    assert pacer.reserve(64, 39.0) == 0
    assert pacer.seconds_until_next(10.0) == 30
    assert pacer.reserve(64, 40.0) == 1
    assert pacer.interval == pytest.approx(1 / 5)
    pacer.accept(35)
    assert pacer.interval == pytest.approx(1 / 10, rel=0.01)
    pacer.accept(10_000)
    assert pacer.interval == 0


def test_the_ramp_ends_at_the_rate_of_the_campaign():
    pacer = Pacer(Rate(10, 1))
    pacer.note_started(1, 0.0)
    pacer.accept(10)
    pacer.pause(1, 10.0)
    assert pacer.interval == pytest.approx(2.0)
    pacer.accept(300)
    assert pacer.interval == pytest.approx(0.1)


def test_repeated_throttling_gets_slower_but_never_stops():
    pacer = Pacer(None)
    for n in range(40):
        pacer.pause(1, float(n * 10))
    assert pacer.interval == pytest.approx(10)
