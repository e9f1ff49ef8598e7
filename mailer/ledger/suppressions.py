"""The suppression list: addresses that get no mail from any campaign."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from mailer.campaign.addresses import normalize_address
from mailer.dataclass import dataclass
from mailer.ledger import rows, sql
from mailer.ledger.queue import Queue
from mailer.ledger.records import format_time
from mailer.ledger.store import Store

PAGE = 500


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that gets no mail, in the form in which addresses are compared.

    `at` is ISO 8601 in UTC, `source` what put it there: `command`, a file's name, a bounce.
    """

    email: str
    reason: str
    source: str
    at: str


class Suppressions:
    """The part of `Ledger` that has to do with suppressed addresses."""

    store: Store
    _queue: Queue

    def suppress(
        self, address: str, reason: str, *, source: str = "command", now: float | None = None
    ) -> bool:
        """Suppress `address`: no campaign sends to it any more.

        `now` is in seconds since the epoch. Returns False if it was suppressed already; the first reason
        stays.
        """
        return self.suppress_all([(address, reason)], source=source, now=now) > 0

    def suppress_all(
        self, entries: Iterable[tuple[str, str]], *, source: str = "command", now: float | None = None
    ) -> int:
        """Suppress all `entries`, each (address, reason), or none of them if the iteration raises.

        `source` says who wants it. `now` is in seconds since the epoch. Returns how many are new.
        """
        at = format_time(time.time() if now is None else now)
        self._queue.commit()
        with self.store.transaction() as store:
            before = _count_suppressions(store)
            store.execute_many(
                sql.SUPPRESS,
                (
                    {
                        "address": normalize_address(rows.escape_surrogates(address)),
                        "reason": rows.escape_surrogates(reason),
                        "source": rows.escape_surrogates(source),
                        "at": at,
                    }
                    for address, reason in entries
                ),
            )
            return _count_suppressions(store) - before

    def unsuppress(self, address: str) -> bool:
        """Let `address` get mail again. Returns False if it was not suppressed."""
        self._queue.commit()
        with self.store.transaction() as store:
            return (
                store.execute(sql.UNSUPPRESS, {"address": normalize_address(rows.escape_surrogates(address))})
                > 0
            )

    def read_suppressions(self) -> Iterator[Suppression]:
        """Every suppression, in the order of the addresses. Read in pages, so that no writer has to wait."""
        after = ""
        while page := self.store.fetch_all(sql.SUPPRESSIONS, {"after": after, "limit": PAGE}):
            yield from (Suppression(*row) for row in page)
            after = page[-1][0]

    def find_suppression(self, address: str) -> Suppression | None:
        """The suppression of `address`, or None."""
        found = self.store.fetch_one(
            sql.SUPPRESSION, {"address": normalize_address(rows.escape_surrogates(address))}
        )
        return Suppression(*found) if found else None

    def is_suppressed(self, address: str) -> bool:
        """Return whether `address` gets no mail."""
        return self.find_suppression(address) is not None


def _count_suppressions(store: Store) -> int:
    found = store.fetch_one(sql.COUNT_SUPPRESSIONS)
    return int(found[0]) if found else 0
