"""The words that all formats share."""

from __future__ import annotations

import pytest

from mailer.ledger.outcome import Status
from mailer.report.summary import Counts, Report, Throughput
from mailer.report.words import (
    ENDING_WORDS,
    describe_ending,
    describe_times,
    describe_verdict,
    format_duration,
    format_percent,
    format_size,
)


def report(ending: str | None = "complete", reason: str | None = None, **counts: int) -> Report:
    figures = Counts.from_statuses({Status(name): count for name, count in counts.items()})
    times = ("2026-11-23T09:00:00Z", None if ending is None else "2026-11-23T09:00:04Z")
    return Report(
        "autumn",
        "01J",
        *times,
        4.1,
        figures,
        None,
        Throughput(),
        lambda: iter(()),
        ending=ending,
        reason=reason,
    )


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({}, "The campaign has no recipients."),
        ({"sent": 1}, "The one recipient has the message."),
        ({"sent": 1200}, "All 1,200 recipients have the message."),
        ({"sent": 5, "suppressed": 2}, "All 5 recipients have the message (2 suppressed)."),
        ({"suppressed": 2}, "No recipient was to get the message (2 suppressed)."),
        ({"sent": 9, "failed": 1}, "1 not delivered."),
        ({"sent": 9, "deferred": 1}, "1 not delivered: the same command tries it again."),
        ({"sent": 9, "pending": 7}, "7 not delivered: the same command tries all of them again."),
        (
            {"failed": 30, "deferred": 8, "pending": 4},
            "42 not delivered: the same command tries 12 of them again.",
        ),
        ({"in_doubt": 3}, "3 in doubt: the server's reply never arrived."),
        (
            {"failed": 1, "pending": 1, "in_doubt": 2},
            "2 not delivered: the same command tries 1 of them again. "
            "2 in doubt: the server's reply never arrived.",
        ),
    ],
)
def test_the_verdict_says_what_is_missing_and_what_the_next_run_does(
    counts: dict[str, int], verdict: str
) -> None:
    assert describe_verdict(report(**counts)) == verdict


def test_each_ending_has_words_and_the_reason_follows() -> None:
    from mailer.delivery.options import Ending

    assert {ending.value for ending in Ending} == set(ENDING_WORDS)
    assert (
        describe_ending(report("given_up", "the daily limit is reached"))
        == "ended early: the daily limit is reached"
    )
    assert describe_ending(report(None)).startswith("not finished")


def test_a_run_that_is_not_finished_has_no_duration_yet() -> None:
    assert " s" not in describe_times(report(None))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (12, "12 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


def test_sizes_are_decimal_and_shares_in_percent() -> None:
    assert (format_size(812), format_size(30_211), format_size(4_100_000)) == ("812 B", "30.2 kB", "4.1 MB")
    assert (format_percent(1, 3), format_percent(0, 0)) == ("33.3 %", "")
