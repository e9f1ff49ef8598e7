"""Messages one after the other, sequential and pipelined, as they cross the wire."""

from __future__ import annotations

import pytest

from tests.wire.conversation import FEEDINGS, OPENING, PIPELINED, SEQUENTIAL, converse, message
from tests.wire.data_scripts import CONTENT, ENVELOPE, GO, ONE, REFUSED, THREE, TWO

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


def test_the_second_reset_in_a_row_is_saved_if_the_sender_is_the_same(feeding: str) -> None:
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


def test_354_after_a_refused_sender_gets_the_final_dot_only(feeding: str) -> None:
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
    assert [(who, reply.code) for who, reply in settled.refused_recipients] == [("boss@example.com", 550)]
    assert settled.accepted_recipients == ()


def test_the_recipient_is_refused_and_a_copy_is_accepted(feeding: str) -> None:
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
    assert settled.accepted_recipients == ("boss@example.com",)
    assert not settled.is_success


def test_dots_at_the_start_of_lines_are_doubled(feeding: str) -> None:
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
def test_mail_has_the_parameters_that_the_message_needs(
    feeding: str, parameters: tuple[str, str, dict[str, bool]]
) -> None:
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
def test_a_message_that_this_server_cannot_take_is_not_sent(
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
