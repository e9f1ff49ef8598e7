"""Commands that work and then end: a signal ends them at once, and what they had open is closed."""

from __future__ import annotations

from collections.abc import Callable

from mailer.cli import console
from mailer.cli.exit_codes import ExitCode, code_for_signal
from mailer.delivery.signals import Interrupted, StopSignal


def run_interruptible(work: Callable[[], ExitCode]) -> int:
    """Call `work` and return its exit code, or the exit code of the signal that interrupted it."""
    with StopSignal().handle_signals() as stop:
        try:
            with stop.raise_on_request():
                return work()
        except Interrupted:
            console.print_error("interrupted")
            return code_for_signal(stop.number)
