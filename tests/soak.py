"""`make soak`: thousands of kills, and a minute of fuzzing for each parser. See `python -m tests.soak --help`."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests import fuzz
from tests.faults.kill import one_round
from tests.faults.zygote import Zygote


def kills(wanted: int, seed: int) -> None:
    """Rounds of kills with every strategy and number of connections until there were so many."""
    dice, done, rounds, duplicates, began = random.Random(seed), 0, 0, 0, time.monotonic()
    print(f"seed {seed}: {wanted} kills")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, Zygote(Path(folder) / "log") as zygote:
        while done < wanted:
            rounds += 1
            strategy = dice.choice(("sequential", "pipelined", "streamed"))
            connections = dice.choice((1, 2, 4))
            result = one_round(
                Path(folder) / str(rounds),
                dice,
                zygote,
                dice.randint(1, 12),
                strategy=strategy,
                connections=connections,
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


if __name__ == "__main__":
    main()
