"""What ends a session with DATA, and what it leaves of each message."""

from __future__ import annotations

import pytest

from mailer.errors import ConnectionLost, ProtocolViolation
from mailer.smtp.protocol.values import Strategy
from tests.wire.conversation import FEEDINGS, OPENING, PIPELINED, SEQUENTIAL, Run, converse, message
from tests.wire.data_scripts import CONTENT, ENVELOPE, GO, ONE, REFUSED, THREE, TWO

pytestmark = pytest.mark.parametrize("feeding", FEEDINGS)


def test_replies_that_are_not_utf8_are_read(feeding: str) -> None:
    run = converse(OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + "!:", [ONE], feeding=feeding, then=lambda r: (
        r.receive(b"250 2.0.0 caf\xe9 \xff\x1b[31m\x00 queued\r\n")
    ))  # fmt: skip
    (settled,) = run.results
    assert settled.reply is not None
    assert settled.reply.text == "2.0.0 caf\ufffd \ufffd\\x1b[31m\\x00 queued"


@pytest.mark.parametrize(
    ("replies", "text"),
    [
        ("S: 250 ok\nS: 250 ok\nS: 250 ok\n", "answered DATA with 250"),
        ("S: 354 go\n", "asked for more"),
        ("S: 250 ok\nS: 334 hm\n", "asked for more"),
        ("S: 550 no\nS: 250 welcome\n", "refused MAIL and then took a recipient"),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nS: 250 queued already\n", "nothing asked for"),
        ("S: 250 ok\nS: what now\n", "not an SMTP reply"),
        ("S: 250 ok\nS: 199 hm\n", "not an SMTP reply"),
    ],
)
def test_codes_that_fit_no_command_end_the_session(feeding: str, replies: str, text: str) -> None:
    if feeding == "octets" and "queued already" in replies:
        feeding = "whole"  # octet by octet the content is on its way before the reply has come
    run = converse(OPENING + PIPELINED + ENVELOPE[1] + replies, [ONE, TWO], feeding=feeding)
    assert isinstance(run.failure, ProtocolViolation)
    assert text in str(run.failure)
    assert run.outcomes == {}
    assert run.unfinished == ([1, 2], [])
    assert run.session.traits.strategy_at_most is Strategy.SEQUENTIAL


def test_a_drop_before_the_content_leaves_the_message_unsent(feeding: str) -> None:
    run = converse(OPENING + PIPELINED + ENVELOPE[1] + "S: 250 ok\nE:", [ONE, TWO], feeding=feeding)
    assert isinstance(run.failure, ConnectionLost)
    assert run.unfinished == ([1, 2], [])
    assert run.session.traits.strategy_at_most is None


def test_a_drop_behind_the_content_leaves_the_message_in_doubt(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2] + "E:",
        [ONE, TWO, THREE],
        feeding=feeding,
    )
    assert run.unfinished == ([2, 3], [1])


def test_a_late_reply_ends_the_session(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + "L:", [ONE, TWO][:1], feeding=feeding
    )
    assert "did not answer within 10 seconds" in str(run.failure)
    assert run.unfinished == ([], [1])
    run.receive(b"250 late\r\n")
    assert run.outcomes == {}


def test_a_refused_envelope_has_its_result_although_the_session_broke(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + "S: 250 ok\nS: 550 no\nE:", [ONE, TWO], feeding=feeding
    )
    assert run.outcomes == {1: ("rcpt", 550)}
    assert run.unfinished == ([2], [])


@pytest.mark.parametrize(
    "script",
    [
        ENVELOPE[1] + "S: 421 too many\nE:",
        ENVELOPE[1] + "S: 250 ok\nS: 421 too many\nE:",
        ENVELOPE[1] + "S: 250 ok\nS: 250 ok\nS: 421 too many\nE:",
        ENVELOPE[1] + GO + "C: $1\nC: .\n" + ENVELOPE[2] + "S: 421 too many\nE:",
        ENVELOPE[1] + "S: 421 too many\nS: 503 no\nS: 503 no\n",  # Exim: it does not close by itself
        ENVELOPE[1] + "S: 421 too many\nL:",
    ],
)
def test_421_counts_against_no_message(feeding: str, script: str) -> None:
    run = converse(OPENING + PIPELINED + script, [ONE, TWO], feeding=feeding)
    assert type(run.failure) is ConnectionLost
    assert run.failure.reply is not None
    assert run.failure.reply.code == 421
    assert run.outcomes == {}
    assert run.unfinished == ([1, 2], [])


def test_a_refused_reset_ends_the_session(feeding: str) -> None:
    """Exim's "too many nonmail commands" comes as 554 to RSET, and a close."""
    run = converse(
        OPENING
        + PIPELINED
        + ENVELOPE[1]
        + REFUSED
        + "C: RSET\n"
        + ENVELOPE[2]
        + "S: 554 too many nonmail commands\nE:",
        [ONE, TWO],
        feeding=feeding,
    )
    assert type(run.failure) is ConnectionLost
    assert run.outcomes == {1: ("rcpt", 550)}
    assert run.unfinished == ([2], [])


def test_the_session_ends_after_the_servers_maximum_of_messages(feeding: str) -> None:
    run = converse(
        OPENING
        + "S: 250-LIMITS MAILMAX=1\nS: 250 PIPELINING\n"
        + ENVELOPE[1]
        + GO
        + CONTENT[1]
        + "S: 250 ok\n-:",
        [ONE],
        feeding=feeding,
    )
    assert run.session.is_exhausted
    assert run.session.room == 0


@pytest.mark.parametrize("offer", [PIPELINED, SEQUENTIAL])
def test_two_messages_may_wait_behind_those_on_their_way(feeding: str, offer: str) -> None:
    """On their way are one message, or the end of one and the envelope of the next."""
    run = converse(OPENING + offer + "-:", feeding=feeding)
    assert run.session.room == (4 if offer == PIPELINED else 3)


def test_what_waits_leaves_with_the_content_before_it(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2] + "-:",
        [ONE, TWO, THREE],
        feeding=feeding,
    )
    assert run.session.room == 1


def test_a_server_that_answers_slower_after_errors_is_left_when_that_is_cheaper(feeding: str) -> None:
    """A tarpit: two seconds for each message from the third error on, where opening a session took no time."""

    def answer(run: Run) -> None:
        run.now += 2.0 if len(run.results) >= 4 else 0.01

    script = OPENING + SEQUENTIAL + "C: MAIL FROM:<s@example.com>\n!:\nS: 550 no\n" * 8
    run = converse(
        script, [message(n, sender="s@example.com") for n in range(8)], feeding=feeding, then=answer
    )
    assert len(run.outcomes) == 8
    assert run.session.is_exhausted
    assert run.failure is None
