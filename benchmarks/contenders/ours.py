"""mailer itself: the whole run from planning to the last outcome, with the ledger on disk.

Without `--preflight`, no message is rendered before it is sent, as by `mailer send --no-preflight`. With
`--second-run` the campaign is sent once before, and the figures are those of its next edition: with
`--connections auto` that begins with the number of sessions that the first one found. With `--profile` the
figures have the share of CPU of each room, from a sample of the stack each millisecond of CPU time of this
process.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import FrameType

from benchmarks.contenders.common import Stopwatch, shorten_campaign, work
from mailer.campaign import load_campaign, parse_server
from mailer.campaign.model import Campaign
from mailer.delivery.run import Ending, Observer, SendOptions, StopSignal, run
from mailer.ledger import Ledger
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.secret import Secret

ROOMS = ("mailer/", "jinja2/", "asyncio/", "sqlite3/", "json/")


class Profile:
    """Samples by the innermost of our rooms, or the library that it called."""

    def __init__(self) -> None:
        self.samples: Counter[str] = Counter()

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self.sample)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)

    def sample(self, _signal: int, frame: FrameType | None) -> None:
        while frame is not None:
            name = frame.f_code.co_filename
            if name == "<template>" or name.endswith((".j2", ".html", ".txt")):
                self.samples["templates"] += 1
                return
            if "/mailer/" in name and "/benchmarks/" not in name:
                room = name.rpartition("/mailer/")[2].removesuffix(".py")
                self.samples["/".join(room.split("/")[:2])] += 1
                return
            frame = frame.f_back
        self.samples["event loop"] += 1

    def shares(self) -> dict[str, float]:
        signal.setitimer(signal.ITIMER_PROF, 0)
        total = sum(self.samples.values()) or 1
        return {room: count / total for room, count in self.samples.most_common(14)}


def send_all(campaign: Campaign, compiled: CompiledCampaign, ledger_path: Path, options: SendOptions) -> None:
    """Send the campaign to every recipient; exit if that is not what happens."""
    with Ledger.open(str(ledger_path)) as ledger:
        result = asyncio.run(run(campaign, compiled, ledger, options, Observer(), stop=StopSignal()))
    if result.ending is not Ending.COMPLETE:
        raise SystemExit(f"{result.ending}: {result.reason}")


def main(*, is_profiled: bool, has_preflight: bool, is_second_run: bool) -> None:
    job = work()
    path = shorten_campaign(job, "bench")
    ledger_path = job.folder / "ledger" / "ledger.sqlite3"
    campaign = load_campaign(path)
    compiled = compile_campaign(campaign)
    server = replace(parse_server(f"smtps://user@127.0.0.1:{job.port}"), ca_file=Path(job.ca_file))
    connections = "auto" if job.is_automatic else job.connections
    delivery = replace(campaign.delivery, connections=connections)
    options = SendOptions(
        server=server, password=Secret("password"), delivery=delivery, preflight=has_preflight
    )
    if is_second_run:
        send_all(campaign, compiled, ledger_path, options)
        options = replace(options, again=True)
    profile = Profile()
    stopwatch = Stopwatch()
    if is_profiled:
        profile.start()
    send_all(campaign, compiled, ledger_path, options)
    shares = profile.shares() if is_profiled else {}
    stopwatch.finish(job.count, profile=shares, runs=2 if is_second_run else 1)
    for leftover in ledger_path.parent.iterdir():
        leftover.unlink()


def take_option(name: str) -> bool:
    """Whether the option is given; it is removed from the arguments."""
    is_given = name in sys.argv
    if is_given:
        sys.argv.remove(name)
    return is_given


if __name__ == "__main__":
    gc.set_threshold(100_000, 20, 20)  # as `mailer.__main__` does
    main(
        is_profiled=take_option("--profile"),
        has_preflight=take_option("--preflight"),
        is_second_run=take_option("--second-run"),
    )
