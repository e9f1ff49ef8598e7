"""`Ledger`: the durable queue and the record of a campaign.

    edition = ledger.ensure_edition(name)
    with ledger.hold_campaign(name):
        ledger.recover_claims(edition, "resend", now=now)
        plan(ledger, campaign, compiled, edition)
        run = ledger.start_run(edition, template=compiled.fingerprint, now=now)
        claims = ledger.claim(edition, 64, now, run=run)
        ledger.commit()                      # durable: from here on bytes may leave
        ...
        ledger.record(claim, outcome)        # buffered
        claims = ledger.claim(...)           # the next ones
        ledger.commit()                      # one fsync for both

Between `claim` and `commit` the ledger is locked for other processes: do nothing else there.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mailer.errors import LedgerBusy, LedgerError
from mailer.ledger import lock, rows, sql
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.queue import LONGEST_WAIT, Limits, Queue
from mailer.ledger.records import (
    Claim,
    Edition,
    Policy,
    Recovered,
    Release,
    Retry,
    RunRecord,
    Suppression,
    format_time,
)
from mailer.ledger.store import Store, open_store, temporary_store
from mailer.ledger.ulid import ulid

PAGE = 500
Row = tuple[Any, ...]


class Ledger:
    """See the module's head. Every method raises LedgerError where the file is damaged or cannot be read."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._queue = Queue(store)

    @classmethod
    def open(cls, where: str | os.PathLike[str], *, create: bool = True) -> Ledger:
        """The ledger at a path or sqlite URL; LedgerError where it is damaged, foreign, newer or cannot be used."""
        return cls(open_store(_path(where), create=create))

    @classmethod
    def open_temporary(cls) -> Ledger:
        """For checks: the same planning, in a nameless file that goes with `close`."""
        return cls(temporary_store())

    @property
    def path(self) -> Path | None:
        return self.store.path

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Campaigns and editions

    def list_campaigns(self) -> list[str]:
        return [name for (name,) in self.fetch_all(sql.CAMPAIGNS)]

    def ensure_edition(self, campaign: str) -> Edition:
        """The present edition of the campaign of that name; its first one is made where there is none."""
        found = self.find_edition(campaign)
        if found is None:
            self._add(campaign, sql.ADD_FIRST_EDITION)
            found = self.find_edition(campaign)
            assert found is not None  # noqa: S101 - written just now
        return found

    def find_edition(self, campaign: str, number: int | None = None) -> Edition | None:
        """An edition, by default the latest that was begun; None where there is none."""
        if number is None:
            return self._edition(campaign, self.fetch_one(sql.PRESENT_EDITION, name=campaign))
        return self._edition(campaign, self.fetch_one(sql.EDITION, name=campaign, number=number))

    def add_edition(self, campaign: str) -> Edition:
        """`--again`: everybody is to be sent to anew. Until a run starts, the present edition is the former one."""
        self._add(campaign, sql.ADD_NEXT_EDITION)
        added = self._edition(campaign, self.fetch_one(sql.EDITION, name=campaign, number=None))
        assert added is not None  # noqa: S101 - written just now, or by a run that came to nothing
        return added

    def _edition(self, campaign: str, found: Row | None) -> Edition | None:
        if not found:
            return None
        id_, number, planned = found
        unfinished = self.fetch_value(sql.UNFINISHED, edition=id_)
        return Edition(id_, campaign, number, planned is not None, planned is not None and not unfinished)

    def _add(self, campaign: str, query: str) -> None:
        """An edition, looked for again under the lock: another process may have made it since, and a second one
        would be everybody's mail once more."""
        with self.transaction() as connection:
            connection.execute(sql.ADD_CAMPAIGN, {"name": campaign})
            connection.execute(query, {"name": campaign})

    @contextmanager
    def hold_campaign(self, campaign: str, *, now: float | None = None) -> Iterator[None]:
        """Keeps the campaign for this process; LedgerBusy says who has it. A dead holder's is free at once."""
        if self.path is None:
            yield
            return
        self.ensure_edition(campaign)
        path = lock.lock_path(self.path, campaign)
        try:
            held = lock.acquire(path)
        except OSError as error:
            raise LedgerError(f"{path}: the campaign cannot be locked ({error.strerror or error})") from error
        if held is None:
            raise self._busy(campaign)
        try:
            holder = {"name": campaign, "host": socket.gethostname(), "pid": os.getpid()}
            with self.transaction() as connection:
                connection.execute(
                    sql.SET_HOLDER, {**holder, "since": format_time(time.time() if now is None else now)}
                )
            yield
        finally:
            self._queue.abandon()
            with suppress(LedgerError), self.store.transaction() as connection:
                connection.execute(sql.REMOVE_HOLDER, {"name": campaign})
            held.release()

    def is_held(self, campaign: str) -> bool:
        """Whether a process is sending the campaign now."""
        return self.path is not None and lock.is_locked(lock.lock_path(self.path, campaign))

    # The queue

    def claim(
        self,
        edition: Edition,
        limit: int,
        now: float,
        *,
        run: RunRecord,
        only: str | None = None,
        fresh: int | None = None,
        longest: float = LONGEST_WAIT,
    ) -> list[Claim]:
        """Up to `limit` messages to send: whose wait is over, those in doubt, then the list. Not yet committed.

        `now` is in seconds since the epoch; nobody waits for more than `longest` seconds from it, whatever the clock
        did. `only` is an address or key; `fresh` bounds those that this run claims for the first time. Addresses
        suppressed since the planning fall out here. Where there is nobody to claim, what was recorded is committed.
        LedgerWriteError, whatever the cause.
        """
        given: dict[str, object] = {
            "edition": edition.id,
            "now": now,
            "horizon": now + longest,
            **rows.recipient_filter(only),
        }
        return self._queue.claim(edition, run, given, Limits(limit, limit if fresh is None else fresh))

    def record(self, claim: Claim, result: Outcome | Retry | Release, *, unrendered: bool = False) -> None:
        """What became of a claim; buffered. `Outcome.attempts` counts all runs, as the report does.

        `unrendered` marks a failure of our own before anything was offered: the next preflight looks at it again.
        """
        self._queue.record(claim, result, unrendered=unrendered)

    def commit(self) -> None:
        """Outcomes of the last batch and claims of the next, with one fsync. LedgerWriteError when it fails.

        After a failure the claims are void, and what was recorded is kept for another `commit`.
        """
        self._queue.commit()

    def find_next_due(self, edition: Edition, *, only: str | None = None, fresh: bool = True) -> float | None:
        """When the next message may be claimed (seconds since the epoch, 0 for any time); None where none is left.

        Without `fresh`, those that this run has not claimed yet do not count.
        """
        given = {"edition": edition.id, **rows.recipient_filter(only)}
        if fresh and self.fetch_value(sql.ANY_PENDING, **given):
            return 0.0
        due: float | None = self.fetch_value(sql.NEXT_DUE, **given)
        return due

    def recover_claims(
        self,
        edition: Edition,
        policy: Policy,
        *,
        now: float,
        held: bool = False,
        only: str | None = None,
        but: str | None = None,
    ) -> Recovered:
        """Settles what former runs left; to be called by the holder, before the planning.

        In flight when its run died: `resend` makes it pending, `hold` leaves it in doubt, `sent` takes it as sent;
        the last two also what a former run was to send again. `held` (a person said so) settles those held before in
        the same way. Deferred ones get their attempts anew. `only` and `but` are addresses or keys: nobody else's
        doubts are settled, or everybody else's.
        """
        with self.transaction() as connection:
            others = rows.recipient_filter(but)
            given = {"edition": edition.id, "at": format_time(now), "but": others["only"], "but_key": others["key"]}
            given |= rows.recipient_filter(only)
            in_flight = sql.RESEND_IN_FLIGHT if policy == "resend" else sql.HOLD_IN_FLIGHT
            doubtful = connection.execute(in_flight, given).rowcount
            if policy != "resend":
                doubtful += connection.execute(sql.HOLD_DOUBTFUL, given).rowcount
            elif held:
                doubtful += connection.execute(sql.RESEND_HELD, given).rowcount
            if policy == "sent":
                doubtful = connection.execute(sql.TAKE_HELD_AS_SENT, given).rowcount
            deferred = connection.execute(sql.REOPEN_DEFERRED, given).rowcount
        return Recovered(doubtful, deferred)

    def reopen_failed(self, edition: Edition, *, only: str | None = None) -> int:
        """`--retry-failed`: how many failed ones are pending again; not those whose address is invalid."""
        given = {"edition": edition.id, **rows.recipient_filter(only)}
        with self.transaction() as connection:
            return connection.execute(sql.RETRY_FAILED, given).rowcount

    # Reports

    def count_by_status(self, edition: Edition, *, only: str | None = None) -> dict[Status, int]:
        """Messages by status, all or those of an address or key; every status is there."""
        counts = dict.fromkeys(Status, 0)
        in_flight = self._in_flight(edition)
        query = sql.COUNTS if only is None else sql.COUNTS_OF_CHOSEN
        for status, count in self.fetch_all(query, edition=edition.id, **rows.recipient_filter(only)):
            counts[rows.parse_status(status, in_flight, self.store)] += count
        return counts

    def has_recipient(self, edition: Edition, only: str) -> bool:
        """Whether the address or key is in the edition, whatever its status."""
        return bool(self.fetch_value(sql.HAS_RECIPIENT, edition=edition.id, **rows.recipient_filter(only)))

    def read_outcomes(self, edition: Edition, status: Status | None = None) -> Iterator[Outcome]:
        """Every message, or those of one status, in the list's order; streamed from one moment's state."""
        in_flight = self._in_flight(edition)
        with self.store.snapshot() as connection, self.store.reported():
            given = {"edition": edition.id, "status": status}
            for row in connection.execute(sql.OUTCOMES_OF if status else sql.OUTCOMES, given):
                yield rows.parse_outcome(row, in_flight, self.store)

    def count_resent(self, edition: Edition) -> int:
        """How many were sent again because a reply never came; each may have arrived twice."""
        count: int = self.fetch_value(sql.COUNT_RESENT, edition=edition.id)
        return count

    def count_sent_with_other_template(self, edition: Edition, template: str) -> int:
        """How many got a message made from other templates than those of this fingerprint."""
        count: int = self.fetch_value(sql.COUNT_SENT_WITH_OTHER_TEMPLATE, edition=edition.id, template=template)
        return count

    # Runs

    def start_run(self, edition: Edition, *, template: str, now: float) -> RunRecord:
        run, started = ulid(now), format_time(now)
        with self.transaction() as connection:
            given = {"edition": edition.id, "run": run, "template": template, "started": started}
            connection.execute(sql.ADD_RUN, given)
            id_ = connection.execute(sql.RUN_ID, {"run": run}).fetchone()[0]
        return RunRecord(id_, run, edition.campaign, edition.number, template, started)

    def finish_run(self, record: RunRecord) -> None:
        """Writes the figures of a run that is over, and what is still buffered."""
        with self.transaction() as connection:
            connection.execute(sql.FINISH_RUN, rows.run_parameters(record))

    def find_last_run(self, edition: Edition) -> RunRecord | None:
        found = self.fetch_one(sql.LAST_RUN, edition=edition.id)
        return rows.parse_run(found, self.store) if found else None

    # Suppressions; deliver/suppress.py reads files of them

    def suppress(self, address: str, reason: str, *, source: str = "command", now: float | None = None) -> bool:
        """No campaign sends to it any more. False where it was suppressed already: the first reason stays."""
        return self.suppress_all([(address, reason)], source=source, now=now) > 0

    def suppress_all(
        self, entries: Iterable[tuple[str, str]], *, source: str = "command", now: float | None = None
    ) -> int:
        """All of (address, reason), or none where that raises; how many are new."""
        at = format_time(time.time() if now is None else now)
        with self.transaction() as connection:
            return connection.executemany(
                sql.SUPPRESS,
                (
                    {
                        "address": rows.normalize_address(address),
                        "reason": rows.escape_surrogates(reason),
                        "source": source,
                        "at": at,
                    }
                    for address, reason in entries
                ),
            ).rowcount

    def unsuppress(self, address: str) -> bool:
        """False where it was not suppressed."""
        with self.transaction() as connection:
            return connection.execute(sql.UNSUPPRESS, {"address": rows.normalize_address(address)}).rowcount > 0

    def read_suppressions(self) -> Iterator[Suppression]:
        """All of them, by address."""
        after = ""  # pages, so that no reader stands in a writer's way
        while page := self.fetch_all(sql.SUPPRESSIONS, after=after, limit=PAGE):
            yield from (Suppression(*row) for row in page)
            after = page[-1][0]

    def find_suppression(self, address: str) -> Suppression | None:
        found = self.fetch_one(sql.SUPPRESSION, address=rows.normalize_address(address))
        return Suppression(*found) if found else None

    def is_suppressed(self, address: str) -> bool:
        return self.find_suppression(address) is not None

    # For this room

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction of its own, after what is buffered."""
        self.commit()
        with self.store.transaction() as connection:
            yield connection

    def fetch_one(self, query: str, **given: object) -> Row | None:
        with self.store.reported():
            found: Row | None = self.store.connection.execute(query, given).fetchone()
        return found

    def fetch_all(self, query: str, **given: object) -> list[Row]:
        with self.store.reported():
            return self.store.connection.execute(query, given).fetchall()

    def fetch_value(self, query: str, **given: object) -> Any:
        """The one value of a query that always has a row."""
        found = self.fetch_one(query, **given)
        assert found is not None  # noqa: S101 - an aggregate, or a row that we know
        return found[0]

    def _in_flight(self, edition: Edition) -> Status:
        """What those in flight are to a reader: on their way, or in doubt when their run is gone."""
        return Status.PENDING if self.is_held(edition.campaign) else Status.IN_DOUBT

    def _busy(self, campaign: str) -> LedgerBusy:
        found = self.fetch_one(sql.HOLDER, name=campaign)
        who = "another process" if found is None else f"process {found[1]} on {found[0]}, since {found[2]}"
        return LedgerBusy(
            f"{campaign} is being sent by {who}",
            hint="wait until it is done, or stop it: the same command then goes on",
        )


def _path(where: str | os.PathLike[str]) -> Path:
    text = os.fspath(where)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text)
    if scheme == "sqlite":  # as SQLAlchemy has it: three slashes for a relative path, four for an absolute one
        path = unquote(rest.removeprefix("/"))
        if path and rest.startswith("/"):
            return Path(path)
        raise LedgerError(f"{text}: a ledger's URL is sqlite:///PATH")
    if scheme in ("postgresql", "postgres"):
        raise LedgerError("a ledger in PostgreSQL is not there yet", hint="use a path or sqlite:///PATH")
    raise LedgerError(f"{scheme}://...: a ledger is a path or sqlite:///PATH")
