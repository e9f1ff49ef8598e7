"""Durations, rates and limits."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.campaign import Rate, StopAfter, parse_duration, parse_rate
from mailer.campaign.quantities import DURATION, RATE, STOP_AFTER, parse_stop_after


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("250ms", 0.25), ("5m", 300.0), ("1h", 3600.0), ("1.5s", 1.5), ("30 s", 30.0)],
)
def test_a_duration_becomes_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1d", "-1s", "0s", "1s ", "1 minute", "1e3s", "999999h", "\u0661s", "1.s", "1\ns"]
)
def test_another_text_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("30/minute", Rate(30, 60.0)),
        ("14/second", Rate(14, 1.0)),
        ("500/hour", Rate(500, 3600.0)),
        ("10/s", Rate(10, 1.0)),
        ("10/min", Rate(10, 60.0)),
        ("10 / hours", Rate(10, 3600.0)),
        ("2000/day", Rate(2000, 86400.0)),
    ],
)
def test_a_rate_becomes_a_count_and_a_period(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "30", "/s", "0/s", "-1/s", "1.5/s", "30/week", "30/m/s", "30 per minute", "\u0663/s", "1/ss"]
)
def test_another_text_is_not_a_rate(text: str) -> None:
    with pytest.raises(ValueError, match="expected a rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("50 in a row", StopAfter(in_a_row=50)),
        ("10%", StopAfter(share=0.1)),
        ("2.5 %", StopAfter(share=0.025)),
    ],
)
def test_stop_after_becomes_a_run_or_a_share(text: str, limit: StopAfter) -> None:
    assert parse_stop_after(text) == limit


@pytest.mark.parametrize("text", ["", "50", "0 in a row", "0%", "101%", "%", "ten in a row", "50 in a row!"])
def test_another_text_is_not_a_limit(text: str) -> None:
    with pytest.raises(ValueError, match="expected '50 in a row'"):
        parse_stop_after(text)


@pytest.mark.parametrize(
    ("parse", "pattern"), [(parse_duration, DURATION), (parse_rate, RATE), (parse_stop_after, STOP_AFTER)]
)
def test_what_is_read_matches_the_pattern_that_editors_get(parse: object, pattern: str) -> None:
    @given(st.text("0123456789. ms/hinarowecud%t", max_size=14) | st.from_regex(pattern, fullmatch=True))
    def check(text: str) -> None:
        try:
            parse(text)  # type: ignore[operator]  # one of three functions of a text
        except ValueError:
            return
        assert re.fullmatch(pattern, text)

    check()
