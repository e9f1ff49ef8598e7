"""A run among others: several senders of one campaign on a ledger that they share.

Rate, connections, `stop_after`, pauses and an early end hold for all of them together. A run tells the others
what it did, and does what holds for all, once a second and after each commit with a failure. A run that is
alone, as on SQLite, has a `Coordinator` that does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil

from mailer.campaign.model import AUTO, Delivery, Rate
from mailer.delivery.failure_limit import FailureLimit
from mailer.delivery.options import Ending
from mailer.delivery.pacing import MAX_SLACK, MIN_SLACK, Pacer
from mailer.delivery.run_state import RunState
from mailer.ledger import Edition, Ledger, RunRecord
from mailer.ledger.postgres_locks import MAX_PERMITS
from mailer.ledger.records import Policy
from mailer.ledger.sharing import RunProgress, SharedRun, SharedState
from mailer.ledger.store import CampaignLock

SYNC_SECONDS = 1.0
RECOVER_SECONDS = 5.0  # between two looks for runs that died


class Coordinator:
    """What a run has to do with other runs of its campaign: nothing, since it is alone."""

    def make_pacer(self, rate: Rate | None) -> Pacer:
        """Return the pacer of the run for the campaign's `rate`; None is no limit."""
        return Pacer(rate)

    def make_failure_limit(self, delivery: Delivery) -> FailureLimit:
        """Return what counts the failures for `stop_after` of `delivery`."""
        return FailureLimit(delivery.stop_after)

    async def acquire_permit(self) -> CampaignLock | None:
        """Wait until this run may open one more session.

        Returns the permit, which is to be released after the session. None is no permit: either none is
        needed, or the run is over.
        """
        return None

    def choose_session_to_leave(self) -> bool:
        """Return whether a session is to be left, so that another run may open one."""
        return False

    def may_get_messages(self) -> bool:
        """Return whether this run, whose queue is empty, may still get messages of other runs."""
        return False

    def pause_others(self, seconds: float, why: str) -> None:
        """Let no other run start a message for `seconds`; `why` is a sentence for a person."""

    def sync_after_commit(self) -> None:
        """Tell the other runs what this one did, if it cannot wait."""

    async def keep_in_sync(self) -> None:
        """Do what holds for all runs, until cancelled."""
        await asyncio.Event().wait()

    def leave(self) -> None:
        """Tell the other runs how this one ended."""


