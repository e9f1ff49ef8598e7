"""`make soak`: thousands of kills, and a minute of fuzzing for each parser. `python -m tests.soak [KILLS]`."""

from __future__ import annotations

import importlib
import pkgutil
import random
import sys
import tempfile
import time
from pathlib import Path

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
                f"\r{done} kills in {rounds} campaigns, {duplicates} duplicates, nobody lost, "
                f"{time.monotonic() - began:.0f} s",
                end="",
                flush=True,
            )
    print()


def fuzz(seconds: float) -> None:
    """Every `fuzz(seconds)` in tests/fuzz/, where there are any."""
    package = Path(__file__).with_name("fuzz")
    for module in pkgutil.iter_modules([str(package)]):
        print(f"fuzz {module.name}")
        importlib.import_module(f"tests.fuzz.{module.name}").fuzz(seconds)


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    kills(wanted, random.randrange(1 << 32))
    fuzz(60.0)


if __name__ == "__main__":
    main()
