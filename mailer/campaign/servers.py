"""Servers: the URL of `--server`, and the rules that it shares with the campaign's `server`."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote

from mailer.campaign.model import Security, ServerConfig
from mailer.campaign.secrets import GivenSecret
from mailer.errors import InputError
from mailer.idna import encode_domain
from mailer.secret import Secret

DEFAULT_PORT: dict[Security, int] = {"tls": 465, "starttls": 587, "none": 25}
_SCHEMES: dict[str, Security] = {"smtps": "tls", "smtp+starttls": "starttls", "smtp": "none"}
_EXPECTED = "expected smtps://user@host:465, smtp+starttls://user@host:587 or smtp://127.0.0.1:1025"
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)


def parse_server(url: str) -> ServerConfig:
    """Return the server that a URL names. InputError never repeats the URL: it may have a password."""
    scheme, separator, rest = url.strip().partition("://")
    security = _SCHEMES.get(scheme.lower())
    if not separator or security is None:
        raise InputError(f"the server's URL is not of a known form; {_EXPECTED}")
    try:
        return _parse_authority(rest.removesuffix("/"), security)
    except UnicodeDecodeError:
        raise InputError(f"the server's URL: its % escapes are not UTF-8; {_EXPECTED}") from None
    except ValueError as error:
        raise InputError(f"the server's URL: {error}; {_EXPECTED}") from None


def _parse_authority(text: str, security: Security) -> ServerConfig:
    """Parse `USER:PASSWORD@HOST:PORT` (RFC 3986 3.2). The user may have an `@`: the last one counts."""
    login, _, address = text.rpartition("@")
    if re.search(r"[/?#]", address) or re.search(r"\s", text):
        raise ValueError(
            "nothing can follow the port, and '/', '?', '#' and blanks in a login are written %2F, %3F, %23,"
            " %20"
        )
    host, port = _split_port(address, DEFAULT_PORT[security])
    user, colon, password = (unquote(part, errors="strict") for part in login.partition(":"))
    if any(character < " " for character in user + password):
        raise ValueError("a control character is not allowed in a login")
    if colon and not (user and password):
        raise ValueError("the user or the password is empty")
    if problem := find_plaintext_problem(host, security, user or None, allowed=False):
        raise ValueError(problem)
    return ServerConfig(
        host=host,
        port=port,
        security=security,
        username=user or None,
        password=GivenSecret(Secret(password)) if password else None,
    )


def _split_port(address: str, default: int) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{0,6}))?", address)
    if match is None:
        raise ValueError("what follows the login is not HOST:PORT (an IPv6 address needs brackets)")
    port = int(match[2]) if match[2] else default
    if not 1 <= port <= 65535:
        raise ValueError("the port is not between 1 and 65535")
    return parse_host(unquote(match[1])), port


def parse_host(text: str) -> str:
    """Return a domain name (as A-labels) or an IP address without brackets.

    ValueError if `text` is neither.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "://" in text:
        raise ValueError("expected the name of a host, and not a URL")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    try:
        name = encode_domain(bare).removesuffix(".")
    except ValueError:
        name = ""
    if bare != text or len(name) > 253 or not _HOST.fullmatch(name) or re.fullmatch(r"[0-9.]*", name):
        has_port = re.fullmatch(r"[^:]+:[0-9]{1,5}", text)
        more = "; the port is a key of its own: port" if has_port else ""
        raise ValueError(f"the host is neither a domain name nor an IP address{more}")
    return name.lower()


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine, by its name alone (RFC 6761 6.3): nothing is looked up."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_plaintext_problem(
    host: str, security: Security, username: str | None, *, allowed: bool
) -> str | None:
    """Return why the mailer must not connect to this server without TLS, or None.

    A login never crosses plaintext but on loopback.
    """
    if security != "none" or is_loopback(host):
        return None
    if username:
        return "a login never crosses a connection without TLS, except on loopback; use tls or starttls"
    if not allowed:
        return (
            "without TLS the mailer connects only to loopback, unless the campaign says allow_plaintext: true"
        )
    return None
