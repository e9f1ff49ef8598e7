"""Many messages in flight (RFC 2920 with RFC 3030), as they cross the wire."""

from __future__ import annotations

import pytest

from mailer.smtp.protocol.values import ServerTraits, Strategy
from tests.wire.bdat_scripts import GONE, OK, RESET, RESET_OK, VERIFIED, M, first, rest, whole
from tests.wire.conversation import FEEDINGS, OPENING, STREAMED, Run, converse, message

pytestmark = pytest.mark.parametrize("feeding", FEEDINGS)


def test_the_first_line_is_tried_then_all_are_in_flight(feeding: str) -> None:
    run = converse(
        VERIFIED + RESET + whole(2) + RESET + whole(3) + "S: 250 queued\n" + RESET_OK + OK + RESET_OK + OK,
        [M[1], M[2], M[3]],
        feeding=feeding,
    )
    assert run.outcomes == dict.fromkeys((1, 2, 3), ("content", 250))


def test_no_reset_behind_a_message_that_was_accepted(feeding: str) -> None:
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


def test_if_a_refusal_leaves_nothing_the_session_continues_to_stream(feeding: str) -> None:
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


def test_if_refusals_are_frequent_the_session_continues_with_data(feeding: str) -> None:
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


@pytest.mark.parametrize(
    ("trial", "learnt"), [("503 need MAIL", True), ("250 ok", False), ("550 unknown", None)]
)
def test_a_refusal_shows_whether_it_leaves_a_transaction(
    feeding: str, trial: str, learnt: bool | None
) -> None:
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


def test_reset_follows_a_refused_content(feeding: str) -> None:
    run = converse(
        VERIFIED + "S: 552 5.3.4 too big\n!:\n" + RESET + whole(2) + RESET_OK + OK,
        [M[1]],
        feeding=feeding,
        then=lambda run: run.submit(M[2]),
    )
    assert run.outcomes == {1: ("content", 552), 2: ("content", 250)}


def test_a_message_refused_at_its_first_line_is_reset(feeding: str) -> None:
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


def test_a_message_of_one_line_is_sent_whole(feeding: str) -> None:
    run = converse(
        OPENING
        + STREAMED
        + "C: MAIL FROM:<s1@example.com>\nC: RCPT TO:<r1@example.com>\nC: BDAT 6 LAST\nC: A: b\n"
        + OK,
        [message(1, content=b"A: b\r\n")],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250)}


OFFER_BURL = STREAMED.replace("S: 250 CHUNKING", "S: 250-CHUNKING\nS: 250 BURL imap")


KEEPS = ServerTraits(needs_resets=True)


@pytest.mark.parametrize(("offer", "traits"), [(STREAMED, KEEPS), (OFFER_BURL, ServerTraits())])
def test_if_resets_are_kept_none_is_left_out(feeding: str, offer: str, traits: ServerTraits) -> None:
    """Dovecot's submission proxy (it offers BURL) fails at the second message in flight without RSET between."""
    run = converse(
        VERIFIED.replace(STREAMED, offer) + "S: 250 queued\n!:\n" + RESET + whole(2) + RESET_OK + OK,
        [M[1]],
        feeding=feeding,
        traits=traits,
        then=lambda run: run.submit(M[2]),
    )
    assert run.outcomes == dict.fromkeys((1, 2), ("content", 250))
    assert run.session.traits.needs_resets


def test_a_session_that_is_lost_after_a_reset_was_left_out_keeps_them(feeding: str) -> None:
    run = converse(VERIFIED + "S: 250 queued\n!:\n" + whole(2) + "E:", [M[1]], feeding=feeding, then=lambda run: (
        run.submit(M[2])
    ))  # fmt: skip
    assert run.session.traits.needs_resets
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
