"""Locks of the senders on a ledger in PostgreSQL.

They are advisory locks (PostgreSQL's documentation, 13.3.5) of a connection: the server frees them when it
ends, however the sender died. A lock is a pair of numbers: the ledger's own number with a kind,
and what is locked.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mailer.errors import LedgerError
from mailer.ledger import sql
from mailer.ledger.store import CampaignLock, Parameters, Row

MAX_PERMITS = 1000  # of one edition: each allows one SMTP session, and is a lock
PREPARE_PAUSE = 0.2  # seconds between two looks whether another sender is done with planning

OPENING = 0x4D61_696C  # the lock of a process that makes or upgrades a ledger: there is no number yet
_WRITER, _CAMPAIGN, _RUN, _PERMIT, _PREPARE, _COMMAND = range(6)

_LOCK = "SELECT pg_try_advisory_lock(CAST(:class AS INTEGER), CAST(:object AS INTEGER))"
_UNLOCK = "SELECT pg_advisory_unlock(CAST(:class AS INTEGER), CAST(:object AS INTEGER))"
_LOCKS = """FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND CAST(classid AS BIGINT) = :class"""
_IS_LOCKED = f"SELECT EXISTS (SELECT 1 {_LOCKS} AND CAST(objid AS BIGINT) = :object)"
_LOCKED = f"SELECT DISTINCT CAST(objid AS BIGINT) {_LOCKS}"
_IS_LOCKED_BY_OTHERS = (
    f"SELECT EXISTS (SELECT 1 {_LOCKS} AND CAST(objid AS BIGINT) = :object AND pid <> pg_backend_pid())"
)
_LOCK_SHARED = "SELECT pg_try_advisory_lock_shared(CAST(:class AS INTEGER), CAST(:object AS INTEGER))"
_UNLOCK_SHARED = "SELECT pg_advisory_unlock_shared(CAST(:class AS INTEGER), CAST(:object AS INTEGER))"


class AdvisoryLocks(ABC):
    """The locks of one connection. `ledger_number` tells the ledgers of a database apart."""

    ledger_number = 0

    def __init__(self) -> None:
        self._permits: set[int] = set()

    @abstractmethod
    def fetch_one(self, query: str, given: Parameters | None = None) -> Row | None:
        """The first row of a query, or None."""

    @abstractmethod
    def fetch_all(self, query: str, given: Parameters | None = None) -> list[Row]:
        """The rows of a query."""

    def wait_for_writer(self) -> None:
        """Be the only one with a transaction that changes more than its own claims, until it ends."""
        self.fetch_one(f"SELECT pg_advisory_xact_lock({self._lock_class(_WRITER)}, 0)")

    def lock_campaign(self, campaign: str) -> CampaignLock | None:
        return self._lock(_CAMPAIGN, self._campaign_id(campaign), _LOCK_SHARED, _UNLOCK_SHARED)

    def is_campaign_locked(self, campaign: str) -> bool:
        return self._is_held(_CAMPAIGN, self._campaign_id(campaign))

    def has_other_senders(self, campaign: str) -> bool:
        return self._is_held(_CAMPAIGN, self._campaign_id(campaign), _IS_LOCKED_BY_OTHERS)

    @contextmanager
    def prepare_alone(self, campaign: str) -> Iterator[None]:
        number = self._campaign_id(campaign)
        while (lock := self._lock(_PREPARE, number)) is None:
            time.sleep(PREPARE_PAUSE)  # not a blocking query: a signal ends this wait
        try:
            yield
        finally:
            lock.release()

    def lock_run(self, run: int) -> None:
        self._lock(_RUN, run)

    def unlock_run(self, run: int) -> None:
        with suppress(LedgerError):
            self.fetch_one(_UNLOCK, {"class": self._lock_class(_RUN), "object": run})

    def list_live_runs(self, *, of_others: bool = False) -> list[int]:
        query = f"{_LOCKED} AND pid <> pg_backend_pid()" if of_others else _LOCKED
        return [run for (run,) in self.fetch_all(query, {"class": self._lock_class(_RUN)})]

    def acquire_permit(self, edition: int, limit: int) -> CampaignLock | None:
        """Return a permit for one session, out of `limit` for all senders of an edition; None if all are in use."""
        for number in range(min(limit, MAX_PERMITS)):
            permit = edition * MAX_PERMITS + number
            if permit in self._permits:  # the database gives a lock twice to the same connection
                continue
            if lock := self._lock(_PERMIT, permit):
                self._permits.add(permit)
                return _SessionPermit(lock, self._permits, permit)
        return None

    def lock_command(self, edition: int) -> None:
        """Show that a command distributes the work of an edition, until the end of the connection."""
        self._lock(_COMMAND, edition, _LOCK_SHARED, _UNLOCK_SHARED)

    def is_command_alive(self, edition: int) -> bool:
        """Whether a command distributes the work of an edition."""
        return self._is_held(_COMMAND, edition)

    def _is_held(self, kind: int, number: int, query: str = _IS_LOCKED) -> bool:
        found = self.fetch_one(query, {"class": self._lock_class(kind), "object": number})
        return bool(found and found[0])

    def _campaign_id(self, campaign: str) -> int:
        found = self.fetch_one(sql.CAMPAIGN, {"name": campaign})
        return int(found[0]) if found else 0

    def _lock(
        self, kind: int, number: int, query: str = _LOCK, release: str = _UNLOCK
    ) -> CampaignLock | None:
        given = {"class": self._lock_class(kind), "object": number}
        found = self.fetch_one(query, given)
        return _AdvisoryLock(self, given, release) if found and found[0] else None

    def _lock_class(self, kind: int) -> int:
        return self.ledger_number * 8 + kind


class _AdvisoryLock:
    def __init__(self, locks: AdvisoryLocks, given: Parameters, query: str) -> None:
        self._locks, self._given, self._query = locks, given, query

    def release(self) -> None:
        with suppress(LedgerError):  # a lost connection has released it
            self._locks.fetch_one(self._query, self._given)


class _SessionPermit:
    """Allows one SMTP session; `permits` are the numbers of those that this connection to the database has."""

    def __init__(self, lock: CampaignLock, permits: set[int], permit: int) -> None:
        self._lock, self._permits, self._permit = lock, permits, permit

    def release(self) -> None:
        self._permits.discard(self._permit)
        self._lock.release()
