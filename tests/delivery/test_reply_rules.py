from dataclasses import dataclass

import pytest

from mailer.delivery.reply_rules import RULES, Action, meaning


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
    ("550 5.7.26 This mail has been blocked because the sender is unauthenticated.", Action.GIVE_UP),
    ("550 5.7.515 Access denied, sending domain example.com does not meet the required level", Action.GIVE_UP),
    ("550 DMARC check failed", Action.GIVE_UP),
    ("550 5.4.5 Daily user sending limit exceeded.", Action.GIVE_UP),
    ("454 Throttling failure: Daily message quota exceeded.", Action.GIVE_UP),
    ("554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed", Action.GIVE_UP),
    ("554 Message rejected: Email address is not verified. The following identities failed", Action.GIVE_UP),
    ("501 Mail from address must be same as authorization user.", Action.GIVE_UP),
    ("553 Mail from must equal authorized user", Action.GIVE_UP),
    ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", Action.GIVE_UP),
    ("553 5.7.1 Sender address rejected: not owned by auth user.", Action.GIVE_UP),
    ("530 5.7.0 Authentication required", Action.GIVE_UP),
    ("553 5.7.1 <a@example.com>: Sender address rejected: not logged in", Action.GIVE_UP),
    ("421 too many messages in this connection", Action.NEW_SESSION),
    ("452 4.5.0 Too many messages per session", Action.NEW_SESSION),
    ("452 4.5.3 Too many recipients: Too many messages sent", Action.NEW_SESSION),
    ("451 MI:DMC 163 smtp1", Action.NEW_SESSION),
    ("421 4.7.0 mx.example.com Error: too many errors", Action.NEW_SESSION),
    ("432 4.3.2 Concurrent connections limit exceeded.", Action.FEWER),
    ("421 Too many concurrent SMTP connections", Action.FEWER),
    ("421 4.7.0 mx.example.com Error: too many connections from 192.0.2.1", Action.FEWER),
    ("454 4.7.0 Too many login attempts, please try again later.", Action.WAIT_LOGIN),
    ("454 Throttling failure: Maximum sending rate exceeded.", Action.PAUSE),
    ("421 4.7.28 Our system has detected an unusual rate of unsolicited mail", Action.PAUSE),
    ("450 4.7.28 Gmail has detected this message exceeded its quota", Action.PAUSE),
    ("421 4.7.0 Try again later, closing connection.", Action.PAUSE),
    ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume", Action.PAUSE),
    ("550 Sender frequency limited.", Action.PAUSE),
    ("550 Domain frequency limited", Action.PAUSE),
    ("450 4.7.1 Error: too much mail from 192.0.2.1", Action.PAUSE),
    ("451 4.7.500 Server busy. Please try again later", Action.PAUSE),
    ("450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted, see http://postgrey", Action.GREYLISTED),
    ("550 5.1.1 <a@example.com>: Recipient address rejected: User unknown", Action.UNKNOWN_USER),
    ("550 Mailbox not found.", Action.UNKNOWN_USER),
    ("550 No such user here", Action.UNKNOWN_USER),
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
]


@pytest.mark.parametrize(("line", "action"), KNOWN)
def test_replies_that_mean_more(line, action):
    assert meaning(parsed(line)).action is action


@pytest.mark.parametrize("line", PLAIN)
def test_replies_whose_digit_says_it_all(line):
    assert meaning(parsed(line)) is None


def test_every_rule_has_a_source_and_is_hit_by_an_example():
    assert all(rule.source and rule.meaning for rule in RULES)
    hit = {id(meaning(parsed(line))) for line, _ in KNOWN}
    assert [rule for rule in RULES if id(rule) not in hit] == []


def test_a_run_that_is_given_up_says_what_to_do():
    assert all(rule.hint for rule in RULES if rule.action is Action.GIVE_UP)
