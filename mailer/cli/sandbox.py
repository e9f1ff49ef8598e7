"""`mailer sandbox`: the embedded SMTPS server with its inbox page, until interrupted."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from mailer.cli import console
from mailer.cli.exit_codes import code_for_signal
from mailer.delivery.signals import StopSignal
from mailer.errors import InputError
from mailer.sandbox.serve import SandboxAddresses, SandboxOptions, serve_sandbox


def run_sandbox(as_json: bool, maildir: Path | None, port: int, page_port: int) -> int:
    """Serve until a signal arrives, and return that signal's exit code.

    A port of 0 takes a free one. Raises InputError if the sandbox cannot start.
    """
    asked = SandboxOptions(maildir, port, page_port)
    serving = serve_sandbox(lambda addresses: _print_addresses(addresses, as_json), asked)

    async def serve_until_stopped(stop: StopSignal) -> None:
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
            asyncio.run(serve_until_stopped(stop))
        except OSError as error:
            raise InputError(f"the sandbox could not start: {error.strerror or error}") from error
    console.print_note("")  # the shell's prompt begins on a line of its own
    return code_for_signal(stop.number)


def _print_addresses(addresses: SandboxAddresses, as_json: bool) -> None:
    # Not through console: the login is the sandbox's own throw-away one, and is printed to be copied.
    fields = asdict(addresses)
    lines = [json.dumps(fields)] if as_json else [f"{name} {value}" for name, value in fields.items()]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
