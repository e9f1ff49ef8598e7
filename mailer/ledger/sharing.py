"""What the runs that send one campaign from one ledger in PostgreSQL have in common.

Each run has a lock. The database frees it when the run's connection to it ends, so a run that died is found
out without a timeout, and its claims are taken over. Rate, pauses, the failures that count for `stop_after`,
and an early end are in one row for each edition. A lock for each SMTP session limits their number.

All times in that row are the database's, so that no machine's clock matters.
"""

from __future__ import annotations

from dataclasses import asdict

from mailer.dataclass import dataclass
from mailer.ledger import postgres_sql, sql
from mailer.ledger.ledger import Ledger
from mailer.ledger.postgres_store import PostgresStore
from mailer.ledger.records import Edition, Policy, RunRecord
from mailer.ledger.recovery import recover_in_flight
from mailer.ledger.store import CampaignLock


@dataclass(frozen=True, slots=True)
class RunProgress:
    """What a run did since its last `sync`, and its figures so far.

    `total` messages were sent or failed, `failed` of them failed, and the last `failed_in_a_row` of them
    failed in a row.
    """

    total: int = 0
    failed: int = 0
    failed_in_a_row: int = 0
    messages: int = 0
    octets: int = 0
    sessions: int = 0
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class SharedState:
    """What all runs of the edition did, and what holds for all. `pause_seconds` is 0 if there is no pause."""

    total: int
    failed: int
    failed_in_a_row: int
    ending: str | None
    reason: str | None
    hint: str | None
    pause_seconds: float
    pause_reason: str | None
    live_runs: int


class SharedRun:
    """One run's part in an edition that several runs send. Its methods raise LedgerError."""

    def __init__(self, ledger: Ledger, edition: Edition, run: RunRecord) -> None:
        if not isinstance(ledger.store, PostgresStore):
            raise ValueError("only a ledger in PostgreSQL is shared")
        self._ledger, self._store, self._edition, self._run = ledger, ledger.store, edition, run

    def join(self, *, is_new: bool) -> None:
        """Begin.

        With `is_new`, and if no other run is alive, pauses, failures and endings of before are forgotten.
        """
        given = {"edition": self._edition.id}
        if is_new and not set(self._store.list_live_runs()) - {self._run.id}:
            self._store.execute(postgres_sql.RESET, given)
        self._store.execute(postgres_sql.ENSURE, given)

    def reserve(self, wanted: int, interval: float, slack: float) -> tuple[int, float]:
        """Reserve the start of up to `wanted` messages, one in each `interval` for all runs together.

        A start that is late by up to `slack` is made up for. All are seconds. Returns how many may start now,
        and in how many seconds the next one may.
        """
        given = {"edition": self._edition.id, "wanted": wanted, "interval": interval, "slack": slack}
        found = self._store.fetch_one(postgres_sql.RESERVE, given)
        if found is None:  # the database crashed meanwhile
            self._store.execute(postgres_sql.ENSURE, given)
            return 0, interval
        return int(found[0]), max(0.0, float(found[1]))

    def sync(self, progress: RunProgress, now: float) -> SharedState:
        """Add what this run did, and return what all did. `now` is this machine's time."""
        given = {"edition": self._edition.id, "run": self._run.id, **asdict(progress)}
        found = self._store.fetch_one(postgres_sql.SYNC, given)
        live = self.count_live_runs()
        if found is None:  # the database crashed meanwhile
            self._store.execute(postgres_sql.ENSURE, given)
            return SharedState(0, 0, 0, None, None, None, 0.0, None, live)
        there, total, failed, in_a_row, ending, reason, hint, pause, why = found
        self._ledger.set_clock_offset(there - now)
        return SharedState(total, failed, in_a_row, ending, reason, hint, max(0.0, pause), why, live)

    def pause(self, seconds: float, reason: str) -> None:
        """Let no run start a message for `seconds`."""
        self._store.execute(
            postgres_sql.PAUSE, {"edition": self._edition.id, "seconds": seconds, "reason": reason}
        )

    def end(self, ending: str, reason: str | None, hint: str | None) -> None:
        """Let all runs of the edition end as `ending` says, a value of Ending. The first call wins.

        `reason` and `hint` are sentences for a person.
        """
        given = {"edition": self._edition.id, "ending": ending, "reason": reason, "hint": hint}
        self._store.execute(postgres_sql.END, given)

    def acquire_permit(self, limit: int) -> CampaignLock | None:
        """Return a permit for one session, out of `limit` for all runs together; None if all are in use."""
        return self._store.acquire_permit(self._edition.id, limit)

    def count_live_runs(self) -> int:
        """How many runs of this edition are alive, this one included."""
        return _count_live_runs(self._store, self._edition)

    def has_messages_left(self) -> bool:
        """Whether another run has messages in flight, or any message is still to be sent."""
        found = self._store.fetch_one(postgres_sql.IN_FLIGHT, {"edition": self._edition.id})
        return bool(found and found[0])

    def recover_dead_runs(self, policy: Policy, now: float) -> int:
        """Make the claims of runs that died pending or in doubt, as `policy` says. Returns their number."""
        return recover_in_flight(self._ledger, self._edition, policy, now=now)


