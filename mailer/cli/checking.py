"""What `mailer check` does: the preflight of `mailer send` with a ledger that is thrown away, and the lint findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mailer.campaign import Campaign, load_campaign
from mailer.cli import console
from mailer.cli.exits import Exit
from mailer.cli.progress import observer
from mailer.delivery.plan import PlanResult, plan
from mailer.delivery.preflight import preflight
from mailer.errors import Problem
from mailer.ledger import Ledger
from mailer.lint import Finding, lint
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.report.words import plural


def check(file: Path, variables: dict[str, str], *, strict: bool) -> int:
    """Prints errors to standard error and warnings to standard output; the exit code."""
    campaign = load_campaign(file, variables=variables)
    # Unsigned: the key is a secret, and a check may run where it is not at hand.
    compiled = compile_campaign(replace(campaign, dkim=None))
    planned, problems = _preflight(campaign, compiled)
    for problem in problems:
        console.error(str(problem))
    warnings = list(_warnings(campaign, compiled, planned, broken=bool(problems)))
    for warning in warnings:
        console.out(warning)
    found = [
        plural(planned.total, "recipient"),
        "errors" if problems else "no errors",
        plural(len(warnings), "warning"),
    ]
    console.out(f"{file}: {', '.join(found)}")
    return Exit.INPUT if problems or (strict and warnings) else Exit.DONE


def _preflight(campaign: Campaign, compiled: CompiledCampaign) -> tuple[PlanResult, list[Problem]]:
    with Ledger.open_temporary() as ledger, observer() as watching:
        edition = ledger.ensure_edition(campaign.name)
        planned = plan(ledger, campaign, compiled, edition, observer=watching)
        problems = list(planned.invalid)
        if more := planned.invalid_count - len(planned.invalid):
            problems.append(Problem(None, f"and {plural(more, 'more recipient')} who cannot be right"))
        return planned, problems + preflight(ledger, edition, compiled, watching)


def _warnings(campaign: Campaign, compiled: CompiledCampaign, planned: PlanResult, *, broken: bool) -> Iterator[str]:
    if "repeated-recipient" not in campaign.ignore:
        yield from _repeated(campaign, planned)
    # Of messages that cannot be made there is nothing more to say.
    findings: Iterator[Finding] = iter(()) if broken else lint(campaign, compiled, campaign.recipients)
    yield from map(str, findings)


def _repeated(campaign: Campaign, planned: PlanResult) -> Iterator[str]:
    for duplicate in planned.duplicates:
        yield f"{duplicate.place}: warning: {duplicate.text} [repeated-recipient]"
    if more := planned.duplicate_count - len(planned.duplicates):
        yield f"{campaign.path.name}: warning: and {plural(more, 'more repeated recipient')} [repeated-recipient]"
