"""Messages one after the other, sequential and pipelined, as they cross the wire."""

from __future__ import annotations

import pytest

from mailer.errors import ConnectionLost, ProtocolViolation
from mailer.smtp.protocol.values import ServerTraits, Strategy
from tests.wire.conversation import FEEDINGS, OPENING, PIPELINED, SEQUENTIAL, Run, converse, message

ONE, TWO, THREE = message(1), message(2), message(3)
ENVELOPE = {
    n: f"C: MAIL FROM:<s{n}@example.com>\nC: RCPT TO:<r{n}@example.com>\nC: DATA\n" for n in (1, 2, 3)
}
CONTENT = {n: f"C: ${n}\nC: .\n" for n in (1, 2, 3)}
GO = "S: 250 ok\nS: 250 ok\nS: 354 go\n"
REFUSED = "S: 250 ok\nS: 550 5.1.1 no\nS: 554 5.5.1 no valid recipients\n"

pytestmark = pytest.mark.parametrize("feeding", FEEDINGS)


def test_without_pipelining_each_command_waits_for_its_reply(feeding: str) -> None:
    run = converse(
        OPENING
        + SEQUENTIAL
        + """\
C: MAIL FROM:<s1@example.com>
S: 250 ok
C: RCPT TO:<r1@example.com>
S: 250 ok
C: DATA
S: 354 go
C: $1
C: .
S: 250 queued
C: MAIL FROM:<s2@example.com>
S: 250 ok
C: RCPT TO:<r2@example.com>
S: 250 ok
C: DATA
S: 354 go
C: $2
C: .
S: 250 queued
-:""",
        [ONE, TWO],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}


def test_sequential_skips_what_a_refusal_makes_pointless(feeding: str) -> None:
    run = converse(
        OPENING
        + SEQUENTIAL
        + """\
C: MAIL FROM:<s1@example.com>
S: 550 5.7.1 no such sender
C: MAIL FROM:<s2@example.com>
S: 250 ok
C: RCPT TO:<r2@example.com>
S: 450 4.2.1 busy
C: RSET
S: 250 ok
C: MAIL FROM:<s3@example.com>
S: 250 ok
C: RCPT TO:<r3@example.com>
S: 250 ok
C: DATA
S: 354 go
C: $3
C: .
S: 250 queued
-:""",
        [ONE, TWO, THREE],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("mail", 550), 2: ("rcpt", 450), 3: ("content", 250)}


def test_pipelined_is_one_round_trip_a_message(feeding: str) -> None:
    run = converse(
        OPENING
        + PIPELINED
        + ENVELOPE[1]
        + GO
        + CONTENT[1]
        + ENVELOPE[2]
        + "S: 250 q1\n"
        + GO
        + CONTENT[2]
        + "S: 250 q2",
        [ONE, TWO],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250), 2: ("content", 250)}
    assert [s.reply.text for s in run.results if s.reply] == ["q1", "q2"]


def test_pipelined_resets_what_a_refusal_left_open(feeding: str) -> None:
    """Without it the next MAIL would be 503, and its RCPT would join the old transaction."""
    run = converse(
        OPENING
        + PIPELINED
        + ENVELOPE[1]
        + REFUSED
        + "C: RSET\n"
        + ENVELOPE[2]
        + "S: 250 ok\n"
        + GO
        + CONTENT[2]
        + "S: 250 q",
        [ONE, TWO],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("rcpt", 550), 2: ("content", 250)}


def test_pipelined_sends_no_reset_that_is_not_needed(feeding: str) -> None:
    run = converse(
        OPENING
        + PIPELINED
        + ENVELOPE[1]
        + "S: 550 no\nS: 503 no\nS: 503 no\n"
        + ENVELOPE[2]
        + GO
        + CONTENT[2]
        + "S: 552 too big for me\n",
        [ONE, TWO],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("mail", 550), 2: ("content", 552)}
    assert b"RSET" not in run.written


def test_the_second_reset_in_a_row_is_saved_where_the_sender_is_the_same(feeding: str) -> None:
    """Exim counts it; a recipient may as well go into the transaction that is open."""
    messages = [message(n, sender="news@example.com") for n in (1, 2, 3)]
    envelope = {n: text.replace(f"s{n}@", "news@") for n, text in ENVELOPE.items()}
    run = converse(
        OPENING
        + PIPELINED
        + envelope[1]
        + REFUSED
        + "C: RSET\n"
        + envelope[2]
        + "S: 250 ok\n"
        + REFUSED
        + "C: RCPT TO:<r3@example.com>\nC: DATA\nS: 250 ok\nS: 354 go\n"
        + CONTENT[3]
        + "S: 250 queued",
        messages,
        feeding=feeding,
    )
    assert run.outcomes == {1: ("rcpt", 550), 2: ("rcpt", 550), 3: ("content", 250)}


