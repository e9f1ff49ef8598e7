"""What `mailer send` does once its options are known: prepare, run, then show and write what became of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click

from mailer.api import with_pace
from mailer.campaign import Campaign, ServerConfig, load_campaign, parse_server
from mailer.cli import console
from mailer.cli.credentials import server_and_password
from mailer.cli.exits import Exit
from mailer.cli.hints import next_steps
from mailer.cli.progress import Tally, observer
from mailer.cli.protected_files import files_of
from mailer.cli.request import Request
from mailer.cli.trace import Trace, check_trace, tracing
from mailer.delivery.run import Ending, RunResult, SendOptions, StopSignal, run
from mailer.delivery.signals import Interrupted
from mailer.errors import InputError, MailerError
from mailer.ledger import Ledger
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.report.summary import Report, read_report
from mailer.report.words import plural
from mailer.report.write import check_report_paths, write_report
from mailer.secret import Secret

EXITS = {
    Ending.COMPLETE: Exit.DONE,
    Ending.INCOMPLETE: Exit.INCOMPLETE,
    Ending.GIVEN_UP: Exit.GIVEN_UP,
    Ending.UNREACHABLE: Exit.SERVER,
    Ending.LEDGER_FAILED: Exit.SERVER,
}


class Declined(KeyboardInterrupt):
    """The answer was no. Like an interruption it passes every `except Exception` on its way out."""


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked, read and checked. `server` is None for a rehearsal: the sandbox is yet to be started."""

    request: Request
    campaign: Campaign
    compiled: CompiledCampaign
    reports: tuple[Path, ...]
    server: ServerConfig | None
    password: Secret | None


def send(request: Request, stop: StopSignal) -> int:
    """The exit code of `mailer send`."""
    with stop.raising():
        job = _prepared(request)
    with ExitStack() as stack:
        trace = stack.enter_context(tracing(request.trace))
        ledger = stack.enter_context(Ledger.open_temporary() if request.sandbox else Ledger.open(request.ledger))
        tally = observer(_question(job, stop))
        try:
            with tally:
                result, caught = asyncio.run(_run(job, ledger, trace, tally, stop))
        except Declined:
            console.note("nothing was sent")
            return Exit.INPUT
        code = _close(job, result, ledger, tally, stop)
        if caught is not None:
            console.note(f"caught messages: {caught}")
        return code


def _prepared(request: Request) -> Job:
    """All that can be wrong before the list is read; a person is asked for the password last."""
    if request.proof and request.reports:
        raise InputError("--proof is not recorded, so that --report has nothing to report")
    campaign = load_campaign(request.campaign_file, variables=request.variables)
    keep = files_of(campaign) | {Path(request.ledger): "ledger"}
    reports = check_report_paths(request.reports, keep=keep)
    check_trace(request.trace, keep | dict.fromkeys(reports, "report"))
    compiled = compile_campaign(campaign)
    if request.sandbox:
        return Job(request, campaign, compiled, reports, None, None)
    server, password = server_and_password(campaign.server, request.server, request.ca_file)
    return Job(request, campaign, compiled, reports, server, password)


async def _run(
    job: Job, ledger: Ledger, trace: Trace | None, tally: Tally, stop: StopSignal
) -> tuple[RunResult, Path | None]:
    """How it went, and for a rehearsal where the messages are."""
    request = job.request
    async with _rehearsal(job) as (server, password, caught):
        options = SendOptions(
            server=server,
            password=password,
            delivery=with_pace(job.campaign.delivery, request.rate, request.connections, request.window),
            limit=request.limit,
            only=request.only,
            proof=request.proof,
            again=request.again,
            retry_failed=request.retry_failed,
            in_doubt=request.in_doubt,
            skip_invalid=request.skip_invalid,
            preflight=not request.no_preflight,
            trace=trace,
        )
        return await run(job.campaign, job.compiled, ledger, options, tally, stop=stop), caught


@asynccontextmanager
async def _rehearsal(job: Job) -> AsyncIterator[tuple[ServerConfig, Secret | None, Path | None]]:
    """The chosen server; for a rehearsal a sandbox of this run's own, and its maildir."""
    if job.server is not None:
        yield job.server, job.password, None
        return
    from mailer.sandbox import Sandbox

    with Sandbox() as sandbox:
        secret = Secret(sandbox.password)
        console.hide(secret)
        yield replace(parse_server(sandbox.url), ca_file=sandbox.ca_file), secret, sandbox.maildir


def _question(job: Job, stop: StopSignal) -> Callable[[int], None] | None:
    """Asks before the first message leaves, where a person sits at a terminal; a rehearsal reaches nobody."""
    server = job.server
    if job.request.yes or server is None or not console.is_terminal():
        return None

    def ask(count: int) -> None:
        count = min(count, 1 if job.request.only else count, job.request.limit or count)
        as_user = f" as {server.username}" if server.username else ""
        question = f"Send {job.campaign.name} to {plural(count, 'recipient')} via {server.host}:{server.port}{as_user}?"
        try:
            with stop.raising():
                agreed = click.confirm(console.clean(question), err=True)
        except click.Abort:  # click's word for Ctrl-C and for the end of input
            if stop.requested:
                raise Interrupted from None
            agreed = False
        if not agreed:
            raise Declined

    return ask


def _close(job: Job, result: RunResult, ledger: Ledger, tally: Tally, stop: StopSignal) -> int:
    """Say how it ended, show the summary, write the reports; the exit code."""
    code: int = Exit.interrupted(stop.number) if result.ending is Ending.INTERRUPTED else EXITS[result.ending]
    _say_ending(result)
    if job.request.proof:
        if result.ending is Ending.COMPLETE:
            console.note(f"proof sent to {job.request.proof}; it is not recorded")
        return code
    try:
        written = _report(job, result, ledger, tally)
    except MailerError as error:  # the ledger cannot even be read any more; what the run's end means still counts
        console.error(str(error), hint=error.hint)
        written = False
    return code if written else (code or Exit.IO)


def _report(job: Job, result: RunResult, ledger: Ledger, tally: Tally) -> bool:
    """The summary, the reports, the hints; whether all reports could be written."""
    report = read_report(ledger, job.campaign.name)
    # Whoever reads our output may have left; the reports and the exit code are still owed.
    with suppress(OSError):
        _show(report)
    written = _write(report, job.reports)
    for hint in next_steps(result, report.counts, tally.unknown, tally.unknown_count):
        console.hint(hint)
    return written


def _say_ending(result: RunResult) -> None:
    if result.nothing_to_do:
        console.note("nothing to do: " + (result.reason or "the campaign is complete"))
    elif result.reason and result.ending in (Ending.COMPLETE, Ending.INCOMPLETE):
        console.note(result.reason)
    elif result.reason:
        console.error(result.reason)
    elif result.ending is Ending.INTERRUPTED:
        console.error("interrupted; what was in flight was settled, the rest is pending")


def _show(report: Report) -> None:
    from mailer.report.formats import terminal

    terminal.show(report, sys.stdout, rich=sys.stdout.isatty())
    sys.stdout.flush()


def _write(report: Report, paths: tuple[Path, ...]) -> bool:
    """Whether all could be written; one that cannot does not stop the others."""
    written = True
    for path in paths:
        try:
            console.note(f"report: {write_report(report, path)}")
        except MailerError as error:
            console.error(str(error))
            written = False
    return written
