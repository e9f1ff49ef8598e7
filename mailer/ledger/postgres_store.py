"""The ledger in PostgreSQL, for senders on several machines.

The driver is asyncpg. It works in a thread with an event loop of its own, so that the ledger's methods are
ordinary ones for the event loop that sends. A batch of 64 statements is one round trip.

Locks are advisory locks of the session (PostgreSQL's documentation, 13.3.5): the server frees them when the
connection ends, however the sender died. A lock is a pair of numbers: the ledger's own number with a kind,
and what is locked.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mailer.errors import LedgerError, LedgerWriteError, MissingExtra
from mailer.ledger import sql
from mailer.ledger.store import CampaignLock, Parameters, Row, report_as_unusable

T = TypeVar("T")

CONNECT_SECONDS = 30.0
# A query waits for another sender's planning of a long list at most; a lost network ends earlier, by TCP's
# own means.
COMMAND_SECONDS = 300.0
PREPARE_PAUSE = 0.2  # seconds between two looks whether another sender is done with planning
PAGE = 1000
BATCH = 1000

# Kinds of advisory locks. `_LEDGERS` is for what has no ledger yet.
_LEDGERS = 0x4D61_696C
_WRITER, _CAMPAIGN, _RUN, _SESSION, _PREPARE = range(5)

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
_SHARE = "SELECT pg_try_advisory_lock_shared(CAST(:class AS INTEGER), CAST(:object AS INTEGER))"
_UNSHARE = "SELECT pg_advisory_unlock_shared(CAST(:class AS INTEGER), CAST(:object AS INTEGER))"


class PostgresStore:
    """`Store` in a schema of a PostgreSQL database."""

    is_shared = True
    path = None

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = describe_url(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ledger", daemon=True)
        self._thread.start()
        self._is_frozen = False
        self._in_transaction = False
        self._number = 0  # of this ledger, for its locks
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
            self.fetch_one(f"SELECT pg_advisory_xact_lock({self._lock_class(_WRITER)}, 0)")
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

    def lock_campaign(self, campaign: str) -> CampaignLock | None:
        return self._lock(_CAMPAIGN, self._campaign_id(campaign), _SHARE, _UNSHARE)

    @contextmanager
    def prepare_alone(self, campaign: str) -> Iterator[None]:
        number = self._campaign_id(campaign)
        while (lock := self._lock(_PREPARE, number)) is None:
            time.sleep(PREPARE_PAUSE)  # not a blocking query: a signal ends this wait
        try:
            yield
        finally:
            lock.release()

    def has_other_senders(self, campaign: str) -> bool:
        given = {"class": self._lock_class(_CAMPAIGN), "object": self._campaign_id(campaign)}
        found = self.fetch_one(_IS_LOCKED_BY_OTHERS, given)
        return bool(found and found[0])

    def lock_run(self, run: int) -> None:
        self._lock(_RUN, run)

    def unlock_run(self, run: int) -> None:
        with suppress(LedgerError):
            self.fetch_one(_UNLOCK, {"class": self._lock_class(_RUN), "object": run})

    def list_live_runs(self, *, of_others: bool = False) -> list[int]:
        query = f"{_LOCKED} AND pid <> pg_backend_pid()" if of_others else _LOCKED
        return [run for (run,) in self.fetch_all(query, {"class": self._lock_class(_RUN)})]

    def lock_session(self, number: int) -> CampaignLock | None:
        """A lock on one of the sessions that an edition may have; None if another run has it."""
        return self._lock(_SESSION, number)

    def read_clock(self) -> float | None:
        found = self.fetch_one("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)")
        return float(found[0]) if found else None

    def is_campaign_locked(self, campaign: str) -> bool:
        held = self.fetch_one(
            _IS_LOCKED, {"class": self._lock_class(_CAMPAIGN), "object": self._campaign_id(campaign)}
        )
        return bool(held and held[0])

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
        return self._number * 8 + kind

    # Errors

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work in the driver's thread. Raises its errors as ours."""
        if self._loop.is_closed():
            work.close()
            raise LedgerError(f"{self.name}: the connection to the ledger's database is closed")
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except _driver_errors() as error:
            raise explain_error(error, self.name, writing=self._in_transaction) from error


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


