"""`mailer check`: everything that can be known to be wrong before anything is sent."""

from __future__ import annotations

from pathlib import Path

import click

from mailer.cli import options


@click.command("check", short_help="Find what is wrong before anything is sent.")
@options.campaign_argument
@options.variables
@click.option("--strict", is_flag=True, help="Warnings count as errors: exit code 2.")
def command(campaign_file: Path, variables: dict[str, str], strict: bool) -> int:
    """Check a campaign: its file, its templates, its list, and the message of every recipient.

    Errors are what `mailer send` would stop at. Warnings say what mailbox providers and mail programs will not like;
    each ends with its rule's name, which the campaign may list under `ignore`. Opens no connection to a mail server,
    reads no password, runs no command.
    """
    from mailer.cli.checking import check
    from mailer.cli.interrupts import until_stopped

    return until_stopped(lambda: check(campaign_file, variables, strict=strict))
