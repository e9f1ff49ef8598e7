"""A run, from the lock on the campaign to the record of what happened.

    hold the campaign -> recover claims of former runs -> plan -> preflight -> connect -> send -> record

Errors of the preparation are exceptions; nothing was sent then. Once the run has a record, trouble with the
server or the ledger is the way in which the run ends.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

from mailer.campaign.model import AUTO, Campaign
from mailer.delivery.backoff import RetryPolicy
from mailer.delivery.clock import Clock, SystemClock
from mailer.delivery.coordination import Coordinator, SharedCoordinator, watch_ledger
from mailer.delivery.dispositions import DispositionPolicy
from mailer.delivery.kept_sessions import SessionKeeper
from mailer.delivery.message_queue import SHARE_IS_OVER, MessageQueue
from mailer.delivery.observer import GuardedObserver, Observer
from mailer.delivery.options import Ending, RunResult, SendOptions
from mailer.delivery.preparation import Preparation, describe_unsent, has_unsent
from mailer.delivery.proof import send_proof
from mailer.delivery.race import race
from mailer.delivery.recorder import ResultRecorder
from mailer.delivery.renderers import (
    AheadRenderer,
    BoundedRenderer,
    DirectRenderer,
    Renderer,
    is_worth_a_process,
)
from mailer.delivery.run_state import RunState
from mailer.delivery.scaling import ConnectionScaler, ScalingPolicy, find_known_limit
from mailer.delivery.server_access import describe_session, make_server_access
from mailer.delivery.session import Session
from mailer.delivery.session_runner import SessionRunner, SessionRunnerPool
from mailer.delivery.signals import Interrupted, StopSignal
from mailer.delivery.throttle import Throttle
from mailer.errors import LedgerError
from mailer.ledger import Edition, Ledger, RunRecord, report_as_unusable
from mailer.ledger.outcome import Status
from mailer.ledger.planning import iterate_upcoming
from mailer.ledger.postgres_locks import MAX_PERMITS
from mailer.ledger.records import format_time
from mailer.render.compiled import CompiledCampaign
from mailer.render.render_ahead import RenderAhead
from mailer.render.render_process import RenderProcess
from mailer.smtp.connection import SessionDetails

__all__ = ["Ending", "Observer", "RunResult", "SendOptions", "StopSignal", "run"]


async def run(
    campaign: Campaign,
    compiled: CompiledCampaign,
    ledger: Ledger,
    options: SendOptions,
    observer: Observer | None = None,
    *,
    stop: StopSignal | None = None,
    clock: Clock | None = None,
) -> RunResult:
    """Send a campaign, or continue it, and return how the run ended.

    `compiled` is the campaign compiled for its first edition; `ledger` has what was sent before and gets what
    is sent now. `observer` is told what happens. `stop` ends the run from outside. `clock` is the system's by
    default.

    Raises InputError or LedgerError if the run cannot start; nothing was sent then.
    """
    observer, stop, clock = (
        GuardedObserver(observer or Observer()),
        stop or StopSignal(),
        clock or SystemClock(),
    )
    if options.proof is not None:
        return await send_proof(campaign, options, options.proof, observer=observer, clock=clock, stop=stop)
    with report_as_unusable(), ledger.hold_campaign(campaign.name):
        preparation = Preparation(campaign, compiled, ledger, options, observer=observer, clock=clock)
        try:
            with stop.raise_on_request(), ledger.prepare_alone(campaign.name):
                preparation.prepare()
            count = preparation.count_recipients()
            if not count:
                return preparation.conclude_without_sending()
            preparation.announce_start()
            preparation.apply_decisions()
        except Interrupted:
            number = ledger.ensure_edition(campaign.name).number
            return RunResult(Ending.INTERRUPTED, number, None, "interrupted before anything was sent")
        state = RunState(observer=observer, clock=clock, stop=stop)
        queue = _start_run(
            ledger, preparation.edition, options, state, template=preparation.compiled.fingerprint
        )
        with ExitStack() as stack:
            renderer = _choose_renderer(preparation, ledger, options, count, stop=stop, stack=stack)
            phase = _SendPhase(state, queue, renderer, options)
            return await phase.send(count, is_careful=preparation.recovered.in_doubt > 0)


def _choose_renderer(
    preparation: Preparation,
    ledger: Ledger,
    options: SendOptions,
    count: int,
    *,
    stop: StopSignal,
    stack: ExitStack,
) -> Renderer:
    """Return what renders the run's `count` messages. The end of `stack` ends its process, if it has one."""
    compiled = preparation.compiled
    if not preparation.is_checked:
        return BoundedRenderer(stack.enter_context(RenderProcess(compiled)), stop)
    if ledger.is_shared or not is_worth_a_process(count, options):
        return DirectRenderer(compiled)
    upcoming = iterate_upcoming(ledger, preparation.edition)
    return AheadRenderer(compiled, stack.enter_context(RenderAhead(compiled, upcoming)))


