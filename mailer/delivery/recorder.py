"""From the results of sessions to the records of the ledger, the figures of the run and its observer."""

from __future__ import annotations

from collections import Counter

from mailer.delivery.dispositions import (
    ClaimedMessage,
    Disposition,
    DispositionPolicy,
    decide,
    decide_unanswered,
    decide_unsent,
    format_second,
    status_of_failure,
)
from mailer.delivery.failure_limit import FailureLimit
from mailer.delivery.message_queue import MessageQueue
from mailer.delivery.options import Ending
from mailer.delivery.reply_rules import ReplyAction
from mailer.delivery.run_state import RunState
from mailer.delivery.throttle import Throttle
from mailer.ledger import Claim, Retry
from mailer.ledger.outcome import Outcome, Status
from mailer.render.message import Message
from mailer.smtp.protocol.values import Transaction, TransactionResult


class ResultRecorder:
    """Records what became of each claimed message. Its methods raise LedgerWriteError."""

    def __init__(
        self,
        state: RunState,
        queue: MessageQueue,
        throttle: Throttle,
        policy: DispositionPolicy,
        limit: FailureLimit,
    ) -> None:
        """Record into `queue` what `policy` decides of each result.

        `state` is the run's, `throttle` pauses it when a reply asks for that, and `limit` ends it after too
        many failures.
        """
        self._state, self._queue, self._throttle = state, queue, throttle
        self._policy, self._failure_limit = policy, limit
        self._session_refusals: Counter[int] = Counter()  # by the claim's id
        self._losses_at_head: Counter[int] = Counter()

    @property
    def holds_doubts(self) -> bool:
        """Whether a message in doubt is left for a person to decide."""
        return self._policy.holds_doubts

    def make_claimed_message(self, claim: Claim, message: Message) -> ClaimedMessage:
        """Return the claim with its message and what this run knows of it."""
        refusals = self._session_refusals[claim.id] if self._session_refusals else 0
        return ClaimedMessage(claim, message, refusals)

    def record_result(self, result: TransactionResult) -> Disposition:
        """Record a result, and return what was decided: the session does what it says of the session."""
        claimed = get_claimed_message(result.transaction)
        disposition = decide(result, claimed, self._policy, self._state.clock.now())
        self._record(claimed.claim, disposition)
        if disposition.rule is not None and result.reply is not None:
            self._throttle.apply_rule(disposition.rule, result.reply)
        elif isinstance(disposition.record, Retry) and not disposition.record.attempted:
            self._session_refusals[claimed.claim.id] += 1
        return disposition

    def record_unrendered(self, claim: Claim, error: str) -> None:
        """Record that no message could be made for a claim; `error` says why.

        The next preflight looks at it again, unless an earlier copy may have arrived.
        """
        status, said = status_of_failure(claim, error)
        outcome = Outcome(
            claim.email,
            claim.key,
            status,
            attempts=claim.attempts,
            at=format_second(int(self._state.clock.now())),
            error=said,
        )
        self._record_outcome(claim, outcome, unrendered=status is Status.FAILED)

    def record_unanswered(self, claimed: ClaimedMessage, error: str) -> None:
        """Record that the last byte of a message may have left, and no reply came.

        `error` says how the session was lost.
        """
        record = decide_unanswered(claimed, error, self._policy, self._state.clock.now())
        if isinstance(record, Outcome):
            self._record_outcome(claimed.claim, record)
        else:
            self._queue.record(claimed.claim, record)

    def record_unsent(self, claimed: ClaimedMessage, error: str, *, is_fruitless_head: bool = False) -> None:
        """Put a message back that the server certainly does not handle; `error` says how the session was
        lost.

        `is_fruitless_head` says that it was first in line in a session that was lost without a result.
        """
        claim = claimed.claim
        if is_fruitless_head:
            self._losses_at_head[claim.id] += 1
        losses = self._losses_at_head[claim.id] if is_fruitless_head else 0
        self._queue.record(claim, decide_unsent(error, losses, self._policy, self._state.clock.now()))

    def _record(self, claim: Claim, disposition: Disposition) -> None:
        record = disposition.record
        if not isinstance(record, Outcome):
            self._queue.record(claim, record)
            return
        if record.status is Status.SENT:
            self._throttle.count_sent()
            self._failure_limit.count_sent()
            self._state.figures.octets += record.size or 0
        elif disposition.rule is not None and disposition.rule.action is ReplyAction.UNKNOWN_USER:
            self._state.observer.on_unknown_user(claim.email)
        self._record_outcome(claim, record)

    def _record_outcome(self, claim: Claim, outcome: Outcome, *, unrendered: bool = False) -> None:
        self._state.figures.messages += 1
        self._queue.record(claim, outcome, unrendered=unrendered)
        self._state.observer.on_outcome(outcome)
        if outcome.status is Status.FAILED and (reason := self._failure_limit.count_failed()):
            hint = "the report has the replies; `stop_after` in the campaign sets this limit"
            self._state.end(Ending.GIVEN_UP, reason, hint)


def get_claimed_message(transaction: Transaction) -> ClaimedMessage:
    """Return the claimed message that a transaction carries."""
    claimed: ClaimedMessage = transaction.context  # type: ignore[assignment]  # smtp carries it and never looks
    return claimed
