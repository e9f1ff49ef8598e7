"""From a list to rows of the ledger; how preflight and the renderer see these rows.

A list is read into a stage: a temporary table of this connection alone, which locks nothing, however long the
reading takes. Short transactions then merge the stage into the messages:

    with stage_list(ledger, edition) as stage:
        stage.add(batch)                     # for every batch of rows
        stage.drop_repeated(limit=20)
        merged = stage.merge(edition, digest=digest, file="people.csv")
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mailer.campaign.model import Recipient
from mailer.campaign.stored import StoredRecipient
from mailer.ledger import rows, sql
from mailer.ledger.forgetting import find_forgotten
from mailer.ledger.ledger import Ledger
from mailer.ledger.records import Edition
from mailer.ledger.store import Store

PAGE = 500
UPCOMING_PAGE = 48  # messages
MAX_UPCOMING_SIZE = 16 * 1024  # characters of the columns in such a page: it goes through a pipe
SLICE = 20_000  # rows that one transaction merges: in a quarter of a second or so


class StagedRow(NamedTuple):
    """A recipient of the list that is being read.

    `columns` is JSON; `problem` says why it cannot be sent to.
    """

    position: int
    key: str
    email: str
    address: str
    columns: str
    line: int
    column_no: int
    problem: str | None


class Repeated(NamedTuple):
    """A row whose key another row has already. Lines and columns count from 1, 0 is not known."""

    key: str
    line: int
    column: int
    first_line: int
    first_column: int


class Merged(NamedTuple):
    """What a merge did: rows that are new, that got other columns or another place, that are no longer in the
    list. `key_changed` counts recipients who have the message under a key that is not in the list any more.
    """

    new: int
    changed: int
    removed: int
    key_changed: int = 0


NOTHING_MERGED = Merged(0, 0, 0)


class PlannedList(NamedTuple):
    """The list of an edition: its digest, its file's name, the mark of the last preflight.

    None is "not yet".
    """

    digest: str | None
    file: str | None
    preflight: str | None


class InvalidRow(NamedTuple):
    """A recipient that cannot be sent to, and why."""

    line: int
    column: int
    error: str


class MessageGroup(NamedTuple):
    """Messages of one status of the ledger, and of one cause if they failed.

    With `only_new`, they are those that are new or changed since the last preflight.
    """

    status: str
    cause: str | None = None
    only_new: bool = False


class UncheckedMessage(NamedTuple):
    """A message that preflight has to render."""

    id: int
    recipient: Recipient


class UncheckedRow(NamedTuple):
    """The row of a message that preflight has to render. `columns` is JSON."""

    id: int
    email: str
    columns: str
    line: int
    column: int
    file: str | None

    def parse(self) -> UncheckedMessage:
        """Return the message. Raises ValueError if the row is damaged."""
        id_, email, columns, line, column, file = self
        return UncheckedMessage(id_, StoredRecipient(email, columns, line, column, file).parse())


class Stage:
    """The list that is being read. See the module's head."""

    def __init__(self, ledger: Ledger, edition: Edition) -> None:
        """Begin with no row. `stage_list` makes it, for the list of `edition`."""
        self._ledger = ledger
        self._store: Store = ledger.store
        self._is_forgotten = find_forgotten(ledger, edition)

    def add(self, batch: Sequence[StagedRow]) -> None:
        """Append the rows of `batch` to the stage, without those of persons whose data was removed (`mailer
        forget`).

        Raises LedgerWriteError if the disk is full.
        """
        is_forgotten = self._is_forgotten
        self._store.add_staged(
            batch if is_forgotten is None else [row for row in batch if not is_forgotten(row.address)]
        )

    def drop_repeated(self, *, limit: int) -> tuple[list[Repeated], int]:
        """Remove rows whose key an earlier row has. Returns the first `limit` of them and the number of all.

        To be called once, after the last `add` and before `merge`.
        """
        self._store.index_staged()
        count: int = fetch_value(self._store, sql.COUNT_REPEATED)
        if not count:
            return [], 0
        found = [Repeated(*row) for row in self._store.fetch_all(sql.REPEATED, {"limit": limit})]
        self._store.execute(sql.DROP_REPEATED)
        return found, count

    def merge(self, edition: Edition, *, digest: str | None, file: str | None) -> Merged:
        """Make the messages of `edition` what the stage says, and apply the suppressions.

        Messages that are sent stay as they are. `digest` and `file` are kept as the edition's list. It works
        in slices of SLICE rows, so that no other writer waits for long. Until the last one the edition has no
        list: if the process dies, the next plan merges again.
        """
        before = count_messages(self._ledger, edition)
        is_marked = find_planned_list(self._ledger, edition).preflight is not None
        with self._ledger.transaction() as store:
            store.execute(sql.FORGET_LIST, {"edition": edition.id})
        removed = failed = key_changed = 0
        if before:
            key_changed = fetch_value(self._store, sql.COUNT_KEY_CHANGED, edition=edition.id)
            for store, given in _iterate_slices(self._ledger, edition):
                removed += store.execute(sql.REMOVE, given)
                failed += store.execute(sql.FAIL_REMOVED, given)
                store.execute(sql.CLOSE_REMOVED, given)
                store.execute(sql.REOPEN_CORRECTED, given)
        written = 0
        for low in range(0, fetch_value(self._store, sql.LAST_STAGED), SLICE):
            given = {"edition": edition.id, "low": low, "high": low + SLICE, "unchecked": int(is_marked)}
            with self._ledger.transaction() as store:  # between two of them, others may have added messages
                last = fetch_value(store, sql.LAST_ID) - low
                written += store.execute(sql.MERGE, {**given, "last": last})
        new = count_messages(self._ledger, edition) - (before - removed)
        apply_suppressions(self._ledger, edition)
        with self._ledger.transaction() as store:
            store.execute(sql.SET_LIST, {"edition": edition.id, "list": digest, "file": file})
        self._store.shrink()
        return Merged(new, written - new, removed + failed, key_changed)


