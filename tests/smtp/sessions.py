"""Messages, sessions and scripted servers for the tests of connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mailer.secret import Secret
from mailer.smtp.connection import Connection
from mailer.smtp.protocol.values import Login, Transaction

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


HELLO = b"250-hi\r\n250-PIPELINING\r\n250 CHUNKING\r\n"


def opening(then: Talk, hello: bytes = HELLO) -> Talk:
    """A session that opens without a login, and continues as the test says."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(hello)
        await then(reader, writer)

    return handler
