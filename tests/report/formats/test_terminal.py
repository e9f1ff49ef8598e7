from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from mailer.ledger.outcome import CopyRefused, Outcome
from mailer.report.formats import terminal
from mailer.report.summary import Report

Make = Callable[..., Report]
Row = Callable[..., Outcome]


def shown(report: Report, *, rich: bool) -> str:
    stream = io.StringIO()
    terminal.print_summary(report, stream, rich=rich)
    return stream.getvalue()


@pytest.mark.parametrize("rich", [False, True])
def test_figures_and_failures_are_on_the_page(make_report: Make, sent: Row, failed: Row, rich: bool) -> None:
    text = shown(make_report([sent(0), failed(1), failed(2)]), rich=rich)
    for words in ("autumn-2026", "sent", "failed", "550 5.1.1", "1 session", "812.0 messages/s"):
        assert words in text


def test_it_says_how_the_run_ended_and_the_reply_is_whole(make_report: Make, sent: Row, failed: Row) -> None:
    reply = "5.7.1 see https://mail.example/help/" + "x" * 400 + "/20022.htm"
    reason = "the server refuses the account (550 " + "y" * 500 + ")"
    text = shown(make_report([sent(0), failed(1, reply=reply)], ending="given_up", reason=reason), rich=False)
    assert f"  ended early: {reason}\n" in text
    assert reply.removeprefix("5.7.1 ") in text


@pytest.mark.parametrize("rich", [False, True])
def test_a_refused_copy_is_shown_though_every_message_was_sent(
    make_report: Make, sent: Row, rich: bool
) -> None:
    boss = CopyRefused("boss@example.com", 550, "5.1.1 no such user")
    rows = [sent(n, copies_refused=(boss,)) for n in range(3)]
    text = " ".join(shown(make_report(rows), rich=rich).split())
    assert "opies that were refused" in text
    assert "3 boss@example.com: 550 5.1.1 no such user (of the message to person0@example.com" in text


@pytest.mark.parametrize("rich", [False, True])
def test_no_control_reaches_the_terminal(hostile: Report, rich: bool) -> None:
    text = shown(hostile, rich=rich)
    assert "\x9b" not in text
    assert "\x1b[31m" not in text.replace("\x1b[31m\n", "")
    assert "\u202e" not in text


def test_recipients_are_not_read_again_if_none_has_a_problem(make_report: Make, sent: Row) -> None:
    report = make_report([sent(0)])
    lazy = make_report([], counts=report.counts, outcomes=lambda: pytest.fail("read"))
    assert "sent" in shown(lazy, rich=False)
