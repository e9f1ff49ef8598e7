"""Servers that offer CHUNKING and do not do it: the session continues with DATA."""

from __future__ import annotations

import pytest

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol.values import Strategy
from tests.wire.bdat_scripts import OK, RESET, RESET_OK, VERIFIED, M, first, whole
from tests.wire.conversation import FEEDINGS, OPENING, STREAMED, converse

pytestmark = pytest.mark.parametrize("feeding", FEEDINGS)


DATA_TURNS = """\
C: MAIL FROM:<s1@example.com>
C: RCPT TO:<r1@example.com>
C: DATA
S: 250 ok
S: 250 ok
S: 354 go
C: $1
C: .
C: MAIL FROM:<s2@example.com>
C: RCPT TO:<r2@example.com>
C: DATA
S: 250 queued
S: 250 ok
S: 250 ok
S: 354 go
C: $2
C: .
S: 250 queued
"""


@pytest.mark.parametrize("code", [500, 502, 503, 504])
@pytest.mark.parametrize("reads_content_as_commands", [False, True])
def test_a_server_without_bdat_gets_data(feeding: str, code: int, reads_content_as_commands: bool) -> None:
    """One step down in the same session: nothing lost, nothing twice, and at most a header line read as a command."""
    stray = "S: 500 Subject: what is that?\n" if reads_content_as_commands else ""
    run = converse(
        OPENING
        + STREAMED
        + first()
        + f"S: 250 ok\nS: 250 ok\nS: {code} no BDAT\n"
        + stray
        + RESET
        + RESET_OK
        + DATA_TURNS,
        [M[1], M[2]],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}
    assert run.session.strategy is Strategy.PIPELINED


def test_the_refusal_of_the_line_may_come_behind_the_reset(feeding: str) -> None:
    run = converse(
        OPENING
        + STREAMED
        + first()
        + "S: 250 ok\nS: 250 ok\nS: 500 no\n"
        + RESET
        + "S: 500 eh?\n"
        + RESET_OK
        + DATA_TURNS,
        [M[1], M[2]],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}


def test_too_many_unexpected_replies_end_the_session(feeding: str) -> None:
    run = converse(
        OPENING + STREAMED + first() + "S: 250 ok\nS: 250 ok\nS: 500 no\nS: 500 eh?\nS: 500 eh?\n",
        [M[1], M[2]],
        feeding=feeding,
    )
    assert isinstance(run.failure, ProtocolViolation)
    assert run.unfinished == ([1, 2], [])
    assert run.session.traits.strategy_at_most is Strategy.PIPELINED


def test_bdat_that_stops_working_inside_a_window_is_left(feeding: str) -> None:
    """What was refused in between may have been refused for that: it goes again; what was accepted does not."""
    run = converse(
        VERIFIED
        + RESET
        + whole(2)
        + RESET
        + whole(3)
        + "S: 502 no BDAT\n"
        + RESET_OK
        + "S: 250 ok\nS: 250 ok\nS: 451 later\n"
        + RESET_OK
        + OK
        + RESET
        + RESET_OK
        + DATA_TURNS,
        [M[1], M[2], M[3]],
        feeding=feeding,
    )
    assert run.outcomes == dict.fromkeys((1, 2, 3), ("content", 250))


@pytest.mark.parametrize("reply", ["450 later", "500 eh?\nS: 500 eh?", "354 go"])
def test_a_server_that_does_not_recover_after_bdat_ends_the_session(feeding: str, reply: str) -> None:
    run = converse(
        OPENING + STREAMED + first() + f"S: 250 ok\nS: 250 ok\nS: 500 no\n{RESET}S: {reply}\n",
        [M[1]],
        feeding=feeding,
    )
    assert isinstance(run.failure, ProtocolViolation)
    assert run.unfinished == ([1], [])
    assert run.session.traits.strategy_at_most is Strategy.PIPELINED


@pytest.mark.parametrize("end", ["E:", "L:", "S: 221 I can break rules, too\n"])
def test_after_a_connection_closed_at_bdat_the_next_session_has_none(feeding: str, end: str) -> None:
    run = converse(
        OPENING + STREAMED + first() + "S: 250 ok\nS: 250 ok\n" + end, [M[1], M[2]], feeding=feeding
    )
    assert run.failure is not None
    assert run.outcomes == {}
    assert run.unfinished == ([1, 2], [])
    assert run.session.traits.strategy_at_most is Strategy.PIPELINED


def test_a_mail_that_is_refused_for_the_session_goes_again_without_bdat(feeding: str) -> None:
    run = converse(
        VERIFIED + RESET + whole(2) + "S: 250 queued\n" + RESET_OK + "S: 503 what?\n" * 3 + RESET + RESET_OK
        + DATA_TURNS[DATA_TURNS.index("C: MAIL FROM:<s2") : DATA_TURNS.index("S: 250 queued")]
        + "S: 250 ok\nS: 250 ok\nS: 354 go\n"
        + "C: $2\nC: .\nS: 250 queued\n",
        [M[1], M[2]],
        feeding=feeding,
    )  # fmt: skip
    assert run.outcomes == dict.fromkeys((1, 2), ("content", 250))
    assert run.session.traits.strategy_at_most is Strategy.PIPELINED