class SharedCoordinator(Coordinator):
    """The coordinator of a run on a shared ledger. Its methods raise LedgerError."""

    def __init__(
        self,
        ledger: Ledger,
        edition: Edition,
        run: RunRecord,
        state: RunState,
        delivery: Delivery,
        *,
        policy: Policy,
        is_new: bool = True,
    ) -> None:
        """Join the other runs of `edition` on `ledger` with this `run`, whose state is `state`.

        `delivery` has the limits of the campaign, which hold for all runs together. `policy` says what
        becomes of messages that a run left in flight when it died. `is_new` is False for a share: the runs of
        all shares are counted as one.
        """
        self._shared_run = SharedRun(ledger, edition, run)
        self._shared_run.join(is_new=is_new)
        self._is_share = not is_new
        self._state, self._policy = state, policy
        self._connections = MAX_PERMITS if delivery.connections == AUTO else delivery.connections
        self._pacer: Pacer | None = None
        self._failures = SharedFailureLimit(delivery)
        self._live_runs = self._shared_run.count_live_runs()
        self._leaving = 0  # sessions that were told to go and are still open
        self._recovered_at = self._synced_at = state.clock.now()

    def make_pacer(self, rate: Rate | None) -> Pacer:
        self._pacer = SharedPacer(rate, self._shared_run) if rate else Pacer(rate)
        return self._pacer

    def make_failure_limit(self, delivery: Delivery) -> FailureLimit:
        return self._failures

    async def acquire_permit(self) -> CampaignLock | None:
        state = self._state
        while not state.is_over:
            has_room = state.sessions.open < self._session_quota()
            if has_room and (lock := self._shared_run.acquire_permit(self._connections)):
                return lock
            await state.sleep(SYNC_SECONDS / 2)
        return None

    def choose_session_to_leave(self) -> bool:
        if self._state.sessions.open - self._leaving <= self._session_quota():
            return False
        self._leaving += 1
        return True

    def _session_quota(self) -> int:
        return ceil(self._connections / max(self._live_runs, 1))

    def may_get_messages(self) -> bool:
        return self._live_runs > 1 and self._shared_run.has_messages_left()

    def pause_others(self, seconds: float, why: str) -> None:
        self._shared_run.pause(seconds, why)

    def sync_after_commit(self) -> None:
        if self._failures.has_failures or self._state.clock.now() - self._synced_at >= SYNC_SECONDS:
            self._sync()

    async def keep_in_sync(self) -> None:
        while True:
            await self._state.clock.sleep(SYNC_SECONDS)
            self._sync()
            self._recover_dead_runs()

    def leave(self) -> None:
        state = self._state
        shared = self._shared_run.sync(self._take_progress(), state.clock.now())
        # A server that one sender cannot reach may be there for the others.
        is_alone = self._is_share and shared.live_runs <= 1
        if state.ending is Ending.GIVEN_UP or (state.ending is Ending.UNREACHABLE and is_alone):
            self._shared_run.end(state.ending.value, state.reason, state.hint)

    def _sync(self) -> None:
        state, now = self._state, self._state.clock.now()
        self._synced_at = now
        shared = self._shared_run.sync(self._take_progress(), now)
        self._live_runs = shared.live_runs
        self._leaving = 0
        self._act_on(shared, now)
        if state.ending is Ending.GIVEN_UP:
            self._shared_run.end(state.ending.value, state.reason, state.hint)

    def _take_progress(self) -> RunProgress:
        total, failed, failed_in_a_row = self._failures.take_counts()
        figures = self._state.figures
        return RunProgress(
            total,
            failed,
            failed_in_a_row,
            figures.messages,
            figures.octets,
            figures.sessions,
            figures.reconnects,
        )

    def _act_on(self, shared: SharedState, now: float) -> None:
        state = self._state
        if shared.ending is not None:
            state.end(Ending(shared.ending), shared.reason, shared.hint)
        elif reason := self._failures.find_reason(shared.total, shared.failed, shared.failed_in_a_row):
            state.end(Ending.GIVEN_UP, reason, "the report has the replies; `stop_after` sets this limit")
        if shared.pause_seconds and self._pacer is not None and not self._pacer.is_paused(now):
            self._pacer.pause(shared.pause_seconds, now)
            state.observer.on_waiting(shared.pause_seconds, f"another sender was told: {shared.pause_reason}")

    def _recover_dead_runs(self) -> None:
        now = self._state.clock.now()
        if now - self._recovered_at < RECOVER_SECONDS:
            return
        self._recovered_at = now
        if count := self._shared_run.recover_dead_runs(self._policy, now):
            fate = "sent again" if self._policy == "resend" else "held back as in doubt"
            self._state.observer.on_warning(f"{count} were in flight when another sender died: {fate}")
            self._state.wake_waiters()


class SharedPacer(Pacer):
    """The rate of all runs together; pauses and the pace after them are this run's."""

    def __init__(self, rate: Rate, shared_run: SharedRun) -> None:
        super().__init__(rate)
        self._shared_run = shared_run

    def reserve(self, wanted: int, now: float) -> int:
        """Reserve the start of up to `wanted` messages at `now`. Returns how many may start."""
        if now < self._next_start:
            return 0
        slack = min(max(self.interval / 10, MIN_SLACK), MAX_SLACK)
        count, seconds = self._shared_run.reserve(wanted, self.interval, slack)
        self._next_start = now + seconds
        return count

    def note_started(self, count: int, now: float) -> None:
        """Count `count` messages that start at `now`; `reserve` has reserved them."""
        self._count_from(now)


class SharedFailureLimit(FailureLimit):
    """Counts what this run has to tell the others. The limit is compared with the counts of all."""

    def __init__(self, delivery: Delivery) -> None:
        """The limit is `stop_after` of `delivery`."""
        super().__init__(delivery.stop_after)

    @property
    def has_failures(self) -> bool:
        """Whether a message failed since the last `take_counts`."""
        return self._failed > 0

    def count_failed(self) -> str | None:
        super().count_failed()
        return None

    def take_counts(self) -> tuple[int, int, int]:
        """Return the messages, the failed ones and the last ones that failed in a row, since the last call."""
        counts = self._total, self._failed, self._in_a_row
        self._total = self._failed = self._in_a_row = 0
        return counts


def watch_ledger(ledger: Ledger, on_lost: Callable[[], None]) -> None:
    """Call `on_lost` in the running event loop when the connection to a shared ledger ends."""
    loop = asyncio.get_running_loop()

    def tell() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(on_lost)

    ledger.watch(tell)
