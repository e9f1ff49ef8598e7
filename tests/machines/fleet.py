"""Workers and the sending command as processes, with what the tests compare: the server's record."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailer.ledger import Ledger
from mailer.ledger.outcome import Status
from tests.faults.harness import write_campaign
from tests.faults.server import PASSWORD, USERNAME, FaultServer

ROOT = Path(__file__).resolve().parents[2]


def collect_lost_connections() -> None:
    """Free what asyncio keeps of connections whose other end was killed: it warns of them, whenever they are freed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Fleet:
    """A campaign, a server, a ledger in PostgreSQL, a broker; and processes that send."""

    def __init__(
        self, folder: Path, url: str, broker: str, server: FaultServer, count: int, extra: str = ""
    ) -> None:
        self.folder, self.url, self.broker, self.server, self.count = folder, url, broker, server, count
        self.campaign = write_campaign(folder / "project", count, extra)
        self.processes: list[subprocess.Popen[bytes]] = []

    def environment(self) -> dict[str, str]:
        return {**os.environ, "MAILER_PASSWORD": PASSWORD, "PYTHONPATH": str(ROOT), "CI": "true"}

    def prefix(self, name: str) -> list[str]:
        """What the command line of the process `name` begins with."""
        return []

    def start(
        self,
        *arguments: str,
        cwd: Path | None = None,
        name: str = "log",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.txt").open("ab")
        process = subprocess.Popen(
            [*self.prefix(name), sys.executable, "-m", "mailer", *arguments],
            env={**self.environment(), **(environment or {})},
            cwd=cwd or self.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.processes.append(process)
        return process

    def start_worker(
        self, name: str, *more: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A worker in a folder of its own; it sees nothing of the campaign's folder but through the ledger."""
        own = self.folder / name
        own.mkdir(exist_ok=True)
        given = (
            "--broker",
            self.broker,
            "--ledger",
            self.url,
            "--name",
            name,
            "--cache",
            str(own / "cache"),
            *more,
        )
        return self.start("worker", *given, cwd=own, name=name, environment=environment)

    def start_command(self, *more: str) -> subprocess.Popen[bytes]:
        where = f"smtps://{USERNAME}@127.0.0.1:{self.server.port}"
        given = ("--server", where, "--ca-file", str(self.server.ca_file), "--ledger", self.url)
        return self.start(
            "send", str(self.campaign), *given, "--workers", self.broker, "--yes", *more, name="command"
        )

    def report(self) -> dict[str, Any]:
        target = self.folder / "report.json"
        process = self.start("report", "faults", "--ledger", self.url, "--output", str(target), name="report")
        assert process.wait(60) == 0, self.log("report")
        loaded: dict[str, Any] = json.loads(target.read_text())
        return loaded

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.txt").read_text()[-4000:]

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.txt"))
        )

    def statuses(self) -> dict[Status, int]:
        with Ledger.open(self.url) as ledger:
            counts = ledger.count_by_status(ledger.ensure_edition("faults"))
        return {status: count for status, count in counts.items() if count}

    def wait_for_messages(self, count: int, seconds: float = 60) -> None:
        """Until the server accepted that many."""
        until = time.monotonic() + seconds
        while len(self.server.accepted) < count:
            assert time.monotonic() < until, self.logs()
            time.sleep(0.02)

    def compare_with(self, *, max_duplicates: int = 0) -> None:
        """The server's record and the ledger's, recipient by recipient."""
        with Ledger.open(self.url) as ledger:
            outcomes = {o.email: o for o in ledger.read_outcomes(ledger.ensure_edition("faults"))}
        times = self.server.times()
        assert len(outcomes) == self.count
        lost = [
            email for email, outcome in outcomes.items() if outcome.status is Status.SENT and not times[email]
        ]
        assert lost == [], "sent in the ledger, unknown to the server"
        known = (Status.SENT, Status.IN_DOUBT)
        untold = [
            email for email, outcome in outcomes.items() if times[email] and outcome.status not in known
        ]
        assert untold == [], "accepted by the server, unknown to the ledger"
        assert self.server.duplicates <= max_duplicates, self.server.duplicates

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