async def run_share(
    process: RenderProcess,
    ledger: Ledger,
    edition: Edition,
    options: SendOptions,
    observer: Observer | None = None,
    *,
    stop: StopSignal,
    seconds: float,
    template: str,
    keeper: SessionKeeper,
) -> RunResult:
    """Send a part of an edition that another command has planned and checked, from a shared ledger.

    It ends after `seconds`, after `options.limit` recipients, if no message is left, or if `stop` asks for
    it. `process` renders the compiled campaign. `template` is the fingerprint that the other runs have.
    `keeper` has the sessions that the share before left open. Returns how the share ended. Raises
    LedgerError.
    """
    state = RunState(observer=GuardedObserver(observer or Observer()), clock=SystemClock(), stop=stop)
    state.traits = keeper.traits
    with ledger.hold_campaign(edition.campaign):
        queue = _start_run(ledger, edition, options, state, template=template, is_share=True)
        phase = _SendPhase(state, queue, BoundedRenderer(process, stop), options, keeper)
        timer = asyncio.get_running_loop().call_later(seconds, state.end, Ending.INCOMPLETE, SHARE_IS_OVER)
        try:
            return await phase.send(MAX_PERMITS, is_careful=False)
        finally:
            timer.cancel()
            keeper.traits = state.traits


def _start_run(
    ledger: Ledger,
    edition: Edition,
    options: SendOptions,
    state: RunState,
    *,
    template: str,
    is_share: bool = False,
) -> MessageQueue:
    """Start a run with the templates of the fingerprint `template`, and return its queue.

    `is_share` says that another command has planned the edition.
    """
    record = ledger.start_run(edition, template=template, now=state.clock.now(), worker=options.worker)
    state.observer.on_run(record)
    coordinator = Coordinator()
    if ledger.is_shared:
        coordinator = SharedCoordinator(
            ledger,
            edition,
            record,
            state,
            options.delivery,
            policy=options.doubt_policy,
            is_new=not is_share,
        )
    return MessageQueue(ledger, edition, record, options, state, coordinator=coordinator, is_share=is_share)


