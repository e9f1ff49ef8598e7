"""`mailer suppress`: the addresses that never get mail, for all campaigns of a ledger."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from mailer.campaign import check_address
from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources.source import FileSource, StandardInput, list_format
from mailer.campaign.sources.text import open_text, read_lines
from mailer.cli import console
from mailer.cli.exit_codes import ExitCode
from mailer.errors import InputError, Place, Problem
from mailer.ledger import Ledger, find_nearest_ledger
from mailer.ledger.forgetting import forget_address
from mailer.ledger.outcome import Status
from mailer.report.formats.csv import escape_cell, unescape_cell
from mailer.text import count_noun

NOT_REFUSED = frozenset(status.value for status in Status if status is not Status.FAILED)


def add_addresses(addresses: tuple[str, ...], reason: str, ledger: str | None) -> None:
    """Suppress each address, and print what became of it.

    Raises InputError, before anything is changed, if one of them is not an address.
    """
    checked = [_check_address(address) for address in addresses]
    with Ledger.open(ledger or find_nearest_ledger(Path.cwd())) as book:
        _print_new_ledger(book)
        for address in checked:
            is_new = book.suppress(address, reason)
            text = f"suppressed ({reason})" if is_new else "was suppressed already; its reason stays"
            console.print_note(f"{address}: {text}")


def remove_addresses(addresses: tuple[str, ...], ledger: str | None) -> ExitCode:
    """Remove each address that is suppressed; each one that is not is an error."""
    code = ExitCode.DONE
    with Ledger.open(ledger or find_nearest_ledger(Path.cwd()), create=False) as book:
        for address in addresses:
            if book.unsuppress(address):
                console.print_note(f"{address}: not suppressed any more")
            else:
                console.print_error(f"{address} is not suppressed")
                code = ExitCode.INPUT
    return code


def forget_addresses(addresses: tuple[str, ...], yes: bool, ledger: str | None) -> ExitCode:
    """Remove each person's data from the ledger, and print what was removed.

    A person at a terminal is asked before. Raises InputError, before anything is changed, if one of the texts
    is not an address, LedgerBusy if a campaign with an address is being sent.
    """
    checked = [_check_address(address) for address in addresses]
    with Ledger.open(ledger or find_nearest_ledger(Path.cwd()), create=False) as book:
        question = f"Remove the data of {count_noun(len(checked), 'person')} from the ledger for ever?"
        if not yes and console.may_ask() and not console.ask_yes_or_no(question):
            console.print_note("nothing was removed")
            return ExitCode.INPUT
        for address in checked:
            removed = forget_address(book, address)
            count = removed.anonymized + removed.deleted
            if not count and not removed.was_suppressed:
                console.print_note(f"{address}: the ledger has nothing of this address")
                continue
            kept = f" ({removed.anonymized:,} stay without the address)" if removed.anonymized else ""
            suppressed = "; no campaign will send to it" if removed.was_suppressed else ""
            console.print_note(f"{address}: removed from {count_noun(count, 'message')}{kept}{suppressed}")
    return ExitCode.DONE


def list_addresses(ledger: str | None) -> None:
    """Print the suppressed addresses as CSV, with their reason and the time in UTC."""
    with Ledger.open(ledger or find_nearest_ledger(Path.cwd()), create=False) as book, console.named_output():
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["email", "reason", "at"])
        for entry in book.read_suppressions():
            writer.writerow([escape_cell(entry.email), escape_cell(entry.reason), entry.at])


def import_addresses(file: Path, reason: str, ledger: str | None) -> None:
    """Suppress every address of `file`; `reason` applies to rows without their own.

    InputError: nothing is imported.
    """
    with Ledger.open(ledger or find_nearest_ledger(Path.cwd())) as book:
        added = book.suppress_all(read_addresses(file, reason), source=file.name)
        _print_new_ledger(book)
    console.print_note(f"{count_noun(added, 'new address')} suppressed")


def read_addresses(file: Path, reason: str) -> Iterator[tuple[str, str]]:
    """Yield (address, reason) for each row of `file`; a column `reason` takes precedence over `reason`.

    A file without a suffix, or with .txt, has one address per line; blank lines and lines with `#` are
    skipped. The hidden rows of a spreadsheet count: a filter must not undo a suppression. Raises InputError at
    the first row without a valid address.
    """
    named = StandardInput() if file == Path("-") else NamedFile(file, str(file))
    if file.suffix.lower() in ("", ".txt"):
        yield from ((address, reason) for address in _read_lines(named))
        return
    try:
        format_ = list_format(file.name)
    except ValueError as error:
        raise InputError(f"{file}: {error}") from None
    for recipient in FileSource(named, format_, hidden="include"):
        if recipient.problem is not None:
            raise InputError(recipient.problem)
        if (
            recipient.columns.get("status") in NOT_REFUSED
        ):  # of a report: not every recipient is to be suppressed
            continue
        yield unescape_cell(recipient.email), unescape_cell(str(recipient.columns.get("reason") or reason))


def _read_lines(named: NamedFile | StandardInput) -> Iterator[str]:
    with named.open() as binary, open_text(binary, named.shown, None) as text:
        for number, line in enumerate(read_lines(text, named.shown), 1):
            address = line.strip()
            if not address or address.startswith("#"):
                continue
            try:
                yield check_address(address)
            except ValueError as error:
                raise InputError(Problem(Place(named.shown, number), f"{address[:200]}: {error}")) from None


def _print_new_ledger(ledger: Ledger) -> None:
    """Name a ledger that this command made: it may not be the one that the user thinks of."""
    if ledger.is_new:
        console.print_note(f"new ledger: {ledger.shown_name}")


def _check_address(address: str) -> str:
    try:
        return check_address(address)
    except ValueError as error:
        raise InputError(f"{address}: {error}") from None
