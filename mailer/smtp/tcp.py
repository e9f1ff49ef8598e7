"""From a host and port to a connected socket, with what goes wrong in words."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from mailer.errors import InputError, TlsError, Unreachable
from mailer.smtp.endpoint import Endpoint, Proxy
from mailer.smtp.protocol.values import SocketAddress
from mailer.smtp.socks import open_tunnel

ATTEMPT_DELAY = 0.25  # seconds before the next address is tried beside those before it (RFC 8305, section 5)

_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_AddressInfo = tuple[Any, ...]  # as getaddrinfo returns it


@dataclass(frozen=True, slots=True)
class TcpConnection:
    """A connected socket.

    `own_literal` is the address of our end as RFC 5321 4.1.3 writes it. `address` is the server's; None
    behind a proxy.
    """

    sock: socket.socket
    is_loopback: bool
    own_literal: str
    address: SocketAddress | None = None


async def open_tcp(
    endpoint: Endpoint, seconds: float, *, preferred: SocketAddress | None = None
) -> TcpConnection:
    """Connect to one of the host's addresses, the `preferred` one first. Each of them has `seconds`.

    The others are tried in parallel, a little later (RFC 8305). Raises Unreachable; TlsError if plaintext is
    not allowed; InputError if `source_address` is not one of this machine.
    """
    if endpoint.proxy is not None:
        return await _connect_by_proxy(endpoint, endpoint.proxy, seconds)
    addresses = await _look_up(endpoint.host, endpoint.port, seconds)
    if endpoint.security == "none" and not endpoint.allow_plaintext:
        addresses = [address for address in addresses if _ip_address(address[4]).is_loopback]
        if not addresses:
            raise _make_plaintext_error(endpoint)
    if endpoint.source_address is not None:
        addresses = _of_same_family(addresses, endpoint.source_address)
    try:
        return await _connect_to_any(_in_turn(addresses, preferred), endpoint.source_address, seconds)
    except OSError as error:
        raise _make_unreachable(endpoint.host, endpoint.port, error) from None


def _make_plaintext_error(endpoint: Endpoint) -> TlsError:
    return TlsError(
        f"{endpoint.host} is not this machine, and security: none would send everything readable",
        hint="use security: tls or starttls; allow_plaintext: true, if the network is really yours",
    )


async def _look_up(host: str, port: int, seconds: float) -> list[_AddressInfo]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            return [*await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        if isinstance(error, TimeoutError) or getattr(error, "errno", None) == socket.EAI_AGAIN:
            raise Unreachable(f"{host} cannot be looked up now", hint="check the network") from None
        raise Unreachable(f"there is no host {host}", hint="check the name, and the network") from None


def _of_same_family(addresses: list[_AddressInfo], source_address: str) -> list[_AddressInfo]:
    version = ipaddress.ip_address(source_address).version
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    return [address for address in addresses if address[0] == family]


def _in_turn(addresses: list[_AddressInfo], preferred: SocketAddress | None) -> list[_AddressInfo]:
    """Return the addresses with the two families in turn (RFC 8305, section 4), the preferred one first."""
    families = list(dict.fromkeys(address[0] for address in addresses))
    by_family = [[address for address in addresses if address[0] == family] for family in families]
    mixed = [address for address in chain(*zip_longest(*by_family)) if address is not None]
    return sorted(mixed, key=lambda address: address[4] != preferred)


async def _connect_to_any(
    addresses: Sequence[_AddressInfo], source_address: str | None, seconds: float
) -> TcpConnection:
    """Return the connection that is there first. Raises the first address's OSError if there is none."""
    if not addresses:
        raise OSError(0, "no address")
    waiting, attempts = list(addresses), list[asyncio.Task[TcpConnection]]()
    try:
        while True:
            if waiting:
                attempts.append(asyncio.ensure_future(_connect(waiting.pop(0), source_address, seconds)))
            running = [attempt for attempt in attempts if not attempt.done()]
            if running:
                delay = ATTEMPT_DELAY if waiting else None
                await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            for attempt in attempts:
                if attempt.done() and attempt.exception() is None:
                    attempts.remove(attempt)
                    return attempt.result()
            if not waiting and all(attempt.done() for attempt in attempts):
                return attempts[0].result()  # raises
    finally:
        await _discard(attempts)


async def _discard(attempts: list[asyncio.Task[TcpConnection]]) -> None:
    """Cancel what is on its way, and close what came in second."""
    for attempt in attempts:
        attempt.cancel()
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(result, TcpConnection):
            result.sock.close()


async def _connect(address: _AddressInfo, source_address: str | None, seconds: float) -> TcpConnection:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        # Groups are whole when they are written: waiting for more (Nagle) would only cost time.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source_address is not None:
            _bind(sock, source_address)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, where)
        own, peer = _ip_address(sock.getsockname()), _ip_address(sock.getpeername())
    except BaseException:
        sock.close()
        raise
    return TcpConnection(sock, peer.is_loopback, make_address_literal(own), where)


def _bind(sock: socket.socket, source_address: str) -> None:
    try:
        sock.bind((source_address, 0))
    except OSError as error:
        raise InputError(
            f"source_address {source_address} cannot be used: {error.strerror}",
            hint="it must be an address of this machine; `ip address` lists them",
        ) from None


async def _connect_by_proxy(endpoint: Endpoint, proxy: Proxy, seconds: float) -> TcpConnection:
    if endpoint.security == "none" and not endpoint.allow_plaintext:
        raise _make_plaintext_error(endpoint)
    addresses = await _look_up(proxy.host, proxy.port, seconds)
    try:
        tcp = await _connect_to_any(_in_turn(addresses, None), endpoint.source_address, seconds)
    except OSError as error:
        raise _make_unreachable(proxy.host, proxy.port, error, what="the proxy ") from None
    try:
        async with asyncio.timeout(seconds):
            outer = await open_tunnel(tcp.sock, proxy, endpoint.host, endpoint.port)
    except BaseException as error:
        tcp.sock.close()
        if isinstance(error, OSError):
            raise Unreachable(
                f"{endpoint.host}:{endpoint.port} cannot be reached by the proxy {proxy}: {error.strerror or error}"
            ) from None
        raise
    return TcpConnection(
        tcp.sock, False, make_address_literal(outer) if outer is not None else tcp.own_literal
    )


def make_address_literal(address: _IpAddress) -> str:
    """Return an address as EHLO takes it (RFC 5321 4.1.3)."""
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _ip_address(where: SocketAddress) -> _IpAddress:
    """Return the IP address of a socket's end; a link-local address has its interface behind a "%"."""
    address = ipaddress.ip_address(str(where[0]).partition("%")[0])
    return (address.version == 6 and address.ipv4_mapped) or address


def _make_unreachable(host: str, port: int, error: OSError, *, what: str = "") -> Unreachable:
    where = f"{what}{host}:{port}"
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"{where} does not answer",
            hint="a firewall may block the port; many networks let only 465 and 587 out",
        )
    if isinstance(error, ConnectionRefusedError):
        hint = None if what else "check the port: 465 for tls, 587 for starttls"
        return Unreachable(f"nothing listens at {where}", hint=hint)
    return Unreachable(f"{where} cannot be reached: {error.strerror or error}")
