"""The list of recipients in a database on the disk: written by one process as it reads the list, read by
another.

A page of rows, a search and a jump cost the same whether the list has a hundred rows or a million, and none
of them reads the list.
"""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mailer.campaign import Recipient, RecipientSource
from mailer.dataclass import dataclass
from mailer.errors import Place, Problem
from mailer.ledger.rows import encode_columns, escape_surrogates
from mailer.text import make_printable

PAGE = 100  # rows of one page
BATCH = 500  # rows that are written together
MAX_SEARCHED = 2_000  # characters of a row that a search looks at

_SCHEMA = """
create table rows (
  position integer primary key, email text, name text, columns text, filled integer, length integer,
  file text, line integer, column integer, problem text, searched text
);
create index by_filled on rows (filled, position);
create index by_length on rows (length, position);
create index by_problem on rows (position) where problem is not null;
create table state (is_complete integer);
insert into state values (0);
"""
_NAMES = ("name", "full_name", "fullname", "first_name", "first", "firstname", "vorname", "prenom", "nombre")


@dataclass(frozen=True, slots=True)
class IndexPage:
    """Rows of the list: position, address, name, and whether the row itself has a problem.

    `has_more` follow.
    """

    rows: list[tuple[int, str, str, bool]]
    has_more: bool


def write_index(path: Path, recipients: RecipientSource) -> None:
    """Read the whole list into a new database at `path`. InputError: the list cannot be read to its end."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=off")
        database.executescript(_SCHEMA)
        numbered = enumerate(recipients)
        for batch in _make_batches(numbered):
            database.execute("begin")
            database.executemany("insert into rows values (?,?,?,?,?,?,?,?,?,?,?)", batch)
            database.execute("commit")
        database.execute("update state set is_complete = 1")
    finally:
        database.close()


def _make_batches(numbered: Iterator[tuple[int, Recipient]]) -> Iterator[list[tuple[object, ...]]]:
    # The first batch is small, so that the page has something to show at once.
    batch: list[tuple[object, ...]] = []
    size = 20
    for position, recipient in numbered:
        batch.append(_encode_row(position, recipient))
        if len(batch) >= size:
            yield batch
            batch, size = [], BATCH
    if batch:
        yield batch


def _encode_row(position: int, recipient: Recipient) -> tuple[object, ...]:
    columns = recipient.columns
    name = _find_name(recipient)
    filled = sum(1 for value in columns.values() if value not in (None, ""))
    texts = [
        recipient.email,
        name,
        *(str(value) for value in columns.values() if isinstance(value, str | int | float)),
    ]
    searched = escape_surrogates("\n".join(texts)[:MAX_SEARCHED].casefold())
    place, problem = recipient.place, recipient.problem
    try:
        stored = encode_columns({"columns": dict(columns), "nulls": list(recipient.nulls)})
    except ValueError as error:
        stored, problem = '{"columns": {}, "nulls": []}', problem or Problem(place, str(error))
    reason = (
        None
        if problem is None
        else json.dumps([_encode_place(problem.place), escape_surrogates(problem.text)])
    )
    shown = (escape_surrogates(recipient.email), escape_surrogates(name))
    where = (escape_surrogates(place.file), place.line, place.column)
    return (position, *shown, stored, filled, len(name), *where, reason, searched)


def _find_name(recipient: Recipient) -> str:
    """Return the name to show beside the address.

    It is in a column that usually has it; else it is the first text that is not the address.
    """
    columns = {key.lower().replace(" ", "_"): value for key, value in recipient.columns.items()}
    for key in _NAMES:
        if isinstance(value := columns.get(key), str) and value:
            return value[:200]
    texts = (value for value in recipient.columns.values() if isinstance(value, str) and value)
    return next((text[:200] for text in texts if text != recipient.email), "")


def _encode_place(place: Place | None) -> list[object] | None:
    return None if place is None else [escape_surrogates(place.file), place.line, place.column]


class RecipientIndex:
    """A list's rows, as far as they have been read. Safe for several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def count(self) -> int:
        """Return how many rows have been read."""
        found = self._fetch_all("select max(position) from rows")
        return found[0][0] + 1 if found and found[0][0] is not None else 0

    def is_complete(self) -> bool:
        """Return whether the whole list has been read."""
        return self._fetch_all("select is_complete from state") == [(1,)]

    def read_page(self, find: str, start: int, *, backwards: bool = False) -> IndexPage:
        """Return the first PAGE rows from position `start` on that contain `find`.

        With `backwards`, return the last ones before `start`.
        """
        compared, order = ("<", "desc") if backwards else (">=", "asc")
        condition = "and instr(searched, ?)" if find else ""
        given = [start, escape_surrogates(find.casefold())] if find else [start]
        found = self._fetch_all(
            "select position, email, name, problem is not null from rows "  # noqa: S608 - no outside text in it
            f"where position {compared} ? {condition} order by position {order} limit {PAGE + 1}",
            *given,
        )
        rows = [
            (position, make_printable(email), make_printable(name), bool(wrong))
            for position, email, name, wrong in found[:PAGE]
        ]
        return IndexPage(rows[::-1] if backwards else rows, len(found) > PAGE)

    def read_recipients(self, start: int, limit: int) -> list[tuple[int, Recipient]]:
        """Return the rows from position `start` on as recipients, at most `limit`."""
        found = self._fetch_all(
            "select position, email, columns, file, line, column, problem from rows where position >= ? "
            "order by position limit ?",
            start,
            limit,
        )
        return [(row[0], _decode_row(row)) for row in found]

    def find_longest_name(self) -> int | None:
        """Return the position of the recipient with the longest name."""
        return self._find_position("select position from rows order by length desc, position limit 1")

    def find_fewest_columns(self) -> int | None:
        """Return the position of the recipient with the fewest columns that hold something."""
        return self._find_position("select position from rows order by filled, position limit 1")

    def find_problem(self, start: int) -> int | None:
        """Return the position of the first row from `start` on that has a problem of its own."""
        query = (
            "select position from rows where problem is not null and position >= ? order by position limit 1"
        )
        return self._find_position(query, start)

    def find_random(self, chance: random.Random) -> int | None:
        """Return the position of a recipient that `chance` chooses; None if the list is empty."""
        count = self.count()
        return chance.randrange(count) if count else None

    def _find_position(self, query: str, *given: object) -> int | None:
        found = self._fetch_all(query, *given)
        return found[0][0] if found else None

    def _fetch_all(self, query: str, *given: object) -> list[Any]:
        """Return the rows of a query; an empty list until the other process has made the tables."""
        with self._lock:
            try:
                if self._database is None:
                    uri = f"{self._path.absolute().as_uri()}?mode=ro"
                    self._database = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=5)
                return self._database.execute(query, given).fetchall()
            except sqlite3.OperationalError:
                return []


def _decode_row(row: tuple[Any, ...]) -> Recipient:
    _position, email, columns, file, line, column, problem = row
    reason = None
    if problem is not None:
        where, text = json.loads(problem)
        reason = Problem(None if where is None else Place(*where), text)
    stored = json.loads(columns)
    return Recipient(email, stored["columns"], Place(file, line, column), reason, tuple(stored["nulls"]))
