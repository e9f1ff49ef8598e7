"""Files of addresses to suppress: lists as campaigns have them, or an address a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mailer.campaign import check_address
from mailer.campaign.files import NamedFile
from mailer.campaign.sources.source import FileSource, list_format
from mailer.campaign.sources.text import open_text, read_lines
from mailer.errors import InputError, Place, Problem
from mailer.report.formats.csv import uncelled


def read_addresses(file: Path, reason: str) -> Iterator[tuple[str, str]]:
    """Address and reason, streamed; a column `reason` wins. InputError at the first that is none.

    A file without a suffix, or with .txt, has an address a line; blank lines and lines with `#` are left out.
    """
    named = NamedFile(file, str(file))
    if file.suffix.lower() in ("", ".txt"):
        yield from ((address, reason) for address in _plain(named))
        return
    try:
        format_ = list_format(file.name)
    except ValueError as error:
        raise InputError(f"{file}: {error}") from None
    for recipient in FileSource(named, format_):
        if recipient.problem is not None:
            raise InputError(recipient.problem)
        yield uncelled(recipient.email), uncelled(str(recipient.columns.get("reason") or reason))


def _plain(named: NamedFile) -> Iterator[str]:
    with named.open() as binary, open_text(binary, named.shown, None) as text:
        for number, line in enumerate(read_lines(text, named.shown), 1):
            address = line.strip()
            if not address or address.startswith("#"):
                continue
            try:
                yield check_address(address)
            except ValueError as error:
                raise InputError(Problem(Place(named.shown, number), f"{address[:200]}: {error}")) from None
