"""Waits before something is tried again."""

from __future__ import annotations

import random

import pytest

from mailer.campaign.model import Backoff
from mailer.delivery.backoff import MAX_PAUSES, RetryPolicy, seconds_of_pause

DRAW = random.Random(7).uniform


def test_a_message_is_tried_so_often_and_no_more():
    policy = RetryPolicy(3, Backoff(1.0, 300.0), DRAW)
    assert policy.seconds_after(1) is not None
    assert policy.seconds_after(2) is not None
    assert policy.seconds_after(3) is None
    assert policy.seconds_after(4) is None


def test_one_attempt_is_no_retry():
    assert RetryPolicy(1, Backoff()).seconds_after(1) is None


@pytest.mark.parametrize(
    ("attempt", "bound"), [(1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0), (40, 10.0), (5000, 10.0)]
)
def test_waits_are_exponential_with_full_jitter_and_a_maximum(attempt, bound):
    policy = RetryPolicy(10_000, Backoff(2.0, 10.0), DRAW)
    waits = [policy.seconds_after(attempt) for _ in range(300)]
    assert all(0 <= wait <= bound for wait in waits)
    assert max(waits) > bound * 0.9
    assert min(waits) < bound * 0.1  # full jitter: down to nothing


def test_greylisting_is_waited_out_within_one_run():
    policy = RetryPolicy(5, Backoff(), DRAW)
    waits = [policy.seconds_after(n, greylisted=True) for n in range(1, 6)]
    assert waits[-1] is None
    assert waits[0] <= 1  # most servers accept at once a message that comes again
    assert sum(waits[:-1]) > 300  # and the strict ones after five minutes


def test_greylisting_stays_within_the_maximum_of_the_campaign():
    policy = RetryPolicy(5, Backoff(0.01, 0.05))
    assert all(policy.seconds_after(n, greylisted=True) <= 0.05 for n in range(1, 5))


def test_greylisting_with_few_attempts():
    assert RetryPolicy(1, Backoff()).seconds_after(1, greylisted=True) is None
    assert RetryPolicy(2, Backoff()).seconds_after(1, greylisted=True) >= 60


@pytest.mark.parametrize(
    ("pauses", "shortest", "longest"), [(1, 15, 30), (2, 15, 60), (3, 15, 120), (7, 15, 300)]
)
def test_a_pause_is_long_and_doubles_up_to_the_maximum(pauses, shortest, longest):
    waits = [seconds_of_pause(Backoff(1.0, 300.0), pauses, DRAW) for _ in range(300)]
    assert all(shortest <= wait <= longest for wait in waits)
    assert max(waits) > longest * 0.9


def test_pauses_in_a_row_end():
    assert seconds_of_pause(Backoff(), MAX_PAUSES - 1) is not None
    assert seconds_of_pause(Backoff(), MAX_PAUSES) is None


def test_a_pause_is_short_if_backoff_is():
    assert seconds_of_pause(Backoff(0.001, 0.01), 1) <= 0.01
