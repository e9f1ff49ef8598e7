"""Planning: the list becomes rows of the ledger, one a recipient and key.

The list is read into a stage of this connection's own (a temporary table on disk), whatever time that takes; then
one short transaction merges it, so that a campaign which is being sent from the same ledger is not kept waiting. A list
that did not change since is not read again: a resume starts at once.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice

from mailer.campaign.model import Campaign, Recipient
from mailer.delivery.observer import Observer
from mailer.errors import InputError, Place, Problem, RenderError, with_count
from mailer.ledger import Edition, Ledger, rows, sql
from mailer.ledger.store import Store
from mailer.render.compiled import CompiledCampaign
from mailer.templating import ran_out_of_time

SHOWN = 20  # problems of a list: the first ones, and how many more
BATCH = 1000
FORMAT = "1"  # of what planning makes of a list; another number plans every list again


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What planning found. `invalid` and `duplicates` are the first 20, their counts stand beside them.

    `new` rows were added, `removed` ones are no longer in the list, `changed` ones got other columns or another place;
    `unchanged` says that the list was not read at all, being the one that is planned.
    """

    total: int
    new: int = 0
    changed: int = 0
    removed: int = 0
    duplicates: tuple[Problem, ...] = ()
    duplicate_count: int = 0
    invalid: tuple[Problem, ...] = ()
    invalid_count: int = 0
    unchanged: bool = False


def plan(
    ledger: Ledger,
    campaign: Campaign,
    compiled: CompiledCampaign,
    edition: Edition,
    *,
    observer: Observer | None = None,
) -> PlanResult:
    """Writes every recipient of the list once; InputError where it cannot be read, and then nothing is changed.

    Invalid rows are recorded as failed; whether that is an error is for the caller to say. To be called by the
    campaign's holder, after `recover`.
    """
    known = ledger.fetch_one(sql.EDITION_LIST, edition=edition.id)
    fingerprint = _digest(campaign, campaign.recipients.fingerprint())
    if known is not None and fingerprint is not None and known[0] == fingerprint:
        with ledger.transaction() as connection:
            _suppress(connection, edition)
        return _result(ledger, edition, unchanged=True)
    with _stage(ledger) as connection:
        staged = _Staging(ledger.store, campaign, compiled, observer or Observer()).read()
        with ledger.store.reported(writing=True):
            duplicates, count = _merge_duplicates(connection, staged.file)
        fingerprint = fingerprint or _digest(campaign, staged.digest())
        with ledger.transaction():
            new, changed, removed = _merge(connection, edition)
            _suppress(connection, edition)
            given = {"edition": edition.id, "list": fingerprint, "file": staged.file}
            connection.execute(sql.SET_LIST, given)
    ledger.store.shrink()
    return _result(
        ledger,
        edition,
        new=new,
        changed=changed,
        removed=removed,
        duplicates=duplicates,
        duplicate_count=count,
    )


def _digest(campaign: Campaign, fingerprint: str | None) -> str | None:
    """Of all that decides what rows a list gives, keys included."""
    if fingerprint is None:
        return None
    parts = [FORMAT, fingerprint, campaign.key.source if campaign.key else "", dict(campaign.vars)]
    return hashlib.blake2b(json.dumps(parts, default=str, sort_keys=True).encode(), digest_size=16).hexdigest()


@contextmanager
def _stage(ledger: Ledger) -> Iterator[sqlite3.Connection]:
    """An empty stage; it goes when the planning ends, however that is."""
    ledger.commit()
    connection = ledger.store.connection
    with ledger.store.reported(writing=True):
        connection.execute(sql.DROP_STAGE)
        connection.execute(sql.STAGE)
    try:
        yield connection
    finally:
        with suppress(sqlite3.Error):
            connection.execute(sql.DROP_STAGE)


