"""mailer with messages that were rendered before, from the first connection to the last outcome: wire, delivery
and ledger alone.

The strategy is what the sink offers. With `--profile FILE` the profile of cProfile is written there.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import sys
from collections.abc import Generator, Sequence
from dataclasses import replace

from benchmarks.contenders.common import Stopwatch, Work, shorten_campaign, work
from mailer.campaign import load_campaign, parse_server
from mailer.campaign.model import Campaign
from mailer.delivery import run as delivery_run
from mailer.delivery.run import Ending, Observer, SendOptions, run
from mailer.ledger import Claim, Ledger
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message
from mailer.secret import Secret


class PreparedRenderer:
    """Takes the place of the renderer that a run without preflight has."""

    messages: dict[str, Message]

    def __init__(self, *_arguments: object) -> None: ...

    def render_each(self, claims: Sequence[Claim], *, eight_bit: bool) -> Generator[Message, None, None]:
        """Yield the messages that were made before."""
        for claim in claims:
            yield self.messages[claim.email]

    @classmethod
    def prepare(cls, job: Work, campaign: Campaign, compiled: CompiledCampaign) -> type[PreparedRenderer]:
        """Render every message."""
        messages = [compiled.render(recipient, eight_bit=True) for recipient in campaign.recipients]
        cls.messages = {message.recipients[0]: message for message in messages}
        if len(cls.messages) != job.count:
            raise SystemExit(f"{len(cls.messages)} messages were made, not {job.count}")
        return cls


class StartObserver(Observer):
    """Starts the clock when the list is planned."""

    def __init__(self, profile: cProfile.Profile | None) -> None:
        self.profile = profile
        self.stopwatch = Stopwatch()

    def on_start(self, *_arguments: object, **_more: object) -> None:
        self.stopwatch = Stopwatch()
        if self.profile is not None:
            self.profile.enable()

    def on_finish(self, reason: str | None) -> None:
        if self.profile is not None:
            self.profile.disable()


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--profile", metavar="FILE")
    own, sys.argv[1:] = parser.parse_known_args()
    profile_file = own.profile
    job = work()
    campaign = load_campaign(shorten_campaign(job, "bench"))
    compiled = compile_campaign(campaign)
    delivery_run.BoundedRenderer = PreparedRenderer.prepare(job, campaign, compiled)  # type: ignore[misc,assignment]
    server = replace(parse_server(f"smtps://user@127.0.0.1:{job.port}"), ca_file=job.ca_file)
    options = SendOptions(server, Secret("password"), campaign.delivery, preflight=False)
    ledger_path = job.folder / "ledger" / "ledger.sqlite3"
    profile = cProfile.Profile() if profile_file else None
    observer = StartObserver(profile)
    with Ledger.open(str(ledger_path)) as ledger:
        result = asyncio.run(run(campaign, compiled, ledger, options, observer))
    if result.ending is not Ending.COMPLETE:
        raise SystemExit(f"{result.ending}: {result.reason}")
    observer.stopwatch.finish(job.count)
    if profile is not None:
        profile.dump_stats(profile_file)
    for leftover in ledger_path.parent.iterdir():
        leftover.unlink()


if __name__ == "__main__":
    main()
