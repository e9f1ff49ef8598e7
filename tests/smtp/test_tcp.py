"""From a name to a socket, and what is said when there is no way."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from dataclasses import replace
from typing import Any

import pytest

from mailer.errors import InputError, TlsError, Unreachable
from mailer.secret import Secret
from mailer.smtp import tcp
from mailer.smtp.endpoint import Endpoint, Proxy, parse_proxy
from mailer.smtp.protocol.values import SocketAddress
from mailer.smtp.tcp import TcpConnection, make_address_literal, open_tcp
from tests.smtp.servers import Smtp, SocksServer, serve


def make_info(address: str, port: int) -> tuple[Any, ...]:
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))


def go(
    endpoint: Endpoint,
    addresses: list[str] | OSError,
    *,
    seconds: float = 5.0,
    preferred: SocketAddress | None = None,
) -> TcpConnection:
    """`addresses` is what the name stands for."""

    async def run() -> TcpConnection:
        async def look_up(_host: str, port: int, **_options: Any) -> list[Any]:
            if isinstance(addresses, OSError):
                raise addresses
            return [make_info(address, port) for address in addresses]

        asyncio.get_running_loop().getaddrinfo = look_up  # type: ignore[assignment,method-assign] # no DNS in tests
        return await open_tcp(endpoint, seconds, preferred=preferred)

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
def test_an_unreachable_host_says_why(addresses: list[str] | OSError, text: str) -> None:
    with pytest.raises(Unreachable, match=text) as caught:
        go(Endpoint("mail.example", 1), addresses)
    assert caught.value.hint or addresses == []


def test_a_host_that_does_not_answer_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_arguments: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", never)
    with pytest.raises(Unreachable, match="does not answer"):
        go(Endpoint("mail.example", 25), ["192.0.2.1"], seconds=0.01)


def test_an_address_literal_for_ipv4_and_ipv6() -> None:
    assert make_address_literal(ipaddress.ip_address("192.0.2.1")) == "[192.0.2.1]"
    assert make_address_literal(ipaddress.ip_address("2001:db8::1")) == "[IPv6:2001:db8::1]"


# -- several addresses (RFC 8305) -------------------------------------------------------------------------------------


class Network:
    """Stands for `sock_connect`. `silent` addresses never answer; `tried` has the order of the attempts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, silent: set[str]) -> None:
        self.tried: list[str] = []
        real = asyncio.SelectorEventLoop.sock_connect

        async def sock_connect(loop: Any, sock: socket.socket, where: tuple[Any, ...]) -> None:
            self.tried.append(where[0])
            if where[0] in silent:
                await asyncio.sleep(60)
            await real(loop, sock, where)

        monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", sock_connect)


def test_a_dead_first_address_costs_a_quarter_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "ATTEMPT_DELAY", 0.01)
    network = Network(monkeypatch, {"127.0.0.1"})
    with socket.create_server(("127.0.0.2", 0)) as server:
        found = go(Endpoint("mail.example", server.getsockname()[1]), ["127.0.0.1", "127.0.0.2"])
        assert found.sock.getpeername()[0] == "127.0.0.2"
        assert found.address == server.getsockname()
        found.sock.close()
    assert network.tried == ["127.0.0.1", "127.0.0.2"]


def test_the_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch, set())
    with pytest.raises(Unreachable):
        go(Endpoint("mail.example", 1), ["::1", "::1", "127.0.0.1"])
    assert network.tried == ["::1", "127.0.0.1", "::1"]


def test_the_address_that_worked_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch, set())
    with socket.create_server(("127.0.0.2", 0)) as server:
        where = server.getsockname()
        go(Endpoint("mail.example", where[1]), ["127.0.0.1", "127.0.0.2"], preferred=where).sock.close()
    assert network.tried == ["127.0.0.2"]


def test_the_first_address_says_why_there_is_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "ATTEMPT_DELAY", 0.01)
    Network(monkeypatch, {"192.0.2.1"})
    with pytest.raises(Unreachable, match="does not answer"):
        go(Endpoint("mail.example", 1), ["192.0.2.1", "127.0.0.1"], seconds=0.05)


def test_no_second_connection_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "ATTEMPT_DELAY", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = go(Endpoint("mail.example", server.getsockname()[1]), ["127.0.0.1"] * 5)
        server.settimeout(0.2)
        accepted = []
        with contextlib.suppress(TimeoutError):
            while True:
                accepted.append(server.accept()[0])
        states = [sock.recv(1, socket.MSG_DONTWAIT) if is_closed(sock) else None for sock in accepted]
        assert states.count(None) == 1
        for sock in (*accepted, found.sock):
            sock.close()


