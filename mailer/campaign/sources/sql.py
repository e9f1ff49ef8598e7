"""Recipients from a database: one statement, in a read-only transaction, streamed.

SQLite files are opened read-only, and an authorizer refuses everything but reading tables. PostgreSQL (extra
`sql`) gets each statement by the extended protocol, whose Parse message takes only one, and makes a cursor of
the query, which it refuses for anything but a SELECT. A SELECT may still call functions that do more, if the
database's role may call them: only a role that may do nothing but SELECT is a boundary.
"""

from __future__ import annotations

import os
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from mailer.campaign.model import Recipient, SecretSource
from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources.names import parse_header
from mailer.campaign.sources.rows import (
    PLAIN_RULES,
    RowRules,
    recipients_from_cells,
    select_recipients,
    to_json_value,
)
from mailer.dataclass import dataclass
from mailer.errors import InputError, MissingExtra, Place, Problem
from mailer.secret import blank_secrets
from mailer.text import make_printable, shorten, shorten_quotes

if TYPE_CHECKING:
    import sqlite3

PORTION = 1_000  # rows
PORTION_SECONDS = 60.0  # for each portion, in the database
CONNECT_SECONDS = 30
MAX_CELL = 1_000_000  # octets
MAX_QUOTED = 20  # characters of a value in a message of the database

_SCHEMES = ("postgresql", "postgres", "postgresql+pg8000")
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"})
# libpq's words for TLS. `require` encrypts without a look at the certificate, as libpq does.
_TLS_MODES = ("disable", "require", "verify-ca", "verify-full")


class _DatabaseError(Exception):
    """The database, or its driver, said no; `str()` is its reason."""


@dataclass(frozen=True, slots=True)
class SqlSource:
    """A query whose rows have a column with the address. `place` is the query's in the campaign file."""

    query: str
    url: SecretSource
    place: Place
    folder: Path
    rules: RowRules = PLAIN_RULES

    def __iter__(self) -> Iterator[Recipient]:
        yield from select_recipients(self._read(), self.rules.where, self.place)

    def fingerprint(self) -> None:
        """Return None: a query's rows can differ the next time."""

    def _read(self) -> Iterator[Recipient]:
        url = self.url.read().reveal()
        try:
            parts = urlsplit(url)
            password = unquote(parts.password or "")
            _ = parts.port  # ValueError if it is not a number
        except ValueError:
            raise self._input_error(
                "the database's URL is not one; expected postgresql://user@host/name"
            ) from None
        try:
            with closing(self._read_portions(parts)) as portions:
                yield from self._make_recipients(portions)
        except _DatabaseError as error:
            text = blank_secrets(str(error), (url, password, parts.password or ""))
            raise self._input_error(
                f"the database: {shorten(shorten_quotes(make_printable(text), MAX_QUOTED), 300)}"
            ) from None

    def _read_portions(self, parts: SplitResult) -> Any:
        if parts.scheme == "sqlite":
            return _read_sqlite(self._locate_sqlite(parts), self.query)
        if parts.scheme in _SCHEMES:
            if not parts.username:  # libpq would use the name of the user who runs this
                raise self._input_error(
                    "the database's URL names no user; expected postgresql://user@host/name"
                )
            return _read_postgresql(parts, self.query)
        if not parts.scheme or "://" not in parts.geturl():
            raise self._input_error("the database's URL is not one; expected postgresql://user@host/name")
        expected = "expected sqlite:///FILE or postgresql://user@host/name"
        raise self._input_error(f"{shorten(make_printable(parts.scheme), 20)} is not read; {expected}")

    def _make_recipients(
        self, portions: Iterator[tuple[list[str], Sequence[Sequence[object]]]]
    ) -> Iterator[Recipient]:
        header, number = None, 0
        for names, rows in portions:
            if header is None:
                header = parse_header(names, self.place, self.rules.columns)
            for row in rows:
                number += 1
                place = Place(f"{self.place}: row ", number)
                yield from recipients_from_cells(
                    header, [to_json_value(value) for value in row], place, self.rules
                )

    def _locate_sqlite(self, parts: SplitResult) -> NamedFile:
        name = unquote(parts.path).removeprefix("/")
        if parts.netloc or not name or name == ":memory:" or name.startswith("file:") or "\0" in name:
            raise self._input_error("expected a file: sqlite:///people.db")
        file = NamedFile(self.folder / name, make_printable(name), self.place)
        if problem := file.find_problem():
            raise InputError(problem)
        return file

    def _input_error(self, text: str) -> InputError:
        return InputError(Problem(self.place, f"recipients: {text}"))


