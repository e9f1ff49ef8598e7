"""The ledger in PostgreSQL, for senders on several machines.

The driver is asyncpg. It works in a thread with an event loop of its own, so that the ledger's methods are
ordinary ones for the event loop that sends. A batch of 64 statements is one round trip.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mailer.errors import LedgerError, LedgerWriteError, MissingExtra
from mailer.ledger import sql
from mailer.ledger.database_errors import driver_errors, explain_postgres_error, import_driver
from mailer.ledger.migrations import MIGRATIONS, NORMALIZE_ADDRESSES, SHARES
from mailer.ledger.postgres_locks import OPENING, AdvisoryLocks
from mailer.ledger.store import Parameters, Row, report_as_unusable

T = TypeVar("T")

CONNECT_SECONDS = 30.0
# A query waits for another sender's planning of a long list at most; a lost network ends earlier, by TCP's
# own means.
COMMAND_SECONDS = 300.0
PAGE = 1000
BATCH = 1000

# A dead machine or a cut network is noticed in some 20 seconds. PostgreSQL then frees the locks of its
# senders.
_SETTINGS = {
    "application_name": "mailer",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "idle_in_transaction_session_timeout": "60000",
    "jit": "off",
}
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")


_WAIT_FOR_READER = "SET LOCAL idle_in_transaction_session_timeout = 0"  # a report in somebody's pager
_READ_ONLY = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresStore(AdvisoryLocks):
    """`Store` in a schema of a PostgreSQL database."""

    is_shared = True
    path = None

    def __init__(self, url: str) -> None:
        """Connect to the database at `url`. Raises LedgerError."""
        super().__init__()
        self._url = url
        self.name = describe_url(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ledger", daemon=True)
        self._thread.start()
        self._is_frozen = False
        self._in_transaction = False
        try:
            self._connection = self._call(_connect(url))
        except BaseException:
            self._stop_loop()
            raise

    def close(self) -> None:
        with suppress(Exception):
            self._call(self._connection.close(timeout=5))
        self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def watch(self, on_lost: Callable[[], None]) -> None:
        """Call `on_lost`, from another thread, when the connection ends before `close`."""
        self._call(_add_listener(self._connection, on_lost))

    # Queries

    def fetch_all(self, query: str, given: Parameters | None = None) -> list[Row]:
        return [tuple(row) for row in self._call(self._fetch(query, given or {}))]

    def fetch_one(self, query: str, given: Parameters | None = None) -> Row | None:
        found = self._call(self._fetch(query, given or {}))
        return tuple(found[0]) if found else None

    def execute(self, query: str, given: Parameters | None = None) -> int:
        text, names = translate(query)
        values = [(given or {})[name] for name in names]
        return _count_rows(self._call(self._connection.execute(text, *values)))

    def execute_many(self, query: str, rows: Iterable[Parameters]) -> None:
        text, names = translate(query)
        iterator = iter(rows)
        while batch := [tuple(row[name] for name in names) for row in islice(iterator, BATCH)]:
            self._call(self._connection.executemany(text, batch))

    async def _fetch(self, query: str, given: Parameters) -> list[Any]:
        text, names = translate(query)
        found: list[Any] = await self._connection.fetch(text, *(given[name] for name in names))
        return found

    # Transactions

    def begin(self) -> None:
        self._in_transaction = True
        self._call(self._connection.execute("BEGIN"))

    def commit(self) -> None:
        self._call(self._connection.execute("COMMIT"))
        self._in_transaction = False

    def rollback(self) -> None:
        if self._in_transaction:
            self._in_transaction = False
            with suppress(LedgerError):
                self._call(self._connection.execute("ROLLBACK"))

    @contextmanager
    def transaction(self) -> Iterator[PostgresStore]:
        self.begin()
        try:
            self.wait_for_writer()
            yield self
            self.commit()
        except BaseException:
            self.rollback()
            raise

    @contextmanager
    def snapshot(self) -> Iterator[_PostgresSnapshot]:
        if self._is_frozen:
            yield _PostgresSnapshot(self._connection, self)
            return
        connection = self._call(_connect(self._url))
        try:
            self._call(connection.execute(_READ_ONLY))
            self._call(connection.execute(_WAIT_FOR_READER))
            yield _PostgresSnapshot(connection, self)
        finally:
            with suppress(LedgerError):
                self._call(connection.close(timeout=5))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self._call(self._connection.execute(_READ_ONLY))
        self._call(self._connection.execute(_WAIT_FOR_READER))
        self._is_frozen = True
        try:
            yield
        finally:
            self._is_frozen = False
            with suppress(LedgerError):
                self._call(self._connection.execute("ROLLBACK"))

    # The list that is being read

    @contextmanager
    def stage(self) -> Iterator[None]:
        self.execute(sql.DROP_STAGE)
        self.execute(sql.STAGE)
        try:
            yield
        finally:
            with suppress(LedgerError):
                self.execute(sql.DROP_STAGE)

    def add_staged(self, rows: Sequence[Row]) -> None:
        columns = sql.STAGED.split(", ")
        with _as_write_errors():
            self._call(self._connection.copy_records_to_table("planned", records=rows, columns=columns))

    def index_staged(self) -> None:
        self.execute(sql.INDEX_STAGE)
        self.execute("ANALYZE planned")  # a temporary table has no statistics otherwise

    def shrink(self) -> None:
        """PostgreSQL does this by itself."""

    # Locks

    def read_clock(self) -> float | None:
        found = self.fetch_one("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)")
        return float(found[0]) if found else None

    def erase_deleted(self) -> None:
        for table in ("messages", "suppressions", "runs"):
            self.execute(f"VACUUM {table}")

    # Errors

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work in the driver's thread. Raises its errors as ours.

        An exception of a signal handler gives the work up: the connection is of use for the next statement.
        """
        if self._loop.is_closed():
            work.close()
            raise LedgerError(f"{self.name}: the connection to the ledger's database is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except driver_errors() as error:
            raise explain_postgres_error(error, self.name, writing=self._in_transaction) from error
        finally:
            future.cancel()  # does nothing to work that is done


class _PostgresSnapshot:
    """The `SnapshotReader` of a connection that is in a transaction of its own."""

    def __init__(self, connection: Any, store: PostgresStore) -> None:
        self._connection, self._store = connection, store

    def stream(self, query: str, given: Parameters) -> Iterator[Row]:
        text, names = translate(query)
        call = self._store._call
        values = [given[name] for name in names]
        call(self._connection.execute(f"DECLARE page NO SCROLL CURSOR FOR {text}", *values))
        try:
            while page := call(self._connection.fetch(f"FETCH {PAGE} FROM page")):
                yield from map(tuple, page)
        finally:
            with suppress(LedgerError):
                call(self._connection.execute("CLOSE page"))


@report_as_unusable()
def open_postgres_store(url: str, *, create: bool) -> tuple[PostgresStore, bool]:
    """The ledger at a URL, checked and of the present version, and whether it was made now (only with
    `create`).

    Raises LedgerError if it cannot be used, MissingExtra if the driver is not installed.
    """
    try:
        import_driver()
    except ImportError:
        raise MissingExtra(
            "a ledger in PostgreSQL needs asyncpg", hint="pip install 'mailer[postgres]'"
        ) from None
    store = PostgresStore(url)
    try:
        return store, _prepare(store, create=create)
    except BaseException:
        store.close()
        raise


def _prepare(store: PostgresStore, *, create: bool) -> bool:
    """Bring the tables to the present version. Returns whether there were none."""
    store.begin()
    try:
        store.fetch_one(f"SELECT pg_advisory_xact_lock({OPENING})")
        version = _read_version(store, create=create)
        if version > len(MIGRATIONS):
            raise LedgerError(f"{store.name} was written by a newer version of mailer", hint="upgrade mailer")
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                if statement is not NORMALIZE_ADDRESSES:  # there was no version 1 in PostgreSQL
                    store.execute(_adapt_definition(statement))
        if not version:
            store.execute(SHARES)
        given = {"version": len(MIGRATIONS), "number": secrets.randbelow(1 << 28)}
        store.execute("UPDATE mailer_ledger SET version = :version" if version else _ADD_IDENTITY, given)
        found = store.fetch_one("SELECT number FROM mailer_ledger")
        store.ledger_number = int(found[0]) if found else 0
        store.commit()
    except BaseException:
        store.rollback()
        raise
    return version == 0


_ADD_IDENTITY = "INSERT INTO mailer_ledger (version, number) VALUES (:version, :number)"
_MAKE_IDENTITY = "CREATE TABLE mailer_ledger (version INTEGER NOT NULL, number INTEGER NOT NULL)"
_TABLES = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema()"


def _read_version(store: PostgresStore, *, create: bool) -> int:
    """The version of the ledger's tables, 0 for a new ledger."""
    found = store.fetch_one("SELECT CAST(to_regclass('mailer_ledger') AS TEXT), current_schema()")
    if found is None or found[1] is None:
        raise LedgerError(f"{store.name}: the schema does not exist", hint="create it: CREATE SCHEMA ...")
    if found[0] is not None:
        version = store.fetch_one("SELECT version FROM mailer_ledger")
        return int(version[0]) if version else 0
    if (tables := store.fetch_one(_TABLES)) and tables[0]:
        hint = "use a database or a schema of its own: postgresql://.../DATABASE?search_path=SCHEMA"
        raise LedgerError(f"{store.name} is a database of another program, not a ledger", hint=hint)
    if not create:
        raise LedgerError(f"{store.name}: there is no ledger", hint="`mailer send` makes it")
    store.execute(_MAKE_IDENTITY)
    return 0


def _adapt_definition(statement: str) -> str:
    """A statement of migrations.py for PostgreSQL: 64 bits as in SQLite, and as there no check of
    references.
    """
    return re.sub(r" REFERENCES \w+ \(id\)", "", re.sub(r"\bINTEGER\b", "BIGINT", statement))


@lru_cache(maxsize=512)
def translate(query: str) -> tuple[str, list[str]]:
    """A query of sql.py in PostgreSQL's words, and the names of its parameters in their order."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return _PARAMETER.sub(number, query), names


def describe_url(url: str) -> str:
    """Return a ledger's `url` without user, password and options."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return "postgresql://..."
    return f"postgresql://{host}{parts.path}"


async def _connect(url: str) -> Any:
    return await import_driver().connect(
        url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS, server_settings=dict(_SETTINGS)
    )


async def _add_listener(connection: Any, on_lost: Callable[[], None]) -> None:
    connection.add_termination_listener(lambda _connection: on_lost())


def _count_rows(status: str) -> int:
    """The number of rows in a command's tag, such as "UPDATE 5" and "INSERT 0 5"."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 0


@contextmanager
def _as_write_errors() -> Iterator[None]:
    try:
        yield
    except LedgerWriteError:
        raise
    except LedgerError as error:
        raise LedgerWriteError(str(error), hint=error.hint) from error