def is_closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


def test_the_source_address_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = Endpoint("mail.example", server.getsockname()[1], source_address="127.0.0.3")
        found = go(endpoint, ["::1", "127.0.0.1"])
        assert found.sock.getsockname()[0] == "127.0.0.3"
        assert found.own_literal == "[127.0.0.3]"
        found.sock.close()


def test_a_source_address_of_another_machine() -> None:
    with pytest.raises(InputError, match=r"source_address 192\.0\.2\.7 cannot be used"):
        go(Endpoint("mail.example", 1, source_address="192.0.2.7"), ["127.0.0.1"])


# -- a proxy ----------------------------------------------------------------------------------------------------------


def through(server: SocksServer, proxy: Proxy, endpoint: Endpoint) -> TcpConnection:
    async def run() -> TcpConnection:
        async with serve(server) as port:
            return await open_tcp(replace(endpoint, proxy=replace(proxy, port=port)), 5.0)

    return asyncio.run(run())


PROXY = Proxy("127.0.0.1")


@pytest.mark.parametrize("login", [None, ("me", "pass word")])
def test_a_proxy_looks_the_name_up(login: tuple[str, str] | None) -> None:
    proxy = Proxy("127.0.0.1", username=login[0], password=Secret(login[1])) if login else PROXY
    with socket.create_server(("127.0.0.1", 0)) as far:
        server = SocksServer({"mail.example": "127.0.0.1"}, login=login)
        found = through(server, proxy, Endpoint("mail.example", far.getsockname()[1]))
        assert server.asked == [("mail.example", far.getsockname()[1])]
        assert found.own_literal == "[192.0.2.99]", "the address that the server sees"
        assert not found.is_loopback
        found.sock.close()


@pytest.mark.parametrize(
    ("server", "proxy", "text"),
    [
        (SocksServer(status=5), PROXY, "cannot be reached by the proxy .*: nothing listens there"),
        (SocksServer(status=2), PROXY, "rules do not allow"),
        (SocksServer(login=("a", "b")), PROXY, "wants a login"),
        (
            SocksServer(login=("a", "b")),
            Proxy("127.0.0.1", username="a", password=Secret("c")),
            "refuses the login",
        ),
    ],
)
def test_a_proxy_that_does_not_help(server: SocksServer, proxy: Proxy, text: str) -> None:
    with pytest.raises(Unreachable, match=text):
        through(server, proxy, Endpoint("mail.example", 465))


def test_what_is_not_a_proxy() -> None:
    with pytest.raises(Unreachable, match="not a SOCKS 5 proxy"):
        through(Smtp(), PROXY, Endpoint("mail.example", 465))  # type: ignore[arg-type] # any handler will do


def test_a_proxy_that_does_not_listen_is_named() -> None:
    async def run() -> None:
        await open_tcp(Endpoint("mail.example", 465, proxy=Proxy("127.0.0.1", 1)), 5.0)

    with pytest.raises(Unreachable, match=r"nothing listens at the proxy 127\.0\.0\.1:1"):
        asyncio.run(run())


def test_plaintext_does_not_go_through_a_proxy() -> None:
    with pytest.raises(TlsError, match="not this machine"):
        through(SocksServer(), PROXY, Endpoint("localhost", 25, "none"))


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("socks5://127.0.0.1:1080", Proxy("127.0.0.1")),
        ("socks5://proxy.example", Proxy("proxy.example", 1080)),
        ("socks5h://[::1]:9050/", Proxy("::1", 9050)),
    ],
)
def test_a_proxy_url_has_host_and_port(url: str, proxy: Proxy) -> None:
    assert parse_proxy(url) == proxy


def test_a_proxy_url_with_a_login() -> None:
    proxy = parse_proxy("socks5://me%40x:p%3Aw@h:1")
    assert (proxy.username, proxy.password and proxy.password.reveal(), str(proxy)) == ("me@x", "p:w", "h:1")
    assert "p:w" not in repr(proxy)


@pytest.mark.parametrize(
    "url",
    ["http://h:1", "h:1", "socks5://", "socks5://h:99999", "socks5://h/x", "socks5://" + "a" * 300 + "@h"],
)
def test_what_is_not_a_proxy_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"socks5://|number|255"):
        parse_proxy(url)
