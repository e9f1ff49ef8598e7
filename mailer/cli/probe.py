"""`mailer probe`: connect, log in, and show what the server offers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from mailer.campaign import load_campaign
from mailer.cli import console
from mailer.cli.credentials import choose_server_and_password
from mailer.cli.trace import format_dialogue_line
from mailer.delivery.server_access import ServerAccess, make_server_access
from mailer.errors import InputError, ServerError
from mailer.smtp.connection import SessionDetails, connect
from mailer.smtp.protocol.extensions import Extensions

ROUND_TRIPS = {
    "sequential": "one command at a time, 4 round trips per message: the server does not offer PIPELINING",
    "pipelined": "1 round trip per message (RFC 2920): the server offers PIPELINING, but not CHUNKING",
    "streamed": "many messages in flight, no waiting for round trips (RFC 2920 with RFC 3030)",
}


def probe_server(
    campaign_file: Path | None,
    server: str | None,
    ca_file: Path | None,
    timeout: float,
    variables: dict[str, str],
) -> None:
    """Print the dialogue while it happens, then the server's properties.

    `server` is a URL, `timeout` the maximum seconds for one reply. Raises ServerError if the connection, TLS
    or the login fails.
    """
    if variables and campaign_file is None:
        raise InputError("--var needs the CAMPAIGN that it is about")
    own = load_campaign(campaign_file, variables=variables).server if campaign_file else None
    config, password = choose_server_and_password(own, server, ca_file)
    try:
        details, extensions = asyncio.run(_open_session(make_server_access(config, password), timeout))
    except ServerError as error:
        if error.hint:  # the advice to run this very command is left out
            parts = [part for part in error.hint.split("; ") if "`mailer probe`" not in part]
            error.hint = "; ".join(parts) or None
        raise
    console.print_output("")
    for name, value in _describe_session(details, extensions, logged_in=password is not None):
        console.print_output(f"{name:<12} {value}")


async def _open_session(where: ServerAccess, timeout: float) -> tuple[SessionDetails, Extensions]:
    connection = await connect(
        where.endpoint, where.login, timeout=timeout, trace=_print_dialogue, on_notice=console.print_note
    )
    try:
        await connection.quit()
    finally:
        connection.abort()
    return connection.details, connection.extensions


def _print_dialogue(direction: str, line: str) -> None:
    console.print_output(format_dialogue_line(direction, line))


def _describe_session(
    details: SessionDetails, extensions: Extensions, *, logged_in: bool
) -> Iterator[tuple[str, str]]:
    yield "server", f"{details.host}:{details.port}"
    if details.tls:
        yield "tls", f"{details.tls} {details.cipher or ''}".strip()
    if (certificate := details.certificate) is not None:
        yield "certificate", f"{certificate.subject}, for {', '.join(certificate.names)}"
        yield "", f"issued by {certificate.issuer}, valid until {certificate.valid_until}"
    yield "login", f"{details.mechanism}" if logged_in else "none"
    yield "extensions", ", ".join(details.extensions) or "none"
    if extensions.size is not None:
        yield (
            "largest",
            f"{extensions.size:,} octets per message" if extensions.size else "no limit of its own",
        )
    strategy = str(details.strategy)
    yield "strategy", f"{strategy}: {ROUND_TRIPS.get(strategy, '')}"
