"""QUIT that leaves with the last content (RFC 2920, section 3.1): one round trip less at the end of a session."""

from __future__ import annotations

import pytest

from mailer.smtp.protocol.states import State
from tests.wire.conversation import FEEDINGS, OPENING, PIPELINED, SEQUENTIAL, Run, converse
from tests.wire.data_scripts import CONTENT, ENVELOPE, GO, ONE, THREE, TWO

feeding = pytest.fixture(params=FEEDINGS)(lambda request: request.param)

FIRST = OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2] + "!:\nS: 250 q\n"
LAST = FIRST + GO + CONTENT[2] + "C: QUIT\n"


def finish(run: Run) -> None:
    run.session.finish()
    assert run.session.room == 0
    assert run.session.is_exhausted


@pytest.mark.parametrize("code", [250, 451, 550])
@pytest.mark.parametrize("end", ["S: 221 bye\n", "S: 500 what\n", "S: 421 bye\nE:", "E:"])
def test_quit_leaves_with_the_last_content(feeding: str, code: int, end: str) -> None:
    run = converse(LAST + f"S: {code} q\n" + end, [ONE, TWO], feeding=feeding, then=finish)
    assert run.outcomes == {1: ("content", 250), 2: ("content", code)}
    assert run.session.is_closed
    assert run.unfinished == ([], [])
    if "421" not in end:
        assert run.failure is None


@pytest.mark.parametrize(
    ("end", "unfinished"),
    [("E:", ([], [2])), ("S: 221 bye\n", ([], [2])), ("S: 421 bye\nE:", ([2], []))],
)
def test_a_server_that_does_not_answer_the_content_has_not_accepted_it(
    feeding: str, end: str, unfinished: tuple[list[object], list[object]]
) -> None:
    """221 is not its answer. 421 says that it is not taken (RFC 5321 3.8)."""
    run = converse(LAST + end, [ONE, TWO], feeding=feeding, then=finish)
    assert run.session.is_closed
    assert run.outcomes == {1: ("content", 250)}
    assert run.unfinished == unfinished


def test_quit_is_not_written_twice(feeding: str) -> None:
    calls = iter((finish, lambda run: run.session.send_quit()))

    def call_next(run: Run) -> None:
        next(calls)(run)

    run = converse(LAST + "S: 250 q\n!:\nS: 221 bye\n", [ONE, TWO], feeding=feeding, then=call_next)
    assert run.session.is_closed
    assert run.failure is None


def test_quit_waits_for_the_last_message(feeding: str) -> None:
    run = converse(
        FIRST
        + GO
        + CONTENT[2]
        + ENVELOPE[3]
        + "S: 250 q\n"
        + GO
        + CONTENT[3]
        + "C: QUIT\nS: 250 q\nS: 221 bye\n",
        [ONE, TWO, THREE],
        feeding=feeding,
        then=finish,
    )
    assert len(run.results) == 3
    assert run.failure is None


def test_a_refused_envelope_is_followed_by_no_quit_of_its_own(feeding: str) -> None:
    """The owner writes it, as at the end of any session."""
    run = converse(
        FIRST + "S: 250 ok\nS: 550 5.1.1 no\nS: 554 5.5.1 no\n-:", [ONE, TWO], feeding=feeding, then=finish
    )
    assert run.outcomes == {1: ("content", 250), 2: ("rcpt", 550)}
    assert run.session.state is State.READY
    assert run.session.is_idle


@pytest.mark.parametrize(
    "script",
    [
        OPENING + PIPELINED + ENVELOPE[1] + "!:\n" + GO + CONTENT[1] + "-:\n",
        OPENING
        + SEQUENTIAL
        + "C: MAIL FROM:<s1@example.com>\nS: 250 ok\nC: RCPT TO:<r1@example.com>\nS: 250 ok\nC: DATA\n!:\nS: 354 go\n"
        + CONTENT[1]
        + "-:\n",
    ],
    ids=["it is not known whether the server reads behind content", "no PIPELINING"],
)
def test_quit_waits_for_the_reply(feeding: str, script: str) -> None:
    run = converse(script + "S: 250 q\n-:", [ONE], feeding=feeding, then=finish)
    assert run.session.state is State.READY
    assert run.outcomes == {1: ("content", 250)}


def test_quit_waits_for_the_reply_of_a_server_that_refuses_commands_behind_content(feeding: str) -> None:
    run = converse(
        FIRST
        + "S: 503 5.5.1 no pipelining here\nS: 503 5.5.1 no\nS: 503 5.5.1 no\n"
        + ENVELOPE[2]
        + GO
        + CONTENT[2]
        + "S: 250 q\n-:",
        [ONE, TWO],
        feeding=feeding,
        then=finish,
    )
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}
    assert run.session.state is State.READY
