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
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from mailer.ledger import Ledger
from mailer.ledger.outcome import Status
from tests.faults.harness import Bench
from tests.faults.server import USERNAME, FaultServer
from tests.faults.zygote import Zygote

WINDOW = 8


@dataclass
class Round:
    """One campaign, killed `kills` times before it could end."""

    kills: int = 0
    in_flight: int = 0  # of them, with messages on their way
    sessions: int = 0
    duplicates: int = 0


def command(bench: Bench, server: FaultServer, connections: int, window: int | None = WINDOW) -> list[str]:
    """The command that is killed. Without a `window`, messages wait behind those on their way."""
    return [
        "send",
        str(bench.path),
        "--server",
        f"smtps://{USERNAME}@127.0.0.1:{server.port}",
        "--ca-file",
        str(server.ca_file),
        "--ledger",
        str(bench.ledger),
        "--connections",
        str(connections),
        *([] if window is None else ["--window", str(window)]),
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
    ledger_url: str | None = None,
    count: int = 150,
    window: int | None = WINDOW,
) -> Round:
    """Kill a campaign of `count` at most `most` times, each time after a random while; then let it end and compare.

    Without a `window`, that of the strategy is expected, which is not "streamed": WINDOW is more than it is.
    """
    bench = Bench(folder, count, "delivery: {in_doubt: hold}\n" if hold else "", ledger_url=ledger_url)
    done = Round()
    with FaultServer(strategy, delay=0.002) as server:
        while done.kills < most:
            pid = zygote.start(*command(bench, server, connections, window))
            wait(bench, server, dice)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            code = zygote.wait()
            if code != -signal.SIGKILL:
                assert code in (0, 1 if hold else 0), f"the command ended by itself with {code}"
                break
            done.kills += 1
            done.in_flight += check_killed(bench, server, connections)
        zygote.start(*command(bench, server, connections, window))
        code = zygote.wait()
        done.sessions, done.duplicates = server.sessions, server.duplicates
        bench.compare_with(server, max_duplicates=0 if hold else done.kills * WINDOW * connections)
        held = {email for email, outcome in bench.outcomes().items() if outcome.status is Status.IN_DOUBT}
        assert code == (1 if held else 0)
        assert hold or not held
        assert len(held) <= done.kills * WINDOW * connections
        assert held | set(server.times()) == {f"r{n}@example.com" for n in range(bench.count)}, (
            "a recipient was lost"
        )
    return done


def wait(bench: Bench, server: FaultServer, dice: random.Random) -> None:
    """Until a random instant: mostly in the midst of sending, sometimes while it starts."""
    end = time.monotonic() + 5.0
    if dice.random() < 0.25:
        time.sleep(dice.uniform(0.0, 0.2))
        return
    more = len(server.accepted) + dice.randint(0, max(1, (bench.count - len(server.times())) // 6))
    while len(server.accepted) <= more and len(server.times()) < bench.count and time.monotonic() < end:
        time.sleep(0.0005)
    time.sleep(dice.uniform(0.0, 0.01))


def read_statuses(bench: Bench) -> dict[str, str]:
    """The status of each recipient as the ledger has it, without opening the file as the mailer does."""
    query = "SELECT email, status FROM messages"
    if bench.ledger_url is not None:
        with Ledger.open(bench.ledger_url) as ledger:
            return dict(ledger.store.fetch_all(query))  # type: ignore[arg-type]
    with closing(sqlite3.connect(bench.ledger_path)) as connection:
        return dict(connection.execute(query).fetchall())


def check_killed(bench: Bench, server: FaultServer, connections: int) -> bool:
    """At the instant of death: at most the windows are open, and nothing is `sent` that the server does not have.

    True when messages were in flight.
    """
    if bench.ledger_url is None and not bench.ledger_path.exists():
        return False
    time.sleep(0.02)  # what is in the sockets' buffers still reaches the server
    statuses = read_statuses(bench)
    claimed = Counter(statuses.values())["claimed"]
    assert claimed <= WINDOW * connections, "more intents than the windows hold"
    times = server.times()
    assert all(times[email] for email, status in statuses.items() if status == "sent")
    told = ("sent", "claimed", "doubtful", "waiting", "in_doubt")
    assert [email for email in times if statuses.get(email) not in told] == [], (
        "accepted, and taken for untouched"
    )
    return claimed > 0
