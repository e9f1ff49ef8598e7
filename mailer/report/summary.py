"""`Report`: what the ledger holds of a campaign, with the names of the JSON report (contract section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailer.errors import InputError
from mailer.ledger import Ledger, RunRecord
from mailer.ledger.outcome import Outcome, Status

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
    def of(cls, counts: dict[Status, int]) -> Counts:
        return cls(total=sum(counts.values()), **{status.value: counts.get(status, 0) for status in Status})

    def by_status(self) -> list[tuple[Status, int]]:
        """The counts in the contract's order, `sent` first."""
        return [(status, getattr(self, status.value)) for status in ORDER]

    @property
    def unfinished(self) -> int:
        """Those that another run of the same command would take up."""
        return self.deferred + self.in_doubt + self.pending


@dataclass(frozen=True, slots=True)
class Server:
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
    """Of the last run: messages settled a second, octets of content sent."""

    messages_per_second: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """A campaign's report. Times are ISO 8601 in UTC, `seconds` is the last run's length.

    It covers the whole campaign; `run`, times, `server` and `throughput` are the last run's. Recipients are streamed
    from the ledger each time they are asked for, in the order of the list; a million cost no memory.
    """

    campaign: str
    run: str | None
    started: str | None
    finished: str | None
    seconds: float
    counts: Counts
    server: Server | None
    throughput: Throughput
    outcomes: Callable[[], Iterator[Outcome]] = field(repr=False, compare=False)
    edition: int = 1
    resent: int = 0  # messages sent again because a reply never came (`in_doubt: resend`); each may have arrived twice
    ending: str | None = None  # how the last run ended: complete, incomplete, given_up, ...
    reason: str | None = None  # and why, where it ended early

    @property
    def recipients(self) -> Iterator[Outcome]:
        return self.outcomes()

    def failed(self) -> list[Outcome]:
        """Those refused for good."""
        return [outcome for outcome in self.outcomes() if outcome.status is Status.FAILED]


def read_report(ledger: Ledger, campaign: str, edition: int | None = None) -> Report:
    """The report of a campaign's edition, by default its latest; InputError where the ledger has none.

    The ledger stays in use: the report reads recipients from it until it is closed.
    """
    found = ledger.find_edition(campaign, edition)
    if found is None:
        raise _unknown(ledger, campaign, edition)
    run = ledger.find_last_run(found)
    return Report(
        campaign=campaign,
        edition=found.number,
        run=run.run if run else None,
        started=run.started if run else None,
        finished=run.finished if run else None,
        seconds=run.seconds if run else 0.0,
        counts=Counts.of(ledger.count_by_status(found)),
        server=_server(run),
        throughput=Throughput(run.messages_per_second, run.bytes) if run else Throughput(),
        outcomes=lambda: ledger.read_outcomes(found),
        resent=ledger.count_resent(found),
        ending=run.ending if run else None,
        reason=run.reason if run else None,
    )


def _server(run: RunRecord | None) -> Server | None:
    if run is None or not run.server:
        return None
    said: Mapping[str, Any] = run.server
    return Server(
        host=said.get("host", ""),
        port=said.get("port", 0),
        tls=said.get("tls"),
        cipher=said.get("cipher"),
        extensions=tuple(said.get("extensions") or ()),
        strategy=said.get("strategy"),
        sessions=run.sessions,
        reconnects=run.reconnects,
    )


def _unknown(ledger: Ledger, campaign: str, edition: int | None) -> InputError:
    if edition is not None and ledger.find_edition(campaign):
        return InputError(f"the ledger has no edition {edition} of campaign {campaign!r}")
    known = ledger.list_campaigns()
    shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
    hint = f"it has: {shown}" if known else "nothing was sent with it yet; another one is named with --ledger"
    return InputError(f"the ledger has no campaign {campaign!r}", hint=hint)
