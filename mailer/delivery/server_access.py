"""Where a run connects and as whom, in the words of the SMTP client."""

from __future__ import annotations

from dataclasses import dataclass

from mailer.campaign.model import ServerConfig
from mailer.secret import Secret
from mailer.smtp.connection import SessionDetails
from mailer.smtp.protocol.values import Endpoint, Login


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """An endpoint and a login; without a login none is tried."""

    endpoint: Endpoint
    login: Login | None


def server_access(server: ServerConfig, password: Secret | None) -> ServerAccess:
    """Return the campaign's `server` with its password as the SMTP client needs them."""
    endpoint = Endpoint(
        server.host, server.port, server.security, server.ca_file, server.allow_plaintext, ehlo_name=None
    )
    if server.username is None or password is None:
        return ServerAccess(endpoint, None)
    return ServerAccess(endpoint, Login(server.username, password, server.auth))


def session_record(details: SessionDetails) -> dict[str, object]:
    """Return a session as the report shows its server."""
    return {
        "host": details.host,
        "port": details.port,
        "tls": details.tls,
        "cipher": details.cipher,
        "extensions": list(details.extensions),
        "strategy": details.strategy.value,
    }
