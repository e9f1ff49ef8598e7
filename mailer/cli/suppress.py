"""`mailer suppress`: the addresses that never get mail, for all campaigns of a ledger."""

from __future__ import annotations

from pathlib import Path

import click

from mailer.cli import console, options
from mailer.cli.exits import Exit

REASON = "by hand"


@click.group("suppress", short_help="Keep the addresses that never get mail.")
def command() -> None:
    """Keep the addresses that never get mail, whatever campaign asks for it.

    They are kept in the ledger; a suppressed recipient is reported as such and counts as done.
    """


@command.command("add")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("--reason", default=REASON, show_default=True, metavar="TEXT", help="Why; shown in reports.")
@options.ledger
def add(addresses: tuple[str, ...], reason: str, ledger: str) -> int:
    """Add addresses."""
    from mailer.ledger import Ledger

    checked = [_checked(address) for address in addresses]
    with Ledger.open(ledger) as book:
        for address in checked:
            book.suppress(address, reason)
    return Exit.DONE


@command.command("remove")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@options.ledger
def remove(addresses: tuple[str, ...], ledger: str) -> int:
    """Remove addresses: they get mail again. One that is not on the list is an error; the others are removed."""
    from mailer.ledger import Ledger

    missing = False
    with Ledger.open(ledger) as book:
        for address in addresses:
            if not book.unsuppress(address):
                console.error(f"{address} is not suppressed")
                missing = True
    return Exit.INPUT if missing else Exit.DONE


@command.command("list")
@options.ledger
def list_(ledger: str) -> int:
    """Print them as CSV (email, reason, at), which `import` reads again."""
    import csv
    import sys

    from mailer.ledger import Ledger
    from mailer.report.formats.csv import cell

    with Ledger.open(ledger) as book:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["email", "reason", "at"])
        for entry in book.read_suppressions():
            writer.writerow([cell(entry.email), cell(entry.reason), entry.at])
    return Exit.DONE


@command.command("import")
@click.argument("file", metavar="FILE", type=options.path_type())
@click.option("--reason", default="imported", show_default=True, metavar="TEXT", help="For those without their own.")
@options.ledger
def import_(file: Path, reason: str, ledger: str) -> int:
    """Add the addresses of a list: any file that `recipients:` reads, or lines with an address each.

    A column `reason` is kept. One wrong line, and nothing is imported.
    """
    from mailer.cli.suppressions import read_addresses
    from mailer.ledger import Ledger
    from mailer.report.words import plural

    with Ledger.open(ledger) as book:
        added = book.suppress_all(read_addresses(file, reason), source=file.name)
    console.note(f"{plural(added, 'new address')} suppressed")
    return Exit.DONE


def _checked(address: str) -> str:
    from mailer.campaign.addresses import check_address
    from mailer.errors import InputError

    try:
        return check_address(address)
    except ValueError as error:
        raise InputError(f"{address}: {error}") from None
