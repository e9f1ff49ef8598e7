"""The ledger's file: made whole or not at all, checked before it is trusted, and every SQLite error put into
words.

What is SQLite's alone lives here. WAL with `synchronous=FULL`: a commit is one fsync and survives power loss.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path

from mailer.campaign.addresses import normalize_address
from mailer.errors import LedgerError
from mailer.files import sync_folder
from mailer.ledger import lock, sql
from mailer.ledger.database_errors import KEEP_LOCAL, RESTORE, explain_sqlite_error
from mailer.ledger.migrations import MIGRATIONS
from mailer.ledger.ownership import check_ownership
from mailer.ledger.store import CampaignLock, Parameters, Row, report_as_unusable

APPLICATION_ID = 0x4D61_696C  # "Mail": tells our file from any other SQLite database
OLDEST_SQLITE = (3, 35)  # RETURNING, UPDATE FROM and upserts as PostgreSQL has them; 2021
BUSY_SECONDS = 60.0  # another campaign on this ledger merges its list: seconds for a million
SMALL = 32 << 20  # octets up to which the whole check (indexes against rows) costs less than half a second
CACHE_KIB = (
    5_120  # a larger one hardly shortens the merge of a million rows, and memory is not to grow with the list
)
_PARAMETER = re.compile(r":([a-z_]+)")
_SIDE_FILES = ("-wal", "-shm", "-journal")
_ADD_STAGED = f"INSERT INTO planned ({sql.STAGED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - names of our own


class SqliteStore:
    """`Store` in a file of SQLite, or in a nameless temporary file if `path` is None."""

    is_shared = False

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self.connection = connection
        self.path = path
        self._is_frozen = False

    @property
    def name(self) -> str:
        return str(self.path) if self.path else "the temporary ledger"

    def close(self) -> None:
        with suppress(sqlite3.Error):  # a full disk leaves the WAL where it is; the next open reads it
            self.connection.close()

    def watch(self, on_lost: Callable[[], None]) -> None:
        """A file has no connection that could end."""

    # Queries

    def fetch_all(self, query: str, given: Parameters | None = None) -> list[Row]:
        with self._report_errors():
            return self.connection.execute(query, given or {}).fetchall()

    def fetch_one(self, query: str, given: Parameters | None = None) -> Row | None:
        with self._report_errors():
            found: Row | None = self.connection.execute(query, given or {}).fetchone()
        return found

    def execute(self, query: str, given: Parameters | None = None) -> int:
        with self._report_errors():
            return self.connection.execute(query, given or {}).rowcount

    def execute_many(self, query: str, rows: Iterable[Parameters]) -> None:
        text, take_values = _number_parameters(query)
        with self._report_errors():
            self.connection.executemany(text, map(take_values, rows))

    # Transactions

    def begin(self) -> None:
        with self._report_errors(writing=True):
            self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        with self._report_errors(writing=True):
            self.connection.execute("COMMIT")

    def rollback(self) -> None:
        with suppress(sqlite3.Error):
            if self.connection.in_transaction:  # SQLite has rolled back by itself on a full disk
                self.connection.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[SqliteStore]:
        self.begin()
        try:
            yield self
            self.commit()
        except BaseException:
            self.rollback()
            raise

    @contextmanager
    def snapshot(self) -> Iterator[_SqliteSnapshot]:
        if self.path is None or self._is_frozen:
            yield _SqliteSnapshot(self)
            return
        with self._report_errors():
            other = SqliteStore(_connect(self.path), self.path)
        with closing(other):
            other.execute("BEGIN")
            yield _SqliteSnapshot(other)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.execute("BEGIN")
        self._is_frozen = True
        try:
            yield
        finally:
            self._is_frozen = False
            self.rollback()

    # The list that is being read

    @contextmanager
    def stage(self) -> Iterator[None]:
        self.execute(sql.DROP_STAGE)
        self.execute(
            "PRAGMA temp.secure_delete=OFF"
        )  # the stage's file has no name; zeros would be written to it
        self.execute(sql.STAGE)
        self.execute("BEGIN")  # of the temporary database alone: nothing else is locked
        try:
            yield
        finally:
            self.rollback()
            with suppress(sqlite3.Error):
                self.connection.execute(sql.DROP_STAGE)

    def add_staged(self, rows: Sequence[Row]) -> None:
        with self._report_errors(writing=True):
            self.connection.executemany(_ADD_STAGED, rows)

    def index_staged(self) -> None:
        self.execute(sql.INDEX_STAGE)
        self.commit()

    def shrink(self) -> None:
        wait = "PRAGMA busy_timeout={:.0f}".format
        with suppress(sqlite3.Error):
            self.connection.execute(wait(0))  # not for a report in somebody's pager
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.execute(wait(BUSY_SECONDS * 1000))

    def erase_deleted(self) -> None:
        self.execute("VACUUM")  # copies what there is; free pages had the rest
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # The lock on a campaign

    def lock_campaign(self, campaign: str) -> CampaignLock | None:
        if self.path is None:  # a temporary ledger has no other process
            return _NoLock()
        path = lock.lock_path(self.path, campaign)
        try:
            return lock.acquire(path)
        except OSError as error:
            raise LedgerError(f"{path}: the campaign cannot be locked ({error.strerror or error})") from error

    def prepare_alone(self, campaign: str) -> AbstractContextManager[None]:
        return nullcontext()  # the lock on the campaign has no other holder

    def has_other_senders(self, campaign: str) -> bool:
        return False

    def lock_run(self, run: int) -> None:
        """The lock on the campaign says it all."""

    def unlock_run(self, run: int) -> None:
        """There is nothing to unlock."""

    def list_live_runs(self, *, of_others: bool = False) -> list[int]:
        return []

    def read_clock(self) -> float | None:
        return None

    def is_campaign_locked(self, campaign: str) -> bool:
        return self.path is not None and lock.is_locked(lock.lock_path(self.path, campaign))

    @contextmanager
    def _report_errors(self, *, writing: bool = False) -> Iterator[None]:
        """Raise SQLite's errors as ours."""
        writing = writing or self.connection.in_transaction
        try:
            yield
        except (
            sqlite3.Error,
            UnicodeDecodeError,
        ) as error:  # the latter: sqlite3 decodes what is damaged, too
            raise explain_sqlite_error(error, self.name, writing=writing and not self._is_frozen) from error


