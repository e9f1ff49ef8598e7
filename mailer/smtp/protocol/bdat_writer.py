"""Streamed: MAIL, RCPT and BDAT LAST of many messages in flight, without waiting for replies (RFC 2920, RFC
3030).

Two things must be known of a server that is trusted so far, and neither is in its EHLO reply.

*Does it do what CHUNKING says?* A server that does not know BDAT would read the content as commands. So the
first chunk of a session is one header line, and the rest follows when that was accepted. If BDAT is refused,
at worst a harmless line was read as a command, and the session continues without BDAT.

*What is left of a transaction after its BDAT LAST, if all its recipients were refused?* Nothing, with
Postfix. With Exim it stays open: the next MAIL is 503, its RCPT joins the old transaction, and its content
would leave under the wrong sender. Until the server has shown which kind it is, RSET precedes each MAIL whose
predecessor is not known to be accepted. Exim lets one RSET a message pass and counts the others, ten a
session (smtp_accept_max_nonmail): those behind a refused message that had one before it. Postfix counts them
until a message is delivered. If a predecessor is known to be refused, RCPT precedes the RSET: its reply
tells, 503 or 250, whether a transaction was there, at the price of one error with Postfix and none with Exim
(which ends a session at the fourth MAIL that meets an open transaction). Then no RSET is needed any more, or
the counted ones are kept few, see CommandBudget.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol import commands, data
from mailer.smtp.protocol.data_writer import DataWriter
from mailer.smtp.protocol.events import SessionEnded
from mailer.smtp.protocol.in_flight import NOT_WRITTEN, InFlightTransaction
from mailer.smtp.protocol.pipeline import Pipeline, ReplyHandler
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.transaction_queue import TransactionQueue
from mailer.smtp.protocol.values import ServerTraits, Strategy

WRITE_SIZE = 128 * 1024  # octets written at once: eight TLS records, one send


class BdatWriter:
    """Sends messages with BDAT, many in flight."""

    strategy = Strategy.STREAMED

    def __init__(self, queue: TransactionQueue, pipeline: Pipeline, traits: ServerTraits) -> None:
        """Messages come from `queue`, and their octets go to `pipeline`.

        `traits` is what earlier sessions learned about the server.
        """
        self.traits = traits
        self.successor: DataWriter | None = None
        self._queue = queue
        self._pipeline = pipeline
        self._is_verified = False  # BDAT has worked
        self._failed: list[InFlightTransaction] = []  # refused because BDAT does not work; they go again
        self._is_falling_back = False  # no more BDAT: when everything is answered, a DataWriter takes over
        self._last: InFlightTransaction | None = None  # written last
        self._server_closes_refused: bool | None = None  # BDAT LAST ends a transaction without recipients
        self._has_left_out_reset = False

    def learn_from_loss(self, end: SessionEnded) -> None:
        """Note in `traits` what the loss of the session, described by `end`, says about the server."""
        if not self._is_verified:
            # At the session's first BDAT, or before one worked by replies that fit nothing: BDAT may be why.
            is_at_first_bdat = any(
                each.is_envelope_answered and not each.is_envelope_refused for each in self._queue.in_flight
            )
            if end.is_violation or is_at_first_bdat:
                self._lower_strategy()
        elif end.announcement is None and self._has_left_out_reset:
            self.traits = replace(self.traits, needs_resets=True)
        elif end.announcement is None and self.traits.needs_resets and not self._queue.completed_count:
            self._lower_strategy()

    def _lower_strategy(self) -> None:
        self.traits = replace(self.traits, strategy_at_most=Strategy.PIPELINED)

    def write(self, now: float) -> None:
        """Write what may be written now. `now` is the time in seconds."""
        queue = self._queue
        maximum = self._limit_messages_in_flight() if queue.may_begin else 0
        if self._is_falling_back:
            self._fall_back_to_data()
            return
        while queue.may_begin and len(queue.in_flight) < maximum and self._pipeline.buffered < WRITE_SIZE:
            if queue.waiting[0].is_held:
                return  # the content follows its envelope at once, so that both wait
            self._write_message(now)

    def _limit_messages_in_flight(self) -> float:
        """Return how many messages may be in flight, beside the window's limit.

        If RSETs run short, the session is marked as exhausted, or leaves BDAT.
        """
        budget = self._queue.budget
        if not self._is_verified:
            if budget.is_spent:
                # So many recipients were refused before BDAT was tried. What waits goes by DATA, which uses the
                # open transaction and needs no RSET; the next session tries BDAT again.
                self._queue.mark_exhausted()
                self._is_falling_back = True
            return 1
        if self._server_closes_refused:
            return math.inf
        if not budget.is_tight:
            return budget.affordable_messages
        # RSETs are running short. If refusals are rare, a new session now and then costs less than going
        # slowly.
        if budget.is_new_session_worthwhile or budget.is_spent:
            self._queue.mark_exhausted()
        elif self._server_closes_refused is False:
            # DATA shows a refusal before the next message, so hardly any RSET is needed.
            self._is_falling_back = True
        return 1  # and the next refusal shows whether RSET is needed at all

    def _write_message(self, now: float) -> None:
        lines, handlers = self._make_guard(self._queue.waiting[0])
        current = self._queue.begin(now)
        content = current.transaction.content
        size = len(content) if self._is_verified else data.first_line_length(content)
        is_last = size == len(content)
        lines += [current.mail_line, *current.rcpt_lines, commands.encode_bdat(size, is_last=is_last)]
        handlers.append(current.handle_mail_reply)
        handlers += [current.handle_rcpt_reply] * len(current.rcpt_lines)
        handlers.append(partial(self._handle_last_reply if is_last else self._handle_first_reply, current))
        self._pipeline.write_commands(lines, handlers)
        self._pipeline.write_content(content if is_last else content[:size])
        if is_last:
            current.mark_written(self._pipeline.written_offset)
        self._last = current

    # -- between two messages --

    def _make_guard(self, current: InFlightTransaction) -> tuple[list[bytes], list[ReplyHandler]]:
        """Return what must precede MAIL, so that it cannot meet the transaction of the message before."""
        previous = self._last
        if previous is None:
            return [], []
        if previous.end_offset == NOT_WRITTEN:
            # Refused at its first chunk: the server still waits for the last one.
            return [commands.RSET], [self._handle_reset_reply]
        is_closed = previous.is_content_accepted or previous.mail_refusal is not None
        if is_closed or (self._server_closes_refused and previous.is_envelope_refused):
            if self.traits.needs_resets:
                return [commands.RSET], [self._handle_reset_reply]
            self._has_left_out_reset = True
            return [], []
        if self._server_closes_refused is None and previous.leaves_transaction_open:
            return [current.rcpt_lines[0], commands.RSET], [
                self._handle_trial_reply,
                self._handle_reset_reply,
            ]
        return [commands.RSET], [self._handle_reset_reply]

    def _handle_trial_reply(self, reply: Reply) -> None:
        """To RCPT without MAIL, behind a message that was refused.

        A refusal of the recipient says nothing.
        """
        if reply.is_success:
            self._server_closes_refused = False
        elif reply.code == 503:
            self._server_closes_refused = True

    def _handle_reset_reply(self, reply: Reply) -> None:
        if reply.is_success:
            self._queue.budget.note_reset()
        else:  # RFC 5321 4.1.1.5 has no other reply; Exim refuses RSET if there were too many of them
            self._queue.announce_end(reply)

    # -- replies to BDAT --

    def _handle_first_reply(self, current: InFlightTransaction, reply: Reply) -> None:
        """To the first line of the session's first message."""
        if self._handle_refusal(current, reply):
            return
        self._is_verified = True
        content = current.transaction.content
        rest = content[data.first_line_length(content) :]
        self._pipeline.write_command(
            commands.encode_bdat(len(rest), is_last=True), partial(self._handle_last_reply, current)
        )
        self._pipeline.write_content(rest)
        current.mark_written(self._pipeline.written_offset)

    def _handle_last_reply(self, current: InFlightTransaction, reply: Reply) -> None:
        if not self._handle_refusal(current, reply):
            self._is_verified = True
            current.mark_content_accepted()
            self._complete_read(current, reply)

    def _handle_refusal(self, current: InFlightTransaction, reply: Reply) -> bool:
        """Act on a reply that refuses BDAT. Return False if the reply is 2xx.

        Raises ProtocolViolation if it cannot be a reply to BDAT.
        """
        if reply.is_intermediate or (reply.is_success and current.is_envelope_refused):
            raise ProtocolViolation(f"the server answered BDAT with {reply}")
        if reply.is_success:
            return False
        if self._is_bdat_refused(current, reply):
            self._send_again_without_bdat(current)
        elif current.is_envelope_refused:
            self._queue.complete(current, "rcpt", reply)
        elif current.end_offset == NOT_WRITTEN:
            # The server refused the first chunk, and the rest is not written.
            self._queue.complete(current, "content", reply)
        else:
            self._complete_read(current, reply)
        return True

    def _is_bdat_refused(self, current: InFlightTransaction, reply: Reply) -> bool:
        """Whether the refusal may concern BDAT itself, and not this message."""
        if self._failed:
            return True
        if current.is_envelope_refused:
            return current.session_refusal is not None and self._queue.announcement is None
        return reply.concerns_session

    def _send_again_without_bdat(self, current: InFlightTransaction) -> None:
        """Note that BDAT does not work here.

        What is refused from now on may have been refused for that reason: it goes again.
        """
        self._failed.append(current)
        self._is_falling_back = True
        self._lower_strategy()
        if not self._is_verified:
            self._pipeline.ignore_refusals(1)  # the chunk, a line, may have been read as a command

    def _complete_read(self, current: InFlightTransaction, reply: Reply) -> None:
        """The server has read the whole content."""
        self._queue.budget.note_content()
        self._queue.complete(current, "content", reply)

    # -- away from BDAT --

    def _fall_back_to_data(self) -> None:
        if self._pipeline.is_waiting:
            return
        if self._failed:
            self._queue.requeue(self._failed)
            self._failed = []
            self._pipeline.write_command(commands.RSET, self._handle_resync_reply)
            return
        last = self._last
        left_open = (
            last
            if last is not None and last.leaves_transaction_open and not self._server_closes_refused
            else None
        )
        self.successor = DataWriter(
            self._queue, self._pipeline, self.traits, is_grouped=True, left_open=left_open
        )

    def _handle_resync_reply(self, reply: Reply) -> None:
        """To the RSET behind a refused BDAT."""
        if reply.is_success:
            self._pipeline.ignore_refusals(0)
            self._last = None
        elif self._pipeline.ignore_refusal(reply):
            self._pipeline.expect_again(self._handle_resync_reply)
        else:
            raise ProtocolViolation(f"the server does not find its way back after BDAT: {reply}")
