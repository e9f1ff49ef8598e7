"""`mailer send`: the main job."""

from __future__ import annotations

from typing import Any

import click

from mailer.cli import console, options
from mailer.cli.exits import Exit


@click.command("send", short_help="Send a campaign, or go on with it.")
@options.campaign_argument
@options.server
@click.option(
    "--sandbox", is_flag=True,
    help="A rehearsal: start the embedded sandbox for this one run, with a ledger of its own. Nobody gets mail.",
)  # fmt: skip
@options.ca_file
@click.option(
    "--rate", metavar="RATE", callback=options.parse_pace, help="At most so many: 14/second, 30/minute, 500/hour."
)
@click.option("--connections", metavar="N", type=click.IntRange(1, 100), help="Sessions at a time.")
@click.option("--window", metavar="N", type=click.IntRange(1, 100_000), help="Most messages in flight in one session.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), help="Stop after so many recipients; the rest is pending."
)
@click.option("--only", metavar="ADDRESS", help="Send to this recipient (address or key) only.")
@click.option(
    "--proof", metavar="ADDRESS",
    help="Send the first recipient's message, or --only's, to this address instead; it is not recorded as sent.",
)  # fmt: skip
@options.variables
@click.option("--again", is_flag=True, help="Send a completed campaign anew, to everybody.")
@click.option("--retry-failed", is_flag=True, help="Try those again that were refused for good.")
@click.option(
    "--in-doubt", type=click.Choice(["resend", "hold", "sent"]),
    help="Settle those whose reply never came: send them again, leave them, or take them as sent.",
)  # fmt: skip
@click.option(
    "--skip-invalid", is_flag=True, help="Recipients that cannot be right are reported failed; send the others."
)
@click.option("--no-preflight", is_flag=True, help="Do not render every message before the first is sent.")
@click.option(
    "--report", "reports", metavar="FILE", type=options.path_type(), multiple=True,
    help="Write a report: .json .csv .html .md .xml (JUnit) by suffix. Repeatable.",
)  # fmt: skip
@options.trace
@options.ledger
@click.option("--yes", is_flag=True, help="Do not ask before sending.")
def command(**given: Any) -> int:
    """Send a campaign. Run it again, and it goes on where it stopped.

    Everything is checked before anything is sent; what became of every message is kept in the ledger. The password
    comes from MAILER_PASSWORD, or from where the campaign says, or is asked for at a terminal.
    """
    return _run(given)


def _run(given: dict[str, Any]) -> int:
    from mailer.cli.request import Request
    from mailer.cli.sending import send
    from mailer.delivery.signals import Interrupted, StopSignal

    with StopSignal().installed() as stop:
        try:
            return send(Request(**given), stop)
        except Interrupted:
            console.error("interrupted; nothing was sent")
            return Exit.interrupted(stop.number)
