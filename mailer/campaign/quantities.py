"""Durations, rates and limits as people write them. Each parser raises ValueError with what was expected."""

from __future__ import annotations

import re

from mailer.campaign.model import Rate, StopAfter

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_SHORT = {"s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day"}
MAX_DURATION = 7 * 86400.0

DURATION = r"[0-9]{1,9}(?:\.[0-9]{1,6})? ?(?:ms|s|m|h)"
RATE = r"[0-9]{1,9} ?/ ?[a-z]{1,7}"
STOP_AFTER = r"[0-9]{1,9} in a row|[0-9]{1,3}(?:\.[0-9]{1,3})? ?%"


def parse_duration(text: str) -> float:
    """Seconds in "250ms", "1.5s", "5m" or "1h"."""
    match = re.fullmatch(r"([0-9.]+) ?([a-z]+)", text) if re.fullmatch(DURATION, text) else None
    if match is None:
        raise ValueError("expected a duration such as 250ms, 30s, 5m or 1h")
    seconds = float(match[1]) * _UNITS[match[2]]
    if not 0 < seconds <= MAX_DURATION:
        raise ValueError("expected a duration over zero and of at most 168h")
    return seconds


def parse_rate(text: str) -> Rate:
    """ "30/minute", "14/second", "500/hour", "10/s"."""
    count, _, period = (part.strip() for part in text.partition("/"))
    period = _SHORT.get(period, period.removesuffix("s") if len(period) > 1 else period)
    if not re.fullmatch(RATE, text) or period not in _PERIODS or int(count) < 1:
        raise ValueError("expected a rate such as 14/second, 30/minute or 500/hour")
    return Rate(int(count), _PERIODS[period])


def parse_stop_after(text: str) -> StopAfter:
    """ "50 in a row" or "10%"."""
    if re.fullmatch(STOP_AFTER, text):
        number = re.match(r"[0-9.]+", text)
        if number and text.endswith("row") and int(number[0]) >= 1:
            return StopAfter(in_a_row=int(number[0]))
        if number and text.endswith("%") and 0 < float(number[0]) <= 100:
            return StopAfter(share=float(number[0]) / 100)
    raise ValueError("expected '50 in a row', '10%' or null")
