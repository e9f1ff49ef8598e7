"""What `mailer probe` does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from mailer.campaign import load_campaign
from mailer.cli import console
from mailer.cli.credentials import server_and_password
from mailer.cli.exits import Exit
from mailer.delivery.worker import Access, access
from mailer.smtp.connection import SessionDetails, connect
from mailer.smtp.protocol.extensions import Extensions

ROUND_TRIPS = {
    "sequential": "one command at a time, 4 round trips a message: the server does not offer PIPELINING",
    "pipelined": "1 round trip a message (RFC 2920): the server offers PIPELINING, but not CHUNKING",
    "streamed": "many messages in flight, no round trip to wait for (RFC 2920 with RFC 3030)",
}


def probe(file: Path | None, url: str | None, ca_file: Path | None, timeout: float, variables: dict[str, str]) -> int:
    """Prints the dialogue as it goes, then what was found; ServerError where it fails."""
    own = load_campaign(file, variables=variables).server if file else None
    server, password = server_and_password(own, url, ca_file)
    details, extensions = asyncio.run(_session(access(server, password), timeout))
    console.out("")
    for name, value in _found(details, extensions, logged_in=password is not None):
        console.out(f"{name:<12} {value}")
    return Exit.DONE


async def _session(where: Access, timeout: float) -> tuple[SessionDetails, Extensions]:
    connection = await connect(where.endpoint, where.login, timeout=timeout, trace=_dialogue)
    try:
        await connection.quit()
    finally:
        connection.abort()
    return connection.details, connection.extensions


def _dialogue(direction: str, line: str) -> None:
    console.out(f"{direction}: {line}")


def _found(details: SessionDetails, extensions: Extensions, *, logged_in: bool) -> Iterator[tuple[str, str]]:
    yield "server", f"{details.host}:{details.port}"
    if details.tls:
        yield "tls", f"{details.tls} {details.cipher or ''}".strip()
    if (certificate := details.certificate) is not None:
        yield "certificate", f"{certificate.subject}, for {', '.join(certificate.names)}"
        yield "", f"issued by {certificate.issuer}, valid until {certificate.valid_until}"
    yield "login", f"{details.mechanism}" if logged_in else "none"
    yield "extensions", ", ".join(details.extensions) or "none"
    if extensions.size is not None:
        yield "largest", f"{extensions.size:,} octets a message" if extensions.size else "no limit of its own"
    strategy = str(details.strategy)
    yield "strategy", f"{strategy}: {ROUND_TRIPS.get(strategy, '')}"
