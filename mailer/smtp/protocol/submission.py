"""The part of a session in which messages are sent, with any strategy."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Protocol

from mailer.smtp.protocol.bdat_writer import BdatWriter
from mailer.smtp.protocol.data_writer import DataWriter
from mailer.smtp.protocol.events import SessionEnded
from mailer.smtp.protocol.extensions import Extensions
from mailer.smtp.protocol.pipeline import Pipeline
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.slowdown import SlowdownDetector
from mailer.smtp.protocol.transaction_queue import TransactionQueue
from mailer.smtp.protocol.values import (
    ServerTraits,
    Strategy,
    Transaction,
    TransactionResult,
    UnfinishedTransactions,
    choose_lower_strategy,
)
from mailer.smtp.protocol.window import Window

# Messages on their way without BDAT: one, or the end of one and the envelope of the next.
ON_THEIR_WAY = {Strategy.SEQUENTIAL: 1, Strategy.PIPELINED: 2}
MAX_WAITING = 2  # that may be submitted behind them, to be written at once when it is their turn


def choose_strategy(
    extensions: Extensions, traits: ServerTraits, *, window: int | None, at_most: Strategy | None
) -> Strategy:
    """Return the highest strategy that the server offers, up to `at_most` and to what its `traits` say.

    `window` is the maximum of messages in flight; None is no such maximum.
    """
    limit = choose_lower_strategy(at_most, traits.strategy_at_most)
    return Strategy.SEQUENTIAL if window == 1 else extensions.strategy.at_most(limit)


class Writer(Protocol):
    """Decides what is written when, and handles the replies."""

    @property
    def strategy(self) -> Strategy: ...

    @property
    def traits(self) -> ServerTraits:
        """What is known of the server."""

    @property
    def successor(self) -> Writer | None:
        """The writer that takes over now."""

    def write(self, now: float) -> None:
        """Write what may be written now. `now` is the time in seconds."""

    def learn_from_loss(self, end: SessionEnded) -> None:
        """Note in `traits` what the loss of the session, described by `end`, says about the server."""


class Submission:
    """What a session does from the moment that it takes messages: it owns their queue, and the writer."""

    def __init__(
        self,
        pipeline: Pipeline,
        extensions: Extensions,
        traits: ServerTraits,
        *,
        window: int | None,
        strategy_at_most: Strategy | None,
        session_cost: float,
        write_quit: Callable[[], None] = lambda: None,
    ) -> None:
        """Octets go to `pipeline`. `extensions` and `traits` are what is known of the server.

        `window` is the maximum of messages in flight; None chooses it. `strategy_at_most` is the campaign's
        limit; None is no limit. `session_cost` is the seconds that it takes to open a session. `write_quit`
        writes QUIT behind the last content.
        """
        self._pipeline = pipeline
        if "BURL" in extensions.names:  # RFC 4468: Dovecot's submission proxy, which fails without RSETs
            traits = replace(traits, needs_resets=True)
        strategy = choose_strategy(extensions, traits, window=window, at_most=strategy_at_most)
        if strategy in ON_THEIR_WAY:
            maximum = ON_THEIR_WAY[strategy] + MAX_WAITING
            window = min(window or maximum, maximum)
        self._queue = TransactionQueue(
            extensions, Window(window, ceiling=traits.window_at_most), SlowdownDetector(session_cost)
        )
        self._writer: Writer = (
            BdatWriter(self._queue, pipeline, traits)
            if strategy is Strategy.STREAMED
            else DataWriter(
                self._queue,
                pipeline,
                traits,
                is_grouped=strategy is Strategy.PIPELINED,
                write_quit=write_quit,
            )
        )
        self._end: SessionEnded | None = None

    @property
    def strategy(self) -> Strategy:
        return self._writer.strategy

    @property
    def traits(self) -> ServerTraits:
        """What is known of the server, for the next session."""
        window = self._queue.window
        has_lost = self._end is not None and self._end.error is not None and self._end.announcement is None
        ceiling = max(1, window.limit // 2) if has_lost and not self._queue.is_empty else window.ceiling
        return replace(self._writer.traits, window_at_most=ceiling)

    @property
    def room(self) -> int:
        """How many messages may be submitted now."""
        return self._queue.room

    @property
    def worthwhile_results(self) -> int:
        """How many results are worth waiting for, so that one commit is for several: half of a window.

        Without BDAT the results come one by one.
        """
        is_streamed = self._writer.strategy is Strategy.STREAMED
        return max(1, self._queue.window.limit // 2) if is_streamed else 1

    @property
    def is_exhausted(self) -> bool:
        """The session takes no more messages."""
        return self._queue.is_exhausted

    @property
    def is_idle(self) -> bool:
        """No message waits or is in flight."""
        return self._queue.is_empty

    @property
    def may_be_unheard(self) -> bool:
        """The server may have dropped the command whose reply is due: some do so behind a message's end."""
        return isinstance(self._writer, DataWriter) and self._writer.may_be_unheard

    @property
    def is_stuck(self) -> bool:
        """A message waits that this session will never send: it has used up what MAILMAX allows."""
        queue = self._queue
        return (
            bool(queue.waiting)
            and not queue.in_flight
            and not queue.may_begin
            and not self._pipeline.is_waiting
        )

    @property
    def announcement(self) -> Reply | None:
        """The reply by which the server announced the end of the session."""
        return self._queue.announcement

    def announce_end(self, reply: Reply) -> None:
        """Note that the server ends the session, as `reply` says.

        Nothing more is written; what it still answers counts.
        """
        self._queue.announce_end(reply)

    def close_queue(self) -> None:
        """Take no more messages: QUIT may leave with the last content."""
        self._queue.close()

    def submit(self, transaction: Transaction, *, is_held: bool) -> TransactionResult | None:
        """Queue `transaction`. Return a result at once if this server cannot be given it, else None.

        With `is_held`, its content is not written before `permit_contents`.
        """
        return self._queue.add(transaction, is_held=is_held)

    def permit_contents(self, transactions: Collection[Transaction]) -> None:
        """Let the contents of `transactions` be written, as far as they are without a result."""
        self._queue.permit_contents(transactions)

    def write(self, now: float) -> None:
        """Write what may be written now. `now` is the time in seconds."""
        self._writer.write(now)
        if (successor := self._writer.successor) is not None:
            self._writer = successor
            successor.write(now)

    def take_results(self, now: float) -> list[TransactionResult]:
        """Return the results since the last call.

        `now` is the time in seconds at which their replies were read.
        """
        return self._queue.take_results(now)

    def note_noop(self) -> None:
        """Count a NOOP that was answered. Some servers end a session after a few."""
        self._queue.budget.note_noop()
        if self._queue.budget.is_spent:
            self._queue.mark_exhausted()

    def close(self, end: SessionEnded) -> None:
        """Note that the session is over, as `end` says.

        A message whose whole envelope was refused has its answer, if replies can be trusted.
        """
        self._end = end
        if end.error is not None:
            self._writer.learn_from_loss(end)
            if end.announcement is None and not end.is_violation:
                self._queue.complete_refused()

    def list_unfinished(self) -> UnfinishedTransactions:
        """Return the messages without a result (RFC 5321 4.5.4.1)."""
        unsent: list[Transaction] = []
        in_doubt: list[Transaction] = []
        is_discarded = self._end is not None and self._end.discards_messages
        for transaction in self._queue.in_flight:
            is_unsent = is_discarded or transaction.end_offset > self._pipeline.sent_offset
            (unsent if is_unsent else in_doubt).append(transaction.transaction)
        unsent += [transaction.transaction for transaction in self._queue.waiting]
        return UnfinishedTransactions(unsent, in_doubt)
