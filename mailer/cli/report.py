"""`mailer report`: a campaign's report from the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from mailer.cli import console, options
from mailer.cli.exits import Exit


@click.command("report", short_help="Show what became of a campaign, or write it to files.")
@options.campaign_argument
@options.variables
@options.ledger
@click.option(
    "--output", "outputs", metavar="FILE", type=options.path_type(), multiple=True,
    help="Write it there instead: .json .csv .html .md .xml (JUnit) by suffix. Repeatable.",
)  # fmt: skip
@click.option("--edition", type=click.IntRange(min=1), help="An earlier one, where --again made several.")
def command(
    campaign_file: Path,
    variables: dict[str, str],
    ledger: str,
    outputs: tuple[Path, ...],
    edition: int | None,
) -> int:
    """Show what became of a campaign, from the ledger: a table, or files.

    CAMPAIGN is the campaign's file, or just its name.
    """
    import sys

    from mailer.ledger import Ledger
    from mailer.report.summary import read_report
    from mailer.report.write import check_report_paths, write_report

    check_report_paths(outputs, keep={campaign_file: "campaign file", Path(ledger): "ledger"})
    name = campaign_name(campaign_file, variables)
    # A campaign that is being sent goes on meanwhile: figures and recipients are to be of the same moment.
    with Ledger.open(ledger, create=False) as book, book.store.frozen():
        report = read_report(book, name, edition)
        for path in outputs:
            console.note(f"report: {write_report(report, path)}")
        if not outputs:
            from mailer.report.formats import terminal

            terminal.show(report, sys.stdout, rich=sys.stdout.isatty())
    return Exit.DONE


def campaign_name(given: Path, variables: dict[str, str]) -> str:
    """The name that the file says, though the rest of it may be wrong by now; or what was given, if that is a name.

    A report must be had also when the campaign's template or list is gone.
    """
    import re

    from mailer.errors import InputError

    text = str(given)
    if (
        not given.exists()
        and re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", text)
        and given.suffix not in (".yaml", ".yml")
    ):
        return text
    from mailer.campaign import load_campaign

    try:
        return load_campaign(given, variables=variables).name
    except InputError:
        if (name := _plain_name(given)) is not None:
            return name
        raise


def _plain_name(file: Path) -> str | None:
    """The value of the line `campaign: NAME` in a file that cannot be loaded any more, where it is no pattern."""
    import re

    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return None
    match = re.search(r"""^campaign:[ \t]*(["']?)([a-z0-9][a-z0-9._-]{0,63})\1[ \t]*(?:#.*)?$""", text, re.MULTILINE)
    return match[2] if match else None
