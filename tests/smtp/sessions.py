"""Messages, sessions and scripted servers for the tests of connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mailer.secret import Secret
from mailer.smtp.connection import Connection
from mailer.smtp.protocol.values import Login, Transaction
from tests.smtp.model_server import Behaviour, ModelServer

LOGIN = Login("ada", Secret("pass word"))


def message(n: int, size: int = 100, *, recipient: str | None = None) -> Transaction:
    line = b"x" * 70 + b"\r\n"
    content = b"N: %d\r\n\r\n" % n + line * (size // len(line))
    return Transaction(f"s{n}@example.com", (recipient or f"r{n}@example.com",), content, context=n)


async def send(session: Connection, messages: list[Transaction]) -> dict[object, int]:
    """All of them, as a caller would; the codes by number."""
    waiting, codes = list(messages), {}
    while len(codes) < len(messages):
        while session.room and waiting:
            session.submit(waiting.pop(0))
        for results in await session.next_results():
            assert results.transaction.context not in codes
            assert results.reply is not None
            codes[results.transaction.context] = results.reply.code
    return codes


async def take_all_results(session: Connection, found: list[object]) -> None:
    while results := await session.next_results():
        found += [one.transaction.context for one in results]


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(bounded())


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """The server's end of a session: the model server takes as many commands as the test says, one at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.model = ModelServer(Behaviour())

    async def take(self, count: int, ahead: bytes = b"") -> bool:
        """Take and answer `count` commands, with their chunks; `ahead` is written before each reply.

        False: the client has closed the connection.
        """
        for _ in range(count):
            if not (line := await self.reader.readline()):
                return False
            self.model.feed(line)
            if self.model.chunk >= 0:
                self.model.feed(await self.reader.readexactly(self.model.chunk))
            self.writer.write(ahead + self.model.take_out())
        return True


def opening(then: Callable[[Peer], Awaitable[None]]) -> Talk:
    """A session that opens without a login, and continues as the test says."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        writer.write(peer.model.take_out())
        await peer.take(1)
        await then(peer)

    return handler
