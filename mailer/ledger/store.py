"""The ledger's file: made whole or not at all, checked before it is trusted, and every SQLite error put into words.

What is SQLite's alone lives here. WAL with `synchronous=FULL`: a commit is one fsync and survives power loss.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from mailer.errors import LedgerError, LedgerWriteError
from mailer.ledger.sql import MIGRATIONS

APPLICATION_ID = 0x4D61_696C  # "Mail": tells our file from any other SQLite database
OLDEST_SQLITE = (3, 35)  # RETURNING, UPDATE FROM and upserts as PostgreSQL has them; 2021
BUSY_SECONDS = 60.0  # another campaign on this ledger merges its list: seconds for a million
SMALL = 32 << 20  # octets up to which the whole check (indexes against rows) costs less than half a second
CACHE_KIB = 5_120  # a larger one hardly shortens the merge of a million rows, and memory is not to grow with the list
_SIDE_FILES = ("-wal", "-shm", "-journal")
_LOCAL = "keep the ledger on a local disk: --ledger PATH"
_RESTORE = "restore it from a backup; with a new ledger, everyone would get the mail once more"


class Store:
    """One connection. `transaction` is for writing; reading needs none. Not for two threads at once."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self.connection = connection
        self.path = path
        self._frozen = False

    @property
    def name(self) -> str:
        return str(self.path) if self.path else "the temporary ledger"

    def close(self) -> None:
        with suppress(sqlite3.Error):  # a full disk leaves the WAL where it is; the next open reads it
            self.connection.close()

    def begin(self) -> None:
        with self.reported(writing=True):
            self.connection.execute("BEGIN IMMEDIATE")

    def rollback(self) -> None:
        with suppress(sqlite3.Error):
            if self.connection.in_transaction:  # SQLite has rolled back by itself on a full disk
                self.connection.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. LedgerWriteError where the file cannot take it."""
        try:
            self.begin()
            yield self.connection
            with self.reported(writing=True):
                self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self.rollback()
            raise explain_error(error, self.name, writing=True) from error
        except BaseException:
            self.rollback()
            raise

    @contextmanager
    def reported(self, *, writing: bool = False) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: sqlite3 decodes what is damaged, too
            raise explain_error(error, self.name, writing=writing) from error

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the ledger as it is now, whatever is written meanwhile."""
        if self.path is None or self._frozen:
            yield self.connection
            return
        with self.reported(), closing(_connect(self.path)) as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """All that is read meanwhile, snapshots too, is of one moment; nothing can be written."""
        with self.reported():
            self.connection.execute("BEGIN")
        self._frozen = True
        try:
            yield
        finally:
            self._frozen = False
            self.rollback()

    def shrink(self) -> None:
        """Gives a WAL that grew with a long list back to the disk, unless somebody reads it."""
        wait = "PRAGMA busy_timeout={:.0f}".format
        with suppress(sqlite3.Error):
            self.connection.execute(wait(0))  # not for a report in somebody's pager
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.execute(wait(BUSY_SECONDS * 1000))


def explain_error(error: sqlite3.Error | UnicodeDecodeError, name: str, *, writing: bool) -> LedgerError:
    """One line for a person: full, read-only, busy, damaged, or what SQLite says."""
    said = " ".join(str(error).split())
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    kind = LedgerWriteError if writing else LedgerError
    if code == sqlite3.SQLITE_FULL:
        return kind(f"{name}: the disk is full", hint="make room, then run the same command again: it goes on")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return kind(f"{name}: the ledger cannot be written (read-only)")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        no_room = writing or extended == sqlite3.SQLITE_IOERR_SHMSIZE  # the WAL's index is made by readers too
        doing = "written" if no_room else "read"
        hint = "look at the disk's space, the file size limit and the disk itself" if no_room else _LOCAL
        return kind(f"{name}: the ledger cannot be {doing} ({said})", hint=hint)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return kind(f"{name}: another process keeps the ledger locked")
    if code == sqlite3.SQLITE_NOTADB:
        return LedgerError(f"{name} is not a ledger, or its beginning is damaged", hint=_RESTORE)
    if isinstance(error, sqlite3.ProgrammingError):
        raise error  # our own misuse
    return LedgerError(f"{name}: the ledger is damaged ({said})", hint=_RESTORE)


