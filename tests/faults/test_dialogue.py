"""Every step of the dialogue x moment x kind of break x strategy: server and ledger agree, recipient by recipient."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from mailer.deliver.options import Ending
from mailer.deliver.outcome import Status
from tests.faults.harness import QUICK, Bench
from tests.faults.server import KINDS, STRATEGIES, Fault, FaultServer

STEPS = ("greeting", "ehlo", "auth", "mail", "rcpt", "data", "content", "accepted", "quit")
MOMENTS = ("before", "middle", "after")
COUNT = 12
WINDOW = 4
QUICK = replace(QUICK, window=WINDOW)
QUICK_SILENCE = replace(QUICK, timeout=0.25)


def cases():
    for strategy, step, moment, kind in product(STRATEGIES, STEPS, MOMENTS, KINDS):
        if step == "data" and strategy == "streamed":
            continue  # BDAT has no reply of its own before the content's
        if kind in ("421", "4xx") and moment == "middle":
            continue  # half a reply and then another one is no dialogue
        if kind == "4xx" and ((moment == "after" and step != "content") or step in ("greeting", "ehlo", "quit")):
            continue
        if kind == "4xx" and step == "content" and moment == "before":
            continue
        yield pytest.param(strategy, Fault(step, kind, moment, _nth(step)), id=f"{strategy}-{step}-{moment}-{kind}")


def _nth(step: str) -> int:
    """The first time where there is one a session; else in the middle of a window."""
    return 1 if step in ("greeting", "ehlo", "auth", "quit") else 6


@pytest.mark.parametrize(("strategy", "fault"), list(cases()))
def test_a_break_loses_nobody(tmp_path, strategy, fault):
    bench = Bench(tmp_path, COUNT)
    delivery = QUICK if fault.kind != "silence" else QUICK_SILENCE
    with FaultServer(strategy, (fault,)) as server:
        result = bench.send(server, delivery)
        bench.agree(server, most_duplicates=WINDOW)
        assert result.ending is Ending.COMPLETE, result.reason
        assert bench.statuses() == {Status.SENT: COUNT}
        assert bench.outcomes().keys() == server.times().keys()
