"""The messages of a run that are still to be sent: what may start, when, and what is durable.

The order that makes the promise: intents (and the outcomes before them) are committed, then the messages
leave, then their replies are recorded. What is durable as intent and not as outcome is never more than the
open windows and what is claimed ahead of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mailer.delivery.coordination import SYNC_SECONDS, Coordinator
from mailer.delivery.options import Ending, SendOptions
from mailer.delivery.run_state import RunState
from mailer.ledger import Claim, Edition, Ledger, Release, Retry, RunRecord
from mailer.ledger.outcome import Outcome

SHARE_IS_OVER = "the share is over"


class GroupCommit:
    """One commit for all sessions that need one before the event loop turns once more.

    While a commit waits for the disk, replies to other sessions come in, so the next group is larger: many
    sessions do not wait for one fsync each.
    """

    def __init__(self, commit: Callable[[], None]) -> None:
        """`commit` makes all claims and records durable, or raises."""
        self._commit = commit
        self._waiting: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait until what is claimed and recorded now is durable. Raises what the commit raises."""
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            loop.call_soon(self._run)
        await asyncio.shield(self._waiting)  # one session that is cancelled must not cancel the others' wait

    def fail(self, error: BaseException) -> None:
        """Raise `error` in all that wait: their claims are void."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
            waiting.exception()  # no complaint of asyncio if all who waited were cancelled

    def _run(self) -> None:
        if self._waiting is None:  # it failed before
            return
        try:
            self._commit()
        except Exception as error:  # raised in each task that waits
            self.fail(error)
            return
        waiting, self._waiting = self._waiting, None
        waiting.set_result(None)


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
        self._group_commit = GroupCommit(self.commit)

    async def claim(self, room: int) -> Sequence[Claim]:
        """Return up to `room` messages that may leave now.

        Their intent and all records so far are then durable. Raises LedgerWriteError.
        """
        claims: Sequence[Claim] = ()
        if not self._state.is_over and room > 0:
            now = self._clock.now()
            if count := self.pacer.reserve(room, now):
                claims = self._claim(count, now)
                self.pacer.note_started(len(claims), now)
                self.in_flight += len(claims)
        if claims and self._state.sessions.open > 1 and not self.ledger.is_shared:
            return await self._commit_with_others(claims)
        if self._has_uncommitted:
            self.commit()
        return claims

    async def _commit_with_others(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Commit together with the other sessions that have results at this moment: one fsync for all of
        them.

        Returns `claims`, or nothing if the run is over by then.
        """
        try:
            await self._group_commit.wait()
        except asyncio.CancelledError:
            self._release(claims)
            raise
        if not self._state.is_over:
            return claims
        self._release(claims)
        return ()

    def _release(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self.record(claim, Release())

    def record(self, claim: Claim, record: Outcome | Retry | Release, *, unrendered: bool = False) -> None:
        """Record what became of a claim: an outcome, a later try, or that it was not sent.

        It is durable after the next `commit`. `unrendered` says that no message could be made.
        """
        self.in_flight -= 1
        try:  # as `_voiding_claims`, which would take longer than the record: there is one for each message
            self.ledger.record(claim, record, unrendered=unrendered)
        except BaseException as error:
            self._group_commit.fail(error)
            raise
        self._has_uncommitted = True

    def commit(self) -> None:
        """Make all claims and records durable. Raises LedgerWriteError."""
        started = time.perf_counter()
        with self._voiding_claims():
            self.ledger.commit()
        if self._has_uncommitted:
            seconds = self._claim_seconds + time.perf_counter() - started
            self.commit_seconds += (seconds - self.commit_seconds) / 8
        self._has_uncommitted, self._claim_seconds = False, 0.0
        self.coordinator.sync_after_commit()

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
        with self._voiding_claims():
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

    @contextmanager
    def _voiding_claims(self) -> Iterator[None]:
        """If the ledger fails, its transaction is rolled back: the claims that wait for a commit are void."""
        try:
            yield
        except BaseException as error:
            self._group_commit.fail(error)
            raise

    def _count_startable(self) -> int | None:
        """Return how many more recipients `limit` lets this run start with; None is no limit."""
        return None if self._limit is None else max(self._limit - self._started, 0)
