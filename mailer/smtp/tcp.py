"""From a host and port to a connected socket, with what goes wrong in words."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any

from mailer.errors import TlsError, Unreachable
from mailer.smtp.protocol.values import Endpoint

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class TcpConnection:
    """A connected socket. `own_literal` is our end's address as RFC 5321 4.1.3 writes it."""

    sock: socket.socket
    is_loopback: bool
    own_literal: str


async def open_tcp(endpoint: Endpoint, seconds: float) -> TcpConnection:
    """Connect; each of the host's addresses has `seconds`. Unreachable, or TlsError where plaintext is not allowed."""
    addresses = await _look_up(endpoint, seconds)
    if endpoint.security == "none" and not endpoint.allow_plaintext:
        addresses = [address for address in addresses if _address(address[4]).is_loopback]
        if not addresses:
            raise TlsError(
                f"{endpoint.host} is not this machine, and security: none would send everything readable",
                hint="use security: tls or starttls; allow_plaintext: true, if the network is really yours",
            )
    error: OSError | None = None
    for address in addresses:
        try:
            return await _connect(address, seconds)
        except OSError as one:
            error = error or one
    raise _unreachable(endpoint, error)


async def _look_up(endpoint: Endpoint, seconds: float) -> list[tuple[Any, ...]]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            return [*await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        if isinstance(error, TimeoutError) or getattr(error, "errno", None) == socket.EAI_AGAIN:
            raise Unreachable(f"{endpoint.host} cannot be looked up now", hint="check the network") from None
        raise Unreachable(f"there is no host {endpoint.host}", hint="check the name, and the network") from None


async def _connect(address: tuple[Any, ...], seconds: float) -> TcpConnection:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        # Groups are whole when they are written: waiting for more (Nagle) would only cost time.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, where)
        own, peer = _address(sock.getsockname()), _address(sock.getpeername())
    except BaseException:
        sock.close()
        raise
    return TcpConnection(sock, peer.is_loopback, make_address_literal(own))


def make_address_literal(address: _Address) -> str:
    """RFC 5321 4.1.3."""
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _address(where: tuple[Any, ...]) -> _Address:
    """Of a socket's end; a link-local address has its interface behind a "%"."""
    address = ipaddress.ip_address(where[0].partition("%")[0])
    return (address.version == 6 and address.ipv4_mapped) or address


def _unreachable(endpoint: Endpoint, error: OSError | None) -> Unreachable:
    where = f"{endpoint.host}:{endpoint.port}"
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"{where} does not answer", hint="a firewall may block the port; many networks let only 465 and 587 out"
        )
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(f"nothing listens at {where}", hint="check the port: 465 for tls, 587 for starttls")
    reason = error.strerror if error is not None and error.strerror else "no address"
    return Unreachable(f"{where} cannot be reached: {reason}")
