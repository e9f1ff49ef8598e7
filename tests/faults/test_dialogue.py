"""Every step of the dialogue x moment x kind of break x strategy: server and ledger agree, recipient by recipient."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import pytest

from mailer.delivery.options import Ending
from mailer.ledger.outcome import Status
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
        if kind == "4xx" and (
            (moment == "after" and step != "content") or step in ("greeting", "ehlo", "quit")
        ):
            continue
        if kind == "4xx" and step == "content" and moment == "before":
            continue
        yield pytest.param(
            strategy, Fault(step, kind, moment, _nth(step)), id=f"{strategy}-{step}-{moment}-{kind}"
        )


def _nth(step: str) -> int:
    """The first time if there is one a session; else in the middle of a window."""
    return 1 if step in ("greeting", "ehlo", "auth", "quit") else 6


@pytest.mark.parametrize(("strategy", "fault"), list(cases()))
def test_a_break_loses_no_message(tmp_path, strategy, fault):
    bench = Bench(tmp_path, COUNT)
    delivery = QUICK if fault.kind != "silence" else QUICK_SILENCE
    with FaultServer(strategy, (fault,)) as server:
        result = bench.send(server, delivery)
        bench.compare_with(server, max_duplicates=WINDOW)
        assert result.ending is Ending.COMPLETE, result.reason
        assert bench.statuses() == {Status.SENT: COUNT}
        assert bench.outcomes().keys() == server.times().keys()


STARTTLS = [
    (step, moment, kind)
    for step, moment, kind in product(("ehlo", "starttls"), ("before", "after"), KINDS)
    if (moment, kind) != ("after", "4xx")
]


@pytest.mark.parametrize(("step", "moment", "kind"), STARTTLS)
def test_a_break_around_starttls(tmp_path, step, moment, kind):
    bench = Bench(tmp_path, COUNT)
    delivery = QUICK if kind != "silence" else QUICK_SILENCE
    with FaultServer("streamed", (Fault(step, kind, moment),), security="starttls") as server:
        result = bench.send(server, delivery)
        bench.compare_with(server)
        if result.ending is Ending.UNREACHABLE:  # before anything was sent, and the next run continues
            assert bench.statuses() == {Status.PENDING: COUNT}
            assert server.logins == 0
            result = bench.send(server, delivery)
        assert result.ending is Ending.COMPLETE, result.reason
        assert server.duplicates == 0


@pytest.mark.parametrize("seed", range(40))
def test_many_breaks_in_one_run_lose_no_recipient(tmp_path, seed):
    """With any combination of faults no recipient is lost, and a duplicate was in a window that was lost."""
    dice = random.Random(seed)
    strategy, connections = dice.choice(list(STRATEGIES)), dice.choice((1, 1, 2, 4))
    kinds = [kind for kind in KINDS if kind != "silence"]
    faults = tuple(
        Fault(dice.choice(STEPS), dice.choice(kinds), dice.choice(MOMENTS), dice.randrange(1, 40))
        for _ in range(6)
    )
    bench = Bench(tmp_path, 40)
    with FaultServer(strategy, faults) as server:
        result = bench.send(server, replace(QUICK, connections=connections))
        bench.compare_with(server, max_duplicates=server.sessions * WINDOW)
        assert result.ending in (Ending.COMPLETE, Ending.INCOMPLETE), result.reason
        lost = {email for email, outcome in bench.outcomes().items() if outcome.status is not Status.SENT}
        assert all(bench.outcomes()[email].status is Status.IN_DOUBT for email in lost)
        server.faults = ()
        assert bench.send(server, in_doubt="resend").ending is Ending.COMPLETE
        assert len(server.times()) == 40
