"""`mailer send`, from the lock on the campaign to the record of the run.

    hold the campaign -> settle what former runs left -> plan -> preflight -> connect -> send -> record

Until the first connection nothing is sent, and every error is an exception; from then on what happens is the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from mailer.campaign.model import Campaign
from mailer.delivery.backoff import RetryPolicy
from mailer.delivery.clock import Clock, SystemClock
from mailer.delivery.dispositions import DispositionPolicy
from mailer.delivery.failure_limit import FailureLimit
from mailer.delivery.message_queue import MessageQueue
from mailer.delivery.observer import GuardedObserver, Observer
from mailer.delivery.options import Ending, RunResult, SendOptions
from mailer.delivery.plan import PlanResult, plan
from mailer.delivery.preflight import preflight
from mailer.delivery.proof import send_proof
from mailer.delivery.race import race
from mailer.delivery.recorder import ResultRecorder
from mailer.delivery.run_state import RunState
from mailer.delivery.server_access import server_access, session_record
from mailer.delivery.session import Session
from mailer.delivery.signals import Interrupted, StopSignal
from mailer.delivery.throttle import Throttle
from mailer.delivery.worker import Worker
from mailer.errors import InputError, LedgerError, append_remainder
from mailer.ledger import Edition, Ledger, RunRecord, report_as_unusable
from mailer.ledger.outcome import Status
from mailer.ledger.records import Policy, Recovered, format_time
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign

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
    """Send the campaign, or go on with it. InputError and LedgerError: nothing was sent."""
    observer, stop, clock = GuardedObserver(observer or Observer()), stop or StopSignal(), clock or SystemClock()
    if options.proof is not None:
        return await send_proof(campaign, compiled, options, options.proof, observer=observer, clock=clock, stop=stop)
    with report_as_unusable(), ledger.hold_campaign(campaign.name):
        try:
            with stop.raising():
                edition, compiled, recovered = _prepare(
                    campaign, compiled, ledger, options, observer=observer, clock=clock
                )
            count = _count_recipients(ledger, edition, options)
            if isinstance(count, RunResult):
                return count
            counts = ledger.count_by_status(edition)
            observer.on_start(sum(counts.values()), sum(counts.values()) - counts[Status.PENDING])
        except Interrupted:
            number = ledger.ensure_edition(campaign.name).number
            return RunResult(Ending.INTERRUPTED, number, None, "interrupted before anything was sent")
        record = ledger.start_run(edition, template=compiled.fingerprint, now=clock.now())
        state = RunState(observer=observer, clock=clock, stop=stop)
        queue = MessageQueue(ledger, edition, record, options, state)
        return await _Delivery(state, queue, compiled, options).send(count, is_careful=recovered.in_doubt > 0)


# -- before anything is sent

FATES: dict[Policy, str] = {"resend": "sent again", "hold": "held back as in doubt", "sent": "taken as sent"}


def _prepare(
    campaign: Campaign,
    compiled: CompiledCampaign,
    ledger: Ledger,
    options: SendOptions,
    *,
    observer: Observer,
    clock: Clock,
) -> tuple[Edition, CompiledCampaign, Recovered]:
    """The edition to send, with its queue in order: recovered, planned and checked."""
    edition = ledger.ensure_edition(campaign.name)
    recovered = _recover(ledger, edition, options, observer, clock)
    if other := ledger.note_campaign_file(campaign.name, campaign.path, campaign.root):
        observer.on_warning(f"campaign {campaign.name!r} was sent from {other} before: is this the same campaign?")
    if options.again and edition.planned:
        _finish_edition(ledger, edition, abandon=options.abandon)
        edition, recovered = ledger.add_edition(campaign.name), Recovered()
    if edition.number > 1:  # Message-IDs differ from edition to edition
        compiled = compile_campaign(campaign, edition=edition.number)
    planned = plan(ledger, campaign, compiled, edition, observer=observer)
    _warn(planned, observer)
    if options.retry_failed:
        ledger.reopen_failed(edition, only=options.only)
    problems = append_remainder(planned.invalid, planned.invalid_count)
    if options.preflight:
        problems += preflight(ledger, edition, compiled, observer, only=options.only)
        if problems and not options.skip_invalid:
            raise InputError(problems)
    if others := ledger.count_sent_with_other_template(edition, compiled.fingerprint):
        observer.on_warning(f"{others} got the message as it was before the templates were changed")
    return edition, compiled, recovered


def _finish_edition(ledger: Ledger, edition: Edition, *, abandon: bool) -> None:
    """Raise InputError if the edition is not finished, or abandon its rest. To be called before a new edition."""
    if edition.complete:
        return
    if abandon:
        ledger.abandon_rest(edition)
        return
    counts = ledger.count_by_status(edition)
    rest = ", ".join(
        f"{counts[status]} {status.value}" for status in (Status.PENDING, Status.DEFERRED) if counts[status]
    )
    raise InputError(
        f"campaign {edition.campaign!r} is not finished: {rest}",
        hint="run the command without --again to send the rest, or with --again --abandon to give the rest up",
    )


def _recover(ledger: Ledger, edition: Edition, options: SendOptions, observer: Observer, clock: Clock) -> Recovered:
    """What a person said counts for whom they said it; the others get what the campaign says."""
    said, now, told, others = options.in_doubt, clock.now(), Recovered(), Recovered()
    policy = options.delivery.in_doubt
    if said is not None:
        told = ledger.recover_claims(edition, said, now=now, held=True, only=options.only)
    if said is None or options.only is not None:
        others = ledger.recover_claims(edition, policy, now=now, but=options.only if said else None)
    for count, fate in ((told.in_doubt, said), (others.in_doubt, policy)):
        if fate and count:
            observer.on_warning(f"{count} were in flight when a former run ended: {FATES[fate]}")
    return Recovered(told.in_doubt + others.in_doubt, told.deferred + others.deferred)


def _warn(planned: PlanResult, observer: Observer) -> None:
    for text in planned.duplicates:
        observer.on_warning(str(text))
    if (more := planned.duplicate_count - len(planned.duplicates)) > 0:
        observer.on_warning(f"and {more:,} more")


def _count_recipients(ledger: Ledger, edition: Edition, options: SendOptions) -> int | RunResult:
    """How many are to be sent to; the result where there is nobody."""
    counts = ledger.count_by_status(edition, only=options.only)
    if not any(counts.values()) and options.only is not None:
        raise InputError(f"{options.only} is not in the list")
    if pending := counts[Status.PENDING]:
        return min(pending, options.limit or pending)
    reason = "everybody is settled, and not everybody got it" if _has_problems(counts) else "the campaign is complete"
    if options.only is not None:
        reason = f"{options.only}: {', '.join(status.value for status in Status if counts[status])} already"
    return _nothing_to_do(ledger, edition, reason, failed=_has_problems(counts))


def _has_problems(counts: Mapping[Status, int]) -> bool:
    """Whether somebody did not get it, and will not by this run."""
    return bool(counts[Status.FAILED] or counts[Status.DEFERRED] or counts[Status.IN_DOUBT])


def _nothing_to_do(ledger: Ledger, edition: Edition, reason: str, *, failed: bool) -> RunResult:
    return RunResult(
        Ending.INCOMPLETE if failed else Ending.COMPLETE,
        edition.number,
        ledger.find_last_run(edition),
        reason,
        None if failed else "--again sends the campaign anew, to everybody",  # what helps depends on the counts
        nothing_to_do=True,
    )


# -- sending


class _Delivery:
    """All sessions of one run, until it ends in whatever way; then the record of it."""

    def __init__(self, state: RunState, queue: MessageQueue, compiled: CompiledCampaign, options: SendOptions) -> None:
        delivery = options.delivery
        self._state, self._queue, self._options = state, queue, options
        # `--in-doubt sent` concerns the past; the campaign says what happens to messages that come to be in doubt now.
        in_doubt = delivery.in_doubt if options.in_doubt in (None, "sent") else options.in_doubt
        policy = DispositionPolicy(RetryPolicy(delivery.attempts, delivery.backoff), in_doubt == "hold")
        self._throttle = Throttle(state, queue.pacer, delivery.backoff)
        recorder = ResultRecorder(state, queue, self._throttle, policy, FailureLimit(delivery.stop_after))
        self._make_session = partial(Session, compiled=compiled, state=state, queue=queue, recorder=recorder)
        self._workers: list[Worker] = []
        self._started = state.clock.now()

    async def send(self, count: int, *, is_careful: bool) -> RunResult:
        """Send to up to `count` recipients. `is_careful`: some are in doubt from a run before."""
        state = self._state
        access = server_access(self._options.server, self._options.password)
        state.sessions.workers = min(self._options.delivery.connections, count)
        self._workers = [
            Worker(
                access,
                self._options,
                state,
                self._queue,
                throttle=self._throttle,
                make_session=self._make_session,
                is_careful=is_careful,
            )
            for _ in range(state.sessions.workers)
        ]
        watcher = asyncio.ensure_future(self._end_on_signal())
        try:
            await self._run_workers()
            self._queue.commit()
            if state.stop.requested:  # it may have come between the last message and here
                state.end(Ending.INTERRUPTED, "interrupted")
            ending = self._ending()
        except LedgerError as error:
            ending = Ending.LEDGER_FAILED
            state.override_ending(ending, str(error), error.hint)
        except BaseException as error:  # cancelled by the caller, or our own mistake: what is known is recorded
            state.end(Ending.INTERRUPTED, "cancelled" if isinstance(error, asyncio.CancelledError) else "interrupted")
            with suppress(LedgerError):
                self._queue.commit()
            self._finish(Ending.INTERRUPTED)
            raise
        finally:
            watcher.cancel()
        record = self._finish(ending)
        state.observer.on_finish(state.reason)
        return RunResult(ending, self._queue.edition.number, record, state.reason, state.hint)

    async def _run_workers(self) -> None:
        """Run all of them. The first error ends all at once: without a ledger no message may leave."""
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self._workers:
                    group.create_task(worker.run())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _end_on_signal(self) -> None:
        """First signal: no new message, and the time of one reply for what is in flight. Second: at once."""
        stop = self._state.stop
        await stop.wait()
        self._state.end(Ending.INTERRUPTED, "interrupted")
        if not stop.at_once:
            await race(stop.wait(), self._state.clock.sleep(self._options.delivery.timeout))
        for worker in self._workers:
            worker.abort()

    def _ending(self) -> Ending:
        if self._state.ending is not None:
            return self._state.ending
        counts = self._queue.ledger.count_by_status(self._queue.edition, only=self._options.only)
        is_unfinished = counts[Status.PENDING] and self._options.limit is None
        return Ending.INCOMPLETE if is_unfinished or _has_problems(counts) else Ending.COMPLETE

    def _finish(self, ending: Ending) -> RunRecord:
        state, figures = self._state, self._state.figures
        now = state.clock.now()
        record = replace(
            self._queue.run,
            finished=format_time(now),
            seconds=round(now - self._started, 3),
            server=None if state.server is None else session_record(state.server),
            messages=figures.messages,
            bytes=figures.octets,
            sessions=figures.sessions,
            reconnects=figures.reconnects,
            ending=ending.value,
            reason=state.reason,
        )
        with suppress(LedgerError):  # a ledger that cannot be written: the ending says so
            self._queue.ledger.finish_run(record)
        return record
