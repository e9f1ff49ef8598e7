"""Three workers in network namespaces of their own, on folders of their own; one of them is cut off for 30 seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mailer.ledger.outcome import Status
from tests.faults.server import USERNAME, FaultServer
from tests.ledger.conftest import make_schema
from tests.machines.brokers import Redis
from tests.machines.fleet import Fleet, collect_lost_connections
from tests.postgres import run_postgres

WORKERS = ("one", "two", "three")
WINDOW = 8
COUNT = 6000
OUTSIDE_SECONDS = 30


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Network:
    """A namespace for each worker, joined to this one by a pair of virtual interfaces: 10.91.N.1 and 10.91.N.2."""

    def __init__(self) -> None:
        self.names = {worker: f"mailer-{os.getpid()}-{worker}" for worker in WORKERS}
        self.address = "10.91.0.1"

    def __enter__(self) -> Network:
        run("ip", "addr", "replace", f"{self.address}/32", "dev", "lo")
        for number, name in enumerate(self.names.values(), 1):
            outer, inner = f"mlr{number}", f"mlr{number}i"
            run("ip", "netns", "add", name)
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
            run("ip", "addr", "add", f"10.91.{number}.1/24", "dev", outer)
            run("ip", "link", "set", outer, "up")
            for command in (
                ("addr", "add", f"10.91.{number}.2/24", "dev", inner),
                ("link", "set", inner, "up"),
                ("link", "set", "lo", "up"),
                ("route", "add", "default", "via", f"10.91.{number}.1"),
            ):
                run("ip", "-n", name, *command)
        return self

    def __exit__(self, *_: object) -> None:
        for number, name in enumerate(self.names.values(), 1):
            subprocess.run(["ip", "netns", "del", name], check=False)
            subprocess.run(["ip", "link", "del", f"mlr{number}"], check=False, capture_output=True)
        subprocess.run(["ip", "addr", "del", f"{self.address}/32", "dev", "lo"], check=False)

    def cut(self, worker: str, *, is_cut: bool) -> None:
        """Let nothing through to a worker, or everything again."""
        number = WORKERS.index(worker) + 1
        run("ip", "link", "set", f"mlr{number}", "down" if is_cut else "up")


@pytest.fixture
def network() -> Iterator[Network]:
    may_make = (
        os.geteuid() == 0
        and subprocess.run(["ip", "netns", "add", "mailer-try"], check=False).returncode == 0
    )
    if not may_make:
        pytest.skip("needs the right to make network namespaces")
    run("ip", "netns", "del", "mailer-try")
    with Network() as made:
        yield made


class NamespaceFleet(Fleet):
    """Workers in namespaces of their own; the other processes are outside."""

    network: Network

    def prefix(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", self.network.names[name]] if name in WORKERS else []

    def start_worker(
        self, name: str, *more: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        own = {
            "MAILER_SERVER": f"smtps://{USERNAME}@localhost:{self.server.port}",
            "MAILER_CA_FILE": str(self.server.ca_file),
        }
        return super().start_worker(name, *more, environment={**own, **(environment or {})})


def relay(network: Network, worker: str, port: int, folder: Path) -> subprocess.Popen[bytes]:
    """In a worker's namespace, localhost:PORT is the server outside: its certificate is for localhost."""
    code = f"""
import asyncio
async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
async def serve(reader, writer):
    there, out = await asyncio.open_connection("{network.address}", {port})
    await asyncio.gather(copy(reader, out), copy(there, writer))
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", {port})
    await server.serve_forever()
asyncio.run(main())
"""
    command = ["ip", "netns", "exec", network.names[worker], sys.executable, "-c", code]
    with (folder / f"relay-{worker}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_machine_that_is_cut_off_loses_nothing(network: Network, tmp_path: Any) -> None:
    pytest.importorskip("celery", reason="the extra workers is not installed")
    extra = (
        f"delivery: {{connections: 3, window: {WINDOW}, timeout: 10s, backoff: {{first: 10ms, most: 1s}}}}\n"
    )
    broker = Redis(tmp_path / "redis", "0.0.0.0")
    broker.start()
    relays: list[subprocess.Popen[bytes]] = []
    with run_postgres("0.0.0.0") as postgres, FaultServer(delay=0.02, host="0.0.0.0") as server:
        url = make_schema(postgres.url.replace("0.0.0.0", network.address))
        fleet = NamespaceFleet(
            tmp_path, url, broker.url.replace("0.0.0.0", network.address), server, COUNT, extra
        )
        fleet.network = network
        try:
            relays = [relay(network, worker, server.port, tmp_path) for worker in WORKERS]
            for worker in WORKERS:
                fleet.start_worker(worker)
            command = fleet.start_command()
            fleet.wait_for_messages(300)
            network.cut("one", is_cut=True)
            time.sleep(OUTSIDE_SECONDS)
            network.cut("one", is_cut=False)
            assert command.wait(200) == 0, fleet.logs()
            fleet.compare_with(max_duplicates=2 * WINDOW)
            assert fleet.statuses() == {Status.SENT: COUNT}
        finally:
            fleet.close()
            for process in relays:
                process.kill()
                process.wait()
            broker.kill()
    collect_lost_connections()
