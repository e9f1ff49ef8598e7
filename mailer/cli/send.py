"""`mailer send`: check the request, ask, run, and report."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailer.api import DELIVERY_FIELDS, override_delivery
from mailer.campaign import Campaign, ServerConfig, check_address, parse_server
from mailer.campaign.model import Delivery
from mailer.cli import console
from mailer.cli.credentials import choose_server_and_password
from mailer.cli.exit_codes import ExitCode, code_for_signal
from mailer.cli.options import BEHAVIOR_OPTIONS
from mailer.cli.progress import ProgressDisplay, create_display
from mailer.cli.protected_files import list_protected_files
from mailer.cli.render import show_first_message
from mailer.cli.summary import conclude
from mailer.cli.telemetry import watch_run
from mailer.cli.trace import Trace, check_output_path, open_trace
from mailer.dataclass import dataclass
from mailer.delivery.proof import find_recipient
from mailer.delivery.run import RunResult, SendOptions, StopSignal, run
from mailer.delivery.signals import Interrupted
from mailer.errors import InputError
from mailer.files import show_path
from mailer.ledger import Ledger, get_project_ledger
from mailer.render.compiled import CompiledCampaign
from mailer.render.prepare import prepare_campaign
from mailer.render.render_process import RenderProcess
from mailer.report.write import ReportTarget, check_report_targets
from mailer.secret import Secret
from mailer.text import count_noun, shorten

if TYPE_CHECKING:
    from mailer.sandbox.behavior import Behavior  # an optional extra


class Declined(KeyboardInterrupt):
    """The answer to the question was no. Like an interrupt, it passes every `except Exception`."""


@dataclass(frozen=True, slots=True)
class SendRequest:
    """The options of `mailer send`.

    An option that `SendOptions` or `Delivery` has is in `overrides`, by its name.
    """

    campaign_file: Path
    variables: dict[str, str]
    server: str | None
    sandbox: bool
    behavior: Behavior | None
    ca_file: Path | None
    reports: tuple[str, ...]
    trace: str | None
    ledger: str | None
    dry_run: bool
    yes: bool
    quiet: bool
    verbose: bool
    workers: str | None
    shared_files: bool
    metrics: Path | None
    log_format: str
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
    """A request with everything loaded and checked.

    `server` is None for a rehearsal, which starts its own.
    """

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
            options = dict(given)
            behavior = _take_behavior(options)
            return _send(SendRequest.from_options(options | {"behavior": behavior}), stop)
        except Interrupted:
            console.print_error("interrupted; nothing was sent")
            return code_for_signal(stop.number)


def _send(request: SendRequest, stop: StopSignal) -> int:
    console.set_log_format(request.log_format)
    if request.dry_run:
        with stop.raise_on_request():
            return show_first_message(
                request.campaign_file, request.variables, only=request.overrides["only"]
            )
    with stop.raise_on_request():
        job = _prepare_job(request)
    with ExitStack() as stack:
        trace = stack.enter_context(open_trace(request.trace))
        proof = request.overrides["proof"]
        is_recorded = not (request.sandbox or proof)
        ledger = stack.enter_context(Ledger.open(job.ledger) if is_recorded else Ledger.open_temporary())
        if request.sandbox:
            _copy_suppressions(job.ledger, ledger)
        question = SendQuestion(job, ledger, stop)
        if ledger.is_new and not (request.quiet or question.is_needed):  # the question shows it too
            console.print_note(f"new ledger: {ledger.shown_name}")
        display = create_display(
            question.ask if question.is_needed else None,
            limit=1 if request.overrides["only"] else request.overrides["limit"],
            quiet=request.quiet or proof is not None,
            verbose=request.verbose,
            server_name=f"{job.server.host}:{job.server.port}" if job.server else None,
        )
        question.warnings = display.warnings
        for warning in job.campaign.warnings:
            display.on_warning(str(warning))
        try:
            if proof and question.is_needed:
                question.ask(1, 0)
            with display:
                result, maildir = asyncio.run(_run_job(job, ledger, trace, display, stop))
        except Declined:
            console.print_note("nothing was sent")
            return ExitCode.INPUT
        code = conclude(
            result, ledger, job.campaign, job.reports, display, proof=proof, quiet=request.quiet, stop=stop
        )
        if maildir is not None and not request.quiet:
            shown = show_path(maildir)
            console.print_note(f"caught messages: {shown}")
            console.print_hint(f"to look at them: mailer sandbox --maildir {shlex.quote(shown)}")
        return code


def _prepare_job(request: SendRequest) -> SendJob:
    """Load and check everything but the list. The password is asked for last."""
    campaign, compiled = prepare_campaign(request.campaign_file, variables=request.variables)
    if (proof := request.overrides["proof"]) is not None:
        try:
            check_address(proof)
        except ValueError as error:
            raise InputError(f"--proof {proof}: {error}") from None
    ledger = request.ledger or get_project_ledger(campaign.root)
    keep = list_protected_files(campaign) | {Path(ledger): "ledger"}
    reports = check_report_targets(request.reports, keep=keep)
    keep |= {target.path: "report" for target in reports if target.path is not None}
    check_output_path("trace", request.trace, keep)
    check_output_path(
        "metrics", request.metrics, keep | ({Path(request.trace): "trace"} if request.trace else {})
    )
    if request.sandbox:
        return SendJob(request, campaign, compiled, reports, ledger, None, None)
    server, password = choose_server_and_password(
        campaign.server, request.server, request.ca_file, needs_password=request.workers is None
    )
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
        observer = watch_run(display, job.request.metrics, job.request.log_format, job.campaign.name)
        if job.request.workers is not None:
            from mailer.workers.command import Distribution, send_with_workers

            distribution = Distribution(job.request.workers, str(job.ledger), job.request.shared_files)
            result = await send_with_workers(
                job.campaign,
                job.compiled,
                ledger,
                options,
                observer=observer,
                distribution=distribution,
                stop=stop,
            )
            return result, maildir
        return await run(job.campaign, job.compiled, ledger, options, observer, stop=stop), maildir


@asynccontextmanager
async def _provide_server(job: SendJob) -> AsyncIterator[tuple[ServerConfig, Secret | None, Path | None]]:
    """Yield the chosen server and None; for a rehearsal, a sandbox of this run and its maildir."""
    if job.server is not None:
        yield job.server, job.password, None
        return
    from mailer.cli.sandbox import run_rehearsal

    with run_rehearsal(job.campaign.root, job.request.behavior) as sandbox:
        server = replace(parse_server(sandbox.url), ca_file=sandbox.ca_file)
        secret = Secret(sandbox.password)
        console.add_secret(secret)
        yield server, secret if server.username else None, sandbox.maildir


def _copy_suppressions(source: str | Path, rehearsal: Ledger) -> None:
    """Suppress in the rehearsal's ledger what is suppressed in the real one, if there is one yet."""
    if not str(source).startswith(("postgresql://", "postgres://")) and not Path(source).exists():
        return
    with Ledger.open(source, create=False) as ledger:
        rehearsal.suppress_all((entry.email, entry.reason) for entry in ledger.read_suppressions())


