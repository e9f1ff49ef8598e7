"""Claims and records of a run, which wait in memory for a commit: one fsync for a batch.

What is recorded stays there until a commit succeeds, so that a disk which has room again loses nothing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

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


class _Search:
    """Where to look for messages to claim.

    Most of them are fresh: the others are looked for only if there may be some. `next_due` is when the next
    wait is over: -inf if that is not known, None if nothing waits. `may_be_doubtful` says that a former run
    may have left messages in doubt. Fresh messages come from the position `start` on.
    """

    def __init__(self, scope: tuple[object, ...] = ()) -> None:
        """Know nothing yet. `scope` is the run, and the recipients among which it looks."""
        self.scope = scope
        self.next_due: float | None = -math.inf
        self.may_be_doubtful = True
        self.start = 0

    def note_wait(self, until: float) -> None:
        """Note that a message waits `until` then, in seconds since the epoch."""
        self.next_due = until if self.next_due is None else min(self.next_due, until)

    def is_due(self, now: float, horizon: float) -> bool:
        """Whether a message may be due `now`. None waits beyond the `horizon`: see sql.LIMIT_WAITS."""
        return self.next_due is not None and not now < self.next_due <= horizon


class Queue:
    """The claims and records of one run at a time. Both wait in memory for the next commit.

    The campaign has no other sender. So a message can be reserved in memory alone, and the database is locked
    during a commit, and not between a claim and its commit.
    """

    def __init__(self, store: Store) -> None:
        """Begin with no claim and no record. `store` has the ledger."""
        self._store = store
        self._buffer: list[_Write] = []
        self._reserved: set[int] = set()  # ids of messages
        self._claimed: dict[int, list[int]] = {}  # the same, not committed, by the run's id
        self._suppressed: list[int] = []  # found suppressed, and not committed
        self._chosen: set[int] = set()  # all of these: they are not found again
        self._longest: dict[str, object] | None = None  # the parameters of sql.LIMIT_WAITS
        self._search = _Search()

    def claim(
        self, edition: Edition, run: RunRecord, given: dict[str, object], limits: ClaimLimits
    ) -> list[Claim]:
        """Claim messages for `run`: the ledger has the claims after the next `commit`.

        `given` are the parameters of sql.DUE. Raises LedgerWriteError.
        """
        claims = self.reserve(edition, run, given, limits)
        self.claim_reserved(claims)
        return claims

    def reserve(
        self, edition: Edition, run: RunRecord, given: dict[str, object], limits: ClaimLimits
    ) -> list[Claim]:
        """Choose messages for `run` without claiming them. `given` are the parameters of sql.DUE.

        Records that let a message be claimed again are committed first. Raises LedgerWriteError.
        """
        if any(_KINDS[write.query] != "outcome" for write in self._buffer):
            self.commit()
        self._longest = given
        scope = (run.id, given["edition"], given["only"], given["key"])
        if scope != self._search.scope:
            self._search = _Search(scope)
        try:
            return self._choose(edition, run, given, limits)
        except BaseException as error:
            self.abandon()
            raise _as_write_error(error) from error

    def claim_reserved(self, claims: Iterable[Claim]) -> None:
        """Claim messages that are reserved: the ledger has the claims after the next `commit`."""
        for claim in claims:
            self._reserved.discard(claim.id)
            self._claimed.setdefault(claim.run, []).append(claim.id)

    def find_next_due(self, given: Mapping[str, object], *, fresh: bool) -> float | None:
        """When the next message that is neither reserved nor claimed may be claimed.

        In seconds since the epoch; 0 is now, and None if there is none. `given` are the parameters of
        sql.ANY_PENDING. Without `fresh`, only messages count that wait.
        """
        bounds = {**given, "limit": len(self._chosen) + 1}
        if fresh and any(
            id_ not in self._chosen for (id_,) in self._store.fetch_all(sql.ANY_PENDING, bounds)
        ):
            return 0.0
        waiting = self._store.fetch_all(sql.NEXT_DUE, bounds)
        return next((at for id_, at in waiting if id_ not in self._chosen), None)

    def record(self, claim: Claim, result: Outcome | Retry | Release, *, unrendered: bool) -> None:
        """Keep what became of `claim` for the next commit. Commits if BATCH records wait."""
        if claim.id in self._reserved:
            self.claim_reserved([claim])
        if isinstance(result, Outcome):
            given = rows.outcome_parameters(claim, result, unrendered=unrendered)
            query = sql.RECORD_SENT if rows.is_plainly_sent(given) else sql.RECORD_OUTCOME
            self._buffer.append(_Write(claim, query, given, result.status is Status.SENT))
        elif isinstance(result, Retry):
            self._buffer.append(_Write(claim, sql.REQUEUE_LATER, rows.retry_parameters(claim, result)))
            self._search.note_wait(result.at)
        else:
            self._search.note_wait(0.0)
            self._buffer.append(_Write(claim, sql.RELEASE_UNSENT, {"id": claim.id}))
        if len(self._buffer) >= BATCH:
            self.commit()

    def commit(self) -> None:
        """Write what is claimed and recorded.

        Raises LedgerWriteError. The claims are void then, and the records wait for another commit.
        """
        if not self._buffer and not self._claimed and self._longest is None:
            return
        try:
            self._store.begin()
            self._write_claims()
            self._write_records()
            self._store.commit()
        except BaseException as error:
            self.abandon()
            raise _as_write_error(error) from error
        self._buffer.clear()
        self._claimed.clear()
        self._suppressed.clear()
        self._chosen = set(self._reserved)
        self._longest = None

    def abandon(self) -> None:
        """Give up the claims that are not committed. What was recorded waits for the next commit."""
        self._store.rollback()
        self._claimed.clear()
        self._suppressed.clear()
        self._reserved.clear()
        self._chosen.clear()
        self._longest = None
        self.forget_search()

    def forget_search(self) -> None:
        """Look for everything at the next claim, since something else may have changed."""
        self._search = _Search()

    def _choose(
        self, edition: Edition, run: RunRecord, given: dict[str, Any], limits: ClaimLimits
    ) -> list[Claim]:
        search, claims = self._search, list[Claim]()
        parse = partial(rows.parse_claims, edition=edition, run=run, store=self._store)
        if search.is_due(given["now"], given["horizon"]):
            claims = self._take(sql.DUE, limits.all, given, partial(parse, first=False))
            if len(claims) < limits.all:
                search.next_due = self.find_next_due(given, fresh=False)
        if search.may_be_doubtful:
            room = min(limits.all - len(claims), limits.first)
            doubtful = self._take(sql.DOUBTFUL, room, given, partial(parse, first=True))
            search.may_be_doubtful = len(doubtful) == room
            claims += doubtful
        room = min(limits.all - len(claims), limits.first - sum(claim.first for claim in claims))
        return claims + self._take(sql.FRESH, room, given, partial(parse, first=True))

    def _take(
        self,
        query: str,
        room: int,
        given: dict[str, object],
        parse: Callable[[list[Row]], tuple[list[Claim], list[int]]],
    ) -> list[Claim]:
        """Reserve up to `room` rows of `query`. Returns the claims that `parse` makes of them.

        Addresses that were suppressed since the planning do not count.
        """
        claims: list[Claim] = []
        is_fresh, search = query is sql.FRESH, self._search
        while len(claims) < room:
            missing = room - len(claims)
            limit = missing if is_fresh and search.start else missing + len(self._chosen)
            found = self._store.fetch_all(query, {**given, "limit": limit, "start": search.start})
            found = [row for row in found if row[0] not in self._chosen][:missing]
            if not found:
                break
            if is_fresh:
                search.start = found[-1][-1] + 1
            fresh, suppressed = parse(found)
            self._reserved.update(claim.id for claim in fresh)
            self._suppressed += suppressed
            self._chosen.update(row[0] for row in found)
            claims += fresh
        return claims

    def _write_claims(self) -> None:
        if self._longest is not None:
            self._store.execute(sql.LIMIT_WAITS, self._longest)
        for run, ids in self._claimed.items():
            self._mark_claimed(sorted(ids), run)
        if self._suppressed:
            self._store.execute_many(sql.SUPPRESS_CLAIM, [{"id": id_} for id_ in self._suppressed])

    def _mark_claimed(self, ids: list[int], run: int) -> None:
        """Mark the messages as claimed: most claims are of consecutive rows, which one statement marks."""
        if ids and ids == list(range(ids[0], ids[-1] + 1)):
            self._store.execute(sql.CLAIM_RANGE, {"run": run, "first": ids[0], "last": ids[-1]})
        else:
            self._store.execute_many(sql.CLAIM, [{"id": id_, "run": run} for id_ in ids])

    def _write_records(self) -> None:
        by_query: defaultdict[str, list[dict[str, object]]] = defaultdict(list)
        for write in self._buffer:
            by_query[write.query].append(write.given)
        sent = [write.claim for write in self._buffer if write.sent]
        by_query[sql.COUNT_SENT] = [
            {"run": run, "count": n} for run, n in Counter(c.run for c in sent).items()
        ]
        resent = Counter(claim.edition for claim in sent if claim.in_doubt)
        by_query[sql.ADD_RESENT] = [{"edition": edition, "count": n} for edition, n in resent.items()]
        for query, given in by_query.items():
            if given:
                self._store.execute_many(query, given)


class BatchQueue(Queue):
    """A queue whose batch is one statement: in PostgreSQL, one round trip and one fsync.

    A message that is reserved is claimed at once, durably, with all that was recorded before: there are other
    senders. `commit` writes what was recorded since.
    """

    def reserve(
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

    def claim_reserved(self, claims: Iterable[Claim]) -> None:
        """They are claimed."""

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
