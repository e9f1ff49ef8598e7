"""The errors of both databases in words: one line that says what to do."""

from __future__ import annotations

import sqlite3
from typing import Any

from mailer.errors import LedgerError, LedgerWriteError

KEEP_LOCAL = "keep the ledger on a local disk: --ledger PATH"
RESTORE = "restore it from a backup; with a new ledger, everyone would get the mail once more"
_CONTINUE = "the same command continues when the database is there again"


def explain_sqlite_error(
    error: sqlite3.Error | UnicodeDecodeError, name: str, *, writing: bool
) -> LedgerError:
    """Return an error of one line for a person: full, read-only, busy, damaged, or what SQLite says in
    `error`.

    `name` is the ledger's. `writing` says that a statement would have changed it. Raises `error` itself if it
    is our own misuse.
    """
    said = " ".join(str(error).split())
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    kind = LedgerWriteError if writing else LedgerError
    if code == sqlite3.SQLITE_FULL:
        return kind(
            f"{name}: the disk is full", hint="make room, then run the same command again: it continues"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return kind(f"{name}: the ledger cannot be written (read-only)")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        no_room = (
            writing or extended == sqlite3.SQLITE_IOERR_SHMSIZE
        )  # the WAL's index is made by readers too
        doing = "written" if no_room else "read"
        hint = "look at the disk's space, the file size limit and the disk itself" if no_room else KEEP_LOCAL
        return kind(f"{name}: the ledger cannot be {doing} ({said})", hint=hint)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return kind(f"{name}: another process keeps the ledger locked")
    if code == sqlite3.SQLITE_NOTADB:
        return LedgerError(f"{name} is not a ledger, or its beginning is damaged", hint=RESTORE)
    if isinstance(error, sqlite3.ProgrammingError):
        raise error  # our own misuse
    return LedgerError(f"{name}: the ledger is damaged ({said})", hint=RESTORE)


def explain_postgres_error(error: BaseException, name: str, *, writing: bool) -> LedgerError:
    """Return an error of one line for a person: what the database or the way to it has, by the driver's
    `error`.

    `name` is the ledger's. `writing` says that it was in a transaction.
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
    if isinstance(error, ValueError) and not isinstance(error, import_driver().PostgresError):
        return kind("the ledger's URL is not valid", hint="postgresql://user:password@host:5432/database")
    return kind(f"{name}: the ledger's database refused a statement ({said})")


def driver_errors() -> tuple[type[BaseException], ...]:
    """What asyncpg raises, and what a lost connection to the database raises."""
    return (import_driver().PostgresError, *_lost_connection_errors(), TimeoutError, ValueError)


def _lost_connection_errors() -> tuple[type[BaseException], ...]:
    # InternalClientError: a query that is made while the end of the connection is being read.
    return (OSError, import_driver().InterfaceError, import_driver().InternalClientError)


def import_driver() -> Any:
    """asyncpg, which only a ledger in PostgreSQL loads. Raises ImportError if it is not installed."""
    import asyncpg

    return asyncpg
