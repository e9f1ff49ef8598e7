"""What a message costs on the way from the ledger to the wire and back, by strategy: CPU time, no delay.

    python -m benchmarks.strategies [--rounds 5] [--count 5000]

The messages are made before, so that only `smtp`, `delivery` and `ledger` are measured. The strategies take
turns within a round. The figures are the medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from benchmarks import rig
from benchmarks.__main__ import workbench

STRATEGIES = {"streamed": (), "pipelined": ("CHUNKING",), "sequential": ("CHUNKING", "PIPELINING")}


def run(folder: Path, certificate: rig.Certificate, sink: rig.Sink, count: int) -> dict[str, float]:
    """Send `count` messages to the sink; return the figures of the sender."""
    sink.counts()
    command = [sys.executable, "-m", "benchmarks.contenders.prepared"]
    command += [str(folder), str(sink.port), str(certificate.cert), str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    arrived = sink.counts()
    if (arrived["messages"], arrived["recipients"]) != (count, count):
        raise SystemExit(f"{count} messages were sent, {arrived} arrived")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strategies", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=5000, help="messages in a round")
    options = parser.parse_args()
    figures = defaultdict(list)
    with workbench(options.count) as (folder, certificate), ExitStack() as stack:
        sinks = {
            strategy: stack.enter_context(rig.sink(certificate, without=extensions))
            for strategy, extensions in STRATEGIES.items()
        }
        for _ in range(options.rounds):
            for strategy, sink in sinks.items():
                figures[strategy].append(run(folder, certificate, sink, options.count))
    print("| strategy | CPU ms a message | messages/s |\n| --- | ---: | ---: |")
    for strategy, measured in figures.items():
        cpu = statistics.median(figure["cpu"] for figure in measured) / options.count * 1000
        pace = options.count / statistics.median(figure["seconds"] for figure in measured)
        print(f"| {strategy} | {cpu:.3f} | {pace:,.0f} |")


if __name__ == "__main__":
    main()