class _Staging:
    def __init__(self, store: Store, campaign: Campaign, compiled: CompiledCampaign, observer: Observer) -> None:
        self._store, self._campaign, self._compiled, self._observer = store, campaign, compiled, observer
        self._digest = hashlib.blake2b(digest_size=16)
        self._invalid: list[Problem] = []
        self._invalid_count = 0
        self.file: str | None = None

    def read(self) -> _Staging:
        """The whole list into the stage, and an index over its keys."""
        numbered = enumerate(self._campaign.recipients, 1)
        with self._store.reported(writing=True):
            self._store.connection.execute("BEGIN")
        try:
            while batch := [self._row(position, row) for position, row in islice(numbered, BATCH)]:
                with self._store.reported(writing=True):
                    self._store.connection.executemany(sql.ADD_STAGED, batch)
                self._observer.planning(batch[-1][0])
            with self._store.reported(writing=True):
                self._store.connection.execute(sql.INDEX_STAGE)
                self._store.connection.execute("COMMIT")
        except BaseException as error:
            self._store.rollback()
            if type(error) is InputError and self._invalid:
                raise self._with_rows(error) from error
            raise
        return self

    def _with_rows(self, error: InputError) -> InputError:
        """The list cannot be read on; what was wrong in it before is told too."""
        before = with_count(self._invalid, self._invalid_count, "more before this")
        return InputError([*before, *error.problems], hint=error.hint)

    def _row(self, position: int, recipient: Recipient) -> tuple[int, str, str, str, str, int, int, str | None]:
        place = recipient.place
        if self.file is None:
            self.file = place.file
        key, problem = self._key(recipient)
        columns = rows.encode(recipient.columns)
        self._digest.update(columns.encode())
        email = rows.escape_surrogates(recipient.email)
        return position, key, email, rows.normalize_address(email), columns, place.line, place.column, problem

    def _key(self, recipient: Recipient) -> tuple[str, str | None]:
        """Key and problem. An invalid row has a key too, so that the report shows it as one that failed."""
        if recipient.problem is None:
            try:
                return rows.escape_surrogates(self._compiled.key(recipient)), None
            except RenderError as error:
                if ran_out_of_time(error):  # it would for everybody
                    raise
                problem = "; ".join(_at_key(problem, recipient) for problem in error.problems)
        else:
            problem = recipient.problem.text
        self._invalid_count += 1
        if len(self._invalid) < SHOWN:
            self._invalid.append(Problem(recipient.place, rows.escape_surrogates(problem)))
        return rows.escape_surrogates(_invalid_key(recipient)), rows.escape_surrogates(problem)

    def digest(self) -> str:
        """Of the rows, for a list that has no digest of its own."""
        return self._digest.hexdigest()


def _at_key(problem: Problem, recipient: Recipient) -> str:
    """What is wrong with a key is kept with the row; where the pattern stands is told with it."""
    if problem.place is None or problem.place == recipient.place:
        return problem.text
    return f"key at {problem.place}: {problem.text}"


def _invalid_key(recipient: Recipient) -> str:
    """Its place, since two wrong rows are two problems: with the column where a line has several rows (JSON, YAML)."""
    place = recipient.place
    where = f"line {place.line}:{place.column}" if place.column else f"line {place.line}"
    return f"{recipient.email.casefold()} ({where})".lstrip()


def _merge_duplicates(connection: sqlite3.Connection, file: str | None) -> tuple[tuple[Problem, ...], int]:
    """The first one counts; the others are taken out, and told."""
    count: int = connection.execute(sql.COUNT_REPEATED).fetchone()[0]
    if not count:
        return (), 0
    found = tuple(
        Problem(
            Place(file or "", line, column),
            f"{key} is there already, at {Place(file or '', first_line, first_column)}; the first one counts",
        )
        for key, line, column, first_line, first_column in connection.execute(sql.REPEATED, {"limit": SHOWN})
    )
    connection.execute(sql.DROP_REPEATED)
    return found, count


def _merge(connection: sqlite3.Connection, edition: Edition) -> tuple[int, int, int]:
    """New, changed and removed. Who was sent to stays as it is; the others become what the list says now."""
    given = {"edition": edition.id}
    before: int = connection.execute(sql.COUNT_MESSAGES, given).fetchone()[0]
    removed = gone = 0
    if before:
        removed = connection.execute(sql.REMOVE, given).rowcount
        gone = connection.execute(sql.FAIL_REMOVED, given).rowcount
        connection.execute(sql.CLOSE_REMOVED, given)
        connection.execute(sql.REOPEN_CORRECTED, given)
    last = connection.execute(sql.LAST_ID).fetchone()[0]
    written = connection.execute(sql.MERGE, {**given, "last": last}).rowcount
    after: int = connection.execute(sql.COUNT_MESSAGES, given).fetchone()[0]
    new = after - (before - removed)
    return new, written - new, removed + gone


def _suppress(connection: sqlite3.Connection, edition: Edition) -> None:
    """Also for a list that did not change: addresses may have been suppressed, or no longer be."""
    given = {"edition": edition.id}
    connection.execute(sql.LIFT_SUPPRESSIONS, given)
    if connection.execute(sql.ANY_SUPPRESSION).fetchone()[0]:
        connection.execute(sql.APPLY_SUPPRESSIONS, given)


def _result(
    ledger: Ledger,
    edition: Edition,
    *,
    new: int = 0,
    changed: int = 0,
    removed: int = 0,
    duplicates: tuple[Problem, ...] = (),
    duplicate_count: int = 0,
    unchanged: bool = False,
) -> PlanResult:
    file = ledger.fetch_value(sql.LIST_FILE, edition=edition.id)
    invalid = ledger.fetch_all(sql.INVALID, edition=edition.id, limit=SHOWN)
    return PlanResult(
        total=ledger.fetch_value(sql.COUNT_MESSAGES, edition=edition.id),
        new=new,
        changed=changed,
        removed=removed,
        duplicates=duplicates,
        duplicate_count=duplicate_count,
        invalid=tuple(Problem(Place(file or "", line, column), error) for line, column, error in invalid),
        invalid_count=ledger.fetch_value(sql.COUNT_INVALID, edition=edition.id) if invalid else 0,
        unchanged=unchanged,
    )