def _take_behavior(given: dict[str, Any]) -> Behavior | None:
    """Take the options of BEHAVIOR_OPTIONS out of `given`; they are set for a rehearsal only."""
    if given["sandbox"]:
        from mailer.cli.sandbox import take_behavior

        return take_behavior(given)
    for name in BEHAVIOR_OPTIONS:
        del given[name]
    return None


def _count_others(count: int) -> str:
    return "1 other already has" if count == 1 else f"{count:,} others already have"


class SendQuestion:
    """The question before the first message is sent: what goes to whom, through which server, into which
    ledger.
    """

    def __init__(self, job: SendJob, ledger: Ledger, stop: StopSignal) -> None:
        self._job = job
        self._ledger = ledger
        self._stop = stop
        self.warnings: list[str] = []

    @property
    def is_needed(self) -> bool:
        """Whether a person sits at the terminal and has not said --yes. A rehearsal reaches no recipient."""
        return self._job.server is not None and not self._job.request.yes and console.may_ask()

    def ask(self, pending: int, already: int) -> None:
        """Ask, and raise Declined if the answer is no. `pending` and `already` are numbers of recipients."""
        only, limit, proof = (self._job.request.overrides[name] for name in ("only", "limit", "proof"))
        count = min(pending, 1 if only else pending, limit or pending)
        with self._stop.raise_on_request():
            lines = list(self._describe(count, already, proof))
            if not console.ask_yes_or_no("\n".join(lines)):
                raise Declined

    def _describe(self, count: int, already: int, proof: str | None) -> Iterator[str]:
        from email import policy  # loads slowly, and most runs ask no question
        from email.parser import BytesHeaderParser

        job, server = self._job, self._job.server
        assert server is not None  # noqa: S101 - see is_needed
        where = f"{server.host}:{server.port}" + (f" as {server.username}" if server.username else "")
        first = find_recipient(job.campaign, job.compiled, job.request.overrides["only"])
        with RenderProcess(job.compiled) as process:
            content = process.render(first).content
        header = BytesHeaderParser(policy=policy.default).parsebytes(content)
        is_kept = " (new)" if self._ledger.is_new else ""
        yield f"  from        {shorten(str(header['From']), 100)}"
        yield f"  subject     {shorten(str(header['Subject']), 100)}"
        if proof is None:
            yield f"  recipients  {count:,}" + (f" ({_count_others(already)} an outcome)" if already else "")
        yield f"  server      {where}"
        if proof is None:
            yield f"  ledger      {self._ledger.shown_name}{is_kept}"
        if not sys.stderr.isatty():  # the warnings went to a file
            yield from (f"  warning     {shorten(text, 100)}" for text in self.warnings)
        if proof is None:
            yield f"Send {job.campaign.name} to {count_noun(count, 'recipient')} via {where}?"
        else:
            yield f"Send a proof of {job.campaign.name} ({first.email}) to {proof} via {where}?"