@pytest.mark.parametrize("offer", [PIPELINED, SEQUENTIAL])
def test_no_message_joins_a_transaction_that_has_a_recipient(feeding: str, offer: str) -> None:
    """DATA was refused, the recipient was not: it must not get what is meant for the next one."""
    messages = [message(n, sender="news@example.com") for n in (1, 2, 3)]
    script = OPENING + offer
    for n in (1, 2, 3):
        mail, rcpt, data = (
            "C: MAIL FROM:<news@example.com>\n",
            f"C: RCPT TO:<r{n}@example.com>\n",
            "C: DATA\n",
        )
        last = "S: 451 4.3.0 not now\n" if n < 3 else f"S: 354 go\n{CONTENT[3]}S: 250 queued\n"
        if offer == PIPELINED:
            script += ("C: RSET\n" if n > 1 else "") + mail + rcpt + data
            script += ("S: 250 ok\n" if n > 1 else "") + "S: 250 ok\nS: 250 ok\n" + last
        else:
            script += "C: RSET\nS: 250 ok\n" if n > 1 else ""
            script += f"{mail}S: 250 ok\n{rcpt}S: 250 ok\n{data}{last}"
    run = converse(script, messages, feeding=feeding)
    assert run.outcomes == {1: ("data", 451), 2: ("data", 451), 3: ("content", 250)}


def test_a_message_that_joined_nothing_goes_again_under_its_own_mail(feeding: str) -> None:
    """Some servers close a transaction with the refusal; 503 is then no word about the recipient."""
    messages = [message(n, sender="news@example.com") for n in (1, 2, 3)]
    envelope = {n: text.replace(f"s{n}@", "news@") for n, text in ENVELOPE.items()}
    run = converse(
        OPENING
        + PIPELINED
        + envelope[1]
        + REFUSED
        + "C: RSET\n"
        + envelope[2]
        + "S: 250 ok\n"
        + REFUSED
        + "C: RCPT TO:<r3@example.com>\nC: DATA\nS: 503 5.5.1 MAIL first\nS: 503 5.5.1 RCPT first\n"
        + envelope[3]
        + GO
        + CONTENT[3]
        + "S: 250 queued",
        messages,
        feeding=feeding,
    )
    assert run.outcomes == {1: ("rcpt", 550), 2: ("rcpt", 550), 3: ("content", 250)}


def test_a_refused_data_ends_the_transaction_without_content(feeding: str) -> None:
    run = converse(
        OPENING
        + PIPELINED
        + ENVELOPE[1]
        + "S: 250 ok\nS: 250 ok\nS: 451 4.3.0 not now\nC: RSET\n"
        + ENVELOPE[2]
        + "S: 250 ok\n"
        + GO
        + CONTENT[2]
        + "S: 250 q",
        [ONE, TWO],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("data", 451), 2: ("content", 250)}


@pytest.mark.parametrize("last_word", ["250 queued nothing", "554 no valid recipients", "451 hm"])
def test_354_without_a_recipient_gets_the_final_dot_only(feeding: str, last_word: str) -> None:
    run = converse(
        OPENING
        + PIPELINED
        + ENVELOPE[1]
        + "S: 250 ok\nS: 550 no\nS: 354 go\nC: .\n"
        + ENVELOPE[2]
        + f"S: {last_word}\n"
        + GO
        + CONTENT[2]
        + "S: 250 q",
        [ONE, TWO],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("rcpt", 550), 2: ("content", 250)}


def test_354_after_a_refused_sender(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + "S: 550 no\nS: 503 no\nS: 354 go\nC: .\nS: 554 no",
        [ONE],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("mail", 550)}


def test_a_refused_copy_does_not_stop_the_message(feeding: str) -> None:
    both = message(1, recipients=("r1@example.com", "boss@example.com"))
    run = converse(
        OPENING
        + PIPELINED
        + "C: MAIL FROM:<s1@example.com>\nC: RCPT TO:<r1@example.com>\nC: RCPT TO:<boss@example.com>\nC: DATA\n"
        + "S: 250 ok\nS: 250 ok\nS: 550 no boss\nS: 354 go\n"
        + CONTENT[1]
        + "S: 250 queued",
        [both],
        feeding=feeding,
    )
    (settled,) = run.results
    assert settled.is_success
    assert [(who, reply.code) for who, reply in settled.refused] == [("boss@example.com", 550)]
    assert settled.accepted == ()