def _read_sqlite(file: NamedFile, query: str) -> Iterator[tuple[list[str], Sequence[Sequence[object]]]]:
    """Yield the names of the columns with each portion of the rows."""
    import sqlite3

    try:
        # A reader in another thread is this one later: the caller never uses it from two at the same time.
        url = f"file:{quote(os.fspath(file.path))}?mode=ro"
        with closing(sqlite3.connect(url, uri=True, check_same_thread=False)) as connection:
            deadline = _Deadline()
            _restrict_sqlite(connection, deadline)
            deadline.start()
            cursor = connection.execute(query)
            if cursor.description is None:
                raise _DatabaseError("the query gives no rows; expected a SELECT")
            names = [column[0] for column in cursor.description]
            while rows := cursor.fetchmany(PORTION):
                yield names, rows
                deadline.start()
            yield names, ()
    except (sqlite3.Error, sqlite3.Warning) as error:
        text = (
            f"the query took longer than {PORTION_SECONDS:g} s" if "interrupted" in str(error) else str(error)
        )
        raise _DatabaseError(text) from None


def _restrict_sqlite(connection: sqlite3.Connection, deadline: _Deadline) -> None:
    import sqlite3

    allowed = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}

    def authorize(action: int, _one: str | None, name: str | None, *_rest: object) -> int:
        is_function = action == sqlite3.SQLITE_FUNCTION and (name or "").lower() not in _FORBIDDEN_FUNCTIONS
        return sqlite3.SQLITE_OK if action in allowed or is_function else sqlite3.SQLITE_DENY

    connection.execute("pragma query_only = on")
    connection.execute("pragma trusted_schema = off")  # functions that a view calls
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CELL)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(authorize)
    connection.set_progress_handler(deadline.is_over, 10_000)


class _Deadline:
    """The time until which the database may work on the current portion."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._end = time.monotonic() + PORTION_SECONDS

    def is_over(self) -> bool:
        return time.monotonic() > self._end


def _read_postgresql(
    parts: SplitResult, query: str
) -> Iterator[tuple[list[str], Sequence[Sequence[object]]]]:
    """Yield the names of the columns with each portion of the rows.

    Every statement goes by the extended protocol.
    """
    try:
        import pg8000.exceptions
        import pg8000.legacy
    except ImportError:
        raise MissingExtra(
            "recipients from PostgreSQL need pg8000", hint="pip install 'mailer[sql]'"
        ) from None
    try:
        with closing(pg8000.legacy.Connection(**_connection_arguments(parts))) as connection:
            connection.execute_unnamed("begin transaction read only")
            connection.execute_unnamed(f"set local statement_timeout = {int(PORTION_SECONDS * 1000)}")
            connection.execute_unnamed("declare mailer_rows no scroll cursor for " + query)
            names: list[str] = []
            while True:
                portion = connection.execute_unnamed(f"fetch {PORTION} from mailer_rows")
                names = [column["name"] for column in portion.columns]
                yield names, portion.rows
                if len(portion.rows) < PORTION:
                    break
            with suppress(pg8000.exceptions.Error, OSError):  # nothing was written
                connection.execute_unnamed("rollback")
    except (pg8000.exceptions.Error, OSError, TypeError, ValueError, IndexError, struct.error) as error:
        raise _DatabaseError(_describe_postgresql_error(error)) from None


def _connection_arguments(parts: SplitResult) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password) if parts.password is not None else None,
        "host": parts.hostname or "localhost",
        "port": parts.port or 5432,
        "database": unquote(parts.path.removeprefix("/")) or None,
        "timeout": CONNECT_SECONDS + PORTION_SECONDS,
        "application_name": "mailer",
    }
    for name, value in parse_qsl(parts.query):
        if name == "sslmode" and value in _TLS_MODES:
            arguments["ssl_context"] = _tls_context(value)
        elif name == "host" and value.startswith("/"):
            arguments["unix_sock"] = f"{value}/.s.PGSQL.{arguments['port']}"
        elif name == "application_name":
            arguments["application_name"] = value
        else:
            known = f"sslmode ({', '.join(_TLS_MODES)}), host=/FOLDER and application_name"
            raise _DatabaseError(f"the URL has a parameter that is not known; expected {known}")
    return arguments


def _tls_context(mode: str) -> ssl.SSLContext | None:
    if mode == "disable":
        return None
    context = ssl.create_default_context()
    if mode != "verify-full":
        context.check_hostname = False
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context


def _describe_postgresql_error(error: Exception) -> str:
    """Return the server's own words (pg8000 gives the fields of its message), or the driver's."""
    details = error.args[0] if error.args and isinstance(error.args[0], dict) else None
    text = str(details.get("M", details)) if details is not None else str(error)
    if details is not None and details.get("C") == "57014":  # query_canceled
        return f"the query took longer than {PORTION_SECONDS:g} s"
    text = text.partition(" (timeout is ")[0]  # of "Can't create a connection to host …"
    return text.replace("cannot insert multiple commands into a prepared statement", "expected one statement")
