"""`mailer preview` and `mailer sandbox`: print the addresses of a local page, and serve it until a signal
arrives.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mailer.cli import console
from mailer.cli.exit_codes import code_for_signal
from mailer.delivery.signals import StopSignal
from mailer.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


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
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            raise InputError(f"{what} could not start: {reason}") from error
    console.print_note("")  # the shell's prompt begins on a line of its own
    return code_for_signal(stop.number)


def print_addresses(addresses: DataclassInstance, as_json: bool, more: tuple[str, ...] = ()) -> None:
    """Print the fields of `addresses`, a name and a value on each line and then the lines `more`; or one line
    of JSON.

    Not through console: the token and the login were made for this run, and are printed to be copied.
    """
    fields = asdict(addresses)
    lines = (
        [json.dumps(fields)] if as_json else [*(f"{name} {value}" for name, value in fields.items()), *more]
    )
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
