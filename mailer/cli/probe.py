"""`mailer probe`: what a server is like, and how `send` would speak to it."""

from __future__ import annotations

from pathlib import Path

import click

from mailer.cli import options


@click.command("probe", short_help="Look at a server and log in; send nothing.")
@click.argument("campaign_file", metavar="[CAMPAIGN]", type=options.path_type(), required=False)
@options.server
@options.ca_file
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(min=0.1), default=20.0, show_default=True,
              help="For one reply.")  # fmt: skip
@options.variables
def command(
    *,
    campaign_file: Path | None,
    server: str | None,
    ca_file: Path | None,
    timeout: float,
    variables: dict[str, str],
) -> int:
    """Connect to the server and log in, as `send` would; send nothing.

    Shows the dialogue with the secrets blanked, the certificate, what the server offers, and the strategy that `send`
    would use. The server is --server, MAILER_SERVER or the campaign's.
    """
    from mailer.cli.probing import probe

    return probe(campaign_file, server, ca_file, timeout, variables)
