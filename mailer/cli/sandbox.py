"""`mailer sandbox`: the embedded SMTPS server with its inbox page, until interrupted."""

from __future__ import annotations

from pathlib import Path

import click

from mailer.cli import console, options
from mailer.cli.exits import Exit


@click.command("sandbox", short_help="Run a local SMTPS server with an inbox page, for rehearsals.")
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one line of JSON.")
@click.option("--maildir", metavar="DIR", type=options.path_type(), help="Keep the messages there.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The server's port; 0 takes a free one.")
@click.option("--page-port", type=click.IntRange(0, 65535), default=0, help="The inbox page's; 0 takes a free one.")
def command(as_json: bool, maildir: Path | None, port: int, page_port: int) -> int:
    """Run a local SMTPS server with a login and an inbox page; it delivers to nobody.

    Prints where the page, the server with its login and its CA file are, then serves until interrupted.
    """
    import asyncio
    import json
    import sys
    from dataclasses import asdict

    from mailer.delivery.signals import StopSignal
    from mailer.errors import InputError
    from mailer.sandbox import SandboxAddresses, serve_sandbox

    def announce(addresses: SandboxAddresses) -> None:
        # The login is the sandbox's own throw-away one, made for being copied.
        fields = asdict(addresses)
        lines = [json.dumps(fields)] if as_json else [f"{name} {value}" for name, value in fields.items()]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()

    async def until_stopped(stop: StopSignal) -> None:
        serving = asyncio.create_task(serve_sandbox(announce, maildir=maildir, port=port, page_port=page_port))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        serving.cancel()
        try:
            await serving
        except asyncio.CancelledError:
            return

    with StopSignal().installed() as stop:
        try:
            asyncio.run(until_stopped(stop))
        except OSError as error:
            raise InputError(f"the sandbox could not start: {error.strerror or error}") from error
    # Being interrupted is how it is meant to end, yet a script wants to know that a signal did it.
    console.note("")
    return Exit.interrupted(stop.number)
