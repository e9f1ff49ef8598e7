"""Where a run connects and as whom, in the words of the SMTP client."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from mailer.campaign.model import SecretSource, ServerConfig
from mailer.dataclass import dataclass
from mailer.errors import AuthenticationError, InputError
from mailer.secret import Secret
from mailer.smtp.connection import SessionDetails
from mailer.smtp.endpoint import ClientCertificateFiles, Endpoint, parse_proxy
from mailer.smtp.protocol.values import Login

TOKEN_MECHANISMS = frozenset({"xoauth2", "oauthbearer"})  # the password is a token, which expires


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """An endpoint and a login; without a login none is tried.

    `token_source` gives a new token for each login.
    """

    endpoint: Endpoint
    login: Login | None
    token_source: SecretSource | None = None

    async def read_login(self) -> Login | None:
        """Return the login for the next session. Raises AuthenticationError if its token cannot be read."""
        if self.login is None or self.token_source is None:
            return self.login
        try:  # in a thread: a command may take seconds, and other sessions continue
            return replace(self.login, secret=await asyncio.to_thread(self.token_source.read))
        except InputError as error:
            raise AuthenticationError(f"no token for the login: {error}", hint=error.hint) from error


def make_server_access(server: ServerConfig, password: Secret | None) -> ServerAccess:
    """Return the campaign's `server` with its password as the SMTP client needs them.

    If the login needs a token, and `server` has the source of the password, the token is read for each login.
    Raises InputError if `proxy` is not valid.
    """
    certificate = server.client_cert
    try:
        proxy = parse_proxy(server.proxy) if server.proxy else None
    except ValueError as error:
        raise InputError(f"proxy: {error}") from None
    endpoint = Endpoint(
        server.host,
        server.port,
        server.security,
        server.ca_file,
        server.allow_plaintext,
        ehlo_name=server.ehlo_name,
        client_cert=ClientCertificateFiles(certificate.cert, certificate.key) if certificate else None,
        source_address=server.source_address,
        proxy=proxy,
    )
    if server.username is None or password is None:
        return ServerAccess(endpoint, None)
    source = server.password if TOKEN_MECHANISMS.intersection(server.auth) else None
    return ServerAccess(endpoint, Login(server.username, password, server.auth or "auto"), source)


def describe_session(details: SessionDetails) -> dict[str, object]:
    """Return the `details` of a session as the report shows its server."""
    return {
        "host": details.host,
        "port": details.port,
        "tls": details.tls,
        "cipher": details.cipher,
        "extensions": list(details.extensions),
        "strategy": details.strategy.value,
    }