def test_the_person_is_refused_and_a_copy_is_taken(feeding: str) -> None:
    both = message(1, recipients=("r1@example.com", "boss@example.com"))
    run = converse(
        OPENING
        + PIPELINED
        + "C: MAIL FROM:<s1@example.com>\nC: RCPT TO:<r1@example.com>\nC: RCPT TO:<boss@example.com>\nC: DATA\n"
        + "S: 250 ok\nS: 550 no such person\nS: 250 ok\nS: 354 go\n"
        + CONTENT[1]
        + "S: 250 queued",
        [both],
        feeding=feeding,
    )
    (settled,) = run.results
    assert (settled.stage, settled.reply and settled.reply.code) == ("rcpt", 550)
    assert settled.accepted == ("boss@example.com",)
    assert not settled.is_success


def test_dots_are_doubled(feeding: str) -> None:
    dotted = message(1, content=b".hidden: x\r\n\r\n.\r\n..\r\nend")
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + "C: ..hidden: x\nC: \nC: ..\nC: ...\nC: end\nC: .\nS: 250 q",
        [dotted],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250)}


@pytest.mark.parametrize(
    "parameters",
    [
        ("SIZE 999", " SIZE=%d", {}),
        ("8BITMIME", " BODY=8BITMIME", {"eight_bit": True}),
        ("SMTPUTF8", " SMTPUTF8", {}),
    ],
)
def test_parameters_of_mail(feeding: str, parameters: tuple[str, str, dict[str, bool]]) -> None:
    offer, parameter, _ = parameters
    recipient = "rü1@bücher.example" if offer == "SMTPUTF8" else "r1@bücher.example"
    content = "Subject: ü\r\n".encode() if offer == "8BITMIME" else b"Subject: u\r\n"
    one = message(1, recipients=(recipient,), content=content)
    extra = parameter % len(content) if "%d" in parameter else parameter
    script = (
        OPENING
        + f"S: 250-PIPELINING\nS: 250 {offer}\n"
        + f"C: MAIL FROM:<s1@example.com>{extra}\n"
        + f"C: RCPT TO:<{recipient.partition('@')[0]}@xn--bcher-kva.example>\nC: DATA\n{GO}C: $1\nC: .\nS: 250 ok"
    )
    assert converse(script, [one], feeding=feeding).outcomes == {1: ("content", 250)}


@pytest.mark.parametrize(
    ("offer", "unfit", "why"),
    [
        ("SIZE 10", {}, "the server accepts 10"),
        ("HELP", {"content": b"Subject: \xc3\xbc\r\n"}, "8BITMIME"),
        ("HELP", {"recipients": ("ü@example.com",)}, "SMTPUTF8"),
        ("HELP", {"sender": "ü@example.com"}, "SMTPUTF8"),
        ("HELP", {"content": b"a\nb\r\n"}, "not CRLF"),
        ("HELP", {"content": b"a\rb\r\n"}, "not CRLF"),
        ("HELP", {"content": b"a\r\n.\n.\r\n"}, "not CRLF"),
        ("HELP", {"recipients": ("a@b>\r\nRCPT TO:<c@d",)}, "cannot be written"),
        ("HELP", {"recipients": ("a@b> NOTIFY=NEVER",)}, "cannot be written"),
        ("HELP", {"sender": "a\0@b"}, "cannot be written"),
        ("HELP", {"recipients": ("x" * 300 + "@example.com",)}, "longer than"),
        ("LIMITS RCPTMAX=1", {"recipients": ("a@b", "c@d")}, "the server accepts 1"),
        ("LIMITS RCPTDOMAINMAX=1", {"recipients": ("a@b", "c@d")}, "the server accepts 1 in a message"),
    ],
)
def test_what_this_server_cannot_be_given(
    feeding: str, offer: str, unfit: dict[str, object], why: str
) -> None:
    """It is settled without a reply, which would be made up; the others go."""
    script = OPENING + f"S: 250-PIPELINING\nS: 250 {offer}\n"
    bad = message(1, **unfit)  # type: ignore[arg-type] # the table's columns
    if offer == "SIZE 10":
        run = converse(script, [bad], feeding=feeding)
    else:
        run = converse(script + ENVELOPE[2] + GO + CONTENT[2] + "S: 250 ok", [bad, TWO], feeding=feeding)
    settled = run.results[0]
    assert settled.transaction is bad
    assert settled.reply is None
    assert why in (settled.problem or "")
    assert not settled.is_success


def test_replies_that_are_no_utf8(feeding: str) -> None:
    run = converse(OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + "!:", [ONE], feeding=feeding, then=lambda r: (
        r.receive(b"250 2.0.0 caf\xe9 \xff\x1b[31m\x00 queued\r\n")
    ))  # fmt: skip
    (settled,) = run.results
    assert settled.reply is not None
    assert settled.reply.text == "2.0.0 caf\ufffd \ufffd\\x1b[31m\\x00 queued"


