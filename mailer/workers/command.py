"""The side of `mailer send --workers`: plan, check, distribute, watch, and conclude.

The command sends no message itself. If it ends, the workers finish their shares; the same command continues.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from mailer.campaign.model import AUTO, Campaign
from mailer.dataclass import dataclass
from mailer.delivery.clock import SystemClock
from mailer.delivery.observer import GuardedObserver, Observer
from mailer.delivery.options import Ending, RunResult, SendOptions
from mailer.delivery.preparation import Preparation
from mailer.delivery.signals import Interrupted, StopSignal
from mailer.errors import InputError, LedgerError
from mailer.ledger import Edition, Ledger, RunRecord, format_time, report_as_unusable
from mailer.ledger.files import remove_campaign_files
from mailer.ledger.outcome import Status
from mailer.ledger.sharing import EditionMonitor, EditionState
from mailer.render.compiled import CompiledCampaign
from mailer.workers.app import TaskQueue
from mailer.workers.travel import pack_campaign

POLL_SECONDS = 0.5
TOP_UP_SECONDS = 2.0  # between two looks into the broker's queue
SHARE_END_SECONDS = 5.0  # for the records of shares whose messages are all sent
RECOVER_SECONDS = 5.0  # between two looks for workers that died
MAX_TASKS = 64  # in the broker's queue
PATIENCE = 600.0  # seconds to wait for a database that is away


@dataclass(frozen=True, slots=True)
class Distribution:
    """Where the work goes.

    With `are_files_shared`, the workers read the campaign's files from a common disk.
    """

    broker: str
    ledger_url: str
    are_files_shared: bool = False


async def send_with_workers(
    campaign: Campaign,
    compiled: CompiledCampaign,
    ledger: Ledger,
    options: SendOptions,
    *,
    observer: Observer,
    distribution: Distribution,
    stop: StopSignal,
) -> RunResult:
    """Let workers send a campaign, and return how that ended.

    `compiled` is the campaign compiled for its first edition, `ledger` the one of `distribution`, and
    `options` are those of the command. `observer` is told what happens. `stop` ends the command from outside.
    Raises InputError or LedgerError if it cannot start; nothing was sent then. A database that is away is
    waited for.
    """
    if not ledger.is_shared:
        raise InputError(
            "workers need a ledger in PostgreSQL", hint="--ledger postgresql://user@host/database"
        )
    observer, clock = GuardedObserver(observer), SystemClock()
    tasks = TaskQueue(distribution.broker)
    with report_as_unusable(), ledger.hold_campaign(campaign.name):
        preparation = Preparation(campaign, compiled, ledger, options, observer=observer, clock=clock)
        try:
            with stop.raise_on_request(), ledger.prepare_alone(campaign.name):
                preparation.prepare()
                if not preparation.count_recipients():
                    return preparation.conclude_without_sending()
                pack_campaign(
                    ledger,
                    preparation.edition,
                    campaign,
                    preparation.compiled,
                    options,
                    are_files_shared=distribution.are_files_shared,
                )
            preparation.announce_start()
            preparation.apply_decisions()
        except Interrupted:
            number = preparation.edition.number
            return RunResult(Ending.INTERRUPTED, number, None, "interrupted before anything was sent")
        command = _Command(
            ledger,
            preparation.edition,
            preparation.compiled,
            options,
            observer=observer,
            tasks=tasks,
            stop=stop,
        )
        return await command.run(distribution.ledger_url)


class _Command:
    """Watches an edition until it is sent, it is to end, or a signal comes."""

    def __init__(
        self,
        ledger: Ledger,
        edition: Edition,
        compiled: CompiledCampaign,
        options: SendOptions,
        *,
        observer: Observer,
        tasks: TaskQueue,
        stop: StopSignal,
    ) -> None:
        self._ledger, self._edition, self._compiled, self._options = ledger, edition, compiled, options
        self._observer, self._tasks, self._stop = observer, tasks, stop
        self._monitor = EditionMonitor(ledger, edition)
        self._started = time.time()
        self._topped_up = self._recovered = 0.0
        self._has_put_tasks = False
        self._broker_error: str | None = None
        self._runs: list[RunRecord] = []
        connections = options.delivery.connections
        self._wanted = MAX_TASKS if connections == AUTO else min(connections, MAX_TASKS)

    async def run(self, ledger_url: str) -> RunResult:
        """Watch until the end. The record of the whole has what all workers did."""
        self._monitor.begin()
        while True:
            try:
                result = await self._watch()
                break
            except LedgerError as error:
                if not await self._reconnect(ledger_url, error):
                    return RunResult(Ending.LEDGER_FAILED, self._edition.number, None, str(error), error.hint)
        return result

    async def _watch(self) -> RunResult:
        while True:
            state = self._monitor.read()
            self._observer.on_progress(state)
            if self._stop.requested:
                self._monitor.end(Ending.INTERRUPTED.value, "the command was interrupted")
                return self._conclude(
                    Ending.INTERRUPTED, "interrupted; the workers finish what is in flight", None
                )
            if state.ending is not None and not state.in_flight:
                return self._conclude(Ending(state.ending), state.reason, state.hint)
            if not self._monitor.has_messages_left():
                await self._wait_for_shares()
                return self._conclude(self._find_ending(), None, None)
            self._recover_dead_runs()
            await self._top_up(state)
            await asyncio.sleep(POLL_SECONDS)

    async def _wait_for_shares(self) -> None:
        """Wait until the workers have recorded what they did; one that died is not waited for without end."""
        until = time.monotonic() + SHARE_END_SECONDS
        while self._monitor.read().live_runs and time.monotonic() < until:
            await asyncio.sleep(POLL_SECONDS)

    async def _top_up(self, state: EditionState) -> None:
        """Keep a task in the broker's queue for each session that no worker has."""
        now = time.monotonic()
        if state.ending is not None or now - self._topped_up < TOP_UP_SECONDS:
            return
        wanted = max(0, self._wanted - state.live_runs)
        # The first tasks are put behind those of other campaigns, whose number does not matter: all take
        # turns.
        put = self._tasks.top_up if self._has_put_tasks else self._tasks.put
        await asyncio.to_thread(put, self._edition.campaign, self._edition.number, wanted)
        self._has_put_tasks = self._has_put_tasks or self._tasks.error is None
        self._topped_up = time.monotonic()
        if self._tasks.error != self._broker_error:
            self._broker_error = self._tasks.error
            if self._broker_error:
                error = f"the broker cannot be reached ({self._broker_error})"
                self._observer.on_warning(f"{error}; the workers finish their shares")
            else:
                self._observer.on_warning("the broker is there again")

    def _recover_dead_runs(self) -> None:
        now = time.monotonic()
        if now - self._recovered < RECOVER_SECONDS:
            return
        self._recovered = now
        policy = self._options.doubt_policy
        if count := self._monitor.recover_dead_runs(policy, time.time()):
            fate = "sent again" if policy == "resend" else "held back as in doubt"
            self._observer.on_warning(f"{count} were in flight when a worker died: {fate}")

    async def _reconnect(self, ledger_url: str, error: LedgerError) -> bool:
        """Wait for the database, and connect again. Returns whether that worked."""
        self._observer.on_warning(f"{error}: waiting for it")
        until = time.monotonic() + PATIENCE
        while not self._stop.requested and time.monotonic() < until:
            await asyncio.sleep(1.0)
            try:
                self._ledger.reopen(ledger_url, self._edition.campaign)
                monitor = EditionMonitor(self._ledger, self._edition)
                monitor.continue_from(self._monitor)
                self._monitor = monitor
                return True
            except LedgerError:
                continue
        return False

    def _find_ending(self) -> Ending:
        counts = self._ledger.count_by_status(self._edition, only=self._options.only)
        has_problems = any(counts[status] for status in (Status.FAILED, Status.DEFERRED, Status.IN_DOUBT))
        return Ending.INCOMPLETE if has_problems else Ending.COMPLETE

    def _conclude(self, ending: Ending, reason: str | None, hint: str | None) -> RunResult:
        """Write the record of the whole: the sum of what the workers did."""
        runs, now = self._monitor.read_runs(), time.time()
        record = self._ledger.start_run(self._edition, template=self._compiled.fingerprint, now=now)
        record = replace(
            record,
            started=format_time(self._started),
            finished=format_time(now),
            seconds=round(now - self._started, 3),
            server=next((run.server for run in reversed(runs) if run.server is not None), None),
            messages=sum(run.messages for run in runs),
            bytes=sum(run.bytes for run in runs),
            sessions=sum(run.sessions for run in runs),
            reconnects=sum(run.reconnects for run in runs),
            ending=ending.value,
            reason=reason,
        )
        self._ledger.finish_run(record)
        if ending in (Ending.COMPLETE, Ending.INCOMPLETE) and self._ledger_is_done():
            remove_campaign_files(self._ledger, self._edition)
        self._observer.on_finish(reason)
        return RunResult(ending, self._edition.number, record, reason, hint)

    def _ledger_is_done(self) -> bool:
        edition = self._ledger.find_edition(self._edition.campaign, self._edition.number)
        return edition is not None and edition.complete
