"""`make bench`: the same newsletter through every mailer, at each round trip, in one run; medians and ratios.

    python -m benchmarks                  everything: about 15 minutes on two cores
    python -m benchmarks --rounds 1 --rtt 0 --only mailer smtplib
    python -m benchmarks --memory 1000000 peak memory for a million recipients: some minutes

Contenders take turns within a round, so that a slow minute of the machine falls on all of them. Every figure
is checked against the sink: a message that did not arrive is an error, not a fast message.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import render, rig, workload

HERE = Path(__file__).parent
Figures = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """`counts` is the number of messages at a round trip of 0, and above: enough for some seconds each."""

    name: str
    module: str
    counts: tuple[int, int]
    options: tuple[str, ...] = ()
    chunking: bool = True
    sends: bool = True

    @property
    def missing(self) -> str | None:
        """What it needs and has not got."""
        if not self.module.endswith(".mjs"):
            return None
        if shutil.which("node") is None:
            return "node is not installed"
        return (
            None if (HERE / "contenders" / "node_modules").is_dir() else "`make nodemailer` has not been run"
        )

    def command(self, folder: Path, port: int, ca_file: Path, rtt: float) -> list[str]:
        count = str(self.counts[1 if rtt else 0])
        runner = ["node", str(HERE / "contenders" / self.module)]
        if not self.module.endswith(".mjs"):
            runner = [sys.executable, "-m", f"benchmarks.contenders.{self.module}"]
        before, after = (self.options, ()) if self.module == "whole_command" else ((), self.options)
        return [*runner, *before, str(folder), str(port), str(ca_file), count, *after]


CONTENDERS = [
    Contender("mailer", "ours", (6000, 6000)),
    Contender("mailer send, whole command", "whole_command", (20000, 20000), ("bench",)),
    Contender("mailer send, foreign newsletter", "whole_command", (20000, 20000), ("foreign",)),
    Contender("mailer, no CHUNKING", "ours", (4000, 150), chunking=False),
    Contender("mailer, no CHUNKING, auto", "ours", (4000, 3000), ("--connections", "auto"), chunking=False),
    Contender(
        "mailer, no CHUNKING, auto, second run",
        "ours",
        (4000, 3000),
        ("--connections", "auto", "--second-run"),
        chunking=False,
    ),
    Contender("smtplib", "smtplib_loop", (400, 40)),
    Contender("aiosmtplib, 1", "aiosmtplib_pool", (400, 40)),
    Contender("aiosmtplib, 10", "aiosmtplib_pool", (400, 300), ("--connections", "10")),
    Contender("nodemailer, 1", "nodemailer_pool.mjs", (600, 60), ("1",)),
    Contender("nodemailer, 10", "nodemailer_pool.mjs", (800, 500), ("10",)),
    Contender("nodemailer, 20", "nodemailer_pool.mjs", (800, 3000), ("20",), chunking=False),
    Contender("mailmerge", "mailmerge_loop", (100, 10)),
    Contender("limit: ready bytes", "ready_bytes", (10000, 10000), ("--connections", "512")),
    Contender("limit: Jinja2 alone", "render_alone", (5000, 5000), sends=False),
]


@contextmanager
def workbench(count: int) -> Iterator[tuple[Path, rig.Certificate]]:
    folder = Path(tempfile.mkdtemp(prefix="mailer-bench-"))
    try:
        workload.write(folder, count)
        yield folder, rig.Certificate.make(folder)
    finally:
        shutil.rmtree(folder)


def run(
    contender: Contender, folder: Path, certificate: rig.Certificate, rtt: float, sink: rig.Sink
) -> Figures:
    """One contender's turn; its figures, or an exit where what arrived is not what it said."""
    with rig.delayed(sink.port, rtt) as port:
        sink.counts()
        command = contender.command(folder, port, certificate.cert, rtt)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=3600)
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        arrived = sink.counts()
    recipients = figures["messages"] if contender.sends else 0
    messages = recipients * figures.get("runs", 1)
    if (arrived["messages"], arrived["recipients"]) != (messages, recipients):
        raise SystemExit(f"{contender.name}: {messages} messages were sent, {arrived} arrived")
    return figures | {"sessions": arrived["sessions"]}


def compare(
    chosen: list[Contender], rtts: list[float], rounds: int
) -> dict[tuple[str, float], list[Figures]]:
    results: dict[tuple[str, float], list[Figures]] = defaultdict(list)
    most = max(max(contender.counts) for contender in chosen)
    with (
        workbench(most) as (folder, certificate),
        rig.sink(certificate) as streaming,
        rig.sink(certificate, without=["CHUNKING"], max_sessions=20) as grouping,
    ):
        for turn, rtt, contender in product(range(rounds), rtts, chosen):
            sink = streaming if contender.chunking else grouping
            results[contender.name, rtt].append(run(contender, folder, certificate, rtt, sink))
            print(f"round {turn + 1}, {rtt:g} ms: {contender.name}", file=sys.stderr, flush=True)
    return results


