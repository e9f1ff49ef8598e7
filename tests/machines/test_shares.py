"""Shares of a campaign that one worker sends, one after the other, in its own process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailer.delivery import kept_sessions
from mailer.errors import AuthenticationError
from mailer.ledger import Ledger
from mailer.ledger.outcome import Status
from mailer.ledger.sharing import EditionMonitor
from mailer.workers import app
from mailer.workers.app import ShareRunner
from tests.faults.server import PASSWORD, FaultServer
from tests.machines.fleet import Fleet

DELIVERY = "delivery: {connections: 1, window: 8}\n"
COUNT = 50


class LocalWorker:
    """A campaign that a command distributes, and a worker in this process that sends its shares."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.command = fleet, fleet.start_command()
        self.ledger = Ledger.open(fleet.url)
        wait_until(self.is_packed)
        self.edition = self.ledger.ensure_edition("faults")
        self.runner = ShareRunner(fleet.url, name="one", cache=fleet.folder / "cache")

    def is_packed(self) -> bool:
        return bool(self.ledger.fetch_one("SELECT settings FROM editions WHERE settings IS NOT NULL"))

    def send_share(self) -> bool:
        return self.runner.send_share("faults", 1)

    def acquire_permit(self) -> Any:
        """What another worker would get: the only session of the campaign, or None."""
        return self.ledger.store.acquire_permit(self.edition.id, 1)  # type: ignore[attr-defined]


def wait_until(is_true: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def worker(redis: Any, make_fleet: Any, server: FaultServer, monkeypatch: Any) -> Iterator[LocalWorker]:
    monkeypatch.setattr(app, "SHARE_MESSAGES", 10)
    monkeypatch.setenv("MAILER_PASSWORD", PASSWORD)
    worker = LocalWorker(make_fleet(redis, server, COUNT, DELIVERY))
    yield worker
    worker.runner.close()
    worker.ledger.close()


def test_one_session_serves_all_shares(worker: LocalWorker, server: FaultServer) -> None:
    while worker.send_share():
        assert server.open_now == 1
    assert worker.command.wait(60) == 0
    assert (server.sessions, server.logins) == (1, 1)
    runs = [run for run in worker.ledger.read_runs(worker.edition) if run.worker == "one"]
    assert [run.messages for run in runs if run.messages] == [10] * 5
    assert sum(run.sessions for run in runs) == 1
    worker.fleet.compare_with()


def test_a_session_that_no_share_uses_is_ended_and_its_place_is_free(
    worker: LocalWorker, server: FaultServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr(kept_sessions, "KEEP_SECONDS", 0.05)
    assert worker.send_share()
    wait_until(lambda: not server.open_now)
    assert server.commands[-1].upper().startswith("QUIT")
    wait_until(lambda: (lock := worker.acquire_permit()) is not None and lock.release() is None)
    assert worker.send_share()
    assert server.sessions == 2


def test_a_kept_session_counts_among_the_connections(worker: LocalWorker) -> None:
    assert worker.send_share()
    assert worker.acquire_permit() is None


def test_a_kept_session_that_the_server_ended_is_replaced(worker: LocalWorker, server: FaultServer) -> None:
    server.idle = 0.2
    assert worker.send_share()
    wait_until(lambda: not server.open_now)
    server.idle = None
    while worker.send_share():
        pass
    assert worker.command.wait(60) == 0
    assert server.sessions == 2
    worker.fleet.compare_with()


def test_without_the_command_no_further_share_is_wanted(worker: LocalWorker) -> None:
    worker.command.kill()
    worker.command.wait()
    monitor = EditionMonitor(worker.ledger, worker.edition)
    wait_until(lambda: not monitor.is_command_alive())
    assert not worker.send_share()
    assert worker.fleet.statuses() == {Status.SENT: 10, Status.PENDING: COUNT - 10}


def test_a_worker_that_fails_ends_a_campaign_only_if_no_other_sends_it(worker: LocalWorker) -> None:
    error = AuthenticationError("the password is wrong")
    other = worker.ledger.start_run(worker.edition, template="t", now=time.time(), worker="two")
    monitor = EditionMonitor(worker.ledger, worker.edition)
    worker.runner.report_failure("faults", 1, error)
    assert monitor.read().ending is None
    worker.ledger.finish_run(other)
    worker.runner.report_failure("faults", 1, error)
    assert monitor.read().ending == "unreachable"
