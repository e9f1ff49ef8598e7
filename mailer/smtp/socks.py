"""SOCKS 5 (RFC 1928), with a user name and a password if the proxy wants them (RFC 1929).

The host's name goes to the proxy, which looks it up: a network that needs a proxy often has no names of its
own.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct

from mailer.secret import Secret
from mailer.smtp.endpoint import Proxy

_VERSION, _CONNECT = 5, 1
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


async def open_tunnel(
    sock: socket.socket, proxy: Proxy, host: str, port: int
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Ask the proxy at the other end of `sock` to connect to `host`. The caller bounds the time.

    Returns the proxy's address at the other side, or None if it does not say. Raises OSError if there is no
    tunnel.
    """
    methods = bytes([_NO_LOGIN, _PASSWORD] if proxy.username else [_NO_LOGIN])
    await _send(sock, bytes([_VERSION, len(methods)]) + methods)
    version, method = await _read(sock, 2)
    if version != _VERSION:
        raise OSError(0, "it is not a SOCKS 5 proxy")
    if method == _PASSWORD and proxy.username is not None:
        await _log_in(sock, proxy.username, proxy.password)
    elif method != _NO_LOGIN:
        raise OSError(0, "it wants a login: socks5://USER:PASSWORD@HOST:PORT")
    await _send(sock, bytes([_VERSION, _CONNECT, 0]) + _encode_address(host) + struct.pack("!H", port))
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
