"""What rendering in a second process saves, and what the progress display costs.

    python -m benchmarks.overheads

Each figure is processor time of the process that sends, in ms for a message: rendering there, against taking
the message from a child process that renders ahead; and telling a display about an outcome. The child's own
time is not counted: its core would have nothing to do. Medians of five rounds, interleaved.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

from benchmarks import workload
from mailer.campaign import load_campaign
from mailer.campaign.model import Recipient
from mailer.campaign.stored import StoredRecipient
from mailer.cli.progress import BarDisplay, LogDisplay
from mailer.delivery.observer import GuardedObserver, Observer
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.planning import UPCOMING_PAGE
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.render.render_ahead import RenderAhead

COUNT = 5000
ROUNDS = 5


def measure_rendering(compiled: CompiledCampaign, recipients: list[Recipient]) -> Iterator[tuple[str, float]]:
    """Yield the ways to a message and the processor time of this process for each, in ms."""
    for recipient in recipients[:100]:
        compiled.render(recipient)
    started = time.process_time()
    for recipient in recipients:
        compiled.render(recipient)
    yield "rendered in the process that sends", elapsed_ms(started)
    stored = [
        StoredRecipient(one.email, json.dumps(one.columns), one.place.line, 0, "people.csv")
        for one in recipients
    ]
    pages = [stored[start : start + UPCOMING_PAGE] for start in range(0, len(stored), UPCOMING_PAGE)]
    with RenderAhead(compiled, iter(pages)) as ahead:
        ahead.start_next(eight_bit=False)
        started = time.process_time()
        missing = sum(ahead.take(recipient, eight_bit=False) is None for recipient in stored)
        figure = elapsed_ms(started)
    assert not missing
    yield "taken from a process that renders ahead", figure


def measure_displays() -> Iterator[tuple[str, float]]:
    """Yield the displays and the processor time of one outcome, in ms."""
    outcome = Outcome("ada@example.com", "ada@example.com", Status.SENT, 1, 250)
    with open("/dev/null", "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        for name, make in (("none", Observer), ("a log", LogDisplay), ("a progress bar", BarDisplay)):
            display = make()
            observer = GuardedObserver(display)
            if isinstance(display, (LogDisplay, BarDisplay)):
                display.__enter__()
            observer.on_start(COUNT, 0)
            started = time.process_time()
            for _ in range(COUNT):
                observer.on_outcome(outcome)
            figure = elapsed_ms(started)
            if isinstance(display, (LogDisplay, BarDisplay)):
                display.__exit__(None, None, None)
            yield f"an outcome told to: {name}", figure


def elapsed_ms(started: float) -> float:
    return (time.process_time() - started) / COUNT * 1000


def main() -> None:
    figures: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="mailer-bench-") as folder:
        workload.write(Path(folder), COUNT)
        campaign = load_campaign(Path(folder) / "bench.yaml")
        compiled = compile_campaign(campaign)
        recipients = list(campaign.recipients)
        for _ in range(ROUNDS):
            for name, figure in (*measure_rendering(compiled, recipients), *measure_displays()):
                figures[name].append(figure)
    for name, found in figures.items():
        sys.stdout.write(f"{statistics.median(found):.4f} ms  {name}\n")


if __name__ == "__main__":
    main()
