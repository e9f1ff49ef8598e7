"""`mailer render`: the messages as files, to be looked at or to be sent by something else."""

from __future__ import annotations

from pathlib import Path

import click

from mailer.cli import options


@click.command("render", short_help="Write every recipient's message to files.")
@options.campaign_argument
@click.option("--out", metavar="DIR", type=options.path_type(), help="A file for each recipient: KEY.eml.")
@click.option("--mbox", metavar="FILE", type=options.path_type(), help="One file for all, in mbox format (mboxrd).")
@click.option("--only", metavar="ADDRESS", help="Only this recipient's (address or key).")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="The first N only.")
@options.variables
def command(
    *,
    campaign_file: Path,
    out: Path | None,
    mbox: Path | None,
    only: str | None,
    limit: int | None,
    variables: dict[str, str],
) -> int:
    """Write every recipient's message to files, byte for byte as it would be sent. Nothing is sent.

    \b
      mailer render campaigns/spring.yaml --out out/spring
      mailer render campaigns/spring.yaml --mbox spring.mbox
    """
    from mailer.cli.interrupts import until_stopped
    from mailer.cli.rendering import render

    if (out is None) == (mbox is None):
        raise click.UsageError("either --out DIR or --mbox FILE is needed")
    return until_stopped(lambda: render(campaign_file, variables, out=out, mbox=mbox, only=only, limit=limit))