@lru_cache(maxsize=64)
def _number_parameters(query: str) -> tuple[str, Callable[[Parameters], Row]]:
    """Return a statement with `?` for each named parameter, and what takes their values from a row.

    Python binds a dozen values by position in a third of the time that it needs to bind them by name.
    """
    names = _PARAMETER.findall(query)
    return _PARAMETER.sub("?", query), lambda row: tuple([row[name] for name in names])


class _SqliteSnapshot:
    """The `SnapshotReader` of a connection that is in a transaction."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def stream(self, query: str, given: Parameters) -> Iterator[Row]:
        try:
            yield from self._store.connection.execute(query, given)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise explain_sqlite_error(error, self._store.name, writing=False) from error


class _NoLock:
    def release(self) -> None:
        """There is no other process to tell."""


@report_as_unusable()
def open_store(path: Path, *, create: bool) -> SqliteStore:
    """The ledger at `path`, checked and of the present version; a new one with `create`."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise LedgerError(f"SQLite {sqlite3.sqlite_version} is too old: the ledger needs 3.35 or newer")
    path = Path(os.path.abspath(path))
    with _report_os_errors(path):
        if create and not os.path.lexists(path):
            create_file(path)
        _check_files(path)
    store = SqliteStore(_open_connection(path), path)
    try:
        with store._report_errors():
            _check_identity(store)
            _migrate(store)
            _check_integrity(store)
    except BaseException:
        store.close()
        raise
    return store


def open_temporary_store() -> SqliteStore:
    """A ledger on disk that has no name and goes when it is closed."""
    store = SqliteStore(_connect(""), None)
    with store._report_errors(writing=True):
        store.connection.execute("PRAGMA synchronous=OFF")
        _migrate(store)
    return store


