"""Many messages in flight (RFC 2920 with RFC 3030), as they cross the wire."""

from __future__ import annotations

import pytest

from mailer.errors import ConnectionLost, ProtocolViolation
from mailer.smtp.protocol.values import ServerTraits, Strategy
from tests.wire.conversation import FEEDINGS, OPENING, STREAMED, Run, converse, message

M = {n: message(n) for n in range(1, 10)}
OK = "S: 250 ok\nS: 250 ok\nS: 250 queued\n"
GONE = "S: 250 ok\nS: 550 5.1.1 no\nS: 554 5.5.1 no valid recipients\n"
RESET = "C: RSET\n"
RESET_OK = "S: 250 reset\n"
FIRST = len(b"Subject: 1\r\n")  # of the first message, the line that is tried
REST = len(M[1].content) - FIRST


def whole(n: int) -> str:
    return f"C: MAIL FROM:<s{n}@example.com>\nC: RCPT TO:<r{n}@example.com>\nC: BDAT {len(M[n].content)} LAST\nC: ${n}\n"


def first(n: int = 1) -> str:
    return (
        f"C: MAIL FROM:<s{n}@example.com>\nC: RCPT TO:<r{n}@example.com>\nC: BDAT {FIRST}\nC: Subject: {n}\n"
    )


def rest(n: int = 1) -> str:
    return f"C: BDAT {REST} LAST\nC: \nC: body {n}\n"


VERIFIED = OPENING + STREAMED + first() + "S: 250 ok\nS: 250 ok\nS: 250 12 octets\n" + rest()
pytestmark = pytest.mark.parametrize("feeding", FEEDINGS)


def test_the_first_line_is_tried_then_all_are_in_flight(feeding: str) -> None:
    run = converse(
        VERIFIED + RESET + whole(2) + RESET + whole(3) + "S: 250 queued\n" + RESET_OK + OK + RESET_OK + OK,
        [M[1], M[2], M[3]],
        feeding=feeding,
    )
    assert run.outcomes == dict.fromkeys((1, 2, 3), ("content", 250))


def test_no_reset_behind_a_message_that_was_taken(feeding: str) -> None:
    run = converse(VERIFIED + "S: 250 queued\n!:\n" + whole(2) + OK, [M[1]], feeding=feeding, then=lambda r: (
        r.submit(M[2])
    ))  # fmt: skip
    assert run.outcomes == dict.fromkeys((1, 2), ("content", 250))


def test_a_refusal_concerns_its_message_alone(feeding: str) -> None:
    run = converse(
        VERIFIED
        + RESET
        + whole(2)
        + RESET
        + whole(3)
        + RESET
        + whole(4)
        + "S: 250 queued\n"
        + RESET_OK
        + GONE
        + RESET_OK
        + OK
        + RESET_OK
        + "S: 550 sender\nS: 503 no\nS: 503 no\n",
        [M[n] for n in (1, 2, 3, 4)],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250), 2: ("rcpt", 550), 3: ("content", 250), 4: ("mail", 550)}


def test_where_a_refusal_leaves_nothing_it_stays_a_stream(feeding: str) -> None:
    """However many are refused, and whatever was counted: no RSET is needed behind a message that is known to be."""

    def more(run: Run) -> None:
        if len(run.results) < 3:
            run.submit(M[len(run.results) + 1])
        elif not run.noops_answered:
            for _ in range(5):
                run.session.send_noop()
        else:
            run.submit(M[4], M[5], M[6])

    run = converse(
        VERIFIED
        + "S: 250 queued\n!:\n"
        + whole(2)
        + GONE
        + "!:\nC: RCPT TO:<r3@example.com>\n"
        + RESET
        + whole(3)
        + "S: 503 MAIL first\n"
        + RESET_OK
        + GONE
        + "!:\n"
        + 5 * "C: NOOP\n"
        + 5 * "S: 250 ok\n"
        + "!:\n"
        + whole(4)
        + RESET
        + whole(5)
        + RESET
        + whole(6)
        + GONE
        + (RESET_OK + GONE) * 2,
        [M[1]],
        feeding=feeding,
        then=more,
    )
    assert run.outcomes == {1: ("content", 250), **dict.fromkeys((2, 3, 4, 5, 6), ("rcpt", 550))}
    assert run.session.strategy is Strategy.STREAMED


