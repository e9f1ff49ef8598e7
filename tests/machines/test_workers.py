"""`mailer worker` and `mailer send --workers` as processes, with real brokers and a real database."""

from __future__ import annotations

from typing import Any

import pytest

from mailer.ledger.outcome import Status
from tests.faults.server import FaultServer

DELIVERY = "delivery: {connections: 3, window: 8, backoff: {first: 10ms, most: 100ms}}\n"


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_three_workers_send_one_campaign(broker: Any, make_fleet: Any) -> None:
    with FaultServer(delay=0.01) as server:
        fleet = make_fleet(broker, server, 900, DELIVERY)
        for name in ("one", "two", "three"):
            fleet.start_worker(name)
        command = fleet.start_command("--report", str(fleet.folder / "send.json"))
        assert command.wait(120) == 0, fleet.logs()
        assert fleet.statuses() == {Status.SENT: 900}
        fleet.agree()
        report = fleet.report()
    assert report["counts"]["sent"] == 900
    assert "900" in fleet.log("command")
