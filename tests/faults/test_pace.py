"""A pace over a long line: messages start when it says, whether or not those before them are answered."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

from benchmarks.rig import delayed
from mailer.campaign.model import Rate
from tests.faults.harness import QUICK, Bench
from tests.faults.server import FaultServer, Step

ROUND_TRIP = 0.2


def test_a_pace_is_kept_if_the_round_trip_is_longer_than_its_interval(tmp_path):
    bench = Bench(tmp_path, 20)
    times: list[float] = []

    def script(step: Step) -> None:
        if step.name == "mail":
            times.append(time.monotonic())

    with FaultServer("streamed", script=script) as server, delayed(server.port, ROUND_TRIP * 1000) as port:
        near = SimpleNamespace(port=port, security=server.security, ca_file=server.ca_file)
        bench.send(near, replace(QUICK, rate=Rate(40, 1)))
        bench.compare_with(server)
    assert len(times) == 20
    # 19 intervals, and the round trips of the first message; one after the other would be 19 round trips.
    assert 19 / 40 * 0.9 < times[-1] - times[0] < 19 / 40 + 6 * ROUND_TRIP
