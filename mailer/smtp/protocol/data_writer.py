"""Sequential and pipelined: one message at a time has the server's attention.

Pipelined (RFC 2920, section 3.1) writes the end of one message and MAIL, RCPT and DATA of the next as one group, and
reads at DATA: one round trip a message. Sequential waits for each reply, and skips what a refusal makes pointless.

A refused envelope leaves the server with an open transaction. It must be closed, or used, before the next message, or
that one would be answered 503 and leave under the wrong sender. Servers count RSETs (see budget.py), so it is written
only when a transaction is open; and where it would be counted, the next message has the same sender and the open
transaction has no recipient, its RCPT just goes into that one. A server that had closed it answers 503: then the
message goes again with its MAIL, which is not left out in this session any more.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol import commands, data
from mailer.smtp.protocol.in_flight import Flight
from mailer.smtp.protocol.pipeline import Handler
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.submission import Mailing
from mailer.smtp.protocol.values import Strategy


class Turns:
    def __init__(self, mailing: Mailing, *, grouped: bool, left_open: Flight | None = None) -> None:
        self.strategy = Strategy.PIPELINED if grouped else Strategy.SEQUENTIAL
        self._mailing = mailing
        self._exchange = mailing.exchange
        self._grouped = grouped
        self._steps: deque[tuple[bytes, Handler]] = deque()  # of the current envelope, not written yet
        self._current: Flight | None = None  # whose envelope is not answered
        self._left_open = left_open  # whose transaction the server still has
        self._keeps_open = True  # as far as we know; see _is_alone
        self._joined = False  # the current envelope has no MAIL of its own

    def cap_after_loss(self, *, violated: bool) -> Strategy | None:
        """Replies that fit nothing before the first message was settled: groups are perhaps too much for the server."""
        return Strategy.SEQUENTIAL if violated and self._grouped and not self._mailing.messages else None

    def fill(self) -> None:
        while True:
            if self._steps and (self._grouped or not self._exchange.expected):
                self._exchange.command(*self._steps.popleft())
            elif self._current is None and self._mailing.may_begin:
                self._open_envelope()
            else:
                return

    def _open_envelope(self) -> None:
        flight = self._mailing.queue[0]
        old, self._left_open = self._left_open, None
        self._joined = joins = old is not None and self._may_join(old, flight)
        self._mailing.begin()
        self._current = flight
        if old is not None and not joins:
            self._steps.append((commands.RSET, self._on_reset))
        if not joins:
            self._steps.append((flight.mail, partial(self._on_mail, flight)))
        self._steps.extend((line, partial(self._on_rcpt, flight)) for line in flight.rcpts)
        self._steps.append((commands.DATA, partial(self._on_data, flight)))

    def _may_join(self, old: Flight, flight: Flight) -> bool:
        """Never where `old` has a recipient, as after a refused DATA: that one would get the other's message."""
        return (
            self._keeps_open and not old.accepted and not self._mailing.budget.reset_is_free and old.kind == flight.kind
        )

    def _on_reset(self, reply: Reply) -> None:
        self._mailing.budget.reset()
        if self._mailing.budget.is_spent:
            self._mailing.exhaust()
        if not reply.is_success:  # RFC 5321 4.1.1.5: it has no other reply; Exim's "too many nonmail commands"
            self._mailing.end(reply)

    def _on_mail(self, flight: Flight, reply: Reply) -> None:
        flight.on_mail(reply)
        if flight.mail_refusal is not None and not self._grouped:
            self._refused(flight, reply)

    def _on_rcpt(self, flight: Flight, reply: Reply) -> None:
        flight.on_rcpt(reply)
        if flight.is_hopeless and not self._grouped:
            self._refused(flight, reply)

    def _on_data(self, flight: Flight, reply: Reply) -> None:
        if reply.is_success:
            raise ProtocolViolation(f"the server answered DATA with {reply}")
        if not reply.is_intermediate:
            self._refused(flight, reply)
        elif flight.is_hopeless:
            # RFC 2920, section 3.1: a server may say 354 without a recipient; then only the final dot follows.
            self._exchange.content(data.END, self._on_nothing)
            self._mailing.settle(flight, "rcpt", reply)
            self._content_written()
        else:
            self._exchange.content(data.stuffed(flight.transaction.content) + data.END, partial(self._on_end, flight))
            flight.end = self._exchange.end
            self._content_written()

    def _on_end(self, flight: Flight, reply: Reply) -> None:
        if reply.is_intermediate:
            raise ProtocolViolation(f"the server answered the end of a message with {reply}")
        self._mailing.settle(flight, "content", reply)

    def _on_nothing(self, _reply: Reply) -> None:
        """The reply to a message without content and recipients: any will do."""

    def _refused(self, flight: Flight, reply: Reply) -> None:
        """Before any content: by MAIL, by every RCPT, or by DATA."""
        self._steps.clear()
        self._current = None
        if self._is_alone(flight):
            self._keeps_open = False
            self._mailing.again([flight])
            return
        if flight.mail_refusal is None:
            self._left_open = flight
        self._mailing.settle(flight, "data", reply)

    def _is_alone(self, flight: Flight) -> bool:
        """Whether it joined a transaction that was not there: 503 speaks of the missing MAIL, not of the recipient."""
        refusal = flight.person_refusal
        return self._joined and not flight.accepted and refusal is not None and refusal.code == 503

    def _content_written(self) -> None:
        """The end of content ends the transaction, whatever its reply is (RFC 5321 4.1.1.4)."""
        self._current = None
        self._mailing.budget.content()