def test_if_refusals_are_frequent_it_continues_in_turns(feeding: str) -> None:
    """A server that keeps transactions open (Exim) counts the RSETs of a window: in turns hardly any is needed."""
    run = converse(
        VERIFIED
        + "S: 250 queued\n!:\n"
        + whole(2)
        + GONE
        + "!:\nC: RCPT TO:<r3@example.com>\n"
        + RESET
        + whole(3)
        + "S: 250 joined\n"
        + RESET_OK
        + GONE
        + "!:\n"
        + RESET
        + whole(4)
        + RESET_OK
        + GONE
        + "!:\n"
        + RESET
        + "C: MAIL FROM:<s5@example.com>\nC: RCPT TO:<r5@example.com>\nC: DATA\n",
        [M[1]],
        feeding=feeding,
        then=lambda run: run.submit(M[len(run.results) + 1]),
    )
    assert run.outcomes == {1: ("content", 250), 2: ("rcpt", 550), 3: ("rcpt", 550), 4: ("rcpt", 550)}
    assert run.session.strategy is Strategy.PIPELINED


def test_refused_content_concerns_its_message_alone(feeding: str) -> None:
    run = converse(
        VERIFIED
        + RESET
        + whole(2)
        + "S: 554 5.7.1 spam\n"
        + RESET_OK
        + "S: 250 ok\nS: 250 ok\nS: 452 4.3.1 full\n",
        [M[1], M[2]],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 554), 2: ("content", 452)}


# -- which kind of server it is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trial", "learnt"), [("503 need MAIL", True), ("250 ok", False), ("550 unknown", None)]
)
def test_a_refusal_teaches_what_it_leaves_behind(feeding: str, trial: str, learnt: bool | None) -> None:
    """RCPT without MAIL, in front of the RSET: with Postfix there is no transaction any more, with Exim there is."""
    script = (
        VERIFIED
        + RESET
        + whole(2)
        + "S: 250 queued\n"
        + RESET_OK
        + GONE
        + "!:\n"
        + "C: RCPT TO:<r3@example.com>\n"
        + RESET
        + whole(3)
        + (RESET if learnt is not True else "")
    )
    # Until the trial is answered, the fourth is guarded too.
    script = script.removesuffix(RESET if learnt is not True else "") + RESET + whole(4)
    script += f"S: {trial}\n" + RESET_OK + OK + RESET_OK + OK
    script += "!:\n" + whole(5) + RESET + whole(6)

    def more(run: Run) -> None:
        for n in (3, 4) if 3 not in submitted else (5, 6):
            submitted.append(n)
            run.submit(M[n])

    submitted: list[int] = []
    run = converse(script + OK + RESET_OK + OK, [M[1], M[2]], feeding=feeding, then=more)
    assert run.outcomes == {n: ("rcpt", 550) if n == 2 else ("content", 250) for n in range(1, 7)}


def test_what_a_refused_content_leaves_behind_is_not_promised(feeding: str) -> None:
    run = converse(
        VERIFIED + "S: 552 5.3.4 too big\n!:\n" + RESET + whole(2) + RESET_OK + OK,
        [M[1]],
        feeding=feeding,
        then=lambda run: run.submit(M[2]),
    )
    assert run.outcomes == {1: ("content", 552), 2: ("content", 250)}


def test_refused_at_the_first_line(feeding: str) -> None:
    """The server still waits for BDAT LAST: RSET, and BDAT is tried again with the next."""
    run = converse(
        OPENING
        + STREAMED
        + first()
        + "S: 250 ok\nS: 550 no\nS: 554 no valid recipients\n"
        + RESET
        + first(2)
        + RESET_OK
        + "S: 250 ok\nS: 250 ok\nS: 250 ok\n"
        + rest(2)
        + "S: 250 queued\n",
        [M[1], M[2]],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("rcpt", 550), 2: ("content", 250)}


