"""How a command runs until it is done, or until a signal ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from mailer.cli import console
from mailer.cli.exit_codes import ExitCode, code_for_signal
from mailer.delivery.signals import Interrupted, StopSignal
from mailer.errors import InputError
from mailer.files import show_path


def run_interruptible(work: Callable[[], ExitCode]) -> int:
    """Call `work` and return its exit code, or the exit code of the signal that interrupted it.

    What `work` has open is closed then.
    """
    with StopSignal().handle_signals() as stop:
        try:
            with stop.raise_on_request():
                return work()
        except Interrupted:
            console.print_error("interrupted")
            return code_for_signal(stop.number)


def serve_until_stopped(serving: Coroutine[Any, Any, None], what: str) -> int:
    """Run `serving` until a signal arrives, and return that signal's exit code.

    Raises InputError if it cannot start; `what` ("the sandbox") is named then.
    """

    async def serve(stop: StopSignal) -> None:
        server = asyncio.ensure_future(serving)
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({server, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        server.cancel()
        try:
            await server
        except asyncio.CancelledError:
            return

    with StopSignal().handle_signals() as stop:
        try:
            asyncio.run(serve(stop))
        except (OSError, ValueError) as error:
            raise InputError(f"{what} could not start: {explain_start_error(error)}") from error
    console.print_note("")  # the shell's prompt begins on a line of its own
    return code_for_signal(stop.number)


def explain_start_error(error: OSError | ValueError) -> str:
    """Return why a server could not start, with the file that is the cause, if there is one."""
    if not isinstance(error, OSError):
        return str(error)
    where = f"{show_path(error.filename)}: " if isinstance(error.filename, str) else ""
    return f"{where}{error.strerror or error}"
