"""What the connections of one run share: the queue, the pace, the verdict on each reply, and how the run ends.

Everything here runs between two awaits of one thread, so that nothing needs a lock. The order that makes the promise:
intents (and the outcomes before them) are committed, then the messages leave, then their replies are recorded. What
is durable as intent and not as outcome is thus never more than the windows of the open sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mailer.delivery import backoff
from mailer.delivery.clock import Clock
from mailer.delivery.failure_limit import GiveUp
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, SendOptions
from mailer.delivery.pacing import Pacer
from mailer.delivery.reply_rules import Action, Rule, meaning
from mailer.delivery.signals import StopSignal
from mailer.errors import ServerReply
from mailer.ledger import Claim, Edition, Ledger, Release, Retry, RunRecord, format_time
from mailer.ledger.outcome import CopyRefused, Outcome, Status
from mailer.render.message import Message
from mailer.smtp.connection import SessionDetails
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.values import TransactionResult

T = TypeVar("T")

FIRST = -1.0  # when to try again what is in doubt: before whatever else waits
ASIDE = 0.25  # seconds, at least: a TLS handshake and a login


@dataclass(frozen=True, slots=True)
class Flight:
    """A message on its way: what the ledger calls it, and what the outcome needs of it."""

    claim: Claim
    message: Message


class Sending:
    def __init__(
        self,
        ledger: Ledger,
        edition: Edition,
        run: RunRecord,
        options: SendOptions,
        *,
        observer: Observer,
        clock: Clock,
        stop: StopSignal,
    ) -> None:
        delivery = options.delivery
        self.ledger, self.edition, self.record, self.options = ledger, edition, run, options
        self.observer, self.clock, self.stop = observer, clock, stop
        self.pacer = Pacer(delivery.rate)
        self.retries = backoff.message_policy(delivery.attempts, delivery.backoff)
        self.greylisted = backoff.greylist_policy(delivery.attempts, delivery.backoff)
        self.pauses = backoff.pause_policy(delivery.backoff)
        # `sent` settles what is past; what comes to be in doubt now is the campaign's matter.
        self.hold = (delivery.in_doubt if options.in_doubt in (None, "sent") else options.in_doubt) == "hold"
        self.give_up = GiveUp(delivery.stop_after)
        self.ending: Ending | None = None
        self.reason: str | None = None
        self.hint: str | None = None
        self.flying = 0  # claimed and not yet settled, in all sessions
        self.open = 0  # sessions at present
        self.sessions = 0
        self.messages = 0  # settled in this run
        self.bytes = 0
        self.progress = 0  # replies to messages: grows while the server is of any use
        self.most_open = 0
        self.active = 0  # workers, less those that the server has no room for
        self.server: SessionDetails | None = None
        self._paused_in_a_row = 0
        self._begun = 0  # recipients that this run began with, for --limit
        self._dirty = False
        self._changed = asyncio.Event()
        self.ended = asyncio.Event()
        self.login = asyncio.Lock()
        self._second = (0, "")

    # -- the run's end

    @property
    def over(self) -> bool:
        """No new message starts; from the very instant of a signal on."""
        return self.ending is not None or self.stop.requested

    def end(self, ending: Ending, reason: str | None = None, hint: str | None = None) -> None:
        """The run ends so, unless it already ends otherwise."""
        if self.ending is None:
            self.ending, self.reason, self.hint = ending, reason, hint
            self.ended.set()
        self.changed()

    def fail(self, ending: Ending, reason: str, hint: str | None) -> None:
        """The run ends so, whatever else it was to end as."""
        self.ending, self.reason, self.hint = ending, reason, hint
        self.ended.set()
        self.changed()

    def changed(self) -> None:
        """Whoever waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    # -- sessions

    def opened(self, details: SessionDetails, *, usual: bool) -> None:
        """The report shows the server as the last usual session found it."""
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.sessions += 1
        if usual or self.server is None:
            self.server = details
        self.observer.session(details)

    def closed(self, details: SessionDetails | None) -> None:
        """`details`, where the server turned out to be other than it was when the session opened."""
        self.open -= 1
        self.server = details or self.server
        self.changed()

    # -- the queue

    def claim(self, room: int) -> Sequence[Claim]:
        """Up to `room` messages that may leave now: on return their intent, and all outcomes so far, are durable."""
        claims: Sequence[Claim] = ()
        if not self.over and room > 0:
            now = self.clock.now()
            if count := self.pacer.available(room, now):
                claims = self._claim(count, now)
                self.pacer.spend(len(claims), now)
                self.flying += len(claims)
        if claims or self._dirty:
            self.commit()
        return claims

    def _claim(self, count: int, now: float) -> Sequence[Claim]:
        claims = self.ledger.claim(
            self.edition, count, now, run=self.record, only=self.options.only, fresh=self._left()
        )
        if self.options.limit is not None:
            self._begun += sum(claim.first for claim in claims)
        return claims

    def _left(self) -> int | None:
        """How many more recipients `--limit` lets this run begin with."""
        limit = self.options.limit
        return None if limit is None else max(limit - self._begun, 0)

    def commit(self) -> None:
        self.ledger.commit()
        self._dirty = False

    def due(self) -> float | None:
        """Seconds until a message may start, as pace and queue know; None when there is none to wait for."""
        if self._dirty:  # the queue knows what is committed
            self.commit()
        now = self.clock.now()
        at = self.ledger.find_next_due(self.edition, only=self.options.only, fresh=self._left() != 0)
        return None if at is None else max(at - now, self.pacer.wait(now), 0.0)

    async def wait(self, seconds: float | None) -> None:
        """For `seconds`, or until something changes in the queue or the run ends."""
        await first_of(self._changed.wait(), *([] if seconds is None else [self.clock.sleep(seconds)]))

    async def wait_until_over(self, seconds: float) -> None:
        """For `seconds`, or until the run ends."""
        await first_of(self.ended.wait(), self.clock.sleep(seconds))

    # -- what became of a message

    def settled(self, settled: TransactionResult) -> Action | None:
        """A message's reply was read; what it means for the session, if anything."""
        flight: Flight = settled.transaction.context  # type: ignore[assignment]  # smtp carries it and never looks
        if settled.reply is None:
            self.failed(flight.claim, settled.problem or "this server cannot be given it", flight.message)
            return None
        self.flying -= 1
        if settled.is_success:
            self._sent(flight, settled, settled.reply)
            return None
        return self._refused(flight, settled, settled.reply)

    def _sent(self, flight: Flight, settled: TransactionResult, reply: ServerReply) -> None:
        self.progress += 1
        self.pacer.accepted(1)
        self.give_up.accepted()
        self._paused_in_a_row = 0
        self.bytes += len(flight.message.content)
        self._outcome(flight, Status.SENT, reply, copies=_refused_copies(settled))

    def _refused(self, flight: Flight, settled: TransactionResult, reply: Reply) -> Action | None:
        rule = meaning(reply)
        action = rule.action if rule else None
        if rule and self.about_the_run(rule, reply):
            self._put_back(flight, reply)
            return action
        self.progress += 1
        if reply.is_transient:
            self._deferred(flight, settled, reply, greylisted=action is Action.GREYLISTED)
        else:
            if action is Action.UNKNOWN_USER:
                self.observer.unknown_user(flight.claim.recipient.email)
            self._outcome(flight, Status.FAILED, reply, copies=_refused_copies(settled), copies_taken=settled.accepted)
            self._failed_for_good()
        return action

    def about_the_run(self, rule: Rule, reply: ServerReply) -> bool:
        """Act on a reply that concerns more than its message; True when the message itself bears no mark."""
        if rule.action is Action.GIVE_UP:
            self.end(Ending.GIVEN_UP, f"{rule.meaning} ({reply.code} {reply.text})", rule.hint)
        elif rule.action in (Action.PAUSE, Action.WAIT_LOGIN):
            self.pause(rule.meaning, reply)
        elif rule.action not in (Action.NEW_SESSION, Action.FEWER):
            return False
        return True

    def pause(self, why: str, reply: ServerReply | None = None) -> None:
        """Nobody is sent to for a while. Replies to what was in flight already do not make it longer."""
        now = self.clock.now()
        if self.pacer.paused(now):
            return
        self._paused_in_a_row += 1
        seconds = self.pauses.after(self._paused_in_a_row)
        if seconds is None:
            said = f" ({reply.code} {reply.text})" if reply else ""
            ending = Ending.GIVEN_UP if self.sessions else Ending.UNREACHABLE  # a server that never let us in
            self.end(ending, f"{why}, and after {self._paused_in_a_row - 1} pauses still so{said}")
            return
        self.pacer.pause(seconds, now)
        self.observer.waiting(seconds, why)

    def _deferred(self, flight: Flight, settled: TransactionResult, reply: ServerReply, *, greylisted: bool) -> None:
        claim = flight.claim
        seconds = (self.greylisted if greylisted else self.retries).after(claim.tries + 1)
        if seconds is None:
            self._outcome(
                flight, Status.DEFERRED, reply, copies=_refused_copies(settled), copies_taken=settled.accepted
            )
            return
        at = self.clock.now() + seconds
        self._record(
            claim,
            Retry(at, code=reply.code, enhanced=reply.enhanced, reply=reply.text, copies_taken=settled.accepted),
        )

    def _put_back(self, flight: Flight, reply: ServerReply) -> None:
        self._record(
            flight.claim,
            Retry(self.clock.now(), reply.code, reply.enhanced, reply.text, attempted=False),
        )

    def untouched(self, flight: Flight) -> None:
        """Its session was lost before its last byte left: as if nothing had been."""
        self.flying -= 1
        self._record(flight.claim, Release())

    def put_aside(self, flight: Flight, error: str, times: int) -> None:
        """Untouched, but sessions end whenever its turn comes, and did so `times` now: others go first.

        So it waits for longer than the next session can take to come, but bears no mark.
        """
        self.flying -= 1
        backoff = self.options.delivery.backoff
        seconds = max(min(backoff.first * 2.0 ** min(times, 6), backoff.most), ASIDE)
        self._record(flight.claim, Retry(self.clock.now() + seconds, error=error, attempted=False))

    def doubtful(self, flight: Flight, error: str) -> None:
        """Its last byte may have left and no reply came (RFC 5321 4.5.3.2.6: the responsibility stays with us)."""
        self.flying -= 1
        if self.hold or flight.claim.in_doubt:
            self._outcome(flight, Status.IN_DOUBT, error=error)
        else:
            self._record(flight.claim, Retry(FIRST, error=error, in_doubt=True))

    def failed(self, claim: Claim, error: str, message: Message | None = None) -> None:
        """It cannot be offered at all: it does not render, or this server takes no such message."""
        self.flying -= 1
        outcome = Outcome(
            claim.recipient.email,
            claim.key,
            Status.FAILED,
            attempts=claim.attempts,
            message_id=message.message_id if message else None,
            size=len(message.content) if message else None,
            at=self._now(),
            error=error,
        )
        self._settle(claim, outcome, unrendered=message is None)
        self._failed_for_good()

    # -- into the ledger

    def _outcome(
        self,
        flight: Flight,
        status: Status,
        reply: ServerReply | None = None,
        *,
        error: str | None = None,
        copies: tuple[CopyRefused, ...] = (),
        copies_taken: tuple[str, ...] = (),
    ) -> None:
        claim, message = flight.claim, flight.message
        outcome = Outcome(
            claim.recipient.email,
            claim.key,
            status,
            claim.attempts + 1,
            reply.code if reply else None,
            reply.enhanced if reply else None,
            reply.text if reply else None,
            message.message_id,
            len(message.content),
            self._now(),
            error,
            copies,
            copies_taken,
        )
        self._settle(claim, outcome)

    def _settle(self, claim: Claim, outcome: Outcome, *, unrendered: bool = False) -> None:
        self.messages += 1
        self._record(claim, outcome, unrendered=unrendered)
        self.observer.settled(outcome)

    def _record(self, claim: Claim, what: Outcome | Retry | Release, *, unrendered: bool = False) -> None:
        self.ledger.record(claim, what, unrendered=unrendered)
        self._dirty = True

    def _failed_for_good(self) -> None:
        if reason := self.give_up.failed():
            self.end(
                Ending.GIVEN_UP, reason, "see the report for the replies; `stop_after` says when a run is given up"
            )

    def _now(self) -> str:
        """The time in ISO 8601; made once a second, not once a message."""
        second = int(self.clock.now())
        if self._second[0] != second:
            self._second = (second, format_time(second))
        return self._second[1]


async def first_of(*waits: Coroutine[object, object, object]) -> None:
    """Returns when the first of them does; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def unless(over: Coroutine[object, object, object], work: Coroutine[object, object, T]) -> T | None:
    """What the work gives; None, and the work is cancelled, where `over` returns first."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(over)
    try:
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.wait([working, waiting])


def _refused_copies(settled: TransactionResult) -> tuple[CopyRefused, ...]:
    if not settled.refused:
        return ()
    person = settled.transaction.recipients[0]
    return tuple(CopyRefused(email, reply.code, reply.text) for email, reply in settled.refused if email != person)