# -- what ends a session ----------------------------------------------------------------------------------------------


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
def test_codes_that_fit_nothing(feeding: str, replies: str, text: str) -> None:
    if feeding == "octets" and "queued already" in replies:
        feeding = "whole"  # octet by octet the content is on its way before the reply has come
    run = converse(OPENING + PIPELINED + ENVELOPE[1] + replies, [ONE, TWO], feeding=feeding)
    assert isinstance(run.failure, ProtocolViolation)
    assert text in str(run.failure)
    assert run.outcomes == {}
    assert run.unfinished == ([1, 2], [])
    assert run.session.traits.strategy_at_most is Strategy.SEQUENTIAL


def test_a_drop_before_the_content_leaves_it_untouched(feeding: str) -> None:
    run = converse(OPENING + PIPELINED + ENVELOPE[1] + "S: 250 ok\nE:", [ONE, TWO], feeding=feeding)
    assert isinstance(run.failure, ConnectionLost)
    assert run.unfinished == ([1, 2], [])
    assert run.session.traits.strategy_at_most is None


def test_a_drop_behind_the_content_leaves_it_in_doubt(feeding: str) -> None:
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


def test_a_refused_envelope_is_settled_although_the_session_broke(feeding: str) -> None:
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
def test_421_is_no_mark_against_any_message(feeding: str, script: str) -> None:
    run = converse(OPENING + PIPELINED + script, [ONE, TWO], feeding=feeding)
    assert type(run.failure) is ConnectionLost
    assert run.failure.reply is not None
    assert run.failure.reply.code == 421
    assert run.outcomes == {}
    assert run.unfinished == ([1, 2], [])


def test_refused_reset_ends_the_session(feeding: str) -> None:
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


# -- servers that want to be asked for less ---------------------------------------------------------------------------

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
    assert run.session.traits.waits_for_content
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
        traits=ServerTraits(waits_for_content=True),
    )
    assert run.outcomes == dict.fromkeys((1, 2, 3), ("content", 250))


def test_commands_behind_the_end_that_are_dropped_cost_one_timeout(feeding: str) -> None:
    """Courier reads and forgets them."""
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2] + "S: 250 q\nL:",
        [ONE, TWO],
        feeding=feeding,
    )
    assert run.outcomes == {1: ("content", 250)}
    assert run.unfinished == ([2], [])
    assert run.session.traits == ServerTraits(waits_for_content=True, window_at_most=1)


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


def test_a_session_that_refuses_even_single_commands_ends_without_a_mark(feeding: str) -> None:
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
    assert run.session.traits.resets_after_content


def test_the_final_dot_never_closes_a_transaction_that_a_refused_message_left_open(feeding: str) -> None:
    """Its recipients would get an empty message."""
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + ENVELOPE[2]
        + "S: 554 5.7.1 not this\nS: 503 5.5.1 nested MAIL\nS: 550 no such user\nS: 354 go\n",
        [ONE, TWO],
        feeding=feeding,
    )  # fmt: skip
    assert type(run.failure) is ConnectionLost
    assert run.session.traits.resets_after_content


def test_then_reset_precedes_the_next_mail_in_the_same_group(feeding: str) -> None:
    run = converse(
        OPENING + PIPELINED + ENVELOPE[1] + GO + CONTENT[1] + "C: RSET\n" + ENVELOPE[2]
        + "S: 554 5.7.1 not this\nS: 250 ok\n" + GO + CONTENT[2] + "S: 250 q\n-:",
        [ONE, TWO],
        feeding=feeding,
        traits=ServerTraits(resets_after_content=True),
    )  # fmt: skip
    assert run.outcomes == {1: ("content", 554), 2: ("content", 250)}
    assert run.failure is None


def test_sequential_finds_the_open_transaction_out_and_resets_it(feeding: str) -> None:
    single = "S: 250 ok\nC: RCPT TO:<r{n}@example.com>\nS: 250 ok\nC: DATA\nS: 354 go\n"
    run = converse(
        OPENING + SEQUENTIAL + "C: MAIL FROM:<s1@example.com>\n" + single.format(n=1) + CONTENT[1]
        + "S: 554 not this\nC: MAIL FROM:<s2@example.com>\nS: 503 nested MAIL\nC: RSET\nS: 250 ok\n"
        + "C: MAIL FROM:<s2@example.com>\n" + single.format(n=2) + CONTENT[2] + "S: 250 q\n-:",
        [ONE, TWO],
        feeding=feeding,
    )  # fmt: skip
    assert run.outcomes == {1: ("content", 554), 2: ("content", 250)}


@pytest.mark.parametrize("offer", [PIPELINED, SEQUENTIAL])
def test_only_what_is_on_its_way_is_in_flight(feeding: str, offer: str) -> None:
    """One message, or the end of one and the envelope of the next: a crash leaves no more in doubt."""
    run = converse(OPENING + offer + "-:", feeding=feeding)
    assert run.session.room == (2 if offer == PIPELINED else 1)


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
