"""kill -9 at random instants, again and again on the same ledger, until the campaign is done; then compare.

Shared by the suite (a hundred kills) and by `make soak` (thousands).
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mailer.deliver.outcome import Status
from tests.faults.harness import Bench
from tests.faults.server import USERNAME, FaultServer
from tests.faults.zygote import Zygote

WINDOW = 8


@dataclass
class Round:
    """One campaign, killed `kills` times before it could end."""

    kills: int = 0
    sessions: int = 0
    duplicates: int = 0


def command(bench: Bench, server: FaultServer, connections: int) -> list[str]:
    return [
        "send",
        str(bench.path),
        "--server",
        f"smtps://{USERNAME}@127.0.0.1:{server.port}",
        "--ca-file",
        str(server.ca_file),
        "--ledger",
        str(bench.ledger_path),
        "--connections",
        str(connections),
        "--window",
        str(WINDOW),
        "--yes",
    ]


def one_round(
    folder: Path,
    dice: random.Random,
    zygote: Zygote,
    most: int,
    *,
    strategy: str,
    connections: int = 1,
    hold: bool = False,
) -> Round:
    """Kill a campaign at most `most` times, each time after a random while; then let it end and compare."""
    bench = Bench(folder, 150, "delivery: {in_doubt: hold}\n" if hold else "")
    done = Round()
    with FaultServer(strategy, delay=0.002) as server:
        while done.kills < most:
            pid = zygote.start(*command(bench, server, connections))
            time.sleep(dice.uniform(0.0, 0.12) if dice.random() < 0.3 else dice.uniform(0.08, 0.25))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            code = zygote.wait()
            if code != -signal.SIGKILL:
                assert code in (0, 1 if hold else 0), f"the command ended by itself with {code}"
                break
            done.kills += 1
            check_killed(bench, server, connections)
        zygote.start(*command(bench, server, connections))
        code = zygote.wait()
        done.sessions, done.duplicates = server.sessions, server.duplicates
        bench.agree(server, most_duplicates=0 if hold else done.kills * WINDOW * connections)
        held = {email for email, outcome in bench.outcomes().items() if outcome.status is Status.IN_DOUBT}
        assert code == (1 if held else 0)
        assert hold or not held
        assert len(held) <= done.kills * WINDOW * connections
        assert held | set(server.times()) == {f"r{n}@example.com" for n in range(bench.count)}, "somebody was lost"
    return done


def check_killed(bench: Bench, server: FaultServer, connections: int) -> None:
    """At the instant of death: at most the windows are open, and nothing is `sent` that the server does not have."""
    if not bench.ledger_path.exists():
        return
    time.sleep(0.02)  # what is in the sockets' buffers still reaches the server
    with sqlite3.connect(bench.ledger_path) as connection:
        rows = connection.execute("SELECT email, status FROM messages").fetchall()
    connection.close()
    statuses = dict(rows)
    bound = WINDOW * connections
    assert Counter(statuses.values())["claimed"] <= bound, "more intents than the windows hold"
    times = server.times()
    assert all(times[email] for email, status in statuses.items() if status == "sent")
    untold = [email for email in times if statuses.get(email) not in ("sent", "claimed", "doubtful")]
    assert untold == [], "the server has messages that the ledger takes for untouched"