def median(figures: list[Figures], key: str) -> float:
    return statistics.median(f[key] / f["messages"] if key == "cpu" else f[key] for f in figures)


def pace(figures: list[Figures]) -> float:
    """Messages a second, the median of the rounds."""
    return statistics.median(f["messages"] / f["seconds"] for f in figures)


def table(results: dict[tuple[str, float], list[Figures]], chosen: list[Contender], rtts: list[float]) -> str:
    """Markdown: for each round trip messages/s, CPU, and the ratios to smtplib and nodemailer's pool of 10."""
    lines = []
    for rtt in rtts:
        base = {n: pace(results[n, rtt]) for n in ("smtplib", "nodemailer, 10") if (n, rtt) in results}
        lines += [f"\n### Round trip {rtt:g} ms\n"]
        lines += ["| | messages/s | times smtplib | times nodemailer, 10 | CPU ms a message | peak MB |"]
        lines += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
        for contender in chosen:
            figures = results[contender.name, rtt]
            speed = pace(figures)
            ratios = [f"{speed / base[n]:.1f}" if n in base else "" for n in ("smtplib", "nodemailer, 10")]
            cpu, peak = median(figures, "cpu") * 1000, median(figures, "peak") / 1024
            lines.append(
                f"| {contender.name} | {speed:,.0f} | {ratios[0]} | {ratios[1]} | {cpu:.2f} | {peak:.0f} |"
            )
    return "\n".join(lines)


def profile() -> str:
    """Where the time of our own hot path goes, by room: shares of samples taken every millisecond of CPU."""
    with workbench(10_000) as (folder, certificate), rig.sink(certificate) as sink:
        figures = run(Contender("", "ours", (10_000, 0), ("--profile",)), folder, certificate, 0, sink)
    cost = figures["cpu"] / figures["messages"] * 1000
    rows = "\n".join(
        f"| {room} | {share:.0%} | {share * cost:.3f} |" for room, share in figures["profile"].items()
    )
    return f"\n### CPU by room, no delay ({cost:.2f} ms a message)\n\n| room | share | ms |\n| --- | ---: | ---: |\n{rows}"


def memory(count: int) -> str:
    """Peak memory of `mailer send`, the whole command with its preflight, for 1,000 and for `count` recipients.

    The figure is that of its largest process.
    """
    peaks = []
    for messages in (1_000, count):
        with workbench(messages) as (folder, certificate), rig.sink(certificate) as sink:
            contender = Contender("", "whole_command", (messages, 0), ("bench",))
            peaks.append(run(contender, folder, certificate, 0, sink)["peak"] / 1024)
    return f"\nPeak memory: {peaks[0]:.0f} MB for 1,000 recipients, {peaks[1]:.0f} MB for {count:,}."


def whole_process(rounds: int) -> str:
    """`mailer send` of 3 recipients, from the shell's view."""
    seconds = []
    with workbench(3) as (folder, certificate), rig.sink(certificate) as sink:
        for turn in range(max(rounds, 3)):
            command = [sys.executable, "-m", "mailer", "send", str(folder / "bench.yaml"), "--yes"]
            command += ["--server", f"smtps://user@127.0.0.1:{sink.port}", "--ca-file", str(certificate.cert)]
            command += ["--ledger", str(folder / f"{turn}.sqlite3")]
            environment = {"MAILER_PASSWORD": "password", "PATH": "/usr/bin:/bin"}
            started = time.perf_counter()
            subprocess.run(
                command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            seconds.append(time.perf_counter() - started)
    return f"\nThe whole process of `mailer send` for 3 recipients: {statistics.median(seconds):.2f} s."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rtt", type=float, nargs="+", default=[0, 20, 100], help="round trips, in ms")
    parser.add_argument("--only", nargs="+", help="contenders by the beginning of their names")
    parser.add_argument(
        "--messages", type=int, metavar="N", help="for each contender, in place of its own number"
    )
    parser.add_argument("--quick", action="store_true", help="the comparison alone")
    parser.add_argument("--memory", type=int, metavar="N", help="only the peak memory for N recipients")
    options = parser.parse_args()
    if options.memory:
        print(memory(options.memory))
        return
    chosen = [c for c in CONTENDERS if not options.only or c.name.startswith(tuple(options.only))]
    for contender in chosen:
        if contender.missing:
            print(f"{contender.name} is left out: {contender.missing}", flush=True)
    chosen = [c for c in chosen if not c.missing]
    if options.messages:
        chosen = [replace(c, counts=(options.messages, options.messages)) for c in chosen]
    if not chosen:
        parser.error("there is no contender to compare")
    print(table(compare(chosen, options.rtt, options.rounds), chosen, options.rtt), flush=True)
    if not options.quick:
        print(profile(), memory(100_000), whole_process(options.rounds), sep="\n", flush=True)
        print("\n### What a message costs to make\n")
        render.main(500)


if __name__ == "__main__":
    main()