@contextmanager
def report_as_unusable() -> Iterator[None]:
    """Before the first message, a ledger that cannot be written is unusable; "not any more" is for what comes after."""
    try:
        yield
    except LedgerWriteError as error:
        raise LedgerError(str(error), hint=error.hint) from error


@report_as_unusable()
def open_store(path: Path, *, create: bool) -> Store:
    """The ledger at `path`, checked and of the present version; a new one with `create`."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise LedgerError(f"SQLite {sqlite3.sqlite_version} is too old: the ledger needs 3.35 or newer")
    path = Path(os.path.abspath(path))
    with _reported_files(path):
        if create and not os.path.lexists(path):
            _make(path)
        _check_files(path)
    store = Store(_opened(path), path)
    try:
        with store.reported():
            _check_ours(store)
            _migrate(store)
            _check_whole(store)
    except BaseException:
        store.close()
        raise
    return store


def temporary_store() -> Store:
    """A ledger on disk that has no name and goes when it is closed."""
    store = Store(_connect(""), None)
    with store.reported(writing=True):
        store.connection.execute("PRAGMA synchronous=OFF")
        _migrate(store)
    return store


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise explain_error(error, str(path), writing=False) from error


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
def _reported_files(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LedgerError(f"{path}: the ledger cannot be used ({error.strerror or error})") from error


def _make(path: Path) -> None:
    """A new ledger appears under its name whole: a file that is empty there is one that lost its contents."""
    _make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # 0600
    os.close(handle)
    try:
        with closing(_opened(Path(name))) as connection:
            store = Store(connection, path)  # as errors name it
            with store.reported(writing=True):
                connection.execute("PRAGMA journal_mode=WAL")
                _migrate(store)
        with suppress(FileExistsError):  # another process was first: theirs is as good
            _appear(name, path)
    finally:
        for suffix in ("", *_SIDE_FILES):
            with suppress(FileNotFoundError):
                os.unlink(name + suffix)
    _sync_folder(path.parent)


def _appear(name: str, path: Path) -> None:
    """Under a name that nothing has; FileExistsError where something does."""
    try:
        os.link(name, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: the name is taken first, then filled
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        os.replace(name, path)


def _make_folder(folder: Path) -> None:
    if folder.exists():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.name == ".mailer":  # people's addresses are not for a repository
        (folder / ".gitignore").write_text("*\n", encoding="ascii")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_files(path: Path) -> None:
    """Without opening: a descriptor closed here would drop the locks that this process has on the file (fcntl(2))."""
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
        raise LedgerError(f"{path} is empty: not a ledger, or one that lost its contents", hint=_RESTORE)
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        raise LedgerError(f"{path}: the ledger and its folder must be readable and writable")
    for file in (path, *(Path(f"{path}{suffix}") for suffix in _SIDE_FILES)):
        with suppress(FileNotFoundError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def _check_ours(store: Store) -> None:
    read = store.connection.execute
    if read("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerError(f"{store.name} is a database of another program, not a ledger")
    if read("PRAGMA user_version").fetchone()[0] > len(MIGRATIONS):
        raise LedgerError(f"{store.name} was written by a newer version of mailer", hint="upgrade mailer")
    if (mode := read("PRAGMA journal_mode=WAL").fetchone()[0]) != "wal":
        raise LedgerError(f"{store.name}: this file system gives no write-ahead log ({mode})", hint=_LOCAL)


def _check_whole(store: Store) -> None:
    """Structure, NOT NULL and CHECK (a second for a million rows); in a small file indexes against rows as well."""
    pages, size = (store.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    check = "integrity_check" if pages * size <= SMALL else "quick_check"
    found = store.connection.execute(f"PRAGMA {check}(1)").fetchone()[0]
    if found != "ok":
        raise LedgerError(f"{store.name}: the ledger is damaged ({' '.join(found.split())})", hint=_RESTORE)


def _migrate(store: Store) -> None:
    if _version(store) == len(MIGRATIONS):
        return
    with store.transaction() as connection:
        for statements in MIGRATIONS[_version(store) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")


def _version(store: Store) -> int:
    version: int = store.connection.execute("PRAGMA user_version").fetchone()[0]
    return version
