"""A campaign to send, a run of it in this process, and the comparison that matters: server against ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path

from mailer.campaign.load import load_campaign
from mailer.campaign.model import Backoff, Delivery, ServerConfig
from mailer.delivery.clock import Clock
from mailer.delivery.observer import Observer
from mailer.delivery.options import RunResult, SendOptions
from mailer.delivery.run import run
from mailer.delivery.signals import StopSignal
from mailer.ledger import Edition, Ledger
from mailer.ledger.outcome import Outcome, Status
from mailer.render.compile import compile_campaign
from mailer.secret import Secret
from tests.faults.server import PASSWORD, USERNAME, FaultServer

QUICK = Delivery(backoff=Backoff(0.001, 0.01), timeout=10.0)


def write_campaign(folder: Path, count: int, extra: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt.j2").write_text(
        "Hello {{ name }},\n\nthis is number {{ n }}.\n.\nA line with a dot before.\n"
    )
    rows = "".join(f"r{n}@example.com,Name {n},{n}\n" for n in range(count))
    (folder / "people.csv").write_text("email,name,n\n" + rows)
    path = folder / "campaign.yaml"
    path.write_text(
        "campaign: faults\nfrom: News <news@example.com>\nsubject: Number {{ n }}\n"
        f"text: text.txt.j2\nrecipients: people.csv\n{extra}"
    )
    return path


class Recorder(Observer):
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.warnings: list[str] = []
        self.waits: list[tuple[float, str]] = []
        self.unknown: list[str] = []
        self.sessions = 0
        self.outcome_callback: Callable[[Outcome], None] = lambda _outcome: None

    def on_outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.outcome_callback(outcome)

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)

    def on_waiting(self, seconds: float, why: str) -> None:
        self.waits.append((seconds, why))

    def on_unknown_user(self, email: str) -> None:
        self.unknown.append(email)

    def on_session(self, details: object) -> None:
        self.sessions += 1


class FakeClock:
    """Starts at a fixed date; the earliest of those who sleep moves it on, after the others had their turn."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._until: list[float] = []
        self.slept: list[float] = []

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        until = self._now + seconds
        self._until.append(until)
        try:
            for _ in range(20):  # what is ready in the loop comes first
                await asyncio.sleep(0)
            while self._now < until and min(self._until) < until:
                await asyncio.sleep(0)
            self._now = max(self._now, until)
            self.slept.append(seconds)
        finally:
            self._until.remove(until)


@dataclass
class Bench:
    """One campaign and ledger, sent to any server."""

    folder: Path
    count: int = 20
    extra: str = ""
    ledger_url: str | None = None  # of PostgreSQL; by default the ledger is a file in the folder
    observer: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        self.path = write_campaign(self.folder, self.count, self.extra)

    @property
    def ledger_path(self) -> Path:
        return self.folder / "ledger.sqlite3"

    @property
    def ledger(self) -> str | Path:
        return self.ledger_url or self.ledger_path

    def options(self, fault_server: FaultServer, delivery: Delivery = QUICK, **more: object) -> SendOptions:
        security, ca_file = fault_server.security, fault_server.ca_file
        where = ServerConfig("127.0.0.1", fault_server.port, security, USERNAME, ca_file=ca_file)  # type: ignore[arg-type]
        return replace(SendOptions(where, Secret(PASSWORD), delivery), **more)  # type: ignore[arg-type]

    def send(
        self,
        fault_server: FaultServer,
        delivery: Delivery = QUICK,
        *,
        clock: Clock | None = None,
        stop: StopSignal | None = None,
        cancel_after: int | None = None,
        **more: object,
    ) -> RunResult:
        """Run the campaign, in at most 60 s; with `cancel_after`, cancel the run after so many outcomes."""
        campaign = load_campaign(self.path)
        compiled = compile_campaign(campaign)
        options = self.options(fault_server, delivery, **more)
        with Ledger.open(self.ledger) as ledger:
            sending = run(campaign, compiled, ledger, options, self.observer, stop=stop, clock=clock)
            return asyncio.run(asyncio.wait_for(self._run_and_cancel(sending, cancel_after), 60))

    async def _run_and_cancel(
        self, sending: Coroutine[object, object, RunResult], after: int | None
    ) -> RunResult:
        task = asyncio.ensure_future(sending)
        seen = len(self.observer.outcomes)

        def look(_outcome: Outcome) -> None:
            if len(self.observer.outcomes) - seen == after:
                task.cancel()

        if after is not None:
            self.observer.outcome_callback = look
        return await task

    def outcomes(self) -> dict[str, Outcome]:
        with Ledger.open(self.ledger) as ledger:
            edition: Edition = ledger.ensure_edition("faults")
            return {outcome.email: outcome for outcome in ledger.read_outcomes(edition)}

    def statuses(self) -> dict[Status, int]:
        with Ledger.open(self.ledger) as ledger:
            return {
                status: count
                for status, count in ledger.count_by_status(ledger.ensure_edition("faults")).items()
                if count
            }

    def compare_with(self, server: FaultServer, *, max_duplicates: int = 0) -> None:
        """For each recipient: the server has the message if the status is `sent`, otherwise not, and never too often."""
        outcomes, times = self.outcomes(), server.times()
        assert len(outcomes) == self.count
        lost = [
            email for email, outcome in outcomes.items() if outcome.status is Status.SENT and not times[email]
        ]
        assert lost == [], "sent in the ledger, unknown to the server"
        untold = [
            email
            for email, outcome in outcomes.items()
            if times[email] and outcome.status not in (Status.SENT, Status.IN_DOUBT)
        ]
        assert untold == [], "accepted by the server, unknown to the ledger"
        assert server.duplicates <= max_duplicates
        contents = {message.message_id: message.digest for message in server.accepted}
        assert all(contents[message.message_id] == message.digest for message in server.accepted)
        assert all(len(message.recipients) >= 1 for message in server.accepted)
