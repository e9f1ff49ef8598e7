"""The messages of a session: which wait, which are in flight, which have a result.

`CommandBudget` counts the other commands: servers accept only some of them in a session. Exim ends a session
at the eleventh (smtp_accept_max_nonmail, 10): NOOP counts, and every RSET but one for each message whose
content it has read. Postfix counts more of them (smtpd_junk_command_limit, 100), until a message is
delivered. Nothing in EHLO tells the two apart, so the smaller number is the limit. How close it is depends on
how many recipients the session has seen refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from itertools import chain

from mailer.smtp.protocol.extensions import Extensions
from mailer.smtp.protocol.in_flight import InFlightTransaction, UnsendableTransaction
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.slowdown import SlowdownDetector
from mailer.smtp.protocol.values import Stage, Transaction, TransactionResult
from mailer.smtp.protocol.window import Window

MAX_WHILE_STREAMING = 6  # of Exim's ten while messages are in flight whose refusal is not known yet
MAX_COUNTED = 8  # then the session ends before the server ends it
MIN_WORTH_STREAMING = 8  # messages: fewer than a session begins with are not worth streaming
# Messages for each counted command, from which a new session costs less than to continue slowly.
WORTH_A_SESSION = 50


class CommandBudget:
    """Counts the commands of one session that are not mail."""

    def __init__(self) -> None:
        self.has_free_reset = True
        self.counted = 0
        self._messages = 0
        self._refused = 0

    def note_reset(self) -> None:
        """Count a RSET that was answered."""
        if self.has_free_reset:
            self.has_free_reset = False
        else:
            self.counted += 1

    def note_noop(self) -> None:
        """Count a NOOP that was answered."""
        self.counted += 1

    def note_content(self) -> None:
        """The server has read a message's content: Exim counts the next message's RSETs anew."""
        self.has_free_reset = True

    def note_result(self, *, is_refused: bool) -> None:
        """Count a message. `is_refused` says that its recipients were refused after MAIL was accepted."""
        self._messages += 1
        self._refused += is_refused

    @property
    def affordable_messages(self) -> float:
        """How many messages may have RSETs around them, if as many of them are refused as so far.

        Without any experience it is every second one; hence the half.
        """
        share = (self._refused + 0.5) / (self._messages + 1)
        return (MAX_WHILE_STREAMING - self.counted) / share

    @property
    def is_tight(self) -> bool:
        """Too few messages are affordable to stream them."""
        return self.affordable_messages < MIN_WORTH_STREAMING

    @property
    def is_new_session_worthwhile(self) -> bool:
        """A new session now and then costs less than going slowly."""
        return self._messages >= WORTH_A_SESSION * self.counted

    @property
    def is_spent(self) -> bool:
        """The session is to end before the server ends it."""
        return self.counted >= MAX_COUNTED


class TransactionQueue:
    """`waiting` has the transactions that are not begun, `in_flight` those begun and without a result.

    Both are in the order in which they are sent. Once `announcement` is set, the server ends the session:
    nothing more is begun.
    """

    def __init__(self, extensions: Extensions, window: Window, slowdown: SlowdownDetector) -> None:
        """`extensions` limits the messages of a session, `window` those in flight.

        `slowdown` notices when the server answers so slowly that a new session is better.
        """
        self.window = window
        self._slowdown = slowdown
        self._last_result_at = 0.0
        self.budget = CommandBudget()
        self.waiting: deque[InFlightTransaction] = deque()
        self.in_flight: deque[InFlightTransaction] = deque()
        self.announcement: Reply | None = None
        self.is_closed = False  # no message is added any more
        self.completed_count = 0  # by a reply, in this session
        self.accepted_count = 0  # of these, by the server's acceptance
        self._extensions = extensions
        self._completed: list[tuple[InFlightTransaction, TransactionResult]] = []
        self._octets = 0
        self._begun_count = 0
        self._is_exhausted = False

    # -- for the caller --

    @property
    def is_exhausted(self) -> bool:
        """The session takes no more messages."""
        return self._is_exhausted or self.announcement is not None

    @property
    def room(self) -> int:
        """How many messages may be added now."""
        if self.is_exhausted:
            return 0
        room = self.window.free_slots(len(self.waiting) + len(self.in_flight), self._octets)
        if (maximum := self._extensions.limits.mail_max) is not None:
            room = min(room, max(0, maximum - self._begun_count - len(self.waiting)))
        return room

    @property
    def is_last_written(self) -> bool:
        """Nothing waits, and nothing is added any more."""
        return self.is_closed and not self.waiting

    @property
    def is_empty(self) -> bool:
        """No message waits or is in flight."""
        return not self.waiting and not self.in_flight

    def add(self, transaction: Transaction, *, is_held: bool = False) -> TransactionResult | None:
        """Queue `transaction`. Return a result at once if this server cannot be given it, else None.

        With `is_held`, its content is not to be written before `permit_contents`.
        """
        try:
            added = InFlightTransaction(transaction, self._extensions, is_held=is_held)
        except UnsendableTransaction as problem:
            return TransactionResult(transaction, "mail", None, problem=str(problem))
        self.waiting.append(added)
        self._octets += len(transaction.content)
        if not self.room:
            self.window.note_full()
        return None

    def permit_contents(self, transactions: Collection[Transaction]) -> None:
        """Let the contents of `transactions` be written, as far as they are without a result."""
        for each in chain(self.in_flight, self.waiting):
            if each.is_held and each.transaction in transactions:
                each.permit_content()

    def take_results(self, now: float) -> list[TransactionResult]:
        """Return the results since the last call.

        `now` is the time at which their replies were read, in seconds.
        """
        if not self._completed:
            return []
        completed, self._completed = self._completed, []
        for transaction, result in completed:
            if result.stage == "content":
                self.window.note_result(now - transaction.started_at)
            seconds = now - max(transaction.started_at, self._last_result_at)
            self._slowdown.note_result(seconds, is_refused=not result.is_success)
        self._last_result_at = now
        if self._slowdown.is_new_session_cheaper:
            self.mark_exhausted()
        return [result for _, result in completed]

    # -- for the writers --

    @property
    def may_begin(self) -> bool:
        """A message waits, and the server takes another MAIL."""
        maximum = self._extensions.limits.mail_max
        return (
            bool(self.waiting)
            and self.announcement is None
            and (maximum is None or self._begun_count < maximum)
        )

    def begin(self, now: float) -> InFlightTransaction:
        """Take the next message from the queue: its first command is written at `now`, in seconds."""
        transaction = self.waiting.popleft()
        transaction.begin(now)
        self._begun_count += 1
        self.in_flight.append(transaction)
        maximum = self._extensions.limits.mail_max
        if maximum is not None and self._begun_count >= maximum:
            self.mark_exhausted()
        return transaction

    def complete(self, transaction: InFlightTransaction, stage: Stage, reply: Reply) -> None:
        """Note `reply`, the server's last word on `transaction`; it belongs to the command of `stage`.

        After an announced end only an acceptance counts.
        """
        result = transaction.make_result(stage, reply)
        if self.announcement is not None and not (result.is_success or result.accepted_recipients):
            return
        self.in_flight.remove(transaction)  # mostly the first
        self._octets -= len(transaction.transaction.content)
        self.completed_count += 1
        self.accepted_count += result.is_success
        self.budget.note_result(is_refused=transaction.leaves_transaction_open)
        self._completed.append((transaction, result))

    def complete_refused(self) -> None:
        """Complete each message whose whole envelope is refused, without waiting for the reply to its
        content.
        """
        refused = [
            each for each in self.in_flight if each.is_envelope_refused and each.session_refusal is None
        ]
        for transaction in refused:
            self.complete(
                transaction, "rcpt", transaction.mail_refusal or transaction.refused_recipients[0][1]
            )

    def requeue(self, transactions: list[InFlightTransaction]) -> None:
        """Put `transactions` first in the queue: their attempt failed for no reason of their own."""
        for transaction in transactions:
            self.in_flight.remove(transaction)
            transaction.restart()
        self.waiting.extendleft(reversed(transactions))

    def close(self) -> None:
        """Add nothing more: the session may end behind the last message."""
        self.is_closed = True
        self.mark_exhausted()

    def mark_exhausted(self) -> None:
        """Add nothing more in this session. What waits can still be sent."""
        self._is_exhausted = True

    def announce_end(self, reply: Reply) -> None:
        """Note that the server ends the session, as `reply` says: 421, or the refusal of RSET.

        Nothing more is written; what it still answers counts.
        """
        if self.announcement is None:
            self.announcement = reply
