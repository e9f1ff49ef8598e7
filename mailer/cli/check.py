"""`mailer check`: the preflight of `mailer send` with a temporary ledger, and the lint findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from mailer.bounded_process import ProcessLimits, run_bounded
from mailer.campaign import TRUSTED, UNTRUSTED, Access, Campaign
from mailer.campaign.access import HINT, is_project_file
from mailer.campaign.sources import WithheldSource, read_recipients
from mailer.cli import console
from mailer.cli.exit_codes import ExitCode
from mailer.cli.progress import create_display
from mailer.delivery.plan import PlanResult
from mailer.delivery.preflight import check_messages
from mailer.errors import InputError, Problem
from mailer.files import UnusableFile, open_regular_file, show_path
from mailer.lint import lint_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.render.prepare import prepare_campaign
from mailer.text import count_noun

MAX_EXPLAINED = 100  # recipients whose ways through a template are explained


def check_campaigns(
    files: Sequence[Path],
    variables: dict[str, str],
    *,
    strict: bool,
    trusted: bool = False,
    explain: bool = False,
) -> ExitCode:
    """Check each campaign and return the worst exit code.

    Errors go to standard error; warnings and a summary line for each campaign go to standard output. With
    `strict`, warnings count as errors. With `trusted`, a campaign may make the check read what `send` would
    read. With `explain`, the output says how much of each template is compiled.
    """
    code = ExitCode.DONE
    for file in files:
        try:
            access = TRUSTED if trusted else UNTRUSTED
            code = max(code, _check_campaign(file, variables, access, strict=strict, explain=explain))
        except InputError as error:
            if len(files) == 1:
                raise
            console.print_error(str(error), hint=error.hint)
            code = ExitCode.INPUT
    return code


def _check_campaign(
    file: Path, variables: dict[str, str], access: Access, *, strict: bool, explain: bool
) -> ExitCode:
    # Without DKIM, unless the campaign is trusted: the key is a secret.
    campaign, compiled = prepare_campaign(file, variables=variables, access=access, may_sign=access.secrets)
    with create_display() as display:
        planned, problems = check_messages(campaign, compiled, display)
    problems += _find_key_problem(campaign, access)
    for problem in problems:
        console.print_error(str(problem))
    warnings = [*map(str, campaign.warnings)]
    warnings += _find_warnings(campaign, compiled, planned, broken=bool(problems))
    for warning in warnings:
        console.print_output(warning)
    if explain and not problems:
        for explanation in _explain(campaign, compiled):
            console.print_output(explanation)
    if isinstance(campaign.recipients, WithheldSource):
        console.print_output(f"{campaign.recipients.place}: {campaign.recipients.reason}; {HINT}")
    summary = [
        count_noun(planned.total, "recipient"),
        _count_errors(problems),
        count_noun(len(warnings), "warning"),
    ]
    console.print_output(f"{file}: {', '.join(summary)}")
    return ExitCode.INPUT if problems or (strict and warnings) else ExitCode.DONE


def _count_errors(problems: list[Problem]) -> str:
    """`no errors`, `1 error`, `more than 20 errors`: only the first ones have a place."""
    placed = sum(problem.place is not None for problem in problems)
    if placed < len(problems):
        return f"more than {count_noun(placed, 'error')}" if placed else count_noun(len(problems), "error")
    return count_noun(placed, "error") if placed else "no errors"


def _explain(campaign: Campaign, compiled: CompiledCampaign) -> list[str]:
    with closing(read_recipients(campaign.recipients)) as recipients:
        sample = list(islice(recipients, MAX_EXPLAINED))
    return run_bounded(lambda: list(map(str, compiled.explain(sample))), ProcessLimits(seconds=60.0))


def _find_key_problem(campaign: Campaign, access: Access) -> list[Problem]:
    """Return what keeps `send` from reading the DKIM key. It is opened and not read."""
    dkim = campaign.dkim
    if dkim is None or not (access.outside_files or is_project_file(dkim.key_file, campaign.root)):
        return []
    try:
        open_regular_file(dkim.key_file).close()
    except UnusableFile as error:
        return [Problem(dkim.place, f"dkim.key_file: {show_path(dkim.key_file)}: {error}")]
    return []


def _find_warnings(
    campaign: Campaign, compiled: CompiledCampaign, planned: PlanResult, *, broken: bool
) -> Iterator[str]:
    if "repeated-recipient" not in campaign.ignore:
        yield from _describe_duplicates(campaign, planned)
    # The rules look at rendered messages, so they need messages without errors.
    findings = [] if broken else lint_campaign(campaign, compiled)
    yield from map(str, findings)


def _describe_duplicates(campaign: Campaign, planned: PlanResult) -> Iterator[str]:
    for duplicate in planned.duplicates:
        yield f"{duplicate.place}: warning: {duplicate.text} [repeated-recipient]"
    if more := planned.duplicate_count - len(planned.duplicates):
        yield f"{campaign.path.name}: warning: and {count_noun(more, 'more repeated recipient')} [repeated-recipient]"
