"""Messages whose contents the caller holds: the envelope may leave, and the content waits for the permission."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailer.errors import ConnectionLost, ProtocolViolation
from mailer.smtp.protocol.values import Strategy, Transaction
from tests.wire.conversation import FEEDINGS, OPENING, PIPELINED, SEQUENTIAL, STREAMED, Run, converse
from tests.wire.data_scripts import CONTENT, ENVELOPE, GO, ONE, REFUSED, THREE, TWO

pytestmark = pytest.mark.parametrize("feeding", FEEDINGS)


def permit(*steps: tuple[Transaction, ...]) -> Callable[[Run], None]:
    """Permit the contents of each of `steps` at one line `!:` after the other."""
    remaining = list(steps)
    return lambda run: run.session.permit_contents(remaining.pop(0))


@pytest.mark.parametrize("is_permitted_first", [True, False])
def test_a_content_needs_the_servers_go_ahead_and_the_permission(
    feeding: str, is_permitted_first: bool
) -> None:
    permission = "!:\n" + GO if is_permitted_first else GO + "-:\n!:\n"
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + permission + CONTENT[1] + "S: 250 ok\n-:",
        [ONE],
        feeding=feeding,
        is_held=True,
        then=permit((ONE,)),
    )
    assert run.outcomes == {1: ("content", 250)}


def test_the_next_envelope_leaves_with_a_permitted_content_and_its_own_content_waits(feeding: str) -> None:
    script = ENVELOPE[1] + GO + "-:\n!:\n" + CONTENT[1] + ENVELOPE[2] + "S: 250 ok\n" + GO
    script += "-:\n!:\n" + CONTENT[2] + ENVELOPE[3] + "S: 250 ok\n" + GO + "-:"
    run = converse(
        OPENING + PIPELINED + script,
        [ONE, TWO, THREE],
        feeding=feeding,
        is_held=True,
        then=permit((ONE,), (TWO,)),
    )
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}


def test_without_pipelining_each_command_leaves_but_the_content_waits(feeding: str) -> None:
    first, second, third = ENVELOPE[1].splitlines(keepends=True)
    script = first + "S: 250 ok\n" + second + "S: 250 ok\n" + third + "S: 354 go\n-:\n!:\n" + CONTENT[1]
    run = converse(
        OPENING + SEQUENTIAL + script + "S: 250 ok\n-:",
        [ONE],
        feeding=feeding,
        is_held=True,
        then=permit((ONE,)),
    )
    assert run.outcomes == {1: ("content", 250)}


def test_no_deadline_runs_while_a_content_is_held(feeding: str) -> None:
    """The server owes nothing then. The wait for the reply to the content counts from its writing."""
    run = converse(OPENING + PIPELINED + ENVELOPE[1] + GO + "W: 60\n-:", [ONE], feeding=feeding, is_held=True)
    assert run.session.deadline is None
    run.session.permit_contents([ONE])
    run.pump()
    assert run.session.deadline == run.now + 10


@pytest.mark.parametrize("said", ["S: 421 4.4.2 timeout\n", "W: 60\nS: 421 4.4.2 timeout\nE:", "W: 60\nE:"])
def test_a_server_that_gives_up_waiting_leaves_the_message_unsent(feeding: str, said: str) -> None:
    run = converse(OPENING + PIPELINED + ENVELOPE[1] + GO + said, [ONE, TWO], feeding=feeding, is_held=True)
    assert isinstance(run.failure, ConnectionLost)
    assert run.unfinished == ([1, 2], [])
    traits = run.session.traits
    assert (traits.strategy_at_most, traits.refuses_behind_content) == (None, False)
    run.session.permit_contents([ONE])
    assert run.pump() == b""


def test_a_message_before_a_held_one_is_in_doubt_alone(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + "!:\n" + CONTENT[1] + ENVELOPE[2] + "E:",
        [ONE, TWO],
        feeding=feeding,
        is_held=True,
        then=permit((ONE,)),
    )
    assert run.unfinished == ([2], [1])


def test_a_reply_to_a_held_content_is_one_that_nothing_asked_for(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + "S: 250 ok\n", [ONE], feeding=feeding, is_held=True
    )
    assert isinstance(run.failure, ProtocolViolation)
    assert run.unfinished == ([1], [])


def test_a_held_message_that_is_refused_before_its_content_has_its_result(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + REFUSED + "C: RSET\n" + ENVELOPE[2] + "-:",
        [ONE, TWO],
        feeding=feeding,
        is_held=True,
    )
    assert run.outcomes == {1: ("rcpt", 550)}
    run.session.permit_contents([ONE])
    assert run.pump() == b""


def test_354_without_a_recipient_is_answered_by_the_final_dot_alone(feeding: str) -> None:
    """RFC 2920, section 3.1. That delivers nothing."""
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + "S: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 554 no\n-:",
        [ONE],
        feeding=feeding,
        is_held=True,
    )
    assert run.outcomes == {1: ("rcpt", 550)}


def test_a_message_that_goes_again_is_still_held(feeding: str) -> None:
    """The server takes no commands behind a content: the envelope goes again after the reply."""
    script = ENVELOPE[1] + GO + "!:\n" + CONTENT[1] + ENVELOPE[2]
    script += "S: 250 ok\nS: 503 no\nS: 503 no\nS: 503 no\n" + ENVELOPE[2] + GO + "-:\n!:\n" + CONTENT[2]
    run = converse(
        OPENING + PIPELINED + script + "S: 250 ok\n-:",
        [ONE, TWO],
        feeding=feeding,
        is_held=True,
        then=permit((ONE,), (TWO,)),
    )
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}


def test_quit_leaves_with_the_last_content_when_that_is_permitted(feeding: str) -> None:
    def act(run: Run) -> None:
        run.session.permit_contents([TWO] if run.results else [ONE])
        if run.results:
            run.session.finish()

    script = ENVELOPE[1] + GO + "!:\n" + CONTENT[1] + ENVELOPE[2] + "S: 250 ok\n" + GO
    run = converse(
        OPENING + PIPELINED + script + "-:\n!:\n" + CONTENT[2] + "C: QUIT\nS: 250 ok\nS: 221 bye\n",
        [ONE, TWO],
        feeding=feeding,
        is_held=True,
        then=act,
    )
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}
    assert run.failure is None


def test_with_bdat_nothing_of_a_held_message_leaves(feeding: str) -> None:
    """Its content follows its envelope at once."""
    script = "-:\n!:\nC: MAIL FROM:<s1@example.com>\nC: RCPT TO:<r1@example.com>\nC: BDAT 12\nC: Subject: 1\n"
    script += "S: 250 ok\nS: 250 ok\nS: 250 ok\nC: BDAT 10 LAST\nC: \nC: body 1\nS: 250 ok\n-:"
    run = converse(
        OPENING + STREAMED + script, [ONE, TWO], feeding=feeding, is_held=True, then=permit((ONE,))
    )
    assert run.outcomes == {1: ("content", 250)}


def test_a_held_message_stays_held_when_the_session_leaves_bdat(feeding: str) -> None:
    script = "!:\nC: MAIL FROM:<s1@example.com>\nC: RCPT TO:<r1@example.com>\nC: BDAT 12\nC: Subject: 1\n"
    script += "S: 250 ok\nS: 250 ok\nS: 500 what\nC: RSET\nS: 250 ok\n"
    script += ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2] + "S: 250 ok\n" + GO + "-:\n!:\n" + CONTENT[2]
    run = converse(
        OPENING + STREAMED + script + "S: 250 ok\n-:",
        [ONE, TWO],
        feeding=feeding,
        is_held=True,
        then=permit((ONE,), (TWO,)),
    )
    assert run.session.strategy is Strategy.PIPELINED
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}
