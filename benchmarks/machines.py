"""Several workers, and the ledger in PostgreSQL beside SQLite.

    python -m benchmarks.machines [--messages 3000] [--recipients 1000000]

Workers send to a sink that takes 5 ms for each message of a session, through Redis and a PostgreSQL of their own. Then
the ledger alone: one sender's claims and outcomes in both databases, and a long list planned into PostgreSQL.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.ledger import COMPILED, through_the_queue, timed
from mailer.delivery.plan import plan
from mailer.ledger import Ledger
from tests.delivery.lists import NOW, Many, campaign
from tests.faults.server import FaultServer
from tests.ledger.conftest import make_schema
from tests.machines.brokers import Redis
from tests.machines.fleet import Fleet
from tests.postgres import Postgres, run_postgres

SINK_SECONDS = 0.005
QUEUED = 20_000


def measure_workers(server: Postgres, broker: Redis, workers: int, messages: int) -> float:
    """Messages per second, from the first accepted message to the last one."""
    extra = f"delivery: {{connections: {workers}, window: 64}}\n"
    with tempfile.TemporaryDirectory() as folder, FaultServer(delay=SINK_SECONDS) as sink:
        fleet = Fleet(Path(folder), make_schema(server.url), broker.url, sink, messages, extra)
        try:
            for number in range(workers):
                fleet.start_worker(f"worker-{number}")
            time.sleep(3)
            command = fleet.start_command()
            fleet.wait_for_messages(messages // 20)
            started, already = time.perf_counter(), len(sink.accepted)
            fleet.wait_for_messages(messages - messages // 20, 600)
            rate = (len(sink.accepted) - already) / (time.perf_counter() - started)
            assert command.wait(120) == 0, fleet.logs()
            fleet.compare_with()
        finally:
            fleet.close()
    return rate


def measure_queue(where: str | Path) -> float:
    """Messages per second through the ledger of one sender, 64 a commit."""
    people = campaign(Many(QUEUED * 2))
    with Ledger.open(where) as ledger, ledger.hold_campaign("autumn"):
        edition = ledger.ensure_edition("autumn")
        plan(ledger, people, COMPILED, edition)
        run = ledger.start_run(edition, template="t", now=NOW)
        started = time.perf_counter()
        through_the_queue(ledger, edition, run, QUEUED, 64)
        return QUEUED / (time.perf_counter() - started)


def measure_planning(where: str, recipients: int) -> None:
    people = campaign(Many(recipients))
    with Ledger.open(where) as ledger, ledger.hold_campaign("autumn"):
        edition = ledger.ensure_edition("autumn")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        timed(
            f"planning {recipients:,} into PostgreSQL",
            lambda: plan(ledger, people, COMPILED, edition),
            recipients,
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{'':<44} {peak - before:8.0f} MB more than before")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=3000, help="for each number of workers")
    parser.add_argument("--recipients", type=int, default=1_000_000)
    asked = parser.parse_args()
    with run_postgres(durable=True) as server, tempfile.TemporaryDirectory() as folder:
        measure_planning(make_schema(server.url), asked.recipients)
        sqlite = measure_queue(Path(folder) / "ledger.sqlite3")
        postgres = measure_queue(make_schema(server.url))
        print(f"{'ledger of one sender, SQLite':<44} {sqlite:12,.0f} messages a second")
        print(f"{'ledger of one sender, PostgreSQL':<44} {postgres:12,.0f} messages a second")
        broker = Redis(Path(folder) / "redis")
        broker.start()
        try:
            first = 0.0
            for workers in (1, 2, 3):
                rate = measure_workers(server, broker, workers, asked.messages * workers)
                first = first or rate
                print(f"{workers} workers, {SINK_SECONDS * 1000:.0f} ms a message", end="")
                print(f"{'':<20} {rate:12,.0f} messages a second, {rate / first:.2f} times one", flush=True)
        finally:
            broker.kill()


if __name__ == "__main__":
    main()
