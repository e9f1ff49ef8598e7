"""`connections: auto`: how many sessions are wanted after what was measured."""

from __future__ import annotations

import pytest

from mailer.delivery.scaling import MAX_CONNECTIONS, ScalingPolicy, find_known_limit

MANY = 1_000_000


def choose_all(policy: ScalingPolicy, rate_of: dict[int, float] | None = None) -> list[int]:
    """The numbers chosen one after the other for a server that takes 10 messages per second in each session."""
    counts = [policy.count]
    while not policy.is_settled and len(counts) < 50:
        rate = (rate_of or {}).get(policy.count, 10.0 * policy.count)
        counts.append(policy.choose(rate, MANY))
    return counts


def test_sessions_are_added_while_the_rate_grows_with_them() -> None:
    assert choose_all(ScalingPolicy(1, 20)) == [1, 2, 4, 8, 12, 16, 20, 20]


def test_a_step_that_brings_too_little_is_taken_back_for_good() -> None:
    policy = ScalingPolicy(1, 64)
    assert choose_all(policy, {1: 10.0, 2: 20.0, 4: 40.0, 8: 45.0}) == [1, 2, 4, 8, 4]
    assert policy.choose(1000.0, MANY) == 4


def test_a_growth_of_15_percent_is_enough() -> None:
    assert choose_all(ScalingPolicy(1, 2), {1: 100.0, 2: 115.0})[:2] == [1, 2]
    policy = ScalingPolicy(1, 64)
    policy.choose(100.0, MANY)
    assert policy.choose(114.9, MANY) == 1


def test_slower_replies_are_a_step_back() -> None:
    policy = ScalingPolicy(4, 64)
    assert policy.choose(40.0, MANY) == 8
    assert policy.choose(20.0, MANY) == 4
    assert policy.is_settled


def test_no_session_is_opened_for_a_few_messages() -> None:
    policy = ScalingPolicy(1, 64)
    assert policy.choose(10.0, 19) == 1
    assert policy.choose(10.0, 20) == 2


def test_an_objection_means_one_fewer_and_no_more_growth() -> None:
    policy = ScalingPolicy(8, 64)
    assert policy.limit_to(7) == 7
    assert (policy.maximum, policy.is_settled) == (7, True)
    assert policy.choose(1000.0, MANY) == 7
    assert policy.limit_to(0) == 1


@pytest.mark.parametrize(
    ("host", "limit"), [("smtp.office365.com", 3), ("smtp.example.com", MAX_CONNECTIONS), ("", MAX_CONNECTIONS)]
)
def test_the_limit_that_a_provider_documents(host: str, limit: int) -> None:
    assert find_known_limit(host) == limit
