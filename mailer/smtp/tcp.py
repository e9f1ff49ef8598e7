"""From a host and port to a connected socket, with what goes wrong in words.

The socket may lead through a SOCKS 5 proxy (RFC 1928), with a user name and a password if the proxy wants
them (RFC 1929). The host's name goes to the proxy, which looks it up: a network that needs a proxy often has
no names of its own.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any

from mailer.dataclass import dataclass
from mailer.errors import InputError, TlsError, Unreachable
from mailer.secret import Secret
from mailer.smtp.endpoint import Endpoint, Proxy
from mailer.smtp.protocol.values import SocketAddress

ATTEMPT_DELAY = 0.25  # seconds before the next address is tried beside those before it (RFC 8305, section 5)

_SOCKS_VERSION, _CONNECT = 5, 1
_NO_LOGIN, _PASSWORD = 0, 2
_IPV4, _NAME, _IPV6 = 1, 3, 4
_REPLIES = {  # RFC 1928, section 6
    1: "the proxy failed",
    2: "the proxy's rules do not allow it",
    3: "the proxy cannot reach its network",
    4: "the proxy cannot reach the host",
    5: "nothing listens there",
    6: "it does not answer",
    7: "the proxy does not support CONNECT",
    8: "the proxy does not support this kind of address",
}

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
    with suppress(socket.gaierror):  # an IP address needs no thread
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
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
            outer = await _open_tunnel(tcp.sock, proxy, endpoint.host, endpoint.port)
    except BaseException as error:
        tcp.sock.close()
        if isinstance(error, OSError):
            raise Unreachable(
                f"{endpoint.host}:{endpoint.port} cannot be reached by the proxy {proxy}: "
                f"{error.strerror or error}"
            ) from None
        raise
    return TcpConnection(
        tcp.sock, False, make_address_literal(outer) if outer is not None else tcp.own_literal
    )


async def _open_tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> _IpAddress | None:
    """Ask the proxy at the other end of `sock` to connect to `host`. The caller bounds the time.

    Returns the proxy's address at the other side, or None if it does not say. Raises OSError if there is no
    tunnel.
    """
    methods = bytes([_NO_LOGIN, _PASSWORD] if proxy.username else [_NO_LOGIN])
    await _send(sock, bytes([_SOCKS_VERSION, len(methods)]) + methods)
    version, method = await _read(sock, 2)
    if version != _SOCKS_VERSION:
        raise OSError(0, "it is not a SOCKS 5 proxy")
    if method == _PASSWORD and proxy.username is not None:
        await _log_in(sock, proxy.username, proxy.password)
    elif method != _NO_LOGIN:
        raise OSError(0, "it wants a login: socks5://USER:PASSWORD@HOST:PORT")
    await _send(sock, bytes([_SOCKS_VERSION, _CONNECT, 0]) + _encode_address(host) + struct.pack("!H", port))
    _, status, _, kind = await _read(sock, 4)
    if status:
        raise OSError(0, _REPLIES.get(status, f"the proxy said {status}"))
    if kind == _NAME:
        await _read(sock, (await _read(sock, 1))[0] + 2)
        return None
    octets = await _read(sock, 4 if kind == _IPV4 else 16)
    await _read(sock, 2)
    address = ipaddress.ip_address(octets)
    return None if address.is_unspecified else address


async def _log_in(sock: socket.socket, username: str, password: Secret | None) -> None:
    name, secret = username.encode(), (password.reveal() if password else "").encode()
    await _send(sock, bytes([1, len(name)]) + name + bytes([len(secret)]) + secret)
    if (await _read(sock, 2))[1]:
        raise OSError(0, "it refuses the login")


def _encode_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna") if not host.isascii() else host.encode()
        if not 0 < len(name) < 256:
            raise OSError(0, "the host's name is too long for it") from None
        return bytes([_NAME, len(name)]) + name
    return bytes([_IPV6 if address.version == 6 else _IPV4]) + address.packed


async def _send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def _read(sock: socket.socket, count: int) -> bytes:
    """Read exactly so many octets: what follows belongs to the server."""
    data = b""
    while len(data) < count:
        piece = await asyncio.get_running_loop().sock_recv(sock, count - len(data))
        if not piece:
            raise OSError(0, "it closed the connection")
        data += piece
    return data


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
