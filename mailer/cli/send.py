"""`mailer send`: check the request, ask, run, and report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click

from mailer.api import DELIVERY_FIELDS, override_delivery
from mailer.campaign import Campaign, ServerConfig, load_campaign, parse_server
from mailer.campaign.model import Delivery
from mailer.cli import console
from mailer.cli.credentials import choose_server_and_password
from mailer.cli.exit_codes import ExitCode, code_for_signal
from mailer.cli.progress import ProgressDisplay, create_display
from mailer.cli.protected_files import list_protected_files
from mailer.cli.summary import conclude
from mailer.cli.trace import Trace, check_trace_path, open_trace
from mailer.delivery.run import RunResult, SendOptions, StopSignal, run
from mailer.delivery.signals import Interrupted
from mailer.errors import InputError
from mailer.ledger import Ledger, get_project_ledger
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.report.write import ReportTarget, check_report_targets
from mailer.secret import Secret
from mailer.text import count_noun, make_printable


class Declined(KeyboardInterrupt):
    """The answer to the question was no. Like an interrupt, it passes every `except Exception`."""


@dataclass(frozen=True, slots=True)
class SendRequest:
    """The options of `mailer send`. An option that `SendOptions` or `Delivery` has is in `overrides`, by its name."""

    campaign_file: Path
    variables: dict[str, str]
    server: str | None
    sandbox: bool
    ca_file: Path | None
    reports: tuple[str, ...]
    trace: str | None
    ledger: str | None
    yes: bool
    overrides: Mapping[str, Any]

    @classmethod
    def from_options(cls, given: Mapping[str, Any]) -> SendRequest:
        """Return the request of a command line; `given` holds click's parameters by name."""
        own = {field.name for field in fields(cls)}
        request = {name: value for name, value in given.items() if name in own}
        return cls(**request, overrides={name: value for name, value in given.items() if name not in own})

    def select(self, kind: type[SendOptions | Delivery]) -> dict[str, Any]:
        """Return the overrides that are fields of `kind`."""
        names = {field.name for field in fields(kind)} if kind is SendOptions else DELIVERY_FIELDS
        return {name: value for name, value in self.overrides.items() if name in names}


@dataclass(frozen=True, slots=True)
class SendJob:
    """A request with everything loaded and checked. `server` is None for a rehearsal, which starts its own."""

    request: SendRequest
    campaign: Campaign
    compiled: CompiledCampaign
    reports: tuple[ReportTarget, ...]
    ledger: str | Path
    server: ServerConfig | None
    password: Secret | None


def run_send_command(given: Mapping[str, Any]) -> int:
    """Run `mailer send` with click's parameters `given`, and return the exit code.

    Raises MailerError if the run cannot start; then nothing was sent.
    """
    with StopSignal().handle_signals() as stop:
        try:
            return _send(SendRequest.from_options(given), stop)
        except Interrupted:
            console.print_error("interrupted; nothing was sent")
            return code_for_signal(stop.number)


def _send(request: SendRequest, stop: StopSignal) -> int:
    with stop.raise_on_request():
        job = _prepare_job(request)
    with ExitStack() as stack:
        trace = stack.enter_context(open_trace(request.trace))
        is_recorded = not (request.sandbox or request.overrides["proof"])
        ledger = stack.enter_context(Ledger.open(job.ledger) if is_recorded else Ledger.open_temporary())
        display = create_display(_create_question(job, stop))
        try:
            with display:
                result, maildir = asyncio.run(_run_job(job, ledger, trace, display, stop))
        except Declined:
            console.print_note("nothing was sent")
            return ExitCode.INPUT
        proof = request.overrides["proof"]
        code = conclude(result, ledger, job.campaign.name, job.reports, display, proof=proof, stop=stop)
        if maildir is not None:
            console.print_note(f"caught messages: {maildir}")
        return code


def _prepare_job(request: SendRequest) -> SendJob:
    """Load and check everything but the list. The password is asked for last."""
    if request.overrides["proof"] and request.reports:
        raise InputError("--report has no effect beside --proof: a proof is not recorded")
    campaign = load_campaign(request.campaign_file, variables=request.variables)
    ledger = request.ledger or get_project_ledger(campaign.root)
    keep = list_protected_files(campaign) | {Path(ledger): "ledger"}
    reports = check_report_targets(request.reports, keep=keep)
    check_trace_path(request.trace, keep | {target.path: "report" for target in reports if target.path is not None})
    compiled = compile_campaign(campaign)
    if request.sandbox:
        return SendJob(request, campaign, compiled, reports, ledger, None, None)
    server, password = choose_server_and_password(campaign.server, request.server, request.ca_file)
    return SendJob(request, campaign, compiled, reports, ledger, server, password)


async def _run_job(
    job: SendJob, ledger: Ledger, trace: Trace | None, display: ProgressDisplay, stop: StopSignal
) -> tuple[RunResult, Path | None]:
    """Return the run's result, and for a rehearsal the folder of the caught messages."""
    async with _provide_server(job) as (server, password, maildir):
        options = SendOptions(
            server=server,
            password=password,
            delivery=override_delivery(job.campaign.delivery, **job.request.select(Delivery)),
            trace=trace,
            **job.request.select(SendOptions),
        )
        return await run(job.campaign, job.compiled, ledger, options, display, stop=stop), maildir


@asynccontextmanager
async def _provide_server(job: SendJob) -> AsyncIterator[tuple[ServerConfig, Secret | None, Path | None]]:
    """Yield the chosen server and None; for a rehearsal, a sandbox of this run and its maildir."""
    if job.server is not None:
        yield job.server, job.password, None
        return
    from mailer.sandbox import Sandbox

    with Sandbox() as sandbox:
        secret = Secret(sandbox.password)
        console.add_secret(secret)
        yield replace(parse_server(sandbox.url), ca_file=sandbox.ca_file), secret, sandbox.maildir


def _create_question(job: SendJob, stop: StopSignal) -> Callable[[int], None] | None:
    """Return a function that asks before the first message is sent, or None if nobody is to be asked.

    The function takes the number of recipients and raises Declined if the answer is no.
    """
    server = job.server
    if job.request.yes or server is None or not console.may_ask():
        return None

    def ask(count: int) -> None:
        only, limit = job.request.overrides["only"], job.request.overrides["limit"]
        count = min(count, 1 if only else count, limit or count)
        as_user = f" as {server.username}" if server.username else ""
        question = (
            f"Send {job.campaign.name} to {count_noun(count, 'recipient')} via {server.host}:{server.port}{as_user}?"
        )
        try:
            with stop.raise_on_request():
                agreed = click.confirm(make_printable(question), err=True)
        except click.Abort:  # click raises it for Ctrl-C and for the end of input
            if stop.requested:
                raise Interrupted from None
            agreed = False
        if not agreed:
            raise Declined

    return ask
