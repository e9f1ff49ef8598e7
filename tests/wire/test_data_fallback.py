"""Servers of which a session with DATA asks less: no command behind a message, no groups, a reset."""

from __future__ import annotations

import pytest

from mailer.errors import ConnectionLost
from mailer.smtp.protocol.values import ServerTraits, Strategy
from tests.wire.conversation import FEEDINGS, OPENING, PIPELINED, SEQUENTIAL, converse
from tests.wire.data_scripts import CONTENT, ENVELOPE, GO, ONE, THREE, TWO

pytestmark = pytest.mark.parametrize("feeding", FEEDINGS)


BEHIND = "S: 503 behind the end\nS: 503 behind the end\nS: 503 behind the end\n"


WAITING = "S: 250 q\n" + ENVELOPE[3] + GO + CONTENT[3] + "S: 250 q\n-:"


def test_commands_behind_the_end_that_are_refused_go_again_and_wait_from_then_on(feeding: str) -> None:
    """Haraka answers each command behind the final dot with 503. No message bears a mark."""
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2] + "S: 250 q\n" + BEHIND
        + ENVELOPE[2] + GO + CONTENT[2] + WAITING,
        [ONE, TWO, THREE],
        feeding=feeding,
    )  # fmt: skip
    assert run.outcomes == dict.fromkeys((1, 2, 3), ("content", 250))
    assert run.session.traits.refuses_behind_content
    assert run.session.strategy is Strategy.PIPELINED


def test_the_next_session_waits_from_its_first_message(feeding: str) -> None:
    run = converse(
        OPENING
        + PIPELINED
        + ENVELOPE[1]
        + GO
        + CONTENT[1]
        + "S: 250 q\n"
        + ENVELOPE[2]
        + GO
        + CONTENT[2]
        + WAITING,
        [ONE, TWO, THREE],
        feeding=feeding,
        traits=ServerTraits(refuses_behind_content=True),
    )
    assert run.outcomes == dict.fromkeys((1, 2, 3), ("content", 250))


@pytest.mark.parametrize(
    ("end", "is_learned"),
    [
        ("L:", True),
        ("W: 9\nE:", True),
        ("W: 9\n!:", True),
        ("W: 9\nS: 421 4.4.2 timeout\nE:", True),
        ("W: 9\nS: 421 4.4.2 timeout\nL:", True),
        ("W: 1\nE:", False),
        ("W: 1\nS: 421 4.3.2 shutting down\nE:", False),
        ("W: 9\nS: 250 ok\nW: 9\nE:", False),
        ("W: 9\nS: 250 ok\nW: 9\nS: 421 4.4.2 timeout\nE:", False),
    ],
)
def test_commands_behind_the_end_that_are_dropped_cost_one_timeout(
    feeding: str, end: str, is_learned: bool
) -> None:
    """Courier and chasquid read and forget them. This side or the server gives up waiting first."""
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2] + "S: 250 q\n" + end,
        [ONE, TWO],
        feeding=feeding,
        then=lambda run: run.session.fail(ConnectionLost("the connection broke"), run.now) and None,
    )
    assert run.outcomes[1] == ("content", 250)
    assert run.session.traits.refuses_behind_content is is_learned


@pytest.mark.parametrize(
    ("timeout", "traits", "is_heard", "seconds"),
    [
        (60.0, ServerTraits(), False, 10),
        (3.0, ServerTraits(), False, 3),
        (60.0, ServerTraits(reads_behind_content=True), False, 60),  # as an earlier session has shown
        (60.0, ServerTraits(), True, 60),
    ],
)
def test_commands_behind_the_end_that_may_be_dropped_are_not_waited_for_long(
    feeding: str, timeout: float, traits: ServerTraits, is_heard: bool, seconds: int
) -> None:
    """Nothing of that message can be accepted yet, and the next session asks less."""
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2] + "S: 250 q\n"
        + ("S: 250 ok\n" if is_heard else "") + "L:",
        [ONE, TWO],
        feeding=feeding,
        timeout=timeout,
        traits=traits,
    )  # fmt: skip
    assert str(run.failure) == f"server.example did not answer within {seconds} seconds"
    assert [each.context for each in run.session.list_unfinished().unsent] == [2]
    assert run.session.traits.reads_behind_content is (is_heard or traits.reads_behind_content)


def test_content_itself_is_waited_for_as_long_as_the_campaign_says(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2] + "L:",
        [ONE, TWO],
        feeding=feeding,
        timeout=60.0,
    )
    assert str(run.failure) == "server.example did not answer within 60 seconds"


