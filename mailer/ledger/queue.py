"""Claims and records of a run, in transactions that the caller ends: one fsync for a batch.

What is recorded stays in memory until a commit succeeds, so that a disk which has room again loses nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

from mailer.errors import LedgerError, LedgerWriteError
from mailer.frozen import frozen_value
from mailer.ledger import postgres_sql, rows, sql
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.records import Claim, Edition, Release, Retry, RunRecord
from mailer.ledger.store import Row, Store

BATCH = 512  # records that may wait for a commit; one more commits by itself
LONGEST_WAIT = 3600.0


@frozen_value()
class _Write:
    claim: Claim
    query: str
    given: dict[str, object]
    sent: bool = False


class ClaimLimits(NamedTuple):
    """How many to claim: at most `all`, and of those that this run has not claimed before at most `first`."""

    all: int
    first: int


class Queue:
    """The claims and records of one run at a time. What is recorded waits in memory for the next commit."""

    def __init__(self, store: Store) -> None:
        """Begin with no claim and no record. `store` has the ledger."""
        self._store = store
        self._open = False  # our transaction
        self._buffer: list[_Write] = []
        self._flushed = 0  # how many of them the open transaction has

    def claim(
        self, edition: Edition, run: RunRecord, given: dict[str, object], limits: ClaimLimits
    ) -> list[Claim]:
        """Claim messages for `run`, in a transaction that stays open until `commit`.

        `given` are the parameters of sql.DUE. Returns the claims. If there are none, the transaction is
        committed. Raises LedgerWriteError.
        """
        try:
            self._begin()
            self._flush()
            claims = self._claim(edition, run, given, limits)
        except BaseException as error:
            self.abandon()
            raise _as_write_error(error) from error
        if not claims:  # the caller may wait now, and others must not wait with it
            self.commit()
        return claims

    def record(self, claim: Claim, result: Outcome | Retry | Release, *, unrendered: bool) -> None:
        """Keep what became of `claim` for the next commit. Commits if BATCH records wait."""
        if isinstance(result, Outcome):
            given = rows.outcome_parameters(claim, result, unrendered=unrendered)
            query = sql.RECORD_SENT if rows.is_plainly_sent(given) else sql.RECORD_OUTCOME
            self._buffer.append(_Write(claim, query, given, result.status is Status.SENT))
        elif isinstance(result, Retry):
            self._buffer.append(_Write(claim, sql.REQUEUE_LATER, rows.retry_parameters(claim, result)))
        else:
            self._buffer.append(_Write(claim, sql.RELEASE_UNSENT, {"id": claim.id}))
        if len(self._buffer) >= BATCH:
            self.commit()

    def commit(self) -> None:
        """Write what is recorded and claimed.

        Raises LedgerWriteError; the records then wait for another commit.
        """
        if not self._open and not self._buffer:
            return
        try:
            self._begin()
            self._flush()
            self._store.commit()
        except BaseException as error:
            self.abandon()
            raise _as_write_error(error) from error
        self._open = False
        self._buffer.clear()
        self._flushed = 0

    def abandon(self) -> None:
        """Give up the claims that are not committed. What was recorded waits for the next commit."""
        self._store.rollback()
        self._open = False
        self._flushed = 0

    def _begin(self) -> None:
        if not self._open:
            self._store.begin()
            self._open = True

    def _flush(self) -> None:
        fresh = self._buffer[self._flushed :]
        by_query: defaultdict[str, list[dict[str, object]]] = defaultdict(list)
        for write in fresh:
            by_query[write.query].append(write.given)
        sent = [write.claim for write in fresh if write.sent]
        by_query[sql.COUNT_SENT] = [
            {"run": run, "count": n} for run, n in Counter(c.run for c in sent).items()
        ]
        resent = Counter(claim.edition for claim in sent if claim.in_doubt)
        by_query[sql.ADD_RESENT] = [{"edition": edition, "count": n} for edition, n in resent.items()]
        for query, given in by_query.items():
            if given:
                self._store.execute_many(query, given)
        self._flushed = len(self._buffer)

    def _claim(
        self, edition: Edition, run: RunRecord, given: dict[str, object], limits: ClaimLimits
    ) -> list[Claim]:
        self._store.execute(sql.LIMIT_WAITS, given)
        claims = self._take(sql.DUE, limits.all, edition, run, given, first=False)
        for query in (sql.DOUBTFUL, sql.FRESH):
            begun = sum(claim.first for claim in claims)
            room = min(limits.all - len(claims), limits.first - begun)
            claims += self._take(query, room, edition, run, {**given, "start": 0}, first=True)
        return claims

    def _take(
        self,
        query: str,
        room: int,
        edition: Edition,
        run: RunRecord,
        given: dict[str, object],
        *,
        first: bool,
    ) -> list[Claim]:
        """Claim up to `room` rows of `query`.

        Addresses that were suppressed since the planning do not count.
        """
        claims: list[Claim] = []
        while len(claims) < room:
            found = self._store.fetch_all(query, {**given, "limit": room - len(claims)})
            if not found:
                break
            fresh, suppressed = rows.parse_claims(found, edition, run, self._store, first=first)
            self._mark_claimed([claim.id for claim in fresh], run)
            if suppressed:
                self._store.execute_many(sql.SUPPRESS_CLAIM, [{"id": id_} for id_ in suppressed])
            claims += fresh
        return claims

    def _mark_claimed(self, ids: list[int], run: RunRecord) -> None:
        """Mark the messages as claimed: most claims are of consecutive rows, which one statement marks."""
        if ids and ids == list(range(ids[0], ids[-1] + 1)):
            self._store.execute(sql.CLAIM_RANGE, {"run": run.id, "first": ids[0], "last": ids[-1]})
        else:
            self._store.execute_many(sql.CLAIM, [{"id": id_, "run": run.id} for id_ in ids])


class BatchQueue(Queue):
    """A queue whose batch is one statement: in PostgreSQL, one round trip and one fsync.

    A claim is durable at once, with all that was recorded before. `commit` writes what was recorded since.
    """

    def claim(
        self, edition: Edition, run: RunRecord, given: dict[str, object], limits: ClaimLimits
    ) -> list[Claim]:
        if any(_KINDS[write.query] != "outcome" for write in self._buffer):
            self.commit()  # what waits already may be claimed now
        claims: list[Claim] = []
        while True:
            room = limits.all - len(claims)
            first = limits.first - sum(claim.first for claim in claims)
            wanted = {**given, "run": run.id, "limit": room, "first": first}
            found = self._write(postgres_sql.WRITE_AND_CLAIM, wanted)
            suppressed_count = found[0][0]
            try:
                for is_first in (False, True):
                    chosen = [row[2:] for row in found if row[1] is is_first]
                    claims += rows.parse_claims(chosen, edition, run, self._store, first=is_first)[0]
            except LedgerError as error:
                raise _as_write_error(error) from error
            if not suppressed_count or len(claims) >= limits.all:
                return claims

    def commit(self) -> None:
        if self._buffer:
            self._write(postgres_sql.WRITE_BATCH, {})

    def _write(self, query: str, given: dict[str, object]) -> list[Row]:
        sent = [write.claim for write in self._buffer if write.sent]
        runs = Counter(claim.run for claim in sent)
        editions = Counter(claim.edition for claim in sent if claim.in_doubt)
        writes = {
            "writes": rows.encode([{"kind": _KINDS[write.query], **write.given} for write in self._buffer]),
            "sent": rows.encode([{"id": id_, "count": count} for id_, count in runs.items()]),
            "resent": rows.encode([{"id": id_, "count": count} for id_, count in editions.items()]),
        }
        try:
            found = self._store.fetch_all(query, {**given, **writes})
        except LedgerError as error:
            raise _as_write_error(error) from error
        self._buffer.clear()
        return found


def make_queue(store: Store) -> Queue:
    """The queue of a ledger in `store`."""
    return BatchQueue(store) if store.is_shared else Queue(store)


_KINDS = {
    sql.RECORD_OUTCOME: "outcome",
    sql.RECORD_SENT: "outcome",
    sql.REQUEUE_LATER: "retry",
    sql.RELEASE_UNSENT: "release",
}


def _as_write_error(error: BaseException) -> BaseException:
    """While sending, any trouble with the ledger is the same to the run: it must stop."""
    if isinstance(error, LedgerError) and not isinstance(error, LedgerWriteError):
        return LedgerWriteError(str(error), hint=error.hint)
    return error
