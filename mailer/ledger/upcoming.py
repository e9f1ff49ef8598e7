"""The recipients that come next, read without claiming them."""

from __future__ import annotations

from collections.abc import Iterator

from mailer.campaign.stored import StoredRecipient
from mailer.ledger import rows, sql
from mailer.ledger.ledger import Ledger
from mailer.ledger.records import Edition

PAGE = 48  # messages
MAX_PAGE_SIZE = 16 * 1024  # characters of the columns in a page: it goes through a pipe


def iterate_upcoming(ledger: Ledger, edition: Edition) -> Iterator[list[StoredRecipient]]:
    """Yield the recipients of `edition` whose messages wait for their first claim, in the list's order, a
    page at a time.

    Each page is read when it is asked for, behind the page before it. What is claimed meanwhile is left out,
    and so is a recipient whose columns alone are too large for a page. What becomes pending at a place that
    was read before is not seen. Raises LedgerError.
    """
    given: dict[str, object] = {"edition": edition.id, "position": -1, "limit": PAGE}
    while found := ledger.store.fetch_all(sql.UPCOMING, given):
        page: list[StoredRecipient] = []
        size = 0
        with rows.reading_rows(ledger.store):
            for row in found:
                columns_size = len(row[2])
                if page and size + columns_size > MAX_PAGE_SIZE:
                    break
                given["position"] = row[0]
                if columns_size <= MAX_PAGE_SIZE:
                    size += columns_size
                    page.append(StoredRecipient._make(row[1:]))
        if page:
            yield page