class _SendPhase:
    """All sessions of one run, until it ends, and the record of it."""

    def __init__(
        self,
        state: RunState,
        queue: MessageQueue,
        renderer: Renderer,
        options: SendOptions,
        keeper: SessionKeeper | None = None,
    ) -> None:
        delivery = options.delivery
        self._state, self._queue, self._options = state, queue, options
        holds_doubts = options.doubt_policy == "hold"
        policy = DispositionPolicy(RetryPolicy(delivery.attempts, delivery.backoff), holds_doubts)
        self._throttle = Throttle(state, queue.pacer, delivery.backoff, queue.coordinator)
        limit = queue.coordinator.make_failure_limit(delivery)
        recorder = ResultRecorder(state, queue, self._throttle, policy, limit)
        make_session = partial(
            Session,
            renderer=renderer,
            state=state,
            queue=queue,
            recorder=recorder,
            may_stay_open=keeper is not None,
        )
        make_runner = partial(
            SessionRunner,
            make_server_access(options.server, options.password),
            options,
            state,
            queue,
            throttle=self._throttle,
            make_session=make_session,
            keeper=keeper,
        )
        self._pool = SessionRunnerPool(state, make_runner)
        self._scaling: ScalingPolicy | None = None  # of `connections: auto`
        self._problems: str | None = None  # why the run is incomplete
        self._started = state.clock.now()

    async def send(self, expected_count: int, *, is_careful: bool) -> RunResult:
        """Send what the queue has, and return how the run ended.

        `expected_count` is the number of recipients that are known to be left: no more sessions are opened
        than that. `is_careful` says that some are in doubt from a run before: the first session of each
        runner sends those before all others.
        """
        state = self._state
        watcher = asyncio.ensure_future(self._end_on_signal())
        watch_ledger(self._queue.ledger, self._end_without_ledger)
        try:
            await self._run_sessions(expected_count, is_careful=is_careful)
            self._queue.commit()
            self._queue.coordinator.leave()
            if state.stop.requested:  # it may have come between the last message and here
                state.end(Ending.INTERRUPTED, "interrupted")
            ending = self._conclude()
        except LedgerError as error:
            ending = Ending.LEDGER_FAILED
            state.override_ending(ending, str(error), error.hint)
        except (
            BaseException
        ) as error:  # cancelled by the caller, or our own mistake: what is known is recorded
            state.end(
                Ending.INTERRUPTED,
                "cancelled" if isinstance(error, asyncio.CancelledError) else "interrupted",
            )
            with suppress(LedgerError):
                self._queue.commit()
            self._finish(Ending.INTERRUPTED)
            raise
        finally:
            watcher.cancel()
        record = self._finish(ending)
        state.observer.on_finish(state.reason)
        return RunResult(ending, self._queue.edition.number, record, state.reason, state.hint)

    async def _run_sessions(self, count: int, *, is_careful: bool) -> None:
        connections = self._options.delivery.connections
        if connections != AUTO:
            keep_in_sync = self._queue.coordinator.keep_in_sync
            await self._pool.run(min(connections, count), is_careful=is_careful, beside=keep_in_sync)
            return
        server = self._options.server
        policy = ScalingPolicy.from_last_run(
            self._queue.ledger.find_last_server(server.host, server.port),
            limit=find_known_limit(server.host),
            messages=count,
        )
        self._scaling = policy
        scaler = ConnectionScaler(
            self._state,
            policy,
            add_runner=self._pool.add,
            remove_runner=self._pool.remove_one,
            count_left=lambda: count - self._state.figures.messages,
            count_pauses=lambda: self._throttle.pause_count,
        )
        await self._pool.run(
            policy.count, is_careful=is_careful, beside=partial(self._scale_and_keep_in_sync, scaler)
        )

    async def _scale_and_keep_in_sync(self, scaler: ConnectionScaler) -> None:
        scaling = asyncio.ensure_future(scaler.run())
        try:
            await self._queue.coordinator.keep_in_sync()
        finally:
            scaling.cancel()

    def _end_without_ledger(self) -> None:
        """The connection to the ledger's database is lost: another sender may take over what is claimed."""
        reason = f"{self._queue.ledger.store.name}: the connection to the ledger's database was lost"
        hint = "the same command continues when the database is there again"
        self._state.override_ending(Ending.LEDGER_FAILED, reason, hint)
        self._pool.abort()

    async def _end_on_signal(self) -> None:
        """First signal: no new message, and the time of one reply for what is in flight. Second: at once."""
        stop = self._state.stop
        await stop.wait()
        self._state.end(Ending.INTERRUPTED, "interrupted")
        if not stop.at_once:
            await race(stop.wait(), self._state.clock.sleep(self._options.delivery.timeout))
        self._pool.abort()

    def _conclude(self) -> Ending:
        """Return how the run ended. If recipients are left, their numbers are kept for the record."""
        if self._state.ending is not None:
            return self._state.ending
        counts = self._queue.ledger.count_by_status(self._queue.edition, only=self._options.only)
        is_unfinished = counts[Status.PENDING] and self._options.limit is None
        if not is_unfinished and not has_unsent(counts):
            return Ending.COMPLETE
        self._problems = describe_unsent(counts)
        return Ending.INCOMPLETE

    def _make_server_record(self, details: SessionDetails) -> dict[str, object]:
        """Return the server as the report shows it.

        With `connections: auto`, it has the number of sessions to begin with the next time.
        """
        record = describe_session(details)
        if self._scaling is not None:
            sessions = self._state.sessions
            # Some that are wanted may never have been used: they say nothing of what the server takes.
            record |= self._scaling.make_record(min(sessions.runners, sessions.most_open))
        return record

    def _finish(self, ending: Ending) -> RunRecord:
        state, figures = self._state, self._state.figures
        now = state.clock.now()
        record = replace(
            self._queue.run,
            finished=format_time(now),
            seconds=round(now - self._started, 3),
            server=None if state.server is None else self._make_server_record(state.server),
            messages=figures.messages,
            bytes=figures.octets,
            sessions=figures.sessions,
            reconnects=figures.reconnects,
            ending=ending.value,
            reason=state.reason or self._problems,
        )
        with suppress(LedgerError):  # a ledger that cannot be written: the ending says so
            self._queue.ledger.finish_run(record)
        return record
