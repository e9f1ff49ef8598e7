"""Several senders of one campaign on one PostgreSQL ledger, against a server that counts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from mailer.campaign.load import load_campaign
from mailer.campaign.model import Backoff, Rate, StopAfter
from mailer.delivery.options import Ending, RunResult
from mailer.delivery.run import run
from mailer.ledger import Ledger
from mailer.ledger.outcome import Status
from mailer.render.compile import compile_campaign
from tests.faults.harness import QUICK, Bench, Recorder
from tests.faults.server import FaultServer, Step
from tests.ledger.conftest import make_schema


class SharedBench(Bench):
    """A campaign in a ledger of PostgreSQL that several senders send at once."""

    url = ""

    @property
    def ledger_path(self) -> Any:
        return self.url

    def send_with(
        self, senders: int, server: FaultServer, delivery: Any = QUICK, **more: Any
    ) -> list[RunResult]:
        """All senders at once, each with its own connection to the ledger, in the order of their names."""
        return asyncio.run(asyncio.wait_for(self._send_all(senders, server, delivery, more), 120))

    async def _send_all(self, senders: int, server: FaultServer, delivery: Any, more: Any) -> list[RunResult]:
        self.observers = [Recorder() for _ in range(senders)]
        return await asyncio.gather(*(self.send_one(n, server, delivery, **more) for n in range(senders)))

    async def send_one(self, number: int, server: FaultServer, delivery: Any, **more: Any) -> RunResult:
        campaign = load_campaign(self.path)
        options = self.options(server, delivery, worker=f"sender {number}", **more)
        with Ledger.open(self.url) as ledger:
            return await run(campaign, compile_campaign(campaign), ledger, options, self.observers[number])


@pytest.fixture
def make_bench(tmp_path, postgres):
    def make(count: int, **more: Any) -> SharedBench:
        bench = SharedBench(tmp_path, count, **more)
        bench.url = make_schema(postgres.url)
        return bench

    return make


def test_two_senders_share_a_campaign(make_bench):
    bench = make_bench(1000)
    with FaultServer(delay=0.005) as server:
        results = bench.send_with(2, server, replace(QUICK, connections=2))
    assert {result.ending for result in results} == {Ending.COMPLETE}
    bench.compare_with(server)
    assert bench.statuses() == {Status.SENT: 1000}
    assert min(len(observer.outcomes) for observer in bench.observers) > 30


def test_connections_hold_for_all(make_bench):
    bench, most = make_bench(200), 0

    def watch(_step: Step) -> None:
        nonlocal most
        most = max(most, server.open_now)

    with FaultServer(delay=0.002, script=watch) as server:
        bench.send_with(3, server, replace(QUICK, connections=2))
    assert most == 2
    bench.compare_with(server)


def test_a_sender_that_joins_gets_its_share_of_the_connections(make_bench):
    """The first one has all of them, and gives half of them up."""
    bench = make_bench(1500)

    async def send() -> None:
        bench.observers = [Recorder(), Recorder()]
        delivery = replace(QUICK, connections=2)
        first = asyncio.create_task(bench.send_one(0, server, delivery))
        while len(bench.observers[0].outcomes) < 100:
            await asyncio.sleep(0.01)
        await asyncio.gather(first, bench.send_one(1, server, delivery))

    with FaultServer(delay=0.01) as server:
        asyncio.run(asyncio.wait_for(send(), 120))
    assert bench.statuses() == {Status.SENT: 1500}
    assert len(bench.observers[1].outcomes) > 200
    bench.compare_with(server)


def test_the_rate_holds_for_all(make_bench):
    bench = make_bench(40)
    with FaultServer() as server:
        started = time.monotonic()
        bench.send_with(3, server, replace(QUICK, connections=3, rate=Rate(20, 1.0)))
        seconds = time.monotonic() - started
    assert bench.statuses() == {Status.SENT: 40}
    assert seconds > 39 / 20 - 0.1
    bench.compare_with(server)


def test_stop_after_counts_what_all_of_them_see(make_bench):
    def refuse(step: Step) -> str | None:
        return "550 5.7.1 no" if step.name == "rcpt" else None

    bench = make_bench(2000)
    delivery = replace(QUICK, connections=2, window=4, stop_after=StopAfter(in_a_row=60))
    with FaultServer(script=refuse, delay=0.002) as server:
        results = bench.send_with(2, server, delivery)
    assert {result.ending for result in results} == {Ending.GIVEN_UP}
    assert {
        result.reason
        for result in results
        if result.reason and "in a row failed permanently" not in result.reason
    } == set()
    assert 60 <= bench.statuses()[Status.FAILED] < 120


def test_one_sender_that_gives_up_ends_all(make_bench):
    def block(step: Step) -> str | None:
        return "550 5.7.26 This mail is unauthenticated" if step.name == "mail" and step.count > 200 else None

    bench = make_bench(1000)
    with FaultServer(script=block, delay=0.002) as server:
        results = bench.send_with(2, server, replace(QUICK, connections=2))
    assert {result.ending for result in results} <= {Ending.GIVEN_UP, Ending.UNREACHABLE}
    assert bench.statuses().get(Status.FAILED, 0) == 0
    assert bench.statuses()[Status.PENDING] > 0


def test_a_daily_limit_of_the_server_ends_all_senders(make_bench):
    """The account has it, and so all senders together: they stop, and the rest waits for the next day."""

    def refuse(step: Step) -> str | None:
        return (
            "550 5.4.5 Daily user sending limit exceeded"
            if step.name == "mail" and step.count > 200
            else None
        )

    bench = make_bench(2000)
    with FaultServer(script=refuse, delay=0.002) as server:
        results = bench.send_with(2, server, replace(QUICK, connections=2))
        refused = server.counts["mail"] - 200
    assert {result.ending for result in results} == {Ending.GIVEN_UP}
    assert all("daily sending limit" in (result.reason or "") for result in results)
    assert bench.statuses() == {Status.SENT: 200, Status.PENDING: 1800}
    assert refused < 200
    bench.compare_with(server)


def test_a_pause_that_the_server_asks_of_one_sender_holds_for_all(make_bench):
    """The messages of a pause are those that were in flight when it began, in every session."""
    pauses: list[float] = []

    def refuse_once(step: Step) -> str | None:
        if step.name == "mail" and step.count == 100:
            pauses.append(time.monotonic())
            return "421 4.7.0 Too many messages, slow down"
        if pauses:
            times.append(time.monotonic() - pauses[0])
        return None

    times: list[float] = []
    bench = make_bench(400)
    delivery = replace(QUICK, connections=2, window=4, backoff=Backoff(4.0, 4.0))
    with FaultServer(script=refuse_once, delay=0.005) as server:
        bench.send_with(2, server, delivery)
    assert bench.statuses() == {Status.SENT: 400}
    pause = [moment for moment in times if 1.5 < moment < 3.5]  # each sender looks once a second
    assert pause == []
    bench.compare_with(server)


def test_the_report_names_the_sender(make_bench):
    bench = make_bench(3)
    with FaultServer() as server:
        result = bench.send_with(1, server)[0]
    assert result.run is not None
    assert result.run.worker == "sender 0"


def test_a_database_that_goes_away_ends_the_run_at_once(make_bench, postgres):
    """What was in flight is in doubt for the next run, and sent again by it."""
    bench = make_bench(400)

    async def send() -> RunResult:
        bench.observers = [Recorder()]
        sending = asyncio.create_task(bench.send_one(0, server, replace(QUICK, window=8)))
        while len(bench.observers[0].outcomes) < 50:
            await asyncio.sleep(0.005)
        with Ledger.open(bench.url) as other:
            other.fetch_all("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE pid <> pg_backend_pid()")
        return await sending

    with FaultServer(delay=0.005) as server:
        result = asyncio.run(asyncio.wait_for(send(), 60))
        assert result.ending is Ending.LEDGER_FAILED
        accepted = len(server.accepted)
        assert accepted < 120
        again = bench.send_with(1, server)[0]
    assert again.ending is Ending.COMPLETE
    bench.compare_with(server, max_duplicates=8)
    assert bench.statuses() == {Status.SENT: 400}


def test_the_url_of_the_ledger_is_shown_without_its_password(make_bench, postgres):

    bench = make_bench(1)
    with Ledger.open(bench.url.replace("mailer@", "mailer:geheim@")) as ledger:
        shown = ledger.shown_name
    assert shown == f"postgresql://127.0.0.1:{postgres.port}/postgres"
