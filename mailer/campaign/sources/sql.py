"""Recipients from a database (extra `sql`): one query, in a read-only transaction, streamed.

SQLite files are opened read-only, which also keeps a misspelt name from making an empty database; PostgreSQL is told
that the transaction is read-only, and sends the rows in portions (a server-side cursor).
"""

from __future__ import annotations

import datetime
import decimal
import logging
import math
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mailer.campaign.model import Recipient, SecretSource
from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources.names import parse_header
from mailer.campaign.sources.rows import PLAIN_RULES, RowRules, recipients_from_cells, select_recipients
from mailer.errors import InputError, MissingExtra, Place, Problem
from mailer.secret import blank_secrets
from mailer.text import make_printable

_PORTION = 1_000


@dataclass(frozen=True, slots=True)
class SqlSource:
    """A query whose rows have a column `email`. `place` is where it stands in the campaign."""

    query: str
    url: SecretSource
    place: Place
    folder: Path
    rules: RowRules = PLAIN_RULES

    def __iter__(self) -> Iterator[Recipient]:
        yield from select_recipients(self._read_rows(), self.rules.where, self.place)

    def fingerprint(self) -> None:
        """A query's rows have none: they can differ the next time."""

    def _read_rows(self) -> Iterator[Recipient]:
        try:
            import sqlalchemy
        except ImportError:
            raise MissingExtra("recipients from SQL need SQLAlchemy", hint="pip install 'mailer[sql]'") from None
        text = self.url.read().reveal()
        try:
            url = sqlalchemy.make_url(text)
            secrets = (text, str(url.password or ""), quote(str(url.password or ""), safe=""))
        except (sqlalchemy.exc.ArgumentError, ValueError):
            raise self._input_error("the database's URL is not one; expected postgresql://user@host/name") from None
        try:
            engine = self._engine(url)
            try:
                with _connect(engine) as connection:
                    yield from self._stream_rows(connection)
            finally:
                engine.dispose()
        except sqlalchemy.exc.NoSuchModuleError:
            raise self._input_error(
                f"SQLAlchemy knows no database {url.drivername!r}; expected sqlite or postgresql"
            ) from None
        except ImportError:
            raise MissingExtra(
                f"the database driver for {url.drivername} is not installed",
                hint="pip install 'mailer[sql]' brings SQLite and PostgreSQL",
            ) from None
        except (sqlalchemy.exc.SQLAlchemyError, _UnsuitableDriver) as error:
            raise self._input_error(blank_secrets(_describe_database_error(error), secrets)) from None

    def _engine(self, url: Any) -> Any:
        import sqlalchemy
        from sqlalchemy.pool import NullPool

        # A cursor that cannot be closed after an error is logged with a traceback, which nobody asked for.
        silent = logging.getLogger("sqlalchemy.pool.impl.NullPool.mailer")
        silent.propagate = False
        silent.addHandler(logging.NullHandler())
        options: dict[str, Any] = {"poolclass": NullPool, "hide_parameters": True, "pool_logging_name": "mailer"}
        if url.get_backend_name() == "sqlite":
            return sqlalchemy.create_engine(url, creator=lambda: self._sqlite(url.database), **options)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+pg8000")  # BSD; psycopg is LGPL, and taken where the URL asks for it
        if url.get_backend_name() != "postgresql":
            raise self._input_error(f"{url.get_backend_name()} is not read; expected sqlite or postgresql")
        if not url.username and url.get_driver_name() == "pg8000":  # libpq would take whoever runs this
            raise self._input_error("the database's URL names no user; expected postgresql://user@host/name")
        return sqlalchemy.create_engine(url, **options)

    def _sqlite(self, database: str | None) -> Any:
        import sqlite3

        if not database or database == ":memory:" or database.startswith("file:"):
            raise self._input_error("expected a file: sqlite:///people.db")
        file = NamedFile(self.folder / database, database, self.place)
        if problem := file.find_problem():
            raise InputError(problem)
        connection = sqlite3.connect(f"file:{quote(os.fspath(file.path))}?mode=ro", uri=True, check_same_thread=False)
        connection.set_authorizer(_deny_attach)
        return connection

    def _stream_rows(self, connection: Any) -> Iterator[Recipient]:
        import sqlalchemy

        if connection.dialect.name == "postgresql":
            connection = connection.execution_options(postgresql_readonly=True)
        connection = connection.execution_options(stream_results=True, yield_per=_PORTION)
        # `text` would take `:name` for a parameter; the query is the user's, as it stands.
        rows = connection.execute(sqlalchemy.text(self.query.replace(":", "\\:")))
        if not rows.returns_rows:
            raise self._input_error("the query gives no rows; expected a SELECT")
        header = parse_header(list(rows.keys()), self.place, self.rules.columns)
        for number, row in enumerate(rows, 1):
            place = Place(f"{self.place}: row ", number)
            yield from recipients_from_cells(header, [_json_value(value) for value in row], place, self.rules)

    def _input_error(self, text: str) -> InputError:
        return InputError(Problem(self.place, text))


class _UnsuitableDriver(Exception):
    """The driver does not take what the URL says."""


def _connect(engine: Any) -> Any:
    """A connection. What stands behind `?` in the URL becomes arguments of the driver, which may know none of them."""
    try:
        return engine.connect()
    except TypeError as error:
        raise _UnsuitableDriver(f"the URL is not for this driver: {error}") from None


def _deny_attach(action: int, *_details: object) -> int:
    """Read-only holds for the file that was opened; ATTACH (and VACUUM INTO, which uses it) would write another."""
    import sqlite3

    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def _json_value(value: object) -> object:
    """What a template sees: JSON's types, and text for what has none."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    return str(value)


def _describe_database_error(error: Exception) -> str:
    """The database's own words, without SQLAlchemy's frame (which repeats the statement and a link)."""
    original = getattr(error, "orig", None) or error
    details = original.args[0] if original.args and isinstance(original.args[0], dict) else None
    text = str(details.get("M", details)) if details is not None else str(original)  # pg8000 gives its fields
    return "the database: " + make_printable(" ".join(text.split()))[:300]