def test_the_first_line_is_refused_for_another_reason(feeding: str) -> None:
    run = converse(
        OPENING
        + STREAMED
        + first()
        + "S: 250 ok\nS: 250 ok\nS: 452 4.3.1 full\n"
        + RESET
        + first(2)
        + RESET_OK
        + "E:",
        [M[1], M[2]],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 452)}
    assert run.unfinished == ([2], [])


def test_a_message_of_one_line(feeding: str) -> None:
    run = converse(
        OPENING
        + STREAMED
        + "C: MAIL FROM:<s1@example.com>\nC: RCPT TO:<r1@example.com>\nC: BDAT 6 LAST\nC: A: b\n"
        + OK,
        [message(1, content=b"A: b\r\n")],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250)}


# -- BDAT is not what it is said to be --------------------------------------------------------------------------------

TURNS = """\
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
def test_bdat_is_refused(feeding: str, code: int, reads_content_as_commands: bool) -> None:
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
        + TURNS,
        [M[1], M[2]],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}
    assert run.session.strategy is Strategy.PIPELINED


def test_the_refusal_of_the_line_comes_behind_the_reset(feeding: str) -> None:
    run = converse(
        OPENING
        + STREAMED
        + first()
        + "S: 250 ok\nS: 250 ok\nS: 500 no\n"
        + RESET
        + "S: 500 eh?\n"
        + RESET_OK
        + TURNS,
        [M[1], M[2]],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}


def test_too_many_strays_end_the_session(feeding: str) -> None:
    run = converse(
        OPENING + STREAMED + first() + "S: 250 ok\nS: 250 ok\nS: 500 no\nS: 500 eh?\nS: 500 eh?\n",
        [M[1], M[2]],
        feeding=feeding,
    )
    assert isinstance(run.failure, ProtocolViolation)
    assert run.unfinished == ([1, 2], [])
    assert run.session.traits.strategy_at_most is Strategy.PIPELINED


def test_bdat_stops_working_inside_a_window(feeding: str) -> None:
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
        + TURNS,
        [M[1], M[2], M[3]],
        feeding=feeding,
    )
    assert run.outcomes == dict.fromkeys((1, 2, 3), ("content", 250))


@pytest.mark.parametrize("reply", ["450 later", "500 eh?\nS: 500 eh?", "354 go"])
def test_no_way_back_behind_bdat(feeding: str, reply: str) -> None:
    run = converse(
        OPENING + STREAMED + first() + f"S: 250 ok\nS: 250 ok\nS: 500 no\n{RESET}S: {reply}\n",
        [M[1]],
        feeding=feeding,
    )
    assert isinstance(run.failure, ProtocolViolation)
    assert run.unfinished == ([1], [])
    assert run.session.traits.strategy_at_most is Strategy.PIPELINED


@pytest.mark.parametrize("end", ["E:", "L:", "S: 221 I can break rules, too\n"])
def test_a_connection_closed_at_bdat(feeding: str, end: str) -> None:
    run = converse(
        OPENING + STREAMED + first() + "S: 250 ok\nS: 250 ok\n" + end, [M[1], M[2]], feeding=feeding
    )
    assert run.failure is not None
    assert run.outcomes == {}
    assert run.unfinished == ([1, 2], [])
    assert run.session.traits.strategy_at_most is Strategy.PIPELINED


# -- the end of a session in a window ---------------------------------------------------------------------------------

WINDOW = VERIFIED + RESET + whole(2) + RESET + whole(3)


def test_a_lost_window_is_in_doubt(feeding: str) -> None:
    run = converse(
        WINDOW + "S: 250 queued\n" + RESET_OK + "S: 250 ok\nE:", [M[n] for n in (1, 2, 3)], feeding=feeding
    )
    assert run.outcomes == {1: ("content", 250)}
    assert run.unfinished == ([], [2, 3])


def test_421_in_a_window(feeding: str) -> None:
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
def test_reset_refused_in_a_window(feeding: str, end: str, unfinished: tuple[list[int], list[int]]) -> None:
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
def test_replies_that_fit_nothing(feeding: str, said: str, text: str) -> None:
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


# -- RSET between messages, and the size of the window after a loss ---------------------------------------------------

OFFER_BURL = STREAMED.replace("S: 250 CHUNKING", "S: 250-CHUNKING\nS: 250 BURL imap")
KEEPS = ServerTraits(keeps_resets=True)


@pytest.mark.parametrize(("offer", "traits"), [(STREAMED, KEEPS), (OFFER_BURL, ServerTraits())])
def test_where_resets_are_kept_none_is_left_out(feeding: str, offer: str, traits: ServerTraits) -> None:
    """Dovecot's submission proxy (it offers BURL) fails at the second message in flight without RSET between."""
    run = converse(
        VERIFIED.replace(STREAMED, offer) + "S: 250 queued\n!:\n" + RESET + whole(2) + RESET_OK + OK,
        [M[1]],
        feeding=feeding,
        traits=traits,
        then=lambda run: run.submit(M[2]),
    )
    assert run.outcomes == dict.fromkeys((1, 2), ("content", 250))
    assert run.session.traits.keeps_resets


