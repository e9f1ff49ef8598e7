import random

import pytest

from mailer.campaign.model import Backoff
from mailer.delivery import backoff


@pytest.fixture(autouse=True)
def _seed():
    random.seed(7)


def test_a_message_is_tried_so_often_and_no_more():
    policy = backoff.message_policy(3, Backoff(1.0, 300.0))
    assert policy.after(1) is not None
    assert policy.after(2) is not None
    assert policy.after(3) is None
    assert policy.after(4) is None


def test_one_attempt_is_no_retry():
    assert backoff.message_policy(1, Backoff()).after(1) is None


@pytest.mark.parametrize(("attempt", "bound"), [(1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0), (40, 10.0)])
def test_waits_are_exponential_with_full_jitter_and_bounded(attempt, bound):
    policy = backoff.message_policy(100, Backoff(2.0, 10.0))
    waits = [policy.after(attempt) for _ in range(300)]
    assert all(0 <= wait <= bound for wait in waits)
    assert max(waits) > bound * 0.9
    assert min(waits) < bound * 0.1  # full jitter: down to nothing


def test_greylisting_is_waited_out_within_one_run():
    policy = backoff.greylist_policy(5, Backoff())
    waits = [policy.after(n) for n in range(1, 6)]
    assert waits[-1] is None
    assert waits[0] <= 1  # most of them let one in at once, when it comes again
    assert sum(waits[:-1]) > 300  # and the strict ones after five minutes


def test_greylisting_stays_within_the_most_that_the_campaign_allows():
    policy = backoff.greylist_policy(5, Backoff(0.01, 0.05))
    assert all(policy.after(n) <= 0.05 for n in range(1, 5))


def test_greylisting_with_few_attempts():
    assert backoff.greylist_policy(1, Backoff()).after(1) is None
    assert backoff.greylist_policy(2, Backoff()).after(1) >= 60


def test_a_pause_is_long_doubles_and_ends():
    policy = backoff.pause_policy(Backoff(1.0, 300.0), pauses=3)
    assert 15 <= policy.after(1) <= 30
    assert 15 <= policy.after(2) <= 60
    assert policy.after(3) is None


def test_a_pause_is_short_where_backoff_is():
    assert backoff.pause_policy(Backoff(0.001, 0.01)).after(1) <= 0.01


def test_connections_without_progress_end():
    policy = backoff.connection_policy(Backoff(), sessions=2)
    assert policy.after(1) is not None
    assert policy.after(2) is None