class _AdvisoryLock:
    def __init__(self, store: PostgresStore, given: Parameters, query: str) -> None:
        self._store, self._given, self._query = store, given, query

    def release(self) -> None:
        with suppress(LedgerError):  # a lost connection has released it
            self._store.fetch_one(self._query, self._given)


@report_as_unusable()
def open_postgres_store(url: str, *, create: bool) -> tuple[PostgresStore, bool]:
    """The ledger at a URL, checked and of the present version, and whether it was made now (only with
    `create`).

    Raises LedgerError if it cannot be used, MissingExtra if the driver is not installed.
    """
    try:
        _import_driver()
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
        store.fetch_one(f"SELECT pg_advisory_xact_lock({_LEDGERS})")
        version = _read_version(store, create=create)
        if version > len(sql.MIGRATIONS):
            raise LedgerError(f"{store.name} was written by a newer version of mailer", hint="upgrade mailer")
        for statements in sql.MIGRATIONS[version:]:
            for statement in statements:
                if statement is not sql.NORMALIZE_ADDRESSES:  # there was no version 1 in PostgreSQL
                    store.execute(_adapt_definition(statement))
        if not version:
            store.execute(sql.SHARES)
        given = {"version": len(sql.MIGRATIONS), "number": secrets.randbelow(1 << 28)}
        store.execute("UPDATE mailer_ledger SET version = :version" if version else _ADD_IDENTITY, given)
        found = store.fetch_one("SELECT number FROM mailer_ledger")
        store._number = int(found[0]) if found else 0
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
    """A statement of sql.MIGRATIONS for PostgreSQL: 64 bits as in SQLite, and as there no check of
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

    text = _PARAMETER.sub(number, query).replace(sql.LOCK_ROWS, "FOR UPDATE OF m SKIP LOCKED")
    return text, names


def describe_url(url: str) -> str:
    """A ledger's URL without user, password and options."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return "postgresql://..."
    return f"postgresql://{host}{parts.path}"


async def _connect(url: str) -> Any:
    return await _import_driver().connect(
        url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS, server_settings=dict(_SETTINGS)
    )


async def _add_listener(connection: Any, on_lost: Callable[[], None]) -> None:
    connection.add_termination_listener(lambda _connection: on_lost())


def _import_driver() -> Any:
    """asyncpg, which only a ledger in PostgreSQL loads. Raises ImportError if it is not installed."""
    import asyncpg

    return asyncpg


def _count_rows(status: str) -> int:
    """The number of rows in a command's tag, such as "UPDATE 5" and "INSERT 0 5"."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 0


def _driver_errors() -> tuple[type[BaseException], ...]:
    return (_import_driver().PostgresError, *_lost_connection_errors(), TimeoutError, ValueError)


def _lost_connection_errors() -> tuple[type[BaseException], ...]:
    # InternalClientError: a query that is made while the end of the connection is being read.
    return (OSError, _import_driver().InterfaceError, _import_driver().InternalClientError)


@contextmanager
def _as_write_errors() -> Iterator[None]:
    try:
        yield
    except LedgerWriteError:
        raise
    except LedgerError as error:
        raise LedgerWriteError(str(error), hint=error.hint) from error


def explain_error(error: BaseException, name: str, *, writing: bool) -> LedgerError:
    """One line for a person: what the database or the way to it has.

    `writing` says that it was in a transaction.
    """
    kind = LedgerWriteError if writing else LedgerError
    said = " ".join(str(error).split())[:300]
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, TimeoutError) and not said:
        return kind(f"{name}: the ledger's database does not answer")
    if isinstance(error, _lost_connection_errors()) or state.startswith(("08", "57P")):
        return kind(f"{name}: no connection to the ledger's database ({said})", hint=_CONTINUE)
    if state.startswith("53"):  # insufficient resources: disk full, too many connections
        return kind(f"{name}: the ledger's database has no room ({said})", hint=_CONTINUE)
    if state in ("25006", "42501"):
        return kind(
            f"{name}: the ledger cannot be written ({said})", hint="the role needs all rights on its schema"
        )
    if state.startswith("28"):
        return kind(f"{name}: the login to the ledger's database was refused ({said})")
    if isinstance(error, ValueError) and not isinstance(error, _import_driver().PostgresError):
        return kind("the ledger's URL is not valid", hint="postgresql://user:password@host:5432/database")
    return kind(f"{name}: the ledger's database refused a statement ({said})")


_CONTINUE = "the same command continues when the database is there again"
