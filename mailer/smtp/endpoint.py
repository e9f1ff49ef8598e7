"""Where to connect, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from mailer.dataclass import dataclass
from mailer.secret import Secret

Security = Literal["tls", "starttls", "none"]
DEFAULT_PROXY_PORT = 1080  # RFC 1928, section 3


@dataclass(frozen=True, slots=True)
class Proxy:
    """A SOCKS 5 proxy. `str()` has no password."""

    host: str
    port: int = DEFAULT_PROXY_PORT
    username: str | None = None
    password: Secret | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_proxy(url: str) -> Proxy:
    """Return the proxy that `url` names: `socks5://[USER:PASSWORD@]HOST[:PORT]`, or `socks5h`.

    Raises ValueError if it is not such a URL. The text of the error does not repeat it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("socks5", "socks5h") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("expected socks5://HOST:PORT")
    try:
        port = parts.port or DEFAULT_PROXY_PORT
    except ValueError:
        raise ValueError("the port of a proxy is a number from 1 to 65535") from None
    username = unquote(parts.username) if parts.username else None
    password = Secret(unquote(parts.password)) if parts.password else None
    for text in (username, password.reveal() if password else None):
        if text is not None and len(text.encode()) > 255:
            raise ValueError("the user name or the password of a proxy has at most 255 octets (RFC 1929)")
    return Proxy(parts.hostname, port, username, password)


@dataclass(frozen=True, slots=True)
class ClientCertificateFiles:
    """Files in PEM: the certificate (and those between it and its CA), and its key unless `cert` has both."""

    cert: Path
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, and how.

    `ca_file` replaces the system's trust store. `ehlo_name` None is our own address as a literal (RFC 5321
    4.1.3): no DNS is asked. `source_address` is an IP address of this machine. `proxy` looks the host up,
    too.
    """

    host: str
    port: int
    security: Security = "tls"
    ca_file: Path | None = None
    allow_plaintext: bool = False
    ehlo_name: str | None = None
    client_cert: ClientCertificateFiles | None = None
    source_address: str | None = None
    proxy: Proxy | None = None