def test_a_session_that_is_lost_after_a_reset_was_left_out_keeps_them(feeding: str) -> None:
    run = converse(VERIFIED + "S: 250 queued\n!:\n" + whole(2) + "E:", [M[1]], feeding=feeding, then=lambda run: (
        run.submit(M[2])
    ))  # fmt: skip
    assert run.session.traits.keeps_resets
    assert run.unfinished == ([], [2])


def test_a_session_that_ends_by_421_says_nothing_about_resets(feeding: str) -> None:
    script = VERIFIED + "S: 250 queued\n!:\n" + whole(2) + "S: 421 enough\nE:"
    run = converse(script, [M[1]], feeding=feeding, then=lambda run: run.submit(M[2]))
    assert run.session.traits == ServerTraits()


def test_a_refused_message_never_takes_the_next_one_into_its_transaction(feeding: str) -> None:
    """Postfix keeps the transaction of a message that its end-of-data restrictions refuse. Between messages in flight
    RSET stays, although the server is known to close the transactions of refused envelopes.
    """

    def more(run: Run) -> None:
        run.submit(*([M[2]] if len(run.results) == 1 else [M[3]] if len(run.results) == 2 else [M[4], M[5]]))

    run = converse(
        VERIFIED
        + "S: 250 queued\n!:\n"
        + whole(2)
        + GONE
        + "!:\nC: RCPT TO:<r3@example.com>\n"
        + RESET
        + whole(3)
        + "S: 503 MAIL first\n"
        + RESET_OK
        + OK
        + "!:\n"
        + whole(4)
        + RESET
        + whole(5)
        + "S: 250 ok\nS: 250 ok\nS: 554 not this\n"
        + RESET_OK
        + OK,
        [M[1]],
        feeding=feeding,
        then=more,
    )
    assert run.outcomes == {
        n: {2: ("rcpt", 550), 4: ("content", 554)}.get(n, ("content", 250)) for n in range(1, 6)
    }


def test_a_lost_session_halves_the_next_ones_window(feeding: str) -> None:
    run = converse(WINDOW + "S: 250 queued\n" + RESET_OK + "E:", [M[n] for n in (1, 2, 3)], feeding=feeding)
    assert run.session.traits.window_at_most == 4
    again = converse(OPENING + STREAMED + "-:", feeding=feeding, traits=run.session.traits)
    assert again.session.room == 4


def test_a_mail_that_is_refused_for_the_session_goes_again_without_bdat(feeding: str) -> None:
    run = converse(
        VERIFIED + RESET + whole(2) + "S: 250 queued\n" + RESET_OK + "S: 503 what?\n" * 3 + RESET + RESET_OK
        + TURNS[TURNS.index("C: MAIL FROM:<s2") : TURNS.index("S: 250 queued")] + "S: 250 ok\nS: 250 ok\nS: 354 go\n"
        + "C: $2\nC: .\nS: 250 queued\n",
        [M[1], M[2]],
        feeding=feeding,
    )  # fmt: skip
    assert run.outcomes == dict.fromkeys((1, 2), ("content", 250))
    assert run.session.traits.strategy_at_most is Strategy.PIPELINED
