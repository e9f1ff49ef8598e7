"""Streamed: MAIL, RCPT and BDAT LAST of many messages in flight, no round trip waited for (RFC 2920, RFC 3030).

Two things must be known of a server that is trusted so far, and neither is in its EHLO reply.

*Does it do what CHUNKING says?* One that does not know BDAT would read the content as commands. So the first chunk of a
session is one header line, and the rest follows when that was accepted. If BDAT is refused, a harmless line was read
as a command at worst, and the session goes on without BDAT.

*What is left of a transaction whose recipients were all refused, after its BDAT LAST?* Nothing, with Postfix. With
Exim it stays open: the next MAIL is 503, its RCPT joins the old transaction, and its content would leave under the
wrong sender. Until the server has shown which kind it is, RSET stands before each MAIL whose predecessor is not known
to be taken. Exim lets one RSET a message pass and counts the others, ten a session (smtp_accept_max_nonmail): those
behind a refused message that had one before it. Postfix counts them until a message is delivered. Where a predecessor
is known to be refused, RCPT stands before the RSET: its reply tells, 503 or 250, whether a transaction was there, at
the price of one error with Postfix and none with Exim (which ends a session at the fourth MAIL that meets an open
transaction). Then there is no RSET any more; or the counted ones are kept few, see budget.py.
"""

from __future__ import annotations

import math
from functools import partial

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol import commands, data
from mailer.smtp.protocol.data_writer import Turns
from mailer.smtp.protocol.in_flight import NOT_WRITTEN, Flight
from mailer.smtp.protocol.pipeline import Handler
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.submission import Mailing
from mailer.smtp.protocol.values import Strategy

CHUNK = 64 * 1024  # octets written at once: four TLS records, one send
NOT_IMPLEMENTED = frozenset({500, 502, 503, 504})  # to BDAT with a recipient: not what CHUNKING promised


