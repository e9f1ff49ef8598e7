"""The end of a session with a window of messages in flight."""

from __future__ import annotations

import pytest

from mailer.errors import ConnectionLost, ProtocolViolation
from tests.wire.bdat_scripts import OK, RESET, RESET_OK, VERIFIED, M, first, rest, whole
from tests.wire.conversation import FEEDINGS, OPENING, STREAMED, Run, converse, feed

pytestmark = pytest.mark.parametrize("feeding", FEEDINGS)


WINDOW = VERIFIED + RESET + whole(2) + RESET + whole(3)


def test_a_lost_window_is_in_doubt(feeding: str) -> None:
    run = converse(
        WINDOW + "S: 250 queued\n" + RESET_OK + "S: 250 ok\nE:", [M[n] for n in (1, 2, 3)], feeding=feeding
    )
    assert run.outcomes == {1: ("content", 250)}
    assert run.unfinished == ([], [2, 3])


def test_421_in_a_window_leaves_the_rest_unsent(feeding: str) -> None:
    run = converse(
        WINDOW + "S: 250 queued\n" + RESET_OK + "S: 421 enough\nE:",
        [M[n] for n in (1, 2, 3)],
        feeding=feeding,
    )
    assert isinstance(run.failure, ConnectionLost)
    assert run.outcomes == {1: ("content", 250)}
    assert run.unfinished == ([2, 3], [])


@pytest.mark.parametrize(
    ("end", "unfinished"),
    [("E:", ([2, 3], [])), ("L:", ([], [2, 3]))],
    ids=["and closes", "and may continue"],
)
def test_a_reset_refused_in_a_window_ends_the_session(
    feeding: str, end: str, unfinished: tuple[list[int], list[int]]
) -> None:
    """It closes, as Exim does, or it is only slow: then the others may arrive after we have left."""
    run = converse(
        WINDOW + "S: 250 queued\nS: 502 no RSET here\n" + end, [M[n] for n in (1, 2, 3)], feeding=feeding
    )
    assert run.outcomes == {1: ("content", 250)}
    assert run.unfinished == unfinished


def test_a_server_that_continues_after_its_421(feeding: str) -> None:
    """What it accepts all the same is accepted; what it refuses was not considered."""
    run = converse(
        WINDOW + "S: 250 queued\n" + RESET_OK + "S: 421 enough\nS: 503 no\nS: 503 no\n" + RESET_OK + OK,
        [M[n] for n in (1, 2, 3)],
        feeding=feeding,
    )
    assert isinstance(run.failure, ConnectionLost)
    assert run.outcomes == {1: ("content", 250), 3: ("content", 250)}
    assert run.unfinished == ([2], [])


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("S: 354 go\n", "answered BDAT with 354"),
        ("S: 250 queued\n" + RESET_OK + "S: 250 ok\nS: 550 no\nS: 250 queued\n", "answered BDAT with 250"),
        ("S: 250 queued\n" + RESET_OK + "S: 550 no\nS: 250 yes\n", "refused MAIL and then took a recipient"),
        ("S: 250 queued\n" + RESET_OK + OK + RESET_OK + OK + "S: 250 one more\n", "nothing asked for"),
    ],
)
def test_replies_that_fit_no_command_end_the_session(feeding: str, said: str, text: str) -> None:
    run = converse(WINDOW + said, [M[n] for n in (1, 2, 3)], feeding=feeding)
    assert isinstance(run.failure, ProtocolViolation)
    assert text in str(run.failure)
    settled, (untouched, doubtful) = set(run.outcomes), run.unfinished
    assert settled | set(untouched) | set(doubtful) == {1, 2, 3}


def test_the_session_ends_after_the_servers_maximum_of_messages(feeding: str) -> None:
    limited = OPENING + "S: 250-PIPELINING\nS: 250-LIMITS MAILMAX=2\nS: 250 CHUNKING\n"
    run = converse(
        limited
        + first()
        + "S: 250 ok\nS: 250 ok\nS: 250 ok\n"
        + rest()
        + RESET
        + whole(2)
        + "S: 250 q\n"
        + RESET_OK
        + OK,
        [M[1], M[2], M[3]],
        feeding=feeding,
    )
    assert set(run.outcomes) == {1, 2}
    assert run.session.is_exhausted
    assert "takes no more messages" in str(run.failure)
    assert run.unfinished == ([3], [])


def test_a_lost_session_halves_the_next_ones_window(feeding: str) -> None:
    run = converse(WINDOW + "S: 250 queued\n" + RESET_OK + "E:", [M[n] for n in (1, 2, 3)], feeding=feeding)
    assert run.session.traits.window_at_most == 4
    again = converse(OPENING + STREAMED + "-:", feeding=feeding, traits=run.session.traits)
    assert again.session.room == 4


def test_a_surplus_acceptance_does_not_count_for_content_that_has_not_left(feeding: str) -> None:
    """Of two messages in flight, only the first octets of the second one have left this machine."""

    def accept_too_much(run: Run) -> None:
        run.submit(M[2])
        written = run.session.data_to_send(run.now)
        run.session.bytes_sent(len(run.written) + len(written) - 1, run.now)
        feed(run, b"250 ok\r\n" * 5, feeding)

    run = converse(VERIFIED + "!:", [M[1]], feeding=feeding, then=accept_too_much)
    assert isinstance(run.failure, ProtocolViolation)
    assert run.outcomes == {1: ("content", 250)}
    assert run.unfinished == ([2], [])
