"""`make soak`: thousands of kills, a minute of fuzzing for each parser, and for its cost. See `python -m tests.soak --help`."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from mailer.delivery.renderers import MIN_MESSAGES_AHEAD
from tests import fuzz, fuzz_cost
from tests.faults.kill import WINDOW, one_round
from tests.faults.zygote import Zygote
from tests.ledger.conftest import make_schema
from tests.postgres import find_programs, run_postgres
from tests.templating.test_every_name import NAMES, check_calls


def kills(wanted: int, seed: int) -> None:
    """Rounds of kills with every strategy, number of connections, policy and ledger until there were so many."""
    dice, done, rounds, duplicates, began = random.Random(seed), 0, 0, 0, time.monotonic()
    print(f"seed {seed}: {wanted} kills")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-"))
        zygote = stack.enter_context(Zygote(Path(folder) / "log"))
        server = stack.enter_context(run_postgres()) if find_programs() else None
        print(f"ledgers: SQLite{', PostgreSQL' if server else '; PostgreSQL is not installed'}")
        while done < wanted:
            rounds += 1
            strategy = dice.choice(("sequential", "pipelined", "streamed"))
            connections = dice.choice((1, 2, 4))
            is_shared = server is not None and dice.random() < 0.5
            result = one_round(
                Path(folder) / str(rounds),
                dice,
                zygote,
                dice.randint(1, 12),
                strategy=strategy,
                connections=connections,
                hold=dice.random() < 0.3,
                window=WINDOW if strategy == "streamed" else dice.choice((WINDOW, None)),
                ledger_url=make_schema(server.url) if server is not None and is_shared else None,
                count=dice.choice(
                    (150, 150, 150, MIN_MESSAGES_AHEAD)
                ),  # so many are rendered in a second process
            )
            done += result.kills
            duplicates += result.duplicates
            print(
                f"\r{done} kills in {rounds} campaigns, {duplicates} duplicates, no recipient lost, "
                f"{time.monotonic() - began:.0f} s",
                end="",
                flush=True,
            )
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description="What takes too long for the suite.")
    parser.add_argument("kills", nargs="?", type=int, default=3000, help="how many times a run is killed")
    parser.add_argument("--seconds", type=float, default=60.0, help="of fuzzing, for each parser")
    given = parser.parse_args()
    kills(given.kills, random.randrange(1 << 32))
    for name in fuzz.TARGETS:
        print(f"fuzz {name}: {fuzz.run(name, given.seconds):,} inputs", flush=True)
    for name in fuzz_cost.TARGETS:
        seconds = given.seconds / 6 if name in fuzz_cost.FILTERS else given.seconds
        print(f"cost of {name}: {fuzz_cost.run(name, seconds):,} inputs", flush=True)
    for name, expressions in NAMES.items():
        check_calls(expressions, are_all=True)
        print(f"large arguments: {name}", flush=True)


if __name__ == "__main__":
    main()
