from __future__ import annotations

import random
import re
from typing import Any

import pytest

from mailer.sandbox.behavior import Failure, FailurePlan, make_behavior, parse_failure, parse_share


def plan_of(*rules: str, drop: float = 0.0) -> FailurePlan:
    return FailurePlan(make_behavior(fail=rules, drop=drop), random.Random(1))


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("421:5%", Failure("data", "421 4.3.0 Try again later (rehearsed)", share=0.05)),
        ("550", Failure("data", "550 5.0.0 Refused (rehearsed)")),
        ("data=451:first", Failure("data", "451 4.3.0 Try again later (rehearsed)", is_first_only=True)),
        ("mail=550 5.7.1 Not you", Failure("mail", "550 5.7.1 Not you")),
        ("auth=535 5.7.8 No:50%", Failure("auth", "535 5.7.8 No", share=0.5)),
    ],
)
def test_a_rule_names_a_failure(text: str, failure: Failure) -> None:
    assert parse_failure(text) == failure


@pytest.mark.parametrize(
    "text", ["", "x", "250", "rcpt", "rcpt=", "rcpt=200", "data=451:", "rcpt=550:[", "551\r\n250"]
)
def test_text_that_is_not_a_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_failure(text)


def test_a_share_is_a_percentage() -> None:
    assert parse_share("0.5%") == 0.005
    assert parse_share(" 100 % ") == 1.0
    for text in ("101%", "-1%", "5", "%"):
        with pytest.raises(ValueError, match="percentage"):
            parse_share(text)


def test_a_regular_expression_chooses_recipients() -> None:
    plan = plan_of("rcpt=550:^bob")
    assert plan.find_reply("rcpt", "Bob@example.com")
    assert plan.find_reply("rcpt", "alice.bob@example.com") is None
    assert plan.find_reply("data", "bob@example.com") is None


def test_the_first_message_of_each_recipient() -> None:
    plan = plan_of("451:first")
    assert [bool(plan.find_reply("data", address)) for address in ("a", "b", "a", "b")] == [
        True,
        True,
        False,
        False,
    ]


def test_shares_are_kept_in_the_long_run() -> None:
    plan = plan_of("421:5%", drop=0.2)
    count = sum(plan.find_reply("data", "a") is not None for _ in range(10_000))
    assert 400 < count < 600
    assert 1800 < sum(plan.is_dropped() for _ in range(10_000)) < 2200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fail": ["421", "200"]}, "fail '200': expected [STAGE=]CODE"),
        ({"delay": "soon"}, "delay 'soon': expected a duration"),
        ({"delay": float("nan")}, "delay nan: expected a number of seconds"),
        ({"drop": 5}, "drop 5: expected a share from 0 to 1"),
        ({"drop": "101%"}, "drop '101%': expected a percentage"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        make_behavior(**arguments)
