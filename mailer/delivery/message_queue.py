"""The messages of a run that are still to be sent: what may start, when, and what is durable.

The order that makes the promise: a message is claimed, its intent (with the outcomes before it) is committed,
then its content leaves, then its reply is recorded. What is durable as intent and not as outcome is never more
than the open windows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from mailer.delivery.commits import GroupClaim, GroupCommit
from mailer.delivery.coordination import SYNC_SECONDS, Coordinator
from mailer.delivery.options import Ending, SendOptions
from mailer.delivery.run_state import RunState
from mailer.ledger import Claim, Edition, Ledger, Release, Retry, RunRecord
from mailer.ledger.outcome import Outcome

SHARE_IS_OVER = "the share is over"


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
        self._options, self._is_share, self._state = options, is_share, state
        self._started = 0  # recipients that this run claimed for the first time, for `limit`
        self._has_uncommitted = False  # claims or records
        self._failure: BaseException | None = None  # of the ledger: it made claims void
        self._group_claim = GroupClaim(self._claim_shared, self._release)
        self._group_commit = GroupCommit(self.commit)

    async def reserve(self, room: int) -> Sequence[Claim]:
        """Return up to `room` messages that may start now.

        Their contents may leave after `claim` and `make_durable`. A shared ledger claims them at once, durably,
        with one statement for the sessions that ask at about the same time. Raises LedgerWriteError.
        """
        if not self.ledger.is_shared:
            return self._reserve(room)
        if self._state.sessions.open <= 1:
            return self._claim_shared(room)
        claims = await self._group_claim.claim(room)
        # A share ends when its last messages are claimed: these are sent.
        if not self._state.is_over or self._state.ending is Ending.INCOMPLETE:
            return claims
        self._release(claims)
        return ()

    def claim(self, claims: Sequence[Claim]) -> None:
        """Claim what was reserved, before `make_durable`."""
        if not self.ledger.is_shared:
            self.ledger.claim_reserved(claims)
            self._has_uncommitted = True

    async def make_durable(self, *, within: float = 0.0) -> None:
        """Return when all claims so far are durable: their contents may leave.

        If other sessions are open, that is up to `within` seconds later: they share the commit. Raises
        LedgerWriteError if that commit failed, or any before it: then claims are void.
        """
        if self.ledger.is_shared:
            return
        if self._state.sessions.open > 1:
            await self._group_commit.wait(within)
        elif self._has_uncommitted:
            self.commit()
        if self._failure is not None:
            raise self._failure

    async def claim_durably(self, room: int) -> Sequence[Claim]:
        """Return up to `room` messages whose claims are durable. Raises LedgerWriteError."""
        claims = await self.reserve(room)
        if not claims or self.ledger.is_shared:  # which has claimed them; they may be a share's last ones
            return claims
        self.claim(claims)
        try:
            await self.make_durable()
        except asyncio.CancelledError:
            self._release(claims)
            raise
        if not self._state.is_over:
            return claims
        self._release(claims)
        return ()

    def _claim_shared(self, room: int) -> Sequence[Claim]:
        """Claim up to `room` messages in a shared ledger, which writes all records so far as well."""
        claims = self._reserve(room)
        self._has_uncommitted = self._has_uncommitted or bool(claims)
        if self._has_uncommitted:
            self.commit()
        return claims

    def _reserve(self, room: int) -> Sequence[Claim]:
        now = self._state.clock.now()
        if self._state.is_over or not (count := self.pacer.reserve(room, now)):
            return ()
        try:
            claims = self._reserve_at(now, count)
        except BaseException as error:
            self._failure = error
            raise
        self.pacer.note_started(len(claims), now)
        self.in_flight += len(claims)
        return claims

    def _release(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self.record(claim, Release())

    def record(self, claim: Claim, record: Outcome | Retry | Release, *, unrendered: bool = False) -> None:
        """Record what became of a claim: an outcome, a later try, or that it was not sent.

        It is durable after the next `commit`. `unrendered` says that no message could be made.
        """
        self.in_flight -= 1
        try:
            self.ledger.record(claim, record, unrendered=unrendered)
        except BaseException as error:
            self._failure = error
            raise
        self._has_uncommitted = True
        if not self.in_flight:  # sessions that wait for what becomes of it may end now
            self._state.wake_waiters()

    def commit(self) -> None:
        """Make all claims and records durable. Raises LedgerWriteError."""
        started = time.perf_counter()
        try:
            self.ledger.commit()
        except BaseException as error:
            self._failure = error
            raise
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
        now = self._state.clock.now()
        at = self.ledger.find_next_due(
            self.edition, only=self._options.only, fresh=self._count_startable() != 0
        )
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

    def _reserve_at(self, now: float, count: int) -> Sequence[Claim]:
        started = time.perf_counter()
        claims = self.ledger.reserve(
            self.edition, count, now, run=self.run, only=self._options.only, fresh=self._count_startable()
        )
        if self.ledger.is_shared:
            self._claim_seconds = time.perf_counter() - started
        if self._options.limit is not None:
            self._started += sum(claim.first for claim in claims)
            if self._is_share and self._started >= self._options.limit:  # what waits is for the next share
                self._state.end(Ending.INCOMPLETE, SHARE_IS_OVER)
        return claims

    def _count_startable(self) -> int | None:
        """Return how many more recipients `limit` lets this run start with; None is no limit."""
        return None if self._options.limit is None else max(self._options.limit - self._started, 0)