@pytest.mark.parametrize("code", [500, 501, 502, 503, 504])
@pytest.mark.parametrize("at", ["MAIL", "DATA"])
def test_a_refusal_that_concerns_the_session_makes_it_sequential(feeding: str, code: int, at: str) -> None:
    """In a group the server is confused; one command at a time the same message is accepted."""
    no = f"S: {code} no\n"
    refusal, reset = (
        (no * 3, "C: RSET\nS: 250 ok\n") if at == "MAIL" else ("S: 250 ok\n" * 2 + no, "C: RSET\nS: 250 ok\n")
    )
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + refusal + reset
        + "C: MAIL FROM:<s1@example.com>\nS: 250 ok\nC: RCPT TO:<r1@example.com>\nS: 250 ok\nC: DATA\nS: 354 go\n"
        + CONTENT[1] + "S: 250 q\n-:",
        [ONE],
        feeding=feeding,
    )  # fmt: skip
    assert run.outcomes == {1: ("content", 250)}
    assert run.session.strategy is Strategy.SEQUENTIAL
    assert run.session.traits.strategy_at_most is Strategy.SEQUENTIAL


def test_a_session_that_refuses_even_single_commands_counts_against_no_message(feeding: str) -> None:
    run = converse(
        OPENING + SEQUENTIAL + "C: MAIL FROM:<s1@example.com>\nS: 503 5.5.1 what?\n",
        [ONE, TWO],
        feeding=feeding,
    )
    assert type(run.failure) is ConnectionLost
    assert run.failure.reply is not None
    assert run.failure.reply.code == 503
    assert run.outcomes == {}
    assert run.unfinished == ([1, 2], [])


def test_after_an_accepted_message_such_a_refusal_concerns_its_message(feeding: str) -> None:
    run = converse(
        OPENING + SEQUENTIAL
        + "C: MAIL FROM:<s1@example.com>\nS: 250 ok\nC: RCPT TO:<r1@example.com>\nS: 250 ok\nC: DATA\nS: 354 go\n"
        + CONTENT[1] + "S: 250 q\nC: MAIL FROM:<s2@example.com>\nS: 501 5.1.7 bad sender\n",
        [ONE, TWO],
        feeding=feeding,
    )  # fmt: skip
    assert run.outcomes == {1: ("content", 250), 2: ("mail", 501)}


def test_a_transaction_that_a_refused_message_left_open_is_met_once(feeding: str) -> None:
    """Postfix, smtpd_end_of_data_restrictions: RCPT joins the old transaction, so nothing more may be sent."""
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2]
        + "S: 554 5.7.1 not this\nS: 503 5.5.1 nested MAIL\nS: 250 ok\n",
        [ONE, TWO],
        feeding=feeding,
    )  # fmt: skip
    assert type(run.failure) is ConnectionLost
    assert run.outcomes == {1: ("content", 554)}
    assert run.unfinished == ([2], [])
    assert run.session.traits.keeps_refused_transaction


def test_the_final_dot_never_closes_a_transaction_that_a_refused_message_left_open(feeding: str) -> None:
    """Its recipients would get an empty message."""
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2]
        + "S: 554 5.7.1 not this\nS: 503 5.5.1 nested MAIL\nS: 550 no such user\nS: 354 go\n",
        [ONE, TWO],
        feeding=feeding,
    )  # fmt: skip
    assert type(run.failure) is ConnectionLost
    assert run.session.traits.keeps_refused_transaction


def test_after_a_refused_message_reset_precedes_the_next_mail_in_the_same_group(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + "C: RSET\n" + ENVELOPE[2]
        + "S: 554 5.7.1 not this\nS: 250 ok\n" + GO + CONTENT[2] + "S: 250 q\n-:",
        [ONE, TWO],
        feeding=feeding,
        traits=ServerTraits(keeps_refused_transaction=True),
    )  # fmt: skip
    assert run.outcomes == {1: ("content", 554), 2: ("content", 250)}
    assert run.failure is None


def test_sequential_finds_the_open_transaction_and_resets_it(feeding: str) -> None:
    single = "S: 250 ok\nC: RCPT TO:<r{n}@example.com>\nS: 250 ok\nC: DATA\nS: 354 go\n"
    run = converse(
        OPENING + SEQUENTIAL + "C: MAIL FROM:<s1@example.com>\n" + single.format(n=1) + CONTENT[1]
        + "S: 554 not this\nC: MAIL FROM:<s2@example.com>\nS: 503 nested MAIL\nC: RSET\nS: 250 ok\n"
        + "C: MAIL FROM:<s2@example.com>\n" + single.format(n=2) + CONTENT[2] + "S: 250 q\n-:",
        [ONE, TWO],
        feeding=feeding,
    )  # fmt: skip
    assert run.outcomes == {1: ("content", 554), 2: ("content", 250)}
