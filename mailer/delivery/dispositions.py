"""What a result means for its message, its session and the run: one pure function.

`decide` changes nothing. `recorder` writes its answer into the ledger, and `session` does what it says of the
session.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from mailer.dataclass import dataclass
from mailer.delivery.backoff import RetryPolicy, exponential_bound
from mailer.delivery.reply_rules import ReplyAction, ReplyRule, find_reply_rule
from mailer.errors import ServerReply
from mailer.ledger import Claim, Release, Retry, format_time
from mailer.ledger.outcome import CopyRefused, Outcome, Status
from mailer.render.message import Message
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.values import Stage, TransactionResult

BEFORE_ALL_OTHERS = -1.0  # when a message in doubt is tried again: before whatever else waits
MIN_SECONDS_ASIDE = 0.25  # longer than a TLS handshake and a login take
MAX_SESSION_REFUSALS = (
    3  # of one message; one more counts as an attempt, so that it cannot be tried without end
)

# RFC 5321 4.2.2, 4.2.4: unknown command, syntax, not implemented, wrong order. They speak of the dialogue.
SESSION_REFUSALS = frozenset({500, 501, 502, 503, 504})


# The error of a message that was in doubt, and was refused for good when it was sent again. It stays in
# doubt: the recipient may have the first copy, and `--retry-failed` must not send another one.
ONLY_IF_ASKED = "it is sent again only with --in-doubt resend"
EARLIER_COPY = f"whether an earlier copy arrived is not known, since its reply never came; {ONLY_IF_ASKED}"


class SessionAction(Enum):
    """What a result asks of the session it came from."""

    CONTINUE = "continue"
    LEAVE = "leave"  # this session takes no more messages: continue in a new one
    SIMPLIFY = "simplify"  # leave it, and use a lower strategy in the next one
    USE_FEWER = "use fewer"  # leave it without a successor, if there is another session


class ClaimedMessage(NamedTuple):  # a tuple, as Disposition is: one is made for each message
    """A claim with its rendered message.

    `session_refusals` counts how often a server answered it with 500 to 504 where no rule says more.
    """

    claim: Claim
    message: Message
    session_refusals: int = 0


@dataclass(frozen=True, slots=True)
class DispositionPolicy:
    """What the campaign says of retries. `holds_doubts` is `in_doubt: hold`."""

    retry: RetryPolicy
    holds_doubts: bool = False


class Disposition(NamedTuple):
    """What to do about one result.

    `record` is for the ledger. `rule` is the reply rule that matched, if any. `is_progress` says that the
    server judged this message, so that the session is of use.
    """

    record: Outcome | Retry
    rule: ReplyRule | None = None
    session: SessionAction = SessionAction.CONTINUE
    is_progress: bool = True


def decide(
    result: TransactionResult, claimed: ClaimedMessage, policy: DispositionPolicy, now: float
) -> Disposition:
    """Return what a result means for its message, its session and the run.

    `claimed` is the message, `policy` the campaign's, and `now` is in seconds since the epoch.
    """
    reply = result.reply
    if reply is None:
        error = result.problem or "this server cannot be given the message"
        return Disposition(_fail(claimed, now, error=error, attempts=0), is_progress=False)
    if result.is_success:
        return Disposition(_outcome(claimed, Status.SENT, now, reply, result))
    rule = find_reply_rule(reply)
    if rule is not None and rule.is_not_about_message:
        return Disposition(_requeue(reply, now), rule, _session_action(rule), is_progress=False)
    if concerns_session(result.stage, reply):
        return _decide_session_refusal(result.stage, reply, claimed, policy, now)
    if reply.is_transient:
        greylisted = rule is not None and rule.action is ReplyAction.GREYLISTED
        return Disposition(_defer(claimed, reply, result, policy, now, greylisted=greylisted), rule)
    if rule is not None and rule.action is ReplyAction.UNKNOWN_USER and result.stage == "rcpt":
        # There is no mailbox in which an earlier copy could have arrived.
        return Disposition(_outcome(claimed, Status.FAILED, now, reply, result), rule)
    return Disposition(_fail(claimed, now, reply, result), rule)


def decide_unanswered(
    claimed: ClaimedMessage, error: str, policy: DispositionPolicy, now: float
) -> Outcome | Retry:
    """Return what to record if the last byte of `claimed` may have left and no reply came.

    RFC 5321 4.5.3.2.6 leaves the responsibility with the client. A message is sent again once at most, and
    not at all if `policy` holds doubts. `error` says how the session was lost; `now` is in seconds since the
    epoch.
    """
    if policy.holds_doubts or claimed.claim.in_doubt:
        said = f"{error}, and the reply to this message never came; {ONLY_IF_ASKED}"
        return _outcome(claimed, Status.IN_DOUBT, now, error=said)
    return Retry(BEFORE_ALL_OTHERS, error=error, in_doubt=True)


def decide_unsent(error: str, losses_at_head: int, policy: DispositionPolicy, now: float) -> Release | Retry:
    """Return what to record if a session was lost, and the server certainly does not handle a message.

    Its last byte did not leave, or the server announced the end of the session.

    The try does not count as an attempt. `error` says how the session was lost, and `now` is in seconds since
    the epoch. `losses_at_head` counts the fruitless sessions that were lost with this message first in line.
    From the second on, it waits longer than the next session takes to open, so that others go first; `policy`
    has the backoff.
    """
    if losses_at_head < 2:
        return Release()
    seconds = max(exponential_bound(policy.retry.backoff, min(losses_at_head + 1, 7)), MIN_SECONDS_ASIDE)
    return Retry(now + seconds, error=error, attempted=False)


def status_of_failure(claim: Claim, error: str | None) -> tuple[Status, str | None]:
    """Return the status and the error of a message that fails for good, because of `error` or a reply."""
    if not claim.in_doubt:
        return Status.FAILED, error
    return Status.IN_DOUBT, "; ".join(filter(None, (error, EARLIER_COPY)))


def concerns_session(stage: Stage, reply: ServerReply) -> bool:
    """Return whether a refusal speaks of the dialogue and not of the message (RFC 5321 4.2.4).

    `stage` is the command that `reply` answers. 501 to RCPT with an enhanced code of the subject "address"
    (RFC 3463, X.1.X) speaks of the recipient.
    """
    if reply.code not in SESSION_REFUSALS:
        return False
    return not (stage == "rcpt" and reply.code == 501 and (reply.enhanced or "").startswith("5.1."))


def _session_action(rule: ReplyRule) -> SessionAction:
    if rule.action is ReplyAction.NEW_SESSION:
        return SessionAction.LEAVE
    return SessionAction.USE_FEWER if rule.action is ReplyAction.FEWER_SESSIONS else SessionAction.CONTINUE


def _decide_session_refusal(
    stage: Stage, reply: Reply, claimed: ClaimedMessage, policy: DispositionPolicy, now: float
) -> Disposition:
    """The message goes again.

    A parameter of its own RCPT may be what the server does not know: the session stays.
    """
    stays = stage == "rcpt" and reply.code != 503
    session = SessionAction.CONTINUE if stays else SessionAction.SIMPLIFY
    if claimed.session_refusals < MAX_SESSION_REFUSALS:
        return Disposition(_requeue(reply, now), None, session, is_progress=False)
    return Disposition(_defer(claimed, reply, None, policy, now), None, session, is_progress=stays)


def _requeue(reply: ServerReply, now: float) -> Retry:
    return Retry(now, reply.code, reply.enhanced, reply.text, attempted=False)


def _defer(
    claimed: ClaimedMessage,
    reply: ServerReply,
    result: TransactionResult | None,
    policy: DispositionPolicy,
    now: float,
    *,
    greylisted: bool = False,
) -> Outcome | Retry:
    seconds = policy.retry.seconds_after(claimed.claim.tries + 1, greylisted=greylisted)
    if seconds is None:
        return _outcome(claimed, Status.DEFERRED, now, reply, result)
    accepted = result.accepted_recipients if result is not None else ()
    return Retry(now + seconds, reply.code, reply.enhanced, reply.text, copies_taken=accepted)


def _fail(
    claimed: ClaimedMessage,
    now: float,
    reply: ServerReply | None = None,
    result: TransactionResult | None = None,
    *,
    error: str | None = None,
    attempts: int = 1,
) -> Outcome:
    """Return the outcome of a message that is refused for good."""
    status, error = status_of_failure(claimed.claim, error)
    return _outcome(claimed, status, now, reply, result, error=error, attempts=attempts)


def _outcome(
    claimed: ClaimedMessage,
    status: Status,
    now: float,
    reply: ServerReply | None = None,
    result: TransactionResult | None = None,
    *,
    error: str | None = None,
    attempts: int = 1,
) -> Outcome:
    """`attempts` is 0 if the server was not asked."""
    claim, message = claimed.claim, claimed.message
    return Outcome(
        claim.email,
        claim.key,
        status,
        claim.attempts + attempts,
        reply.code if reply else None,
        reply.enhanced if reply else None,
        reply.text if reply else None,
        message.message_id,
        len(message.content),
        format_second(int(now)),
        error,
        _refused_copies(result),
        result.accepted_recipients if result is not None and status is not Status.SENT else (),
    )


def _refused_copies(result: TransactionResult | None) -> tuple[CopyRefused, ...]:
    if result is None or not result.refused_recipients:
        return ()
    recipient = result.transaction.recipients[0]
    return tuple(
        CopyRefused(email, reply.code, reply.text)
        for email, reply in result.refused_recipients
        if email != recipient
    )


@lru_cache(maxsize=8)
def format_second(second: int) -> str:
    """Return a second since the epoch in ISO 8601. It is made once a second, not once a message."""
    return format_time(second)