def _open_connection(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise explain_sqlite_error(error, str(path), writing=False) from error


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA temp_store=FILE")  # the stage of a long list must not be memory
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit={SMALL}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _report_os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LedgerError(f"{path}: the ledger cannot be used ({error.strerror or error})") from error


def create_file(path: Path) -> None:
    """Create an empty ledger at `path`, unless there is one.

    It appears under its name whole: a file that is empty there is one that lost its contents. Raises LedgerError.
    """
    _create_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # 0600
    os.close(handle)
    try:
        with closing(_open_connection(Path(name))) as connection:
            store = SqliteStore(connection, path)  # as errors name it
            with store._report_errors(writing=True):
                connection.execute("PRAGMA journal_mode=WAL")
                _migrate(store)
        with suppress(FileExistsError):  # another process was first: theirs is as good
            _link_into_place(name, path)
    finally:
        for suffix in ("", *_SIDE_FILES):
            with suppress(FileNotFoundError):
                os.unlink(name + suffix)
    sync_folder(path.parent)


def _link_into_place(name: str, path: Path) -> None:
    """Under a name that nothing has; FileExistsError where something does."""
    try:
        os.link(name, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: the name is taken first, then filled
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        os.replace(name, path)


def _create_folder(folder: Path) -> None:
    if folder.exists():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.name == ".mailer":  # people's addresses are not for a repository
        (folder / ".gitignore").write_text("*\n", encoding="ascii")


def _check_files(path: Path) -> None:
    """Without opening: a descriptor closed here would drop the locks that this process has on the file
    (fcntl(2)).
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise LedgerError(f"{path}: there is no ledger", hint="`mailer send` makes it") from None
    for name in (str(path), *(f"{path}{suffix}" for suffix in _SIDE_FILES)):
        if os.path.islink(name):
            raise LedgerError(f"{name} is a symbolic link", hint="the ledger is never followed through one")
    if not stat.S_ISREG(found.st_mode):
        raise LedgerError(f"{path} is not a regular file")
    if not found.st_size:
        raise LedgerError(f"{path} is empty: not a ledger, or one that lost its contents", hint=RESTORE)
    check_ownership(path, found, LedgerError)
    check_ownership(path.parent, path.parent.stat(), LedgerError)
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        raise LedgerError(f"{path}: the ledger and its folder must be readable and writable")
    for file in (path, *(Path(f"{path}{suffix}") for suffix in _SIDE_FILES)):
        with suppress(FileNotFoundError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def _check_identity(store: SqliteStore) -> None:
    read = store.connection.execute
    if read("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerError(f"{store.name} is a database of another program, not a ledger")
    if read("PRAGMA user_version").fetchone()[0] > len(MIGRATIONS):
        raise LedgerError(f"{store.name} was written by a newer version of mailer", hint="upgrade mailer")
    if (mode := read("PRAGMA journal_mode=WAL").fetchone()[0]) != "wal":
        raise LedgerError(
            f"{store.name}: this file system gives no write-ahead log ({mode})", hint=KEEP_LOCAL
        )


def _check_integrity(store: SqliteStore) -> None:
    """Structure, NOT NULL and CHECK (a second for a million rows); in a small file indexes against rows as
    well.
    """
    pages, size = (
        store.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    check = "integrity_check" if pages * size <= SMALL else "quick_check"
    found = store.connection.execute(f"PRAGMA {check}(1)").fetchone()[0]
    if found != "ok":
        raise LedgerError(f"{store.name}: the ledger is damaged ({' '.join(found.split())})", hint=RESTORE)


def _migrate(store: SqliteStore) -> None:
    if _read_version(store) == len(MIGRATIONS):
        return
    store.connection.create_function("normalize_address", 1, normalize_address, deterministic=True)
    store.connection.create_function("is_old_key", 2, _is_old_key, deterministic=True)
    with store.transaction():
        for statements in MIGRATIONS[_read_version(store) :]:
            for statement in statements:
                store.execute(statement)
        store.execute(f"PRAGMA application_id={APPLICATION_ID}")
        store.execute(f"PRAGMA user_version={len(MIGRATIONS)}")


def _is_old_key(key: str, email: str) -> bool:
    """Whether `key` is what version 1 made of `email`, and version 2 makes another one."""
    return not email.isascii() and key == email.casefold() != normalize_address(email)


def _read_version(store: SqliteStore) -> int:
    version: int = store.connection.execute("PRAGMA user_version").fetchone()[0]
    return version