@contextmanager
def stage_list(ledger: Ledger, edition: Edition) -> Iterator[Stage]:
    """An empty stage for the list of `edition`, which is dropped at the end."""
    ledger.commit()
    with ledger.store.stage():
        yield Stage(ledger, edition)


def apply_suppressions(ledger: Ledger, edition: Edition) -> None:
    """Suppress messages of `edition` to suppressed addresses, and reopen those to addresses that no longer
    are.
    """
    queries = []
    if fetch_value(ledger.store, sql.ANY_SUPPRESSED, edition=edition.id):
        queries.append(sql.LIFT_SUPPRESSIONS)
    if fetch_value(ledger.store, sql.ANY_SUPPRESSION):
        queries.append(sql.APPLY_SUPPRESSIONS)
    if not queries:  # most campaigns: their messages need not be read
        return
    for store, given in _iterate_slices(ledger, edition):
        for query in queries:
            store.execute(query, given)


def _iterate_slices(ledger: Ledger, edition: Edition) -> Iterator[tuple[Store, dict[str, object]]]:
    """The parameters of each slice of an edition's messages, in a transaction of its own."""
    first, last = ledger.fetch_one(sql.ID_RANGE, edition=edition.id) or (0, 0)
    for low in range(first, last, SLICE):
        with ledger.transaction() as store:
            yield store, {"edition": edition.id, "low": low, "high": low + SLICE}


def find_planned_list(ledger: Ledger, edition: Edition) -> PlannedList:
    """What list the edition has."""
    return PlannedList(*(ledger.fetch_one(sql.EDITION_LIST, edition=edition.id) or (None, None, None)))


def count_messages(ledger: Ledger, edition: Edition) -> int:
    """The number of recipients in the edition, whatever their status."""
    count: int = ledger.fetch_value(sql.COUNT_MESSAGES, edition=edition.id)
    return count


def read_invalid(ledger: Ledger, edition: Edition, *, limit: int) -> tuple[list[InvalidRow], int]:
    """The first `limit` recipients that cannot be sent to, in the list's order, and the number of all."""
    found = [InvalidRow(*row) for row in ledger.fetch_all(sql.INVALID, edition=edition.id, limit=limit)]
    return found, ledger.fetch_value(sql.COUNT_INVALID, edition=edition.id) if found else 0


def read_unchecked(
    ledger: Ledger, edition: Edition, group: MessageGroup, *, only: str | None = None
) -> Iterator[list[UncheckedRow]]:
    """The messages that preflight has to render, in the list's order and in pages of PAGE.

    They are those of `group`, or of `only`, an address or a key, in it. Pages are read one at a time, because
    the caller changes their rows.
    """
    file = find_planned_list(ledger, edition).file
    given = _select_group(edition, group, only) | {"limit": PAGE, "position": 0, "id": 0}
    query = sql.TO_CHECK_NEW if group.only_new else sql.TO_CHECK
    while found := ledger.store.fetch_all(query, given):
        yield [
            UncheckedRow(id_, email, columns, line, column, file)
            for id_, _position, email, columns, line, column in found
        ]
        given |= {"id": found[-1][0], "position": found[-1][1]}


