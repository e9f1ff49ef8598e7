"""The messages of a run that are still to be sent: what may start, when, and what is durable.

The order that makes the promise: intents (and the outcomes before them) are committed, then the messages
leave, then their replies are recorded. What is durable as intent and not as outcome is never more than the
open windows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from mailer.delivery.coordination import SYNC_SECONDS, Coordinator
from mailer.delivery.options import Ending, SendOptions
from mailer.delivery.run_state import RunState
from mailer.ledger import Claim, Edition, Ledger, Release, Retry, RunRecord
from mailer.ledger.outcome import Outcome

SHARE_IS_OVER = "the share is over"


class GroupClaim:
    """One claim, with one commit, for all sessions that ask at about the same time.

    Many sessions do not wait for one fsync each. While a commit waits for the disk, replies to other sessions
    come in, so the next group is larger.
    """

    def __init__(
        self, claim: Callable[[int], Sequence[Claim]], release: Callable[[Sequence[Claim]], None]
    ) -> None:
        """`claim` returns up to so many durable claims, or raises. `release` gives up those of a session that ends."""
        self._claim, self._release = claim, release
        self._requests: list[tuple[int, asyncio.Future[Sequence[Claim]]]] = []
        self._timer: asyncio.TimerHandle | None = None  # for the next claim

    async def claim(self, room: int, within: float) -> Sequence[Claim]:
        """Return up to `room` durable claims, up to `within` seconds later. Raises what the claim raises."""
        loop = asyncio.get_running_loop()
        claimed: asyncio.Future[Sequence[Claim]] = loop.create_future()
        if self._timer is None or self._timer.when() > loop.time() + within:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(within, self._serve)
        self._requests.append((room, claimed))
        try:
            return await claimed
        except asyncio.CancelledError:
            if claimed.done() and not claimed.cancelled() and claimed.exception() is None:
                self._release(claimed.result())
            raise

    def _serve(self) -> None:
        requests, self._requests, self._timer = self._requests, [], None
        waiting = [(room, claimed) for room, claimed in requests if not claimed.done()]
        if not waiting:
            return
        try:
            claims = self._claim(sum(room for room, _ in waiting))
        except Exception as error:  # raised in each task that waits
            for _, claimed in waiting:
                claimed.set_exception(error)
            return
        for room, claimed in waiting:
            claimed.set_result(claims[:room])
            claims = claims[room:]


class MessageQueue:
    """The ledger's queue at the pace of one run.

    `in_flight` counts the claims without a record, in all sessions.
    """

    def __init__(
        self,
        ledger: Ledger,
        edition: Edition,
        run: RunRecord,
        options: SendOptions,
        state: RunState,
        *,
        coordinator: Coordinator,
        is_share: bool = False,
    ) -> None:
        """Start with no message in flight.

        `edition` is the one that is sent, `run` the record of this run, and `coordinator` what it has to do
        with other runs. `is_share` says that the run is one share of a worker's: reaching `limit` of
        `options` ends it.
        """
        self.ledger, self.edition, self.run = ledger, edition, run
        self.coordinator = coordinator
        self.pacer = coordinator.make_pacer(options.delivery.rate)
        self.in_flight = 0
        self.commit_seconds = 0.0  # how long it takes, of late, to make claims and records durable
        self._claim_seconds = 0.0  # of a shared ledger's last claim: its statement writes records, too
        self._only, self._limit, self._is_share = options.only, options.limit, is_share
        self._state, self._clock = state, state.clock
        self._started = 0  # recipients that this run claimed for the first time, for `limit`
        self._has_uncommitted = False  # claims or records
        self._group = GroupClaim(self._claim_durably, self._release)

    async def claim(self, room: int, *, within: float = 0.0) -> Sequence[Claim]:
        """Return up to `room` messages that may leave now.

        Their intent and all records so far are then durable. If other sessions are open, that is up to
        `within` seconds later: they share the commit. Raises LedgerWriteError.
        """
        if self._state.is_over or room <= 0:
            if self._has_uncommitted:
                self.commit()
            return ()
        if self._state.sessions.open <= 1:
            return self._claim_durably(room)
        claims = await self._group.claim(room, within)
        if not self._state.is_over:
            return claims
        self._release(claims)
        return ()

    def _claim_durably(self, room: int) -> Sequence[Claim]:
        """Claim up to `room` messages that may leave now, and commit them with all records so far."""
        claims: Sequence[Claim] = ()
        now = self._clock.now()
        if not self._state.is_over and (count := self.pacer.reserve(room, now)):
            claims = self._claim(count, now)
            self.pacer.note_started(len(claims), now)
            self.in_flight += len(claims)
        if self._has_uncommitted:
            self.commit()
        return claims

    def _release(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self.record(claim, Release())

    def record(self, claim: Claim, record: Outcome | Retry | Release, *, unrendered: bool = False) -> None:
        """Record what became of a claim: an outcome, a later try, or that it was not sent.

        It is durable after the next `commit`. `unrendered` says that no message could be made.
        """
        self.in_flight -= 1
        self.ledger.record(claim, record, unrendered=unrendered)
        self._has_uncommitted = True
        if not self.in_flight:  # sessions that wait for what becomes of it may end now
            self._state.wake_waiters()

    def commit(self) -> None:
        """Make all claims and records durable. Raises LedgerWriteError."""
        started = time.perf_counter()
        self.ledger.commit()
        if self._has_uncommitted:
            seconds = self._claim_seconds + time.perf_counter() - started
            self.commit_seconds += (seconds - self.commit_seconds) / 8
        self._has_uncommitted, self._claim_seconds = False, 0.0
        self.coordinator.sync_after_commit()

    def is_drained(self) -> bool:
        """Return whether no message is left to start, now or later, unless one in flight is given back.

        Records that are not durable are committed first. Raises LedgerWriteError.
        """
        return not self._may_get_messages() and self.commit_and_find_wait() is None

    def commit_and_find_wait(self) -> float | None:
        """Return the seconds until a message may start, by queue and pace; None if the queue has none.

        Records that are not durable are committed first, because the ledger finds only what is committed.
        Raises LedgerWriteError.
        """
        if self._has_uncommitted:
            self.commit()
        now = self._clock.now()
        at = self.ledger.find_next_due(self.edition, only=self._only, fresh=self._count_startable() != 0)
        return None if at is None else max(at - now, self.pacer.seconds_until_next(now), 0.0)

    async def wait_for_message(self) -> bool:
        """Wait until a message may start.

        Returns False if the run is over, or no message is left anywhere.
        """
        state = self._state
        while not state.is_over:
            seconds = self.commit_and_find_wait()
            if seconds == 0:
                return True
            if seconds is None and not self.in_flight:
                if not self._may_get_messages():
                    return False
                seconds = SYNC_SECONDS
            if seconds is not None and seconds >= 1 and not self.in_flight:
                state.observer.on_waiting(seconds, "until the next message may be sent")
            await state.wait_for_change(seconds)
        return False

    async def wait_until_empty(self) -> None:
        """Wait until no message is in flight, and none is left that may start now or later."""
        while True:
            is_busy = self.in_flight > 0 or self.commit_and_find_wait() is not None
            if not is_busy and not self._may_get_messages():
                return
            await self._state.wait_for_change(None if is_busy else SYNC_SECONDS)

    def _may_get_messages(self) -> bool:
        """Whether another sender may give messages back that this run may send."""
        return self._count_startable() != 0 and self.coordinator.may_get_messages()

    def _claim(self, count: int, now: float) -> Sequence[Claim]:
        started = time.perf_counter()
        claims = self.ledger.claim(
            self.edition, count, now, run=self.run, only=self._only, fresh=self._count_startable()
        )
        self._has_uncommitted = self._has_uncommitted or bool(claims)
        if self.ledger.is_shared:
            self._claim_seconds = time.perf_counter() - started
        if self._limit is not None:
            self._started += sum(claim.first for claim in claims)
            if self._is_share and self._started >= self._limit:  # what waits is for the next share
                self._state.end(Ending.INCOMPLETE, SHARE_IS_OVER)
        return claims

    def _count_startable(self) -> int | None:
        """Return how many more recipients `limit` lets this run start with; None is no limit."""
        return None if self._limit is None else max(self._limit - self._started, 0)
