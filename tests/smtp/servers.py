"""Small servers in the test's own event loop: each connection is given to a handler."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from mailer.smtp.endpoint import Endpoint, Security
from tests.smtp.model_server import Behaviour, Login, ModelServer

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
OFFERS = ("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 50000000", "AUTH PLAIN")


@dataclass
class Authority:
    """A throw-away CA, and a certificate of it for loopback."""

    ca_file: Path
    context: ssl.SSLContext
    ca: trustme.CA

    @classmethod
    def make(cls, folder: Path, *names: str) -> Authority:
        ca, ca_file = trustme.CA(), folder / "ca.pem"
        ca.cert_pem.write_to_path(str(ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
        return cls(ca_file, context, ca)

    def endpoint(self, port: int, security: Security = "tls", host: str = "localhost") -> Endpoint:
        return Endpoint(host, port, security, self.ca_file, ehlo_name="client.example")


@asynccontextmanager
async def serve(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Listens on loopback; gives the port. What a handler that is still running does is ended with the test."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            tasks.discard(task)
            writer.transport.abort()

    listener = socket.socket(proto=socket.IPPROTO_TCP)  # named, or asyncio would leave Nagle on
    # Loopback's segments of 64 KB would make small buffers a matter of timers instead of flow control.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
    listener.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(one, sock=listener, ssl=context, limit=1 << 22)
    try:
        yield listener.getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Smtp:
    """The model server on sockets. `accepted`: (sender, recipients, content); `commands`: what it was told.

    `instead_of_tls` are octets that it writes behind its reply to STARTTLS; then it does no handshake.
    """

    offers: tuple[str, ...] = OFFERS
    starttls: ssl.SSLContext | None = None
    instead_of_tls: bytes | None = None
    login: Login | None = None
    refuses: frozenset[str] = frozenset()
    accepted: list[tuple[str, tuple[str, ...], bytes]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    sessions: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        model = ModelServer(self._behaviour())
        while True:
            writer.write(model.take_out() + (self.instead_of_tls or b"" if model.wants_tls else b""))
            if model.wants_tls and self.instead_of_tls is not None:
                await asyncio.sleep(60)
            if model.wants_tls and self.starttls is not None:
                await writer.start_tls(self.starttls)
                model.start_tls()
                model.behaviour.offers = self.offers
            if model.closed or not (data := await reader.read(1 << 20)):
                await writer.drain()
                return
            model.feed(data)
            self.commands += [line.decode() for line in model.lines]
            self.accepted += [
                (sender.decode(), tuple(recipient.decode() for recipient in recipients), content)
                for sender, recipients, content in model.accepted.elements()
            ]
            model.lines.clear()
            model.accepted.clear()

    def _behaviour(self) -> Behaviour:
        """Each thing that it offers is in `offers`, so that the model adds none."""
        return Behaviour(
            pipelining=False,
            chunking=False,
            refused={address.encode(): 550 for address in self.refuses},
            offers=(*self.offers, "STARTTLS")
            if self.starttls or self.instead_of_tls is not None
            else self.offers,
            login=self.login,
        )


@dataclass
class SocksServer:
    """A SOCKS 5 proxy (RFC 1928), which speaks no SMTP. It looks names up in `names`.

    `login` is what it wants, `status` what it says.
    """

    names: dict[str, str] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    status: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = 2 if self.login else 0
        writer.write(bytes([5, wanted if wanted in methods else 255]))
        if wanted not in methods:
            return
        if self.login:
            name = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            is_right = (name.decode(), password.decode()) == self.login
            writer.write(bytes([1, not is_right]))
            if not is_right:
                return
        kind = (await reader.readexactly(4))[3]
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append((host, port))
        writer.write(bytes([5, self.status, 0, 1]) + socket.inet_aton("192.0.2.99") + b"\0\0")
        if self.status:
            return
        far_reader, far_writer = await asyncio.open_connection(self.names.get(host, host), port)
        try:
            await asyncio.wait(
                [
                    asyncio.ensure_future(_copy(reader, far_writer)),
                    asyncio.ensure_future(_copy(far_reader, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            far_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
