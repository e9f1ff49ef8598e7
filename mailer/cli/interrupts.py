"""For commands that send nothing: a signal ends them where they are."""

from __future__ import annotations

from collections.abc import Callable

from mailer.cli import console
from mailer.cli.exits import Exit
from mailer.delivery.signals import Interrupted, StopSignal


def until_stopped(work: Callable[[], int]) -> int:
    """The exit code of `work`, or of the signal that ended it; what it had open is closed in order."""
    with StopSignal().installed() as stop:
        try:
            with stop.raising():
                return work()
        except Interrupted:
            console.error("interrupted")
            return Exit.interrupted(stop.number)
