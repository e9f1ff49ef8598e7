"""What each kind of result means: one table, since the decision is a pure function."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from mailer.campaign.model import Backoff
from mailer.campaign.stored import StoredRecipient
from mailer.delivery.backoff import RetryPolicy
from mailer.delivery.dispositions import (
    BEFORE_ALL_OTHERS,
    EARLIER_COPY,
    MAX_SESSION_REFUSALS,
    ClaimedMessage,
    Disposition,
    DispositionPolicy,
    SessionAction,
    decide,
    decide_unanswered,
    decide_unsent,
)
from mailer.delivery.reply_rules import ReplyAction
from mailer.ledger import Claim, Release, Retry
from mailer.ledger.outcome import Outcome, Status
from mailer.render.message import Message
from mailer.smtp.protocol.reply import Reply, ReplyParser
from mailer.smtp.protocol.values import Stage, Transaction, TransactionResult

NOW = 1_800_000_000.0
ADA, COPY = "ada@example.com", "boss@example.com"
CLAIM = Claim(7, StoredRecipient(ADA, "{}", 2, 0, "people.csv"), ADA, 2, 0, True, False, (), 1, 1)
CLAIMED = ClaimedMessage(CLAIM, Message("news@example.com", (ADA, COPY), b"x\r\n" * 10, "<1@example.com>"))
POLICY = DispositionPolicy(RetryPolicy(3, Backoff(10.0, 100.0), draw=lambda _low, high: high))


def reply(line: str) -> Reply:
    parser = ReplyParser()
    parser.feed(line.encode() + b"\r\n")
    found = parser.next_reply()
    assert found is not None
    return found


def result(stage: Stage, line: str | None, **more: object) -> TransactionResult:
    transaction = Transaction("news@example.com", (ADA, COPY), b"x\r\n" * 10, context=CLAIMED, clean=True)
    return TransactionResult(transaction, stage, reply(line) if line else None, **more)  # type: ignore[arg-type]


def decided(stage: Stage, line: str | None, claimed: ClaimedMessage = CLAIMED, **more: object) -> Disposition:
    return decide(result(stage, line, **more), claimed, POLICY, NOW)


@dataclass(frozen=True)
class Expected:
    """`status` is the outcome's, or None if the message is sent again after `wait` seconds."""

    status: Status | None
    wait: float = 0.0
    attempted: bool = True
    session: SessionAction = SessionAction.CONTINUE
    is_progress: bool = True
    action: ReplyAction | None = None


def unmarked(action: ReplyAction | None, session: SessionAction = SessionAction.CONTINUE) -> Expected:
    return Expected(None, 0.0, False, session, False, action)


DOUBTFUL = CLAIMED._replace(claim=replace(CLAIM, in_doubt=True))

SENT, FAILED, LATER = Expected(Status.SENT), Expected(Status.FAILED), Expected(None, 10.0)
SIMPLIFY = unmarked(None, SessionAction.SIMPLIFY)

TABLE: list[tuple[Stage, str, Expected]] = [
    ("content", "250 2.0.0 Ok: queued as 4F1", SENT),
    ("content", "251 2.0.0 will forward", SENT),
    # the message's own refusals
    ("rcpt", "550 5.7.1 no", FAILED),
    ("rcpt", "550 5.1.1 User unknown", replace(FAILED, action=ReplyAction.UNKNOWN_USER)),
    ("content", "552 5.3.4 too large", FAILED),
    ("mail", "550 5.7.1 sender refused", FAILED),
    ("rcpt", "501 5.1.3 Bad recipient address syntax", FAILED),
    ("rcpt", "450 4.2.1 busy", LATER),
    ("content", "451 4.3.0 later", LATER),
    ("rcpt", "450 4.7.1 Greylisted", Expected(None, 100.0, action=ReplyAction.GREYLISTED)),
    # the dialogue's: no recipient fails because of them
    *[
        (stage, f"{code} 5.5.1 no", SIMPLIFY)
        for stage in ("mail", "data", "content")
        for code in range(500, 505)
    ],
    ("rcpt", "503 5.5.1 Error: need MAIL command", SIMPLIFY),
    ("rcpt", "500 5.5.2 unrecognized", unmarked(None)),
    ("rcpt", "501 5.5.4 Syntax", unmarked(None)),
    ("rcpt", "501 Syntax", unmarked(None)),
    ("rcpt", "504 5.5.2 <ada>: Recipient address rejected: need fully-qualified address", unmarked(None)),
    # the session's, the account's or the server's
    (
        "mail",
        "452 4.5.0 Too many messages per session",
        unmarked(ReplyAction.NEW_SESSION, SessionAction.LEAVE),
    ),
    (
        "mail",
        "421 Too many concurrent SMTP connections",
        unmarked(ReplyAction.FEWER_SESSIONS, SessionAction.USE_FEWER),
    ),
    ("mail", "450 4.7.28 slow down", unmarked(ReplyAction.PAUSE)),
    ("mail", "454 4.7.0 Too many login attempts", unmarked(ReplyAction.WAIT_FOR_LOGIN)),
    ("content", "550 5.4.5 Daily user sending limit exceeded", unmarked(ReplyAction.GIVE_UP)),
    (
        "rcpt",
        "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname",
        unmarked(ReplyAction.GIVE_UP),
    ),
    ("rcpt", "550 Helo name contains an ip address", unmarked(ReplyAction.GIVE_UP)),
    ("mail", "530 5.7.0 Authentication required", unmarked(ReplyAction.UNUSABLE_SERVER)),
    ("mail", "530 5.7.0 Must issue a STARTTLS command first", unmarked(ReplyAction.UNUSABLE_SERVER)),
]


