"""At least a hundred kills of the real command; the seed is printed, and taken from KILL_SEED if that is set."""

from __future__ import annotations

import os
import random

import pytest

from tests.faults.kill import WINDOW, one_round
from tests.faults.zygote import Zygote

KILLS = 34  # for each strategy


@pytest.mark.parametrize("strategy", ["sequential", "pipelined", "streamed"])
def test_kills_lose_no_message(tmp_path, strategy):
    seed = os.environ.get("KILL_SEED") or str(random.randrange(1 << 32))
    print(f"KILL_SEED={seed}")
    dice = random.Random(f"{seed} {strategy}")
    kills = in_flight = number = 0
    with Zygote(tmp_path / "log") as zygote:
        while kills < KILLS:
            number += 1
            assert number < 60, "the campaigns end before they are killed"
            connections = dice.choice((1, 1, 3))
            hold = number % 3 == 0
            most = min(KILLS - kills, 12)
            window = WINDOW if strategy == "streamed" else dice.choice((WINDOW, None))
            done = one_round(
                tmp_path / str(number),
                dice,
                zygote,
                most,
                strategy=strategy,
                connections=connections,
                hold=hold,
                window=window,
            )
            kills += done.kills
            in_flight += done.in_flight
    assert kills >= KILLS
    assert in_flight >= kills / 3, "kills that hit nothing show nothing"