def parse_unchecked(ledger: Ledger, row: UncheckedRow) -> UncheckedMessage:
    """The message of a row. Raises LedgerError if the row is damaged."""
    with rows.reading_rows(ledger.store):
        return row.parse()


def count_unchecked(ledger: Ledger, edition: Edition, group: MessageGroup, *, only: str | None = None) -> int:
    """Return the number of the messages that `read_unchecked` would read with the same arguments."""
    query = sql.COUNT_TO_CHECK_NEW if group.only_new else sql.COUNT_TO_CHECK
    return fetch_value(ledger.store, query, **_select_group(edition, group, only))


def _select_group(edition: Edition, group: MessageGroup, only: str | None) -> dict[str, object]:
    return {
        "edition": edition.id,
        "status": group.status,
        "cause": group.cause,
        **rows.recipient_filter(only),
    }


def record_checked(ledger: Ledger, failed: Iterable[tuple[int, str]], passed: Iterable[int]) -> None:
    """Write what a preflight found.

    `failed` are ids of messages that cannot be rendered, with the reason. `passed` are ids of messages that
    failed before and can be rendered now.
    """
    unrendered = [{"id": id_, "error": rows.escape_surrogates(error)} for id_, error in failed]
    rendered = [{"id": id_} for id_ in passed]
    if unrendered or rendered:
        with ledger.transaction() as store:
            store.execute_many(sql.FAIL_UNRENDERED, unrendered)
            store.execute_many(sql.REOPEN_RENDERED, rendered)


def set_preflight(ledger: Ledger, edition: Edition, mark: str) -> None:
    """Remember that every message was rendered with the templates that `mark` identifies."""
    with ledger.transaction() as store:
        store.execute(sql.SET_PREFLIGHT, {"edition": edition.id, "preflight": mark})
        store.execute(sql.NOTE_ALL_CHECKED, {"edition": edition.id})


def set_texts(ledger: Ledger, edition: Edition, subject: str, sender: str) -> None:
    """Keep the campaign file's texts of the subject and the sender, for reports."""
    given = {"edition": edition.id, "subject": rows.escape_surrogates(subject)}
    with ledger.transaction() as store:
        store.execute(sql.SET_TEXTS, {**given, "sender": rows.escape_surrogates(sender)})


def find_texts(ledger: Ledger, edition: Edition) -> tuple[str | None, str | None]:
    """The subject and the sender of the edition, as the campaign file writes them; None if they are not kept."""
    subject, sender = ledger.fetch_one(sql.TEXTS, edition=edition.id) or (None, None)
    return subject, sender


def fetch_value(store: Store, query: str, **given: object) -> int:
    """The number that a query of one row and one column gives."""
    found = store.fetch_one(query, given)
    return int(found[0]) if found else 0


def iterate_upcoming(ledger: Ledger, edition: Edition) -> Iterator[list[StoredRecipient]]:
    """Yield the recipients of `edition` whose messages wait for their first claim, in the list's order, a
    page at a time.

    Each page is read when it is asked for, behind the page before it. What is claimed meanwhile is left out,
    and so is a recipient whose columns alone are too large for a page. What becomes pending at a place that
    was read before is not seen. Raises LedgerError.
    """
    given: dict[str, object] = {"edition": edition.id, "position": -1, "limit": UPCOMING_PAGE}
    while found := ledger.store.fetch_all(sql.UPCOMING, given):
        page: list[StoredRecipient] = []
        size = 0
        with rows.reading_rows(ledger.store):
            for row in found:
                columns_size = len(row[2])
                if page and size + columns_size > MAX_UPCOMING_SIZE:
                    break
                given["position"] = row[0]
                if columns_size <= MAX_UPCOMING_SIZE:
                    size += columns_size
                    page.append(StoredRecipient._make(row[1:]))
        if page:
            yield page


def note_campaign_file(ledger: Ledger, campaign: str, file: Path, root: Path) -> str | None:
    """Remember that the campaign is sent from `file`. Returns the other file of the last time, if any.

    Files are compared by their path from the ledger's folder, or from the project's `root` if the ledger
    is not a file. So a project may move.
    """
    shown = rows.escape_surrogates(os.path.relpath(file, ledger.path.parent if ledger.path else root))
    found = ledger.fetch_one(sql.CAMPAIGN_FILE, name=campaign)
    if found is not None and found[0] == shown:
        return None
    with ledger.transaction() as store:
        store.execute(sql.SET_CAMPAIGN_FILE, {"name": campaign, "file": shown})
    if found is None or found[0] is None:
        return None
    return os.path.normpath(ledger.path.parent / found[0]) if ledger.path else str(found[0])
