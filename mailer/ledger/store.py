"""What the ledger needs of a database: queries, transactions, snapshots, and a lock for each sender.

Two databases can do it: SQLite (sqlite_store.py) and PostgreSQL (postgres_store.py). The queries are in
sql.py. They are written in what both databases understand, with named parameters (`:name`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from mailer.errors import LedgerError, LedgerWriteError

Row = tuple[Any, ...]
Parameters = Mapping[str, object]


class SnapshotReader(Protocol):
    """A view of the ledger as it was at one moment."""

    def stream(self, query: str, given: Parameters) -> Iterator[Row]:
        """The rows of a query, a few at a time. LedgerError if the ledger cannot be read."""
        ...


class CampaignLock(Protocol):
    """A lock on a campaign. It ends with `release` or with the process, however the process ends."""

    def release(self) -> None: ...


class Store(Protocol):
    """One connection to the ledger's database. It is not for two threads at once.

    Every method raises LedgerError if the database cannot be read, and LedgerWriteError within a transaction.
    What is written outside of `begin` or `transaction` is committed at once.
    """

    @property
    def name(self) -> str:
        """The ledger as messages to a person name it: a path, or a URL without its password."""
        ...

    @property
    def path(self) -> Path | None:
        """The ledger's file, or None if it has none."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether several senders, also of several machines, may send one campaign from it together."""
        ...

    def close(self) -> None: ...

    def watch(self, on_lost: Callable[[], None]) -> None:
        """Call `on_lost`, from another thread, when the connection ends before `close`."""
        ...

    def fetch_all(self, query: str, given: Parameters | None = None) -> list[Row]:
        """Return all rows of a query. `given` are the values of its parameters, by name."""
        ...

    def fetch_one(self, query: str, given: Parameters | None = None) -> Row | None:
        """Return the first row of a query, or None. `given` are the values of its parameters, by name."""
        ...

    def execute(self, query: str, given: Parameters | None = None) -> int:
        """Run the statement `query` with the values `given`. Returns the number of rows that it changed."""
        ...

    def execute_many(self, query: str, rows: Iterable[Parameters]) -> None:
        """Run the statement `query` with the values of each of `rows`."""
        ...

    def begin(self) -> None:
        """Start a transaction. The locks that it takes are kept until `commit` or `rollback`."""
        ...

    def commit(self) -> None:
        """End the transaction. On return its changes are on the disk."""
        ...

    def rollback(self) -> None:
        """Undo the transaction, if one is open. Raises nothing."""
        ...

    def transaction(self) -> AbstractContextManager[Store]:
        """A transaction that changes everything or nothing.

        Only one process at a time has such a transaction.
        """
        ...

    def snapshot(self) -> AbstractContextManager[SnapshotReader]:
        """A view of the ledger as it is now, whatever is written meanwhile."""
        ...

    def frozen(self) -> AbstractContextManager[None]:
        """All reads meanwhile, snapshots too, are of one moment. Nothing can be written."""
        ...

    def stage(self) -> AbstractContextManager[None]:
        """The empty table `planned` of this connection alone, for a list that is being read; dropped at the
        end.
        """
        ...

    def add_staged(self, rows: Sequence[Row]) -> None:
        """Append rows to `planned`: (position, key, email, address, columns, line, column_no, problem)."""
        ...

    def index_staged(self) -> None:
        """Make the keys of `planned` quick to find. To be called once, when all rows are added."""
        ...

    def shrink(self) -> None:
        """Give disk space that a long list needed back, unless another process is reading. Raises nothing."""
        ...

    def erase_deleted(self) -> None:
        """Leave nothing of deleted rows in the database's files, as far as the database can."""
        ...

    def lock_campaign(self, campaign: str) -> CampaignLock | None:
        """The lock on `campaign`, or None if another process has it.

        LedgerError if it cannot be locked at all.
        """
        ...

    def prepare_alone(self, campaign: str) -> AbstractContextManager[None]:
        """Keep other senders of the campaign from planning meanwhile. It waits for one that does."""
        ...

    def has_other_senders(self, campaign: str) -> bool:
        """Whether another process has the lock on `campaign`, which only a shared ledger allows."""
        ...

    def lock_run(self, run: int) -> None:
        """Show that the run of this id is alive, until `unlock_run` or the end of the connection."""
        ...

    def unlock_run(self, run: int) -> None:
        """Show the run of this id no longer as alive."""
        ...

    def list_live_runs(self, *, of_others: bool = False) -> list[int]:
        """The ids of the runs that `lock_run` shows; none in a ledger that is not shared.

        With `of_others`, those of this connection are left out.
        """
        ...

    def read_clock(self) -> float | None:
        """The database's time in seconds since the epoch, or None if it is this machine's."""
        ...

    def is_campaign_locked(self, campaign: str) -> bool:
        """Whether a process has the lock on `campaign` now."""
        ...


@contextmanager
def report_as_unusable() -> Iterator[None]:
    """Raise LedgerError for LedgerWriteError: before the first message, a ledger that cannot be written is
    unusable.
    """
    try:
        yield
    except LedgerWriteError as error:
        raise LedgerError(str(error), hint=error.hint) from error
