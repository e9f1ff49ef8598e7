"""`mailer send`, from the lock on the campaign to the record of the run.

    hold the campaign -> settle what former runs left -> plan -> preflight -> connect -> send -> record

Until the first connection nothing is sent, and every error is an exception; from then on what happens is the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from mailer.campaign.model import Campaign
from mailer.delivery.clock import Clock, SystemClock
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, RunResult, SendOptions
from mailer.delivery.plan import PlanResult, plan
from mailer.delivery.preflight import preflight
from mailer.delivery.proof import proof
from mailer.delivery.run_state import Sending, first_of
from mailer.delivery.signals import Interrupted, StopSignal
from mailer.delivery.worker import Worker, access, described
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
    observer, stop, clock = observer or Observer(), stop or StopSignal(), clock or SystemClock()
    if options.proof is not None:
        return await proof(campaign, compiled, options, options.proof, observer=observer, clock=clock, stop=stop)
    with report_as_unusable(), ledger.hold_campaign(campaign.name):
        try:
            with stop.raising():
                edition, compiled, recovered = _prepared(
                    campaign, compiled, ledger, options, observer=observer, clock=clock
                )
            left = _left(ledger, edition, options)
            if isinstance(left, RunResult):
                return left
            counts = ledger.count_by_status(edition)
            observer.starting(sum(counts.values()), sum(counts.values()) - counts[Status.PENDING])
        except Interrupted:
            number = ledger.ensure_edition(campaign.name).number
            return RunResult(Ending.INTERRUPTED, number, None, "interrupted before anything was sent")
        record = ledger.start_run(edition, template=compiled.fingerprint, now=clock.now())
        sending = Sending(ledger, edition, record, options, observer=observer, clock=clock, stop=stop)
        return await _send(sending, compiled, left, careful=recovered.in_doubt > 0)


# -- before anything is sent

FATES: dict[Policy, str] = {"resend": "sent again", "hold": "held back as in doubt", "sent": "taken as sent"}


def _prepared(
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
    recovered = _recovered(ledger, edition, options, observer, clock)
    if other := ledger.note_campaign_file(campaign.name, campaign.path):
        observer.warning(f"campaign {campaign.name!r} was sent from {other} before: is this the same campaign?")
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
        observer.warning(f"{others} got the message as it was before the templates were changed")
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


def _recovered(ledger: Ledger, edition: Edition, options: SendOptions, observer: Observer, clock: Clock) -> Recovered:
    """What a person said counts for whom they said it; the others get what the campaign says."""
    said, now, told, others = options.in_doubt, clock.now(), Recovered(), Recovered()
    policy = options.delivery.in_doubt
    if said is not None:
        told = ledger.recover_claims(edition, said, now=now, held=True, only=options.only)
    if said is None or options.only is not None:
        others = ledger.recover_claims(edition, policy, now=now, but=options.only if said else None)
    for count, fate in ((told.in_doubt, said), (others.in_doubt, policy)):
        if fate and count:
            observer.warning(f"{count} were in flight when a former run ended: {FATES[fate]}")
    return Recovered(told.in_doubt + others.in_doubt, told.deferred + others.deferred)


def _warn(planned: PlanResult, observer: Observer) -> None:
    for text in planned.duplicates:
        observer.warning(str(text))
    if (more := planned.duplicate_count - len(planned.duplicates)) > 0:
        observer.warning(f"and {more:,} more")


def _left(ledger: Ledger, edition: Edition, options: SendOptions) -> int | RunResult:
    """How many are to be sent to; the result where there is nobody."""
    counts = ledger.count_by_status(edition, only=options.only)
    if not any(counts.values()) and options.only is not None:
        raise InputError(f"{options.only} is not in the list")
    if pending := counts[Status.PENDING]:
        return min(pending, options.limit or pending)
    reason = "everybody is settled, and not everybody got it" if _bad(counts) else "the campaign is complete"
    if options.only is not None:
        reason = f"{options.only}: {', '.join(status.value for status in Status if counts[status])} already"
    return _nothing(ledger, edition, reason, failed=_bad(counts))


def _bad(counts: Mapping[Status, int]) -> bool:
    """Whether somebody did not get it, and will not by this run."""
    return bool(counts[Status.FAILED] or counts[Status.DEFERRED] or counts[Status.IN_DOUBT])


def _nothing(ledger: Ledger, edition: Edition, reason: str, *, failed: bool) -> RunResult:
    return RunResult(
        Ending.INCOMPLETE if failed else Ending.COMPLETE,
        edition.number,
        ledger.find_last_run(edition),
        reason,
        None if failed else "--again sends the campaign anew, to everybody",  # what helps depends on the counts
        nothing_to_do=True,
    )


# -- sending


async def _send(sending: Sending, compiled: CompiledCampaign, left: int, *, careful: bool) -> RunResult:
    """All connections until the end of the run, whatever it is; then the record of it."""
    options, clock = sending.options, sending.clock
    began = clock.now()
    where = access(options.server, options.password)
    connections = sending.active = min(options.delivery.connections, left)
    workers = [Worker(sending, compiled, where, careful=careful) for _ in range(connections)]
    watcher = asyncio.ensure_future(_watch(sending, workers))
    try:
        await _all(workers)
        sending.commit()
        if sending.stop.requested:  # it may have come between the last message and here
            sending.end(Ending.INTERRUPTED, "interrupted")
        ending = _ending(sending)
    except LedgerError as error:
        ending = Ending.LEDGER_FAILED
        sending.fail(ending, str(error), error.hint)
    except BaseException:  # cancelled from outside, or our own mistake: what is known is kept
        with suppress(LedgerError):
            sending.commit()
        raise
    finally:
        watcher.cancel()
    record = _recorded(sending, ending, began)
    sending.observer.finished(sending.reason)
    return RunResult(ending, sending.edition.number, record, sending.reason, sending.hint)


async def _all(workers: Sequence[Worker]) -> None:
    """Run them all. The first error ends all of them at once: without a ledger nothing more may leave."""
    tasks = [asyncio.ensure_future(worker.run()) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _watch(sending: Sending, workers: Sequence[Worker]) -> None:
    """First signal: no new message; what is in flight gets the time of one reply. Second: at once."""
    stop = sending.stop
    await stop.wait()
    sending.end(Ending.INTERRUPTED, "interrupted")
    if not stop.at_once:
        await first_of(stop.wait(), sending.clock.sleep(sending.options.delivery.timeout))
    for worker in workers:
        worker.abort()


def _ending(sending: Sending) -> Ending:
    if sending.ending is not None:
        return sending.ending
    limit, only = sending.options.limit, sending.options.only
    counts = sending.ledger.count_by_status(sending.edition, only=only)  # whoever was not asked for does not count
    left = counts[Status.PENDING] and limit is None
    return Ending.INCOMPLETE if left or _bad(counts) else Ending.COMPLETE


def _recorded(sending: Sending, ending: Ending, began: float) -> RunRecord:
    now = sending.clock.now()
    details = sending.server
    record = replace(
        sending.record,
        finished=format_time(now),
        seconds=round(now - began, 3),
        server=None if details is None else described(details),
        messages=sending.messages,
        bytes=sending.bytes,
        sessions=sending.sessions,
        reconnects=max(0, sending.sessions - sending.most_open),
        ending=ending.value,
        reason=sending.reason,
    )
    with suppress(LedgerError):  # a ledger that cannot be written: the caller knows by the ending
        sending.ledger.finish_run(record)
    return record