@dataclass(frozen=True, slots=True)
class WorkerProgress:
    """What the runs of one worker did so far. `is_alive` says that one of them is sending now."""

    name: str
    messages: int
    in_flight: int
    is_alive: bool


@dataclass(frozen=True, slots=True)
class EditionState:
    """The state of an edition that workers send. `ending` is set if it is to end early."""

    workers: tuple[WorkerProgress, ...]
    sent: int
    messages: int
    ending: str | None
    reason: str | None
    hint: str | None

    @property
    def live_runs(self) -> int:
        """How many workers are sending."""
        return sum(worker.is_alive for worker in self.workers)

    @property
    def in_flight(self) -> int:
        """How many messages are in flight, in all workers."""
        return sum(worker.in_flight for worker in self.workers)


class EditionMonitor:
    """An edition that workers send, as the command sees it that started them. Its methods raise LedgerError.

    Only runs after `after` (the id of a run) count.
    """

    def __init__(self, ledger: Ledger, edition: Edition) -> None:
        if not isinstance(ledger.store, PostgresStore):
            raise ValueError("only a ledger in PostgreSQL is shared")
        self._ledger, self._store, self._edition = ledger, ledger.store, edition
        self._given = {"edition": edition.id}
        self._after = int(ledger.fetch_value(postgres_sql.LAST_RUN_ID))

    def continue_from(self, former: EditionMonitor) -> None:
        """Count the runs that `former` counted, after the connection to the database was lost."""
        self._after = former._after
        self._store.lock_command(self._edition.id)

    def is_command_alive(self) -> bool:
        """Whether a command watches the edition, this one or another."""
        return self._store.is_command_alive(self._edition.id)

    def begin(self) -> None:
        """Watch the edition from now on. Forget endings and pauses of before, unless a run is alive."""
        self._store.lock_command(self._edition.id)
        if not self.has_live_runs():
            self._store.execute(postgres_sql.RESET, self._given)
        self._store.execute(postgres_sql.ENSURE, self._given)

    def has_live_runs(self) -> bool:
        """Whether a run of the edition is alive, also one from before this command."""
        return _count_live_runs(self._store, self._edition) > 0

    def read(self) -> EditionState:
        """Return the state of the edition now."""
        live = set(self._store.list_live_runs())
        in_flight: dict[int, int] = dict(self._store.fetch_all(postgres_sql.IN_FLIGHT_BY_RUN, self._given))
        names: dict[str, WorkerProgress] = {}
        sent = total = 0
        given = {**self._given, "after": self._after}
        for run, worker, run_sent, messages in self._store.fetch_all(postgres_sql.RUN_PROGRESS, given):
            name = worker or "?"
            was = names.get(name, WorkerProgress(name, 0, 0, False))
            flying = in_flight.get(run, 0)
            is_alive = was.is_alive or run in live
            names[name] = WorkerProgress(name, was.messages + messages, was.in_flight + flying, is_alive)
            sent, total = sent + run_sent, total + messages
        ending = self._store.fetch_one(postgres_sql.ENDING, self._given) or (None, None, None)
        return EditionState(tuple(names.values()), sent, total, *ending)

    def read_runs(self) -> list[RunRecord]:
        """The runs that workers started since this command began."""
        return [run for run in self._ledger.read_runs(self._edition) if run.id > self._after]

    def has_messages_left(self) -> bool:
        """Whether a message is in flight or still to be sent."""
        found = self._store.fetch_one(postgres_sql.IN_FLIGHT, self._given)
        return bool(found and found[0])

    def recover_dead_runs(self, policy: Policy, now: float) -> int:
        """Make the claims of runs that died pending or in doubt, as `policy` says. Returns their number."""
        return recover_in_flight(self._ledger, self._edition, policy, now=now)

    def end(self, ending: str, reason: str | None, hint: str | None = None) -> None:
        """Let all runs of the edition end as `ending` says, a value of Ending. The first call wins.

        `reason` and `hint` are sentences for a person.
        """
        self._store.execute(postgres_sql.ENSURE, self._given)
        self._store.execute(
            postgres_sql.END, {**self._given, "ending": ending, "reason": reason, "hint": hint}
        )


def _count_live_runs(store: PostgresStore, edition: Edition) -> int:
    started = {id_ for (id_,) in store.fetch_all(sql.RUNS, {"edition": edition.id})}
    return len(started & set(store.list_live_runs()))
