"""What dies while workers send: nothing is lost, and duplicates are at most a window for each session that died."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest

from mailer.ledger.outcome import Status
from mailer.workers.app import QUEUE, TaskQueue
from tests.faults.server import FaultServer, Step
from tests.ledger.conftest import make_schema
from tests.machines.brokers import RabbitMQ
from tests.postgres import run_postgres

WINDOW = 8
COUNT = 1500
DELIVERY = "delivery: {connections: 3, window: 8, backoff: {first: 10ms, most: 100ms}, in_doubt: %s}\n"


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_a_worker_is_killed(rabbitmq: Any, make_fleet: Any, policy: str) -> None:
    with FaultServer(delay=0.01) as server:
        fleet = make_fleet(rabbitmq, server, COUNT, DELIVERY % policy)
        workers = [fleet.start_worker(name) for name in ("one", "two", "three")]
        command = fleet.start_command()
        fleet.wait_for_messages(200)
        kill(workers[0])
        code = command.wait(180)
        assert code in (0, 1), fleet.logs()
        # Between two shares of the others, a worker may have all three sessions.
        fleet.compare_with(max_duplicates=3 * WINDOW if policy == "resend" else 0)
        statuses = fleet.statuses()
    if policy == "resend":
        assert statuses == {Status.SENT: COUNT}
    else:
        assert statuses.get(Status.IN_DOUBT, 0) <= 3 * WINDOW
        assert sum(statuses.values()) == COUNT == statuses[Status.SENT] + statuses.get(Status.IN_DOUBT, 0)


@pytest.mark.slow
def test_all_workers_are_killed_and_others_come(redis: Any, make_fleet: Any) -> None:
    with FaultServer(delay=0.01) as server:
        fleet = make_fleet(redis, server, COUNT, DELIVERY % "resend")
        workers = [fleet.start_worker(name) for name in ("one", "two")]
        command = fleet.start_command()
        fleet.wait_for_messages(200)
        for worker in workers:
            kill(worker)
        fleet.start_worker("three")
        assert command.wait(180) == 0, fleet.logs()
        fleet.compare_with(max_duplicates=3 * WINDOW)
        assert fleet.statuses() == {Status.SENT: COUNT}


@pytest.mark.slow
def test_the_command_is_killed_and_run_again(redis: Any, make_fleet: Any) -> None:
    with FaultServer(delay=0.01) as server:
        fleet = make_fleet(redis, server, COUNT, DELIVERY % "resend")
        for name in ("one", "two"):
            fleet.start_worker(name)
        kill_at = fleet.start_command()
        fleet.wait_for_messages(100)
        kill(kill_at)
        assert fleet.start_command().wait(180) == 0, fleet.logs()
        fleet.compare_with()
        assert fleet.statuses() == {Status.SENT: COUNT}


@pytest.mark.slow
def test_the_broker_is_killed_and_comes_back(make_fleet: Any, tmp_path: Any) -> None:
    pytest.importorskip("celery", reason="the extra workers is not installed")
    broker = RabbitMQ(tmp_path / "own-rabbitmq")
    broker.start()
    try:
        with FaultServer(delay=0.01) as server:
            fleet = make_fleet(broker, server, COUNT, DELIVERY % "resend")
            for name in ("one", "two"):
                fleet.start_worker(name)
            command = fleet.start_command()
            fleet.wait_for_messages(100)
            broker.kill()
            time.sleep(3)
            broker.start()
            assert command.wait(180) == 0, fleet.logs()
            fleet.compare_with()
            assert fleet.statuses() == {Status.SENT: COUNT}
    finally:
        broker.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("how", "away_seconds"), [("kill", 3), ("fast", 0), ("immediate", 60)])
def test_the_database_goes_away_and_comes_back(
    redis: Any, make_fleet: Any, how: str, away_seconds: float
) -> None:
    """It is killed, restarted, or away for a minute."""
    with run_postgres(durable=True) as own, FaultServer(delay=0.01) as server:
        fleet = make_fleet(redis, server, COUNT, DELIVERY % "resend")
        fleet.url = make_schema(own.url)
        for name in ("one", "two"):
            fleet.start_worker(name)
        command = fleet.start_command()
        fleet.wait_for_messages(200)
        own.kill() if how == "kill" else own.stop(how)
        accepted = len(server.accepted)
        time.sleep(away_seconds)
        assert len(server.accepted) <= accepted + 3 * WINDOW  # no sender sends without a ledger
        own.start(durable=True)
        assert command.wait(180) == 0, fleet.logs()
        fleet.compare_with(max_duplicates=3 * WINDOW)
        assert fleet.statuses() == {Status.SENT: COUNT}


@pytest.mark.slow
def test_a_database_that_goes_away_leaves_no_duplicate_with_hold(redis: Any, make_fleet: Any) -> None:
    with run_postgres(durable=True) as own, FaultServer(delay=0.01) as server:
        fleet = make_fleet(redis, server, COUNT, DELIVERY % "hold")
        fleet.url = make_schema(own.url)
        for name in ("one", "two"):
            fleet.start_worker(name)
        command = fleet.start_command()
        fleet.wait_for_messages(200)
        own.kill()
        own.start(durable=True)
        assert command.wait(180) in (0, 1), fleet.logs()
        fleet.compare_with()
        statuses = fleet.statuses()
    assert statuses.get(Status.IN_DOUBT, 0) <= 3 * WINDOW
    assert sum(statuses.values()) == COUNT == statuses[Status.SENT] + statuses.get(Status.IN_DOUBT, 0)


@pytest.mark.slow
def test_tasks_that_come_twice_send_nothing_twice(redis: Any, make_fleet: Any) -> None:
    with FaultServer(delay=0.01) as server:
        fleet = make_fleet(redis, server, 600, DELIVERY % "resend")
        for name in ("one", "two", "three"):
            fleet.start_worker(name)
        command = fleet.start_command()
        fleet.wait_for_messages(50)
        TaskQueue(redis.url).top_up("faults", 1, 20)
        assert command.wait(180) == 0, fleet.logs()
        fleet.compare_with()
        assert fleet.statuses() == {Status.SENT: 600}


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_completes_what_is_in_flight(redis: Any, make_fleet: Any) -> None:
    with FaultServer(delay=0.01) as server:
        fleet = make_fleet(redis, server, COUNT, DELIVERY % "hold")
        first = fleet.start_worker("one")
        command = fleet.start_command()
        fleet.wait_for_messages(100)
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0, fleet.logs()
        fleet.start_worker("two")
        assert command.wait(180) == 0, fleet.logs()
        fleet.compare_with()
        assert fleet.statuses() == {Status.SENT: COUNT}


@pytest.mark.slow
def test_a_task_that_the_broker_delivers_again_sends_nothing_twice(rabbitmq: Any, make_fleet: Any) -> None:
    """A consumer takes a task and is gone before it acknowledges it, as a worker that is killed."""
    kombu = pytest.importorskip("kombu", reason="the extra workers is not installed")
    with FaultServer(delay=0.01) as server:
        fleet = make_fleet(rabbitmq, server, 600, DELIVERY % "resend")
        command = fleet.start_command()
        with kombu.Connection(rabbitmq.url) as connection:
            queue = open_queue(connection)
            taken = queue.get(timeout=60)
            while taken.delivery_info["redelivered"]:  # left by the workers of another test
                taken.ack()
                taken = queue.get(timeout=60)
        with kombu.Connection(rabbitmq.url) as connection:
            queue = open_queue(connection)
            again = queue.get(timeout=60)
            while again.headers["id"] != taken.headers["id"]:  # there is a task for each session
                again = queue.get(timeout=60)
            assert again.delivery_info["redelivered"]
        for name in ("one", "two"):
            fleet.start_worker(name)
        assert command.wait(180) == 0, fleet.logs()
        fleet.compare_with()
        assert fleet.statuses() == {Status.SENT: 600}


def open_queue(connection: Any) -> Any:
    """One for a connection: a second one would not get the tasks that the first one was sent."""
    return connection.SimpleQueue(QUEUE, queue_opts={"durable": True})


CLOCK = """import time
_time = time.time
time.time = lambda: _time() + {seconds}
"""


@pytest.mark.slow
def test_machines_whose_clocks_are_an_hour_apart_send_and_wait_together(redis: Any, make_fleet: Any) -> None:
    """Some messages are refused for now: each is tried again after its wait, by whatever clock."""
    refused: set[str] = set()

    def refuse_once(step: Step) -> str | None:
        if step.name == "rcpt" and step.count % 7 == 0 and step.argument not in refused:
            refused.add(step.argument)
            return "450 4.2.1 not now"
        return None

    with FaultServer(delay=0.01, script=refuse_once) as server:
        fleet = make_fleet(redis, server, 900, DELIVERY % "resend")
        for name, seconds in (("one", 3600), ("two", -3600), ("three", 0)):
            folder = fleet.folder / f"clock-{name}"
            folder.mkdir()
            (folder / "sitecustomize.py").write_text(CLOCK.format(seconds=seconds))
            path = os.pathsep.join((str(folder), fleet.environment()["PYTHONPATH"]))
            fleet.start_worker(name, environment={"PYTHONPATH": path})
        assert fleet.start_command().wait(120) == 0, fleet.logs()
        fleet.compare_with()
        assert fleet.statuses() == {Status.SENT: 900}
        workers = {worker["name"] for worker in fleet.report()["workers"] if worker["messages"]}
    assert refused
    assert workers == {"one", "two", "three"}
