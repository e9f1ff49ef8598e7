"""The part of a session in which messages go out: what is queued, in flight and settled, whatever the strategy."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from mailer.smtp.protocol.budget import Budget
from mailer.smtp.protocol.extensions import Extensions
from mailer.smtp.protocol.in_flight import Flight, Unsendable
from mailer.smtp.protocol.pipeline import Exchange
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.values import Stage, Strategy, Transaction, TransactionResult, UnfinishedTransactions
from mailer.smtp.protocol.window import Window


class Writer(Protocol):
    """A strategy: decides what is written when, and takes the replies."""

    strategy: Strategy

    def fill(self) -> None:
        """Write what may be written now."""

    def cap_after_loss(self, *, violated: bool) -> Strategy | None:
        """What a later session should not go beyond, when this one is lost now; None: no lower one is called for."""


class Mailing:
    """`flying` has what was begun and not settled, in order."""

    def __init__(self, exchange: Exchange, extensions: Extensions, window: Window) -> None:
        self.exchange = exchange
        self.extensions = extensions
        self.window = window
        self.budget = Budget()
        self.queue: deque[Flight] = deque()
        self.flying: deque[Flight] = deque()
        self.settled: list[TransactionResult] = []
        self.writer: Writer  # set by strategies.start()
        self.cap: Strategy | None = None  # what a later session should not go beyond
        self.ending: Reply | None = None  # a reply that ends the session; see end()
        self.goes_on = False  # the server did not close behind it, and never said that it would
        self.now = 0.0
        self.messages = 0  # settled by the server in this session
        self._octets = 0
        self._mails = 0
        self._exhausted = False

    # -- the caller's side --

    @property
    def is_exhausted(self) -> bool:
        return self._exhausted or self.ending is not None

    @property
    def room(self) -> int:
        if self.is_exhausted:
            return 0
        room = self.window.room(len(self.queue) + len(self.flying), self._octets)
        if (most := self.extensions.limits.mail_max) is not None:
            room = min(room, max(0, most - self._mails - len(self.queue)))
        return room

    @property
    def is_idle(self) -> bool:
        return not self.queue and not self.flying

    @property
    def is_stuck(self) -> bool:
        """Something is queued that this session will never send."""
        return bool(self.queue) and not self.flying and not self.may_begin and not self.exchange.expected

    def submit(self, transaction: Transaction) -> None:
        try:
            flight = Flight(transaction, self.extensions)
        except Unsendable as problem:
            self.settled.append(TransactionResult(transaction, "mail", None, problem=str(problem)))
            return
        self.queue.append(flight)
        self._octets += len(transaction.content)
        if not self.room:
            self.window.full()

    def take_settled(self) -> list[TransactionResult]:
        settled, self.settled = self.settled, []
        return settled

    def unfinished(self) -> UnfinishedTransactions:
        """Return what a lost session leaves (RFC 5321 4.5.4.1)."""
        unsent: list[Transaction] = []
        in_doubt: list[Transaction] = []
        for flight in self.flying:
            safe = (self.ending is not None and not self.goes_on) or flight.end > self.exchange.left
            (unsent if safe else in_doubt).append(flight.transaction)
        unsent += [flight.transaction for flight in self.queue]
        return UnfinishedTransactions(unsent, in_doubt)

    # -- the strategies' side --

    def begin(self) -> None:
        """The next of the queue starts."""
        flight = self.queue.popleft()
        flight.started = self.now
        self._mails += 1
        self.flying.append(flight)
        most = self.extensions.limits.mail_max
        if most is not None and self._mails >= most:
            self.exhaust()

    @property
    def may_begin(self) -> bool:
        most = self.extensions.limits.mail_max
        return bool(self.queue) and self.ending is None and (most is None or self._mails < most)

    def settle(self, flight: Flight, stage: Stage, reply: Reply) -> None:
        """The server's last word on this one. Behind a 421 only an acceptance counts: the rest was not considered."""
        outcome = flight.outcome(stage, reply)
        if self.ending is not None and not (outcome.is_success or outcome.accepted):
            return
        self.flying.remove(flight)  # mostly the first
        self._octets -= len(flight.transaction.content)
        self.messages += 1
        self.budget.settled(refused=flight.is_left_open)
        self.settled.append(outcome)
        if stage == "content":
            self.window.settled(self.now - flight.started)

    def again(self, flights: list[Flight]) -> None:
        """What came to nothing, through no fault of its own, goes first in the queue."""
        for flight in flights:
            self.flying.remove(flight)
            flight.restart()
        self.queue.extendleft(reversed(flights))

    def exhaust(self) -> None:
        """Nothing new in this session; what is queued can still go."""
        self._exhausted = True

    def end(self, reply: Reply) -> None:
        """The server ends the session (421, or RSET refused). Nothing more is written; what it still answers counts."""
        if self.ending is None:
            self.ending = reply

    def give_up(self, *, violated: bool) -> None:
        """The session is over. Whose envelope was refused as a whole has its answer, with or without the last reply,
        if the server is to be believed.
        """
        if self.ending is None and not violated:
            for flight in [flight for flight in self.flying if flight.is_hopeless]:
                last = flight.mail_refusal or flight.refused[0][1]
                self.settle(flight, "rcpt", last)