class Stream:
    strategy = Strategy.STREAMED

    def __init__(self, mailing: Mailing) -> None:
        self._mailing = mailing
        self._exchange = mailing.exchange
        self._verified = False  # BDAT has worked
        self._failed: list[Flight] = []  # refused because BDAT does not work, to go again
        self._leaving = False  # no more BDAT: as soon as everything is answered, on in turns
        self._last: Flight | None = None  # written last
        self._closes: bool | None = None  # whether BDAT LAST ends a transaction without recipients

    def cap_after_loss(self, *, violated: bool) -> Strategy | None:
        """Lost at the session's first BDAT, or before one worked by replies that fit nothing."""
        if self._verified:
            return None
        at_first_bdat = any(flight.is_answered and not flight.is_hopeless for flight in self._mailing.flying)
        return Strategy.PIPELINED if violated or at_first_bdat else None

    def fill(self) -> None:
        mailing = self._mailing
        most = self._affordable()
        if self._leaving:
            self._leave()
            return
        while mailing.may_begin and len(mailing.flying) < most and self._exchange.pending < CHUNK:
            self._write(mailing.queue[0])

    def _affordable(self) -> float:
        """How many may be in flight, beside the window's limit."""
        budget = self._mailing.budget
        if not self._verified:
            return 1
        if self._closes:
            return math.inf
        if not budget.is_tight:
            return budget.affords
        # RSETs are running short. Where refusals are rare, a new session now and then costs less than going slowly.
        if budget.refusals_are_rare or budget.is_spent:
            self._mailing.exhaust()
        elif self._closes is False:
            self._leaving = True  # in turns a refusal is known before the next message, and hardly any are needed
        return 1  # and with the next refusal it is known whether they are needed at all

    def _write(self, flight: Flight) -> None:
        lines, handlers = self._guard(flight)
        self._mailing.begin()
        content = flight.transaction.content
        size = len(content) if self._verified else data.first_line(content)
        last = size == len(content)
        lines += [flight.mail, *flight.rcpts, commands.bdat(size, last=last)]
        handlers.append(flight.on_mail)
        handlers += [flight.on_rcpt] * len(flight.rcpts)
        handlers.append(partial(self._on_last if last else self._on_first, flight))
        self._exchange.commands(lines, handlers)
        self._exchange.content(content if last else content[:size])
        if last:
            flight.end = self._exchange.end
        self._last = flight

    # -- between two messages --

    def _guard(self, flight: Flight) -> tuple[list[bytes], list[Handler]]:
        """What must stand before MAIL, so that it cannot meet the transaction of the message before."""
        before = self._last
        if before is None or before.is_taken:
            return [], []
        if before.end == NOT_WRITTEN:  # refused at its first chunk: the server still waits for the last one
            return [commands.RSET], [self._on_reset]
        if self._closes or before.mail_refusal is not None:
            return [], []
        if self._closes is None and before.is_left_open:
            return [flight.rcpts[0], commands.RSET], [self._on_trial, self._on_reset]
        return [commands.RSET], [self._on_reset]

    def _on_trial(self, reply: Reply) -> None:
        """To RCPT without MAIL, behind a message that was refused. A refusal of the recipient tells nothing."""
        if reply.is_success:
            self._closes = False
        elif reply.code == 503:
            self._closes = True

    def _on_reset(self, reply: Reply) -> None:
        if not reply.is_success:  # RFC 5321 4.1.1.5: it has no other reply; Exim's "too many nonmail commands"
            self._mailing.end(reply)
        else:
            self._mailing.budget.reset()

    # -- replies to BDAT --

    def _on_first(self, flight: Flight, reply: Reply) -> None:
        """To the first line of the session's first message."""
        if self._is_refused(flight, reply):
            return
        self._verified = True
        rest = flight.transaction.content[data.first_line(flight.transaction.content) :]
        self._exchange.command(commands.bdat(len(rest), last=True), partial(self._on_last, flight))
        self._exchange.content(rest)
        flight.end = self._exchange.end

    def _on_last(self, flight: Flight, reply: Reply) -> None:
        if not self._is_refused(flight, reply):
            self._verified = True
            self._taken(flight, reply)

    def _is_refused(self, flight: Flight, reply: Reply) -> bool:
        if reply.is_intermediate or (reply.is_success and flight.is_hopeless):
            raise ProtocolViolation(f"the server answered BDAT with {reply}")
        if reply.is_success:
            return False
        if flight.is_hopeless and not self._failed:
            self._mailing.settle(flight, "rcpt", reply)
        elif reply.code in NOT_IMPLEMENTED or self._failed:
            self._not_implemented(flight)
        elif flight.end == NOT_WRITTEN:
            self._mailing.settle(flight, "content", reply)
        else:
            self._taken(flight, reply)
        return True

    def _not_implemented(self, flight: Flight) -> None:
        """BDAT does not work here. What is refused from now on may have been refused for that: it goes again."""
        self._failed.append(flight)
        self._leaving = True
        self._mailing.cap = Strategy.PIPELINED
        if not self._verified:
            self._exchange.strays = 1  # the chunk, a line, may have been read as a command

    def _taken(self, flight: Flight, reply: Reply) -> None:
        """The content was read whole. Accepted, nothing is left of the transaction; else that is not promised."""
        flight.is_taken = reply.is_success
        self._mailing.budget.content()
        self._mailing.settle(flight, "content", reply)

    # -- away from BDAT --

    def _leave(self) -> None:
        if self._exchange.expected:
            return
        if self._failed:
            self._mailing.again(self._failed)
            self._failed = []
            self._exchange.command(commands.RSET, self._on_resync)
            return
        last = self._last
        left_open = last if last is not None and last.is_left_open and not self._closes else None
        turns = Turns(self._mailing, grouped=True, left_open=left_open)
        self._mailing.writer = turns
        turns.fill()

    def _on_resync(self, reply: Reply) -> None:
        """To the RSET behind a refused BDAT."""
        if reply.is_success:
            self._exchange.strays = 0
            self._last = None
        elif self._exchange.strays and reply.is_permanent:
            self._exchange.strays -= 1
            self._exchange.expect_again(self._on_resync)
        else:
            raise ProtocolViolation(f"the server does not find its way back after BDAT: {reply}")
