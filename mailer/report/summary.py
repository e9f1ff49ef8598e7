"""`Report`: what the ledger holds of a campaign, with the names of the JSON report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from typing import Any

from mailer.dataclass import dataclass
from mailer.errors import InputError
from mailer.ledger import Ledger, RunRecord
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.planning import find_texts

ORDER = (Status.SENT, Status.FAILED, Status.DEFERRED, Status.IN_DOUBT, Status.SUPPRESSED, Status.PENDING)


@dataclass(frozen=True, slots=True)
class Counts:
    """Recipients by status; together they are `total`."""

    total: int = 0
    sent: int = 0
    failed: int = 0
    deferred: int = 0
    in_doubt: int = 0
    suppressed: int = 0
    pending: int = 0

    @classmethod
    def from_statuses(cls, counts: Mapping[Status, int]) -> Counts:
        """Return the counts of each status, with their total."""
        return cls(total=sum(counts.values()), **{status.value: counts.get(status, 0) for status in Status})

    def by_status(self) -> list[tuple[Status, int]]:
        """Return each status with its count, `sent` first."""
        return [(status, getattr(self, status.value)) for status in ORDER]


@dataclass(frozen=True, slots=True)
class ServerSummary:
    """The last run's server and how it was spoken to."""

    host: str
    port: int
    tls: str | None = None
    cipher: str | None = None
    extensions: tuple[str, ...] = ()
    strategy: str | None = None
    sessions: int = 0
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of the last run: messages with an outcome in a second, and octets of content sent."""

    messages_per_second: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class WorkerSummary:
    """What one worker did in all runs of the edition: messages with an outcome, SMTP sessions, seconds of
    work.
    """

    name: str
    messages: int
    sessions: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """A campaign's report. Times are ISO 8601 in UTC, `seconds` is the length of the last run.

    It covers the whole campaign; `run`, times, `server`, `throughput`, `ending` and `reason` are those of the
    last run. `ending` is "complete", "incomplete", "given_up", "unreachable", "ledger_failed" or
    "interrupted". `resent` counts the messages that were sent again because a reply never arrived; each may
    have arrived twice. `has_refused_copies` says whether a cc or bcc was refused. `subject` and `sender` are
    the campaign file's texts at the last run, tags included; None if the ledger does not have them.

    Recipients are streamed from the ledger each time they are asked for, in the order of the list.
    """

    campaign: str
    run: str | None
    started: str | None
    finished: str | None
    seconds: float
    counts: Counts
    server: ServerSummary | None
    throughput: Throughput
    outcomes: Callable[[], Iterator[Outcome]] = field(repr=False, compare=False)
    edition: int = 1
    resent: int = 0
    has_refused_copies: bool = False
    ending: str | None = None
    reason: str | None = None
    subject: str | None = None
    sender: str | None = None
    workers: tuple[WorkerSummary, ...] = ()

    @property
    def recipients(self) -> Iterator[Outcome]:
        """The outcome of each recipient, in the order of the list."""
        return self.outcomes()

    def failed(self) -> list[Outcome]:
        """Return the recipients that were refused permanently."""
        return [outcome for outcome in self.outcomes() if outcome.status is Status.FAILED]


def read_report(ledger: Ledger, campaign: str, edition: int | None = None) -> Report:
    """Return the report of a campaign's edition; None is its latest.

    The ledger stays in use: the report reads the recipients from it until it is closed. Raises InputError if
    the ledger does not have the campaign or the edition.
    """
    found = ledger.find_edition(campaign, edition)
    if found is None:
        raise _explain_unknown(ledger, campaign, edition)
    run = ledger.find_last_run(found)
    counts = Counts.from_statuses(ledger.count_by_status(found))
    subject, sender = find_texts(ledger, found)
    report = _make_report(
        campaign,
        found.number,
        run,
        counts,
        lambda: ledger.read_outcomes(found),
        resent=ledger.count_resent(found),
        has_refused_copies=ledger.has_refused_copies(found),
        workers=_summarize_workers(ledger.read_runs(found)),
    )
    return replace(report, subject=subject, sender=sender)


def make_proof_report(run: RunRecord, outcome: Outcome | None) -> Report:
    """Return the report of a proof, which is in no ledger; it covers only the proof.

    `run` is the record that the run returned. `outcome` is None if there is none.
    """
    outcomes = [] if outcome is None else [outcome]
    counts = Counts.from_statuses({found.status: 1 for found in outcomes})
    return _make_report(run.campaign, run.edition, run, counts, lambda: iter(outcomes))


def _make_report(
    campaign: str,
    edition: int,
    run: RunRecord | None,
    counts: Counts,
    outcomes: Callable[[], Iterator[Outcome]],
    *,
    resent: int = 0,
    has_refused_copies: bool = False,
    workers: tuple[WorkerSummary, ...] = (),
) -> Report:
    return Report(
        campaign=campaign,
        edition=edition,
        run=run.run if run else None,
        started=run.started if run else None,
        finished=run.finished if run else None,
        seconds=run.seconds if run else 0.0,
        counts=counts,
        server=_make_server_summary(run),
        throughput=Throughput(run.messages_per_second, run.bytes) if run else Throughput(),
        outcomes=outcomes,
        resent=resent,
        has_refused_copies=has_refused_copies,
        ending=run.ending if run else None,
        reason=run.reason if run else None,
        workers=workers,
    )


def _summarize_workers(runs: list[RunRecord]) -> tuple[WorkerSummary, ...]:
    """The runs of workers with a name, by that name."""
    found: dict[str, WorkerSummary] = {}
    for run in runs:
        if run.worker is not None:
            was = found.get(run.worker, WorkerSummary(run.worker, 0, 0, 0.0))
            found[run.worker] = WorkerSummary(
                run.worker,
                was.messages + run.messages,
                was.sessions + run.sessions,
                was.seconds + run.seconds,
            )
    return tuple(found[name] for name in sorted(found))


def _make_server_summary(run: RunRecord | None) -> ServerSummary | None:
    if run is None or not run.server:
        return None
    said: Mapping[str, Any] = run.server
    return ServerSummary(
        host=said.get("host", ""),
        port=said.get("port", 0),
        tls=said.get("tls"),
        cipher=said.get("cipher"),
        extensions=tuple(said.get("extensions") or ()),
        strategy=said.get("strategy"),
        sessions=run.sessions,
        reconnects=run.reconnects,
    )


def _explain_unknown(ledger: Ledger, campaign: str, edition: int | None) -> InputError:
    if edition is not None and ledger.find_edition(campaign):
        return InputError(f"the ledger has no edition {edition} of campaign {campaign!r}")
    known = ledger.list_campaigns()
    shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
    hint = f"it has: {shown}" if known else "nothing was sent with it yet; another one is named with --ledger"
    return InputError(f"the ledger has no campaign {campaign!r}", hint=hint)
