"""From a name to a socket, and what is said when there is no way."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

import pytest

from mailer.errors import TlsError, Unreachable
from mailer.smtp.protocol.values import Endpoint
from mailer.smtp.tcp import TcpConnection, make_address_literal, open_tcp


def go(endpoint: Endpoint, addresses: list[str] | OSError, *, seconds: float = 5.0) -> TcpConnection:
    """`addresses` is what the name stands for."""

    async def run() -> TcpConnection:
        async def look_up(_host: str, port: int, **_options: Any) -> list[Any]:
            if isinstance(addresses, OSError):
                raise addresses
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        asyncio.get_running_loop().getaddrinfo = look_up  # type: ignore[assignment,method-assign] # no DNS in tests
        return await open_tcp(endpoint, seconds)

    return asyncio.run(run())


def test_plaintext_goes_to_loopback_only() -> None:
    with pytest.raises(TlsError, match="not this machine") as caught:
        go(Endpoint("mail.example", 25, "none"), ["192.0.2.1"])
    assert "allow_plaintext" in (caught.value.hint or "")


def test_of_a_name_with_both_kinds_of_address_plaintext_takes_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached = go(Endpoint("mail.example", server.getsockname()[1], "none"), ["192.0.2.1", "127.0.0.1"])
        assert reached.is_loopback
        assert reached.own_literal == "[127.0.0.1]"
        reached.sock.close()


def test_the_next_address_is_tried() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        reached = go(Endpoint("mail.example", server.getsockname()[1]), ["127.0.0.1", "127.0.0.2"])
        assert reached.sock.getpeername()[0] == "127.0.0.2"
        reached.sock.close()


@pytest.mark.parametrize(
    ("addresses", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "?"), "there is no host mail.example"),
        (socket.gaierror(socket.EAI_AGAIN, "?"), "cannot be looked up now"),
        (TimeoutError(), "cannot be looked up now"),
        ([], "cannot be reached: no address"),
        (["127.0.0.1"], "nothing listens at mail.example:1"),
    ],
)
def test_no_way(addresses: list[str] | OSError, text: str) -> None:
    with pytest.raises(Unreachable, match=text) as caught:
        go(Endpoint("mail.example", 1), addresses)
    assert caught.value.hint or addresses == []


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_arguments: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", never)
    with pytest.raises(Unreachable, match="does not answer"):
        go(Endpoint("mail.example", 25), ["192.0.2.1"], seconds=0.01)


def test_address_literals() -> None:
    assert make_address_literal(ipaddress.ip_address("192.0.2.1")) == "[192.0.2.1]"
    assert make_address_literal(ipaddress.ip_address("2001:db8::1")) == "[IPv6:2001:db8::1]"
