"""Sequential and pipelined: the server works on one message at a time, sent with DATA.

Pipelined (RFC 2920, section 3.1) writes the end of one message and MAIL, RCPT and DATA of the next as one
group, and reads at DATA: one round trip a message. Sequential waits for each reply, and skips what a refusal
makes pointless.

A refused envelope leaves the server with an open transaction. It must be closed, or used, before the next
message, or that one would be answered 503 and leave under the wrong sender. Servers count RSETs (see
CommandBudget), so it is written only when a transaction is open. If it would be counted, the next message has
the same sender and the open transaction has no recipient, the next message's RCPT goes into that transaction.
A server that had closed it answers 503: then the message goes again with its MAIL, which this session does
not leave out any more.

A reply that concerns the session (500 to 504) is not a refusal of the message. The message goes again, and
the session asks less of the server, in this order:

- Commands behind the end of a message are refused (Haraka) or dropped (Courier, chasquid): MAIL waits for the
  reply to the content, two round trips a message.
- Groups are refused: each command waits for the reply to the one before.
- A refused message left its transaction open (Postfix, smtpd_end_of_data_restrictions): RSET precedes each
  MAIL.
- There is nothing less to ask: the session ends. But if it had accepted a message before, the refusal must
  concern this one after all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from functools import partial

from mailer.errors import ConnectionLost, ProtocolViolation
from mailer.smtp.protocol import commands, data
from mailer.smtp.protocol.events import SessionEnded
from mailer.smtp.protocol.in_flight import InFlightTransaction
from mailer.smtp.protocol.pipeline import Pipeline, ReplyHandler
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.transaction_queue import TransactionQueue
from mailer.smtp.protocol.values import ServerTraits, Strategy


class LastContent(Enum):
    """What the server said to the content that was written last, as far as it matters for the next message."""

    SETTLED = auto()  # accepted, or RSET came behind its refusal, or nothing was written yet
    UNANSWERED = auto()
    REFUSED = auto()  # and nothing has ended its transaction since


class _Envelope:
    """The envelope that is written and answered now.

    `steps` are the commands of it that are not written yet. `may_send_content` says that the server asked for
    the content (354).
    """

    __slots__ = ("has_joined", "is_behind_content", "may_send_content", "steps", "transaction")

    def __init__(
        self, transaction: InFlightTransaction, *, has_joined: bool, is_behind_content: bool
    ) -> None:
        """`has_joined`: without a MAIL of its own, it uses the transaction that a refused message left open.

        `is_behind_content`: it was written before the reply to the content of the message before.
        """
        self.transaction = transaction
        self.has_joined = has_joined
        self.is_behind_content = is_behind_content
        self.may_send_content = False
        self.steps: deque[tuple[bytes, ReplyHandler]] = deque()

    def is_mail_heard(self, end: SessionEnded) -> bool:
        """Return whether the server answered MAIL, other than by the announced `end` of the session."""
        refusal = self.transaction.mail_refusal
        return self.transaction.is_mail_answered and (refusal is None or refusal is not end.announcement)

    @property
    def has_joined_nothing(self) -> bool:
        """The transaction that it joined did not exist: 503 concerns the missing MAIL, not the recipient."""
        refusal = self.transaction.person_refusal
        is_missing = not self.transaction.accepted_recipients and refusal is not None and refusal.code == 503
        return self.has_joined and is_missing


class DataWriter:
    """Sends messages with DATA, one after the other."""

    successor = None

    def __init__(
        self,
        queue: TransactionQueue,
        pipeline: Pipeline,
        traits: ServerTraits,
        *,
        is_grouped: bool,
        write_quit: Callable[[], None] = lambda: None,
        left_open: InFlightTransaction | None = None,
    ) -> None:
        """Messages come from `queue`, and their octets go to `pipeline`.

        `traits` is what earlier sessions learned about the server. `is_grouped`: commands are written in
        groups (RFC 2920). `write_quit` writes QUIT behind the last content. `left_open` is the message whose
        transaction the server still has; None if there is none.
        """
        self.traits = traits
        self._queue = queue
        self._pipeline = pipeline
        self._is_grouped, self._write_quit = is_grouped, write_quit
        self._envelope: _Envelope | None = None
        self._last_content = LastContent.SETTLED
        self._left_open = left_open
        self._may_join_left_open = True  # until the server has shown that it leaves no transaction open
        self._needs_reset = False  # before the next MAIL

    @property
    def strategy(self) -> Strategy:
        return Strategy.PIPELINED if self._is_grouped else Strategy.SEQUENTIAL

    @property
    def may_be_unheard(self) -> bool:
        """Whether the reply that is due is to the first command behind content, and none came so far."""
        envelope = self._envelope
        return (
            envelope is not None
            and envelope.is_behind_content
            and self._last_content is not LastContent.UNANSWERED
            and not (self.traits.reads_behind_content or envelope.transaction.is_mail_answered)
        )

    def learn_from_loss(self, end: SessionEnded) -> None:
        """Note in `traits` what the loss of the session, described by `end`, says about the server."""
        envelope = self._envelope
        if end.is_violation and self._is_grouped and not self._queue.completed_count:
            # Replies that fit nothing before the first result: groups are perhaps too much for the server.
            self.traits = replace(self.traits, strategy_at_most=Strategy.SEQUENTIAL)
        elif (
            end.has_timed_out
            and envelope is not None
            and envelope.is_behind_content
            and self._last_content is not LastContent.UNANSWERED
            and not envelope.is_mail_heard(end)
        ):
            self.traits = replace(self.traits, refuses_behind_content=True)

    def write(self, now: float) -> None:
        """Write what may be written now. `now` is the time in seconds."""
        if self._envelope is not None:
            self._write_permitted_content(self._envelope)
        if self._envelope is None and self._queue.may_begin and self._may_open_envelope():
            self._envelope = self._open_envelope(now)
        if self._envelope is None:
            return
        steps = self._envelope.steps
        while steps and (self._is_grouped or not self._pipeline.is_waiting):
            self._pipeline.write_command(*steps.popleft())

    def _may_open_envelope(self) -> bool:
        if self._is_grouped:
            is_unanswered = self._last_content is LastContent.UNANSWERED
            return not (is_unanswered and self.traits.refuses_behind_content)
        return not self._pipeline.is_waiting

    def _open_envelope(self, now: float) -> _Envelope:
        """Take the next message from the queue, and return its envelope."""
        current = self._queue.begin(now)
        previous, self._left_open = self._left_open, None
        envelope = _Envelope(
            current,
            has_joined=previous is not None and self._may_join(previous, current),
            is_behind_content=self._last_content is LastContent.UNANSWERED,
        )
        steps = envelope.steps
        if not envelope.has_joined:
            if self._must_reset(previous):
                steps.append((commands.RSET, self._handle_reset_reply))
                self._needs_reset = False
                if self._last_content is LastContent.REFUSED:
                    self._last_content = LastContent.SETTLED
            steps.append((current.mail_line, partial(self._handle_mail_reply, envelope)))
        steps.extend((line, partial(self._handle_rcpt_reply, envelope)) for line in current.rcpt_lines)
        steps.append((commands.DATA, partial(self._handle_data_reply, envelope)))
        return envelope

    def _may_join(self, previous: InFlightTransaction, current: InFlightTransaction) -> bool:
        """Never if `previous` has a recipient, as after a refused DATA: that one would get the other's
        message.
        """
        return (
            self._may_join_left_open
            and not self._needs_reset
            and not previous.accepted_recipients
            and not self._queue.budget.has_free_reset
            and previous.profile == current.profile
        )

    def _must_reset(self, previous: InFlightTransaction | None) -> bool:
        """The server has a transaction, or may have one."""
        if previous is not None or self._needs_reset:
            return True
        return self.traits.keeps_refused_transaction and self._last_content is not LastContent.SETTLED

    def _handle_reset_reply(self, reply: Reply) -> None:
        self._queue.budget.note_reset()
        if self._queue.budget.is_spent:
            self._queue.mark_exhausted()
        if not reply.is_success:
            # RFC 5321 4.1.1.5 has no other reply; Exim refuses RSET if there were too many of them.
            self._queue.announce_end(reply)

    def _handle_mail_reply(self, envelope: _Envelope, reply: Reply) -> None:
        current = envelope.transaction
        current.handle_mail_reply(reply)
        if envelope.is_behind_content and not self.traits.reads_behind_content:
            self.traits = replace(self.traits, reads_behind_content=True)
        if current.mail_refusal is not None and not self._is_grouped:
            self._handle_envelope_refusal(envelope, reply)

    def _handle_rcpt_reply(self, envelope: _Envelope, reply: Reply) -> None:
        current = envelope.transaction
        if (
            reply.is_success
            and current.mail_refusal is not None
            and self._last_content is LastContent.REFUSED
        ):
            raise self._note_kept_transaction(reply)
        current.handle_rcpt_reply(reply)
        if current.is_envelope_refused and not self._is_grouped:
            self._handle_envelope_refusal(envelope, reply)

    def _note_kept_transaction(self, reply: Reply) -> ConnectionLost:
        """The server kept the transaction of a message that it refused, and adds this one to it."""
        self.traits = replace(self.traits, keeps_refused_transaction=True)
        return ConnectionLost(f"the server kept the transaction of a message that it refused: {reply}")

    def _handle_data_reply(self, envelope: _Envelope, reply: Reply) -> None:
        current = envelope.transaction
        if reply.is_success:
            raise ProtocolViolation(f"the server answered DATA with {reply}")
        if not reply.is_intermediate:
            self._handle_envelope_refusal(envelope, reply)
        elif (
            current.is_envelope_refused
            and current.mail_refusal is not None
            and self._last_content is LastContent.REFUSED
        ):
            raise self._note_kept_transaction(reply)  # the final dot would send nothing to the old recipients
        elif current.is_envelope_refused:
            # RFC 2920, section 3.1: a server may say 354 without a recipient; then only the final dot
            # follows.
            self._pipeline.write_content(data.END, self._handle_empty_content_reply)
            self._queue.complete(current, "rcpt", reply)
            self._note_content_written()
        else:
            envelope.may_send_content = True
            self._write_permitted_content(envelope)

    def _write_permitted_content(self, envelope: _Envelope) -> None:
        """Write the content if both the server and the caller permit it.

        While the caller holds it, the server owes no reply, so that no deadline runs.
        """
        current = envelope.transaction
        if current.is_held or not envelope.may_send_content:
            return
        content = data.stuff_dots(current.transaction.content) + data.END
        self._pipeline.write_content(content, partial(self._handle_content_reply, current))
        current.mark_written(self._pipeline.written_offset)
        self._note_content_written()
        if envelope.is_behind_content and self._queue.is_last_written:
            # RFC 2920, section 3.1: QUIT may end a group, and content may begin it. This server has shown
            # that it reads what comes behind content.
            self._write_quit()

    def _handle_content_reply(self, current: InFlightTransaction, reply: Reply) -> None:
        if reply.is_intermediate:
            raise ProtocolViolation(f"the server answered the end of a message with {reply}")
        self._last_content = LastContent.SETTLED if reply.is_success else LastContent.REFUSED
        self._queue.complete(current, "content", reply)

    def _handle_empty_content_reply(self, _reply: Reply) -> None:
        """To a message without content and recipients: every reply is acceptable."""
        self._last_content = LastContent.SETTLED

    def _handle_envelope_refusal(self, envelope: _Envelope, reply: Reply) -> None:
        """The message is refused before any content: by MAIL, by every RCPT, or by DATA."""
        self._envelope = None
        current = envelope.transaction
        if envelope.has_joined_nothing:
            self._may_join_left_open = False
            self._queue.requeue([current])
            return
        refusal = current.session_refusal
        if refusal is None and current.accepted_recipients and reply.concerns_session:
            refusal = reply  # to DATA
        if refusal is not None and self._queue.announcement is None:
            if self._ask_less(envelope):
                self._needs_reset = self._needs_reset or current.mail_refusal is None
                self._queue.requeue([current])
                return
            if not self._queue.accepted_count:
                problem = f"the server refuses messages in this session: {refusal}"
                raise ConnectionLost(problem, reply=refusal)
        if current.mail_refusal is None:
            self._left_open = current
        self._queue.complete(current, "data", reply)  # a refusal of MAIL or of the person's RCPT goes first

    def _ask_less(self, envelope: _Envelope) -> bool:
        """Ask less of the server after it refused `envelope`.

        Return False if there is nothing less to ask.
        """
        if envelope.is_behind_content:
            self.traits = replace(self.traits, refuses_behind_content=True)
        elif self._is_grouped:
            self._is_grouped = False
            self._needs_reset = True
            self.traits = replace(self.traits, strategy_at_most=Strategy.SEQUENTIAL)
        elif self._last_content is LastContent.REFUSED:
            self._needs_reset = True
            self.traits = replace(self.traits, keeps_refused_transaction=True)
        else:
            return False
        return True

    def _note_content_written(self) -> None:
        """The content is written: by RFC 5321 4.1.1.4 its end ends the transaction, whatever the reply is.

        Some servers keep it after a refusal: see `keeps_refused_transaction`.
        """
        self._envelope = None
        self._last_content = LastContent.UNANSWERED
        self._queue.budget.note_content()
