from dataclasses import dataclass

import pytest

from mailer.delivery.reply_rules import RULES, ReplyAction, find_reply_rule


@dataclass(frozen=True)
class Reply:
    code: int
    enhanced: str | None
    text: str


def parsed(line: str) -> Reply:
    code, _, rest = line.partition(" ")
    first, _, _ = rest.partition(" ")
    enhanced = first if first[:1] in "245" and first.count(".") == 2 else None
    return Reply(int(code), enhanced, rest)


# As servers say it (sources stand in the table).
KNOWN = [
    ("550 5.7.26 This mail has been blocked because the sender is unauthenticated.", ReplyAction.GIVE_UP),
    (
        "550 5.7.515 Access denied, sending domain example.com does not meet the required level",
        ReplyAction.GIVE_UP,
    ),
    ("550 DMARC check failed", ReplyAction.GIVE_UP),
    ("550 5.4.5 Daily user sending limit exceeded.", ReplyAction.GIVE_UP),
    ("454 Throttling failure: Daily message quota exceeded.", ReplyAction.GIVE_UP),
    ("554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed", ReplyAction.GIVE_UP),
    (
        "554 Message rejected: Email address is not verified. The following identities failed",
        ReplyAction.GIVE_UP,
    ),
    ("501 Mail from address must be same as authorization user.", ReplyAction.GIVE_UP),
    ("553 Mail from must equal authorized user", ReplyAction.GIVE_UP),
    ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", ReplyAction.GIVE_UP),
    ("553 5.7.1 Sender address rejected: not owned by auth user.", ReplyAction.GIVE_UP),
    ("530 5.7.0 Authentication required", ReplyAction.UNUSABLE_SERVER),
    ("553 5.7.1 <a@example.com>: Sender address rejected: not logged in", ReplyAction.UNUSABLE_SERVER),
    ("530 5.7.0 Must issue a STARTTLS command first", ReplyAction.UNUSABLE_SERVER),
    ("530 Access denied", ReplyAction.UNUSABLE_SERVER),
    ("504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname", ReplyAction.GIVE_UP),
    ("450 4.7.1 <box.example>: Helo command rejected: Host not found", ReplyAction.GIVE_UP),
    ("550 Helo name contains an ip address", ReplyAction.GIVE_UP),
    ("550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", ReplyAction.GIVE_UP),
    ("501 Syntactically invalid EHLO argument(s)", ReplyAction.GIVE_UP),
    ("421 too many messages in this connection", ReplyAction.NEW_SESSION),
    ("452 4.5.0 Too many messages per session", ReplyAction.NEW_SESSION),
    ("452 4.5.3 Too many recipients: Too many messages sent", ReplyAction.NEW_SESSION),
    ("451 MI:DMC 163 smtp1", ReplyAction.NEW_SESSION),
    ("421 4.7.0 mx.example.com Error: too many errors", ReplyAction.NEW_SESSION),
    ("421 4.7.0 mx.example.com Too many bad commands; closing connection", ReplyAction.NEW_SESSION),
    ("421 4.7.0 mx.example.com Too many bad recipients; closing connection", ReplyAction.NEW_SESSION),
    ("421 4.7.0 RCPT sent too many times", ReplyAction.NEW_SESSION),
    ("421 4.3.0 Too many consecutive errors, closing connection", ReplyAction.NEW_SESSION),
    ("421 Error: too many unrecognized commands", ReplyAction.NEW_SESSION),
    ("432 4.3.2 Concurrent connections limit exceeded.", ReplyAction.FEWER_SESSIONS),
    ("421 Too many concurrent SMTP connections", ReplyAction.FEWER_SESSIONS),
    ("421 4.7.0 mx.example.com Error: too many connections from 192.0.2.1", ReplyAction.FEWER_SESSIONS),
    ("454 4.7.0 Too many login attempts, please try again later.", ReplyAction.WAIT_FOR_LOGIN),
    ("454 Throttling failure: Maximum sending rate exceeded.", ReplyAction.PAUSE),
    ("421 4.7.28 Our system has detected an unusual rate of unsolicited mail", ReplyAction.PAUSE),
    ("450 4.7.28 Gmail has detected this message exceeded its quota", ReplyAction.PAUSE),
    ("421 4.7.0 Try again later, closing connection.", ReplyAction.PAUSE),
    (
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume",
        ReplyAction.PAUSE,
    ),
    ("550 Sender frequency limited.", ReplyAction.PAUSE),
    ("550 Domain frequency limited", ReplyAction.PAUSE),
    ("450 4.7.1 Error: too much mail from 192.0.2.1", ReplyAction.PAUSE),
    ("451 4.7.500 Server busy. Please try again later", ReplyAction.PAUSE),
    (
        "450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted, see http://postgrey",
        ReplyAction.GREYLISTED,
    ),
    ("550 5.1.1 <a@example.com>: Recipient address rejected: User unknown", ReplyAction.UNKNOWN_USER),
    ("550 Mailbox not found.", ReplyAction.UNKNOWN_USER),
    ("550 No such user here", ReplyAction.UNKNOWN_USER),
]

PLAIN = [
    "250 2.0.0 Ok: queued as 4F1",
    "450 4.2.1 The user you are trying to contact is receiving mail too quickly.",
    "451 4.3.0 Temporary lookup failure",
    "452 4.2.2 mailbox full",
    "550 5.7.1 Message rejected as spam",
    "552 5.2.2 mailbox full",
    "554 5.2.2 mailbox full; QuotaExceededException",
    "554 5.7.1 Relay access denied",
    "421 4.3.2 Service shutting down",
    "503 5.5.1 Error: send HELO/EHLO first",
    "504 5.5.2 <ada>: Recipient address rejected: need fully-qualified address",
    "550 5.7.1 <helo@example.com>: Recipient address rejected",
    "550 5.1.2 <a@helo.example>: Recipient address rejected: Domain not found",
]


@pytest.mark.parametrize(("line", "action"), KNOWN)
def test_replies_that_mean_more_than_their_first_digit(line, action):
    assert find_reply_rule(parsed(line)).action is action


@pytest.mark.parametrize("line", PLAIN)
def test_replies_whose_first_digit_says_everything(line):
    assert find_reply_rule(parsed(line)) is None


def test_every_rule_has_a_source_and_is_hit_by_an_example():
    assert all(rule.source and rule.meaning for rule in RULES)
    hit = {id(find_reply_rule(parsed(line))) for line, _ in KNOWN}
    assert [rule for rule in RULES if id(rule) not in hit] == []


def test_a_run_that_is_given_up_says_what_to_do():
    assert all(rule.hint for rule in RULES if rule.action is ReplyAction.GIVE_UP)
