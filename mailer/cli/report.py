"""`mailer report`: a campaign's report from the ledger."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from mailer.campaign import load_campaign
from mailer.campaign.load import project_root
from mailer.cli import console
from mailer.errors import InputError, LedgerError
from mailer.files import show_path
from mailer.ledger import Ledger, find_nearest_ledger, get_project_ledger
from mailer.report.formats import terminal
from mailer.report.summary import read_report
from mailer.report.words import STATUS_WORDS, format_moment
from mailer.report.write import check_report_targets, write_report


def show_report(
    campaign_file: Path,
    variables: dict[str, str],
    ledger: str | None,
    outputs: tuple[str, ...],
    edition: int | None,
) -> None:
    """Print the report of a campaign, or write it to each file of `outputs`.

    `campaign_file` is the path of a campaign file or the campaign's name. `edition` counts from 1; None is
    the latest. Raises InputError if the ledger has no such campaign or edition, or a file cannot be written.
    """
    place = ledger or _default_ledger(campaign_file)
    targets = check_report_targets(outputs, keep={campaign_file: "campaign file", Path(place): "ledger"})
    name = read_campaign_name(campaign_file, variables)
    # A send may be running: the figures and the recipients are read in one transaction.
    with _open_ledger(place) as book, book.read_consistently():
        report = read_report(book, name, edition)
        for target in targets:
            write_report(report, target)
            if target.path is not None:
                console.print_note(f"report: {target}")
        if not targets:
            with console.named_output():
                terminal.print_summary(report, sys.stdout, rich=sys.stdout.isatty())


def list_campaigns(ledger: str | None) -> None:
    """Print the campaigns of a ledger, by default the nearest one, with the figures of their latest edition."""
    place = ledger or find_nearest_ledger(Path.cwd())
    with _open_ledger(place) as book, book.read_consistently():
        names = book.list_campaigns()
        if not names:
            console.print_note(f"{place}: the ledger has no campaign yet")
        for name in names:
            report = read_report(book, name)
            counts = [
                f"{STATUS_WORDS[status]} {count:,}" for status, count in report.counts.by_status() if count
            ]
            when = f" · {format_moment(report.started)}" if report.started else ""
            console.print_output(f"{name}  {', '.join(counts) or 'no recipient'}{when}")


def _open_ledger(place: str | Path) -> Ledger:
    """Open an existing ledger. A rehearsal leaves none: then the error says where its messages are."""
    try:
        return Ledger.open(place, create=False)
    except LedgerError:
        rehearsals = sorted(Path(place).parent.glob("rehearsal-*"))
        if not rehearsals or Path(place).exists():
            raise
        caught = shlex.quote(show_path(rehearsals[-1]))
        raise LedgerError(
            f"{show_path(place)}: there is no ledger, because only rehearsals were sent",
            hint=f"`send --sandbox --report FILE` writes a rehearsal's report; mailer sandbox --maildir {caught} "
            "shows what the last one sent",
        ) from None


def _default_ledger(campaign_file: Path) -> Path:
    """The ledger of the campaign file's project; for a campaign's name, the nearest one."""
    if campaign_file.is_file():
        return get_project_ledger(project_root(campaign_file))
    return find_nearest_ledger(Path.cwd())


def read_campaign_name(given: Path, variables: dict[str, str]) -> str:
    """Return the campaign's name: the file's, or `given` itself if it is a name and no file.

    A report is available even if the campaign's template or list is missing, so a file with errors is enough
    if its line `campaign: NAME` can be read. Raises InputError otherwise.
    """
    text = str(given)
    if (
        not given.is_file()
        and re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", text)
        and given.suffix not in (".yaml", ".yml")
    ):
        if variables:
            raise InputError("--var has no effect beside a campaign's name: no file is read")
        return text
    try:
        return load_campaign(given, variables=variables).name
    except InputError:
        if (name := _find_name_line(given)) is not None:
            return name
        raise


def _find_name_line(file: Path) -> str | None:
    """Return NAME of the line `campaign: NAME`, or None if there is none or it is a template."""
    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return None
    match = re.search(
        r"""^campaign:[ \t]*(["']?)([a-z0-9][a-z0-9._-]{0,63})\1[ \t]*(?:#.*)?$""", text, re.MULTILINE
    )
    return match[2] if match else None
