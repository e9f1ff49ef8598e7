"""`Ledger`: the durable queue and the record of a campaign.

    edition = ledger.ensure_edition(name)
    with ledger.hold_campaign(name):
        recover_claims(ledger, edition, "resend", now=now)
        plan(ledger, campaign, compiled, edition)
        run = ledger.start_run(edition, template=compiled.fingerprint, now=now)
        claims = ledger.claim(edition, 64, now, run=run)
        ledger.commit()                      # durable: from here on bytes may leave
        ledger.record(claim, outcome)        # buffered
        claims = ledger.claim(...)           # the next ones
        ledger.commit()                      # one fsync for both

A ledger in SQLite is locked for other processes during `commit` alone: until then claims are in memory.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mailer.errors import LedgerBusy, LedgerError
from mailer.files import show_path
from mailer.ledger import rows, sql
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.place import is_database_url, parse_ledger_path
from mailer.ledger.queue import LONGEST_WAIT, ClaimLimits, make_queue
from mailer.ledger.records import (
    Claim,
    Edition,
    Release,
    Retry,
    RunRecord,
    format_time,
)
from mailer.ledger.sqlite_store import open_store, open_temporary_store
from mailer.ledger.store import Row, Store
from mailer.ledger.suppressions import Suppressions
from mailer.ledger.ulid import ulid


class Ledger(Suppressions):
    """See the module's head. Every method raises LedgerError if the ledger is damaged or cannot be read."""

    def __init__(self, store: Store, *, is_new: bool = False) -> None:
        """Use the ledger in `store`. `is_new` says that it was made now."""
        self.store = store
        self.is_new = is_new  # whether `open` made it
        self._queue = make_queue(store)
        self._clock_offset = 0.0  # seconds that the database's clock is ahead of ours

    @classmethod
    def open(cls, where: str | os.PathLike[str], *, create: bool = True) -> Ledger:
        """The ledger at a path or at a URL. Without `create`, there must be one already.

        Raises LedgerError if it is damaged, of another program, of a newer version, or cannot be used.
        """
        text = os.fspath(where)
        if is_database_url(text):
            from mailer.ledger.postgres_store import open_postgres_store

            store, is_new = open_postgres_store(text, create=create)
            return cls(store, is_new=is_new)
        path = parse_ledger_path(text)
        is_new = not os.path.lexists(path)
        return cls(open_store(path, create=create), is_new=is_new)

    @classmethod
    def open_temporary(cls) -> Ledger:
        """A ledger for checks: the same planning, in a nameless file that is gone after `close`."""
        return cls(open_temporary_store())

    @property
    def shown_name(self) -> str:
        """The ledger's path as a person would type it here, or its URL without the password."""
        return show_path(self.path) if self.path is not None else self.store.name

    @property
    def path(self) -> Path | None:
        """The ledger's file, or None if it has none."""
        return self.store.path

    def reopen(self, where: str, campaign: str) -> None:
        """Connect again to a shared ledger whose connection was lost, and hold `campaign` again.

        What was not committed is lost. Raises LedgerError if the database is not there yet.
        """
        other = Ledger.open(where, create=False)
        other.store.lock_campaign(campaign)
        self.store.close()
        self.store = other.store
        self._queue = make_queue(self.store)

    @property
    def is_shared(self) -> bool:
        """Whether several senders may send one campaign from it together."""
        return self.store.is_shared

    def watch(self, on_lost: Callable[[], None]) -> None:
        """Call `on_lost`, from another thread, when the connection to a shared ledger ends before `close`."""
        self.store.watch(on_lost)

    def close(self) -> None:
        """Give the database up. What is recorded and not committed is lost."""
        self.store.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Campaigns and editions

    def list_campaigns(self) -> list[str]:
        """The names of all campaigns, in alphabetical order."""
        return [name for (name,) in self.store.fetch_all(sql.CAMPAIGNS)]

    def ensure_edition(self, campaign: str) -> Edition:
        """The present edition of the campaign of that name. If there is none, the first one is made."""
        found = self.find_edition(campaign)
        if found is None:
            self._add_edition(campaign, sql.ADD_FIRST_EDITION)
            found = self.find_edition(campaign)
            assert found is not None  # noqa: S101 - written just now
        return found

    def find_edition(self, campaign: str, number: int | None = None) -> Edition | None:
        """The edition `number` of a campaign, by default the latest that was begun. None if there is none."""
        if number is None:
            return self._parse_edition(campaign, self.fetch_one(sql.PRESENT_EDITION, name=campaign))
        return self._parse_edition(campaign, self.fetch_one(sql.EDITION, name=campaign, number=number))

    def add_edition(self, campaign: str) -> Edition:
        """Return the next edition of `campaign` (`--again`): every recipient is to be sent to anew.

        Until a run of it starts, the former edition stays the present one.
        """
        self._add_edition(campaign, sql.ADD_NEXT_EDITION)
        added = self._parse_edition(campaign, self.fetch_one(sql.EDITION, name=campaign, number=None))
        assert added is not None  # noqa: S101 - written just now, or by a run that came to nothing
        return added

    def _parse_edition(self, campaign: str, found: Row | None) -> Edition | None:
        if not found:
            return None
        id_, number, planned = found
        unfinished = self.fetch_value(sql.UNFINISHED, edition=id_)
        return Edition(id_, campaign, number, planned is not None, planned is not None and not unfinished)

    def _add_edition(self, campaign: str, query: str) -> None:
        """Add an edition unless another process has made it: a second one would send all mail again."""
        with self.transaction() as store:
            store.execute(sql.ADD_CAMPAIGN, {"name": campaign})
            store.execute(query, {"name": campaign})

    @contextmanager
    def hold_campaign(self, campaign: str, *, now: float | None = None) -> Iterator[None]:
        """Keep the campaign for this process.

        `now` is in seconds since the epoch. Raises LedgerBusy, which names the holder, if another process has
        it. The campaign of a process that died is free at once.
        """
        self.ensure_edition(campaign)
        held = self.store.lock_campaign(campaign)
        if held is None:
            raise self._describe_holder(campaign)
        try:
            holder = {"name": campaign, "host": socket.gethostname(), "pid": os.getpid()}
            with self.transaction() as store:
                store.execute(
                    sql.SET_HOLDER, {**holder, "since": format_time(time.time() if now is None else now)}
                )
            yield
        finally:
            self._queue.abandon()
            with suppress(LedgerError):
                self._tidy_campaign(campaign)
            held.release()

    def _tidy_campaign(self, campaign: str) -> None:
        """Remove the holder's name, and an edition that came to nothing, as with an empty list."""
        with self.store.transaction() as store:
            if not store.has_other_senders(campaign):
                for query in (sql.REMOVE_HOLDER, sql.REMOVE_EMPTY_EDITIONS, sql.REMOVE_EMPTY_CAMPAIGN):
                    store.execute(query, {"name": campaign})

    def prepare_alone(self, campaign: str) -> AbstractContextManager[None]:
        """Keep other senders of the campaign from recovering and planning meanwhile.

        It waits for one that does.
        """
        return self.store.prepare_alone(campaign)

    def has_other_senders(self, campaign: str) -> bool:
        """Whether another process sends the campaign beside this one, as a ledger in PostgreSQL allows."""
        return self.store.has_other_senders(campaign)

    def set_clock_offset(self, seconds: float) -> None:
        """Note that the database's clock is `seconds` ahead of this machine's: the clocks need not agree."""
        self._clock_offset = seconds

    def is_held(self, campaign: str) -> bool:
        """Whether a process is sending the campaign now."""
        return self.store.is_campaign_locked(campaign)

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
        """Claim up to `limit` messages for `run`: those whose wait is over, those in doubt, then the list.

        The claims are durable after `commit`; in a shared ledger they are at once. `now` is in seconds since
        the epoch. No message waits for more than `longest` seconds from `now`, even if the clock went back.
        `only` is an address or a key. `fresh` is the maximum of messages that this run has not claimed before.
        Addresses that were suppressed since the planning are left out. Raises LedgerWriteError.
        """
        claims = self.reserve(edition, limit, now, run=run, only=only, fresh=fresh, longest=longest)
        self.claim_reserved(claims)
        return claims

    def reserve(
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
        """Choose messages as `claim` does, without claiming them: only this process knows of it.

        In a shared ledger they are claimed at once, and durably. Raises LedgerWriteError.
        """
        given: dict[str, object] = {
            "edition": edition.id,
            "now": now + self._clock_offset,
            "horizon": now + self._clock_offset + longest,
            **rows.recipient_filter(only),
        }
        return self._queue.reserve(edition, run, given, ClaimLimits(limit, limit if fresh is None else fresh))

    def claim_reserved(self, claims: Iterable[Claim]) -> None:
        """Claim messages that `reserve` returned. The claims are durable after `commit`."""
        self._queue.claim_reserved(claims)

    def record(self, claim: Claim, result: Outcome | Retry | Release, *, unrendered: bool = False) -> None:
        """Keep what became of a claim for the next `commit`. `Outcome.attempts` counts all runs.

        `unrendered` says that the message could not be rendered: the next preflight tries it again.
        """
        if isinstance(result, Retry) and result.at > 0:
            result = replace(result, at=result.at + self._clock_offset)
        self._queue.record(claim, result, unrendered=unrendered)

    def commit(self) -> None:
        """Write the outcomes of the last batch and the claims of the next, with one fsync.

        Raises LedgerWriteError. The claims are void then, and what was recorded is kept for another `commit`.
        """
        self._queue.commit()

    def find_next_due(self, edition: Edition, *, only: str | None = None, fresh: bool = True) -> float | None:
        """When the next message may be claimed: seconds since the epoch, 0 for now, None if no message is
        left. Those that are reserved or claimed do not count.

        `only` is an address or a key. Without `fresh`, messages that this run has not claimed yet do not
        count.
        """
        given = {"edition": edition.id, **rows.recipient_filter(only)}
        due = self._queue.find_next_due(given, fresh=fresh)
        return due - self._clock_offset if due else due

    # Reports

    def count_by_status(self, edition: Edition, *, only: str | None = None) -> dict[Status, int]:
        """Return the number of messages of `edition` by status, or of those with the address or key `only`.

        Every status is in the result.
        """
        counts = dict.fromkeys(Status, 0)
        in_flight = self._in_flight_status(edition)
        query = sql.COUNTS if only is None else sql.COUNTS_OF_CHOSEN
        for status, count in self.fetch_all(query, edition=edition.id, **rows.recipient_filter(only)):
            counts[rows.parse_status(status, in_flight, self.store)] += count
        return counts

    def has_recipient(self, edition: Edition, only: str) -> bool:
        """Whether the edition has a message with the address or key `only`, whatever its status."""
        return bool(self.fetch_value(sql.HAS_RECIPIENT, edition=edition.id, **rows.recipient_filter(only)))

    def read_outcomes(self, edition: Edition, status: Status | None = None) -> Iterator[Outcome]:
        """Every message, or those of one status, in the list's order. Streamed; all are of one moment."""
        in_flight = self._in_flight_status(edition)
        query = sql.OUTCOMES_OF if status else sql.OUTCOMES
        with self.store.snapshot() as reader:
            for row in reader.stream(query, {"edition": edition.id, "status": status and status.value}):
                yield rows.parse_outcome(row, in_flight, self.store)

    def count_resent(self, edition: Edition) -> int:
        """Return how many messages of `edition` were sent again since no reply came.

        Each may have arrived twice.
        """
        count: int = self.fetch_value(sql.COUNT_RESENT, edition=edition.id)
        return count

    def has_refused_copies(self, edition: Edition) -> bool:
        """Return whether the server refused a cc or bcc of a message of `edition`."""
        return bool(self.fetch_value(sql.HAS_REFUSED_COPIES, edition=edition.id))

    def count_sent_with_other_template(self, edition: Edition, template: str) -> int:
        """How many recipients got a message of other templates than those with the fingerprint `template`."""
        count: int = self.fetch_value(
            sql.COUNT_SENT_WITH_OTHER_TEMPLATE, edition=edition.id, template=template
        )
        return count

    # Runs

    def start_run(
        self, edition: Edition, *, template: str, now: float, worker: str | None = None
    ) -> RunRecord:
        """The record of a run that starts at `now` (seconds since the epoch).

        `template` is the fingerprint of its templates. `worker` names the sender if several machines send.
        """
        run, started = ulid(now), format_time(now)
        with self.transaction() as store:
            given = {"edition": edition.id, "run": run, "template": template, "started": started}
            given["worker"] = worker
            store.execute(sql.ADD_RUN, given)
            id_ = self.fetch_value(sql.RUN_ID, run=run)
        self.store.lock_run(id_)
        there = self.store.read_clock()
        self.set_clock_offset(0.0 if there is None else there - now)
        return RunRecord(id_, run, edition.campaign, edition.number, template, started, worker=worker)

    def finish_run(self, record: RunRecord) -> None:
        """Write the `record` of a run that is over, and what is recorded and not committed."""
        with self.transaction() as store:
            store.execute(sql.FINISH_RUN, rows.run_parameters(record))
        self.store.unlock_run(record.id)

    def read_runs(self, edition: Edition) -> list[RunRecord]:
        """Every run of an edition, the first one first."""
        return [rows.parse_run(row, self.store) for row in self.fetch_all(sql.ALL_RUNS, edition=edition.id)]

    def find_last_run(self, edition: Edition) -> RunRecord | None:
        """The latest run of an edition, or None."""
        found = self.fetch_one(sql.LAST_RUN, edition=edition.id)
        return rows.parse_run(found, self.store) if found else None

    def find_last_server(self, host: str, port: int) -> Mapping[str, object] | None:
        """Return what the latest run that chose its own connections recorded of the server `host`:`port`.

        It may be of any campaign. None if there is none.
        """
        for (text,) in self.fetch_all(sql.LAST_SERVERS):
            server = rows.parse_server(text, self.store)
            if (server.get("host"), server.get("port")) == (host, port) and "connections" in server:
                return server
        return None

    # For the modules of this package

    @contextmanager
    def transaction(self) -> Iterator[Store]:
        """A transaction of its own, after what is recorded was committed."""
        self.commit()
        self._queue.forget_search()
        with self.store.transaction() as store:
            yield store

    def read_consistently(self) -> AbstractContextManager[None]:
        """All reads meanwhile are of one moment. Nothing can be written."""
        return self.store.frozen()

    def fetch_one(self, query: str, **given: object) -> Row | None:
        """Return the first row of a query, or None. `given` are the values of its parameters."""
        return self.store.fetch_one(query, given)

    def fetch_all(self, query: str, **given: object) -> list[Row]:
        """Return all rows of a query. `given` are the values of its parameters."""
        return self.store.fetch_all(query, given)

    def fetch_value(self, query: str, **given: object) -> Any:
        """The value of a query that always has one row of one column."""
        found = self.store.fetch_one(query, given)
        assert found is not None  # noqa: S101 - an aggregate, or a row that we know
        return found[0]

    def _in_flight_status(self, edition: Edition) -> Status:
        """The status of a message in flight: pending, or in doubt if its run is gone."""
        return Status.PENDING if self.is_held(edition.campaign) else Status.IN_DOUBT

    def _describe_holder(self, campaign: str) -> LedgerBusy:
        found = self.fetch_one(sql.HOLDER, name=campaign)
        who = "another process" if found is None else f"process {found[1]} on {found[0]}, since {found[2]}"
        return LedgerBusy(
            f"{campaign} is being sent by {who}",
            hint="wait until it is done, or stop it: the same command then continues",
        )