@pytest.mark.parametrize(("stage", "line", "expected"), TABLE)
def test_each_reply_has_its_disposition(stage: Stage, line: str, expected: Expected) -> None:
    found = decided(stage, line)
    record = found.record
    assert (found.session, found.is_progress) == (expected.session, expected.is_progress)
    assert (found.rule.action if found.rule else None) is expected.action
    code, _, text = line.partition(" ")
    assert (record.code, record.reply) == (int(code), text)
    if expected.status is None:
        assert isinstance(record, Retry)
        assert (record.at - NOW, record.attempted, record.in_doubt) == (
            expected.wait,
            expected.attempted,
            False,
        )
    else:
        assert isinstance(record, Outcome)
        assert (record.status, record.attempts, record.size) == (expected.status, 3, 30)
        assert (record.email, record.key, record.message_id) == (ADA, ADA, "<1@example.com>")
        assert record.at == "2027-01-15T08:00:00Z"


def test_a_message_that_this_server_cannot_be_given_fails_without_an_attempt() -> None:
    found = decided("mail", None, problem="an address needs SMTPUTF8, which the server does not offer")
    assert isinstance(found.record, Outcome)
    assert (found.record.status, found.record.attempts, found.is_progress) == (Status.FAILED, 2, False)
    assert "SMTPUTF8" in str(found.record.error)


def test_attempts_that_are_used_up_defer_the_message() -> None:
    last = CLAIMED._replace(claim=replace(CLAIM, tries=2))
    record = decided("rcpt", "450 4.2.1 busy", last).record
    assert isinstance(record, Outcome)
    assert record.status is Status.DEFERRED


def test_a_refusal_of_the_dialogue_counts_as_an_attempt_in_the_end_but_never_fails() -> None:
    often = CLAIMED._replace(session_refusals=MAX_SESSION_REFUSALS)
    again = decided("rcpt", "500 5.5.2 unrecognized", often)
    assert isinstance(again.record, Retry)
    assert again.record.attempted
    assert again.is_progress
    last = often._replace(claim=replace(CLAIM, tries=2))
    for stage, code in (("rcpt", 500), ("content", 503), ("mail", 504)):
        record = decided(stage, f"{code} no", last).record  # type: ignore[arg-type]
        assert isinstance(record, Outcome)
        assert record.status is Status.DEFERRED


def test_refused_and_accepted_copies_are_kept() -> None:
    refused = ((COPY, reply("550 5.7.1 no copy")),)
    sent = decided("content", "250 ok", refused_recipients=refused).record
    assert isinstance(sent, Outcome)
    assert [(copy.email, copy.code, copy.reply) for copy in sent.copies_refused] == [
        (COPY, 550, "5.7.1 no copy")
    ]
    own = ((ADA, reply("450 4.2.1 busy")),)
    later = decided("rcpt", "450 4.2.1 busy", refused_recipients=own, accepted_recipients=(COPY,)).record
    assert isinstance(later, Retry)
    assert later.copies_taken == (COPY,)
    never = decided("rcpt", "550 5.7.1 no", refused_recipients=own, accepted_recipients=(COPY,)).record
    assert isinstance(never, Outcome)
    assert (never.copies_refused, never.copies_taken) == ((), (COPY,))


def test_a_message_without_a_reply_is_sent_again_first_and_once() -> None:
    again = decide_unanswered(CLAIMED, "the connection broke", POLICY, NOW)
    assert again == Retry(BEFORE_ALL_OTHERS, error="the connection broke", in_doubt=True)
    second = CLAIMED._replace(claim=replace(CLAIM, in_doubt=True))
    for claimed, policy in ((second, POLICY), (CLAIMED, replace(POLICY, holds_doubts=True))):
        held = decide_unanswered(claimed, "the connection broke", policy, NOW)
        assert isinstance(held, Outcome)
        assert (held.status, held.attempts) == (Status.IN_DOUBT, 3)
        assert held.error == (
            "the connection broke, and the reply to this message never came;"
            " it is sent again only with --in-doubt resend"
        )


@pytest.mark.parametrize(
    ("losses", "wait"), [(0, None), (1, None), (2, 40.0), (3, 80.0), (4, 100.0), (9, 100.0)]
)
def test_a_message_whose_turn_kills_each_session_lets_others_go_first(
    losses: int, wait: float | None
) -> None:
    record = decide_unsent("lost", losses, POLICY, NOW)
    if wait is None:
        assert record == Release()
    else:
        assert record == Retry(NOW + wait, error="lost", attempted=False)


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        ("rcpt", "550 5.7.1 no"),
        ("rcpt", "552 5.2.2 mailbox full"),  # of the first copy, perhaps
        ("content", "550 5.1.1 User unknown"),
        ("content", "554 5.7.1 no"),
        ("content", None),
    ],
)
def test_a_refused_message_of_which_an_earlier_copy_may_have_arrived_stays_in_doubt(
    stage: Stage, line: str | None
) -> None:
    """If it were failed, --retry-failed would send a second copy to somebody who may have the first."""
    record = decided(stage, line, DOUBTFUL).record
    assert isinstance(record, Outcome)
    assert record.status is Status.IN_DOUBT
    assert record.code == (int(line[:3]) if line else None)
    assert EARLIER_COPY in record.answer
    assert record.answer.endswith("it is sent again only with --in-doubt resend")
    taken = decided("content", "250 2.0.0 Ok", DOUBTFUL).record
    assert isinstance(taken, Outcome)
    assert taken.status is Status.SENT


def test_a_message_in_doubt_whose_mailbox_does_not_exist_has_failed() -> None:
    """No earlier copy can have arrived there."""
    record = decided("rcpt", "550 5.1.1 User unknown", DOUBTFUL).record
    assert isinstance(record, Outcome)
    assert (record.status, record.code, record.error) == (Status.FAILED, 550, None)
