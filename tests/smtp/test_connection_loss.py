"""Sessions over real sockets with servers that are slow, silent or broken."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

import pytest

from mailer.errors import (
    ConnectionLost,
    ProtocolViolation,
)
from mailer.smtp import connection as shell
from mailer.smtp.connection import connect
from tests.smtp.servers import Authority, Smtp, serve
from tests.smtp.sessions import LOGIN, Peer, message, opening, run, send, take_all_results

FIRST = 3  # commands of the first message: MAIL, RCPT and a chunk


@pytest.mark.parametrize("drip", [b"", b"2", b"250-x\r\n"])
def test_the_time_for_a_reply_is_for_all_of_it(authority: Authority, drip: bytes) -> None:
    """A byte, or a line, now and then does not extend it; and the session is closed, since the reply may still come."""
    closed = asyncio.Event()

    async def drips(peer: Peer) -> None:
        reading = asyncio.ensure_future(peer.reader.read())
        while not reading.done():
            peer.writer.write(drip)
            await asyncio.wait([reading], timeout=0.05)
        closed.set()

    async def test() -> None:
        async with serve(opening(drips), authority.context) as port:
            session = await connect(authority.endpoint(port), None, timeout=0.4)
            session.submit(message(1))
            began = asyncio.get_running_loop().time()
            with pytest.raises(ConnectionLost, match=r"did not answer within 0\.4 seconds"):
                await session.next_results()
            assert asyncio.get_running_loop().time() - began < 1.0
            await asyncio.wait_for(closed.wait(), 1)
            assert [t.context for t in session.list_unfinished()[0]] == [1], "only its first line has left"

    run(test)


@pytest.mark.slow
def test_a_reader_that_is_slow_is_not_late(authority: Authority) -> None:
    """As long as octets leave, the reply to them is not due."""

    async def slow(peer: Peer) -> None:
        await peer.take(FIRST)
        while not peer.model.out:
            peer.model.feed(await peer.reader.read(1 << 18))
            await asyncio.sleep(0.01)
        peer.writer.write(peer.model.take_out())

    async def test() -> None:
        async with serve(opening(slow), authority.context) as port:
            session = await connect(authority.endpoint(port), None, timeout=1)
            big = message(1, 48_000_000)
            began = asyncio.get_running_loop().time()
            assert await send(session, [big]) == {1: 250}
            assert asyncio.get_running_loop().time() - began > 1, "or it shows nothing"
            await session.quit()

    run(test)


def test_no_deadlock_with_a_server_that_reads_only_when_its_replies_are_read(authority: Authority) -> None:
    """10 KB a reply, through small buffers, while messages of 100 KB are on their way to it."""

    async def stubborn(peer: Peer) -> None:
        long = b"".join(b"250-%s\r\n" % (b"x" * 1000) for _ in range(10))
        while await peer.take(1, ahead=long):
            await peer.writer.drain()

    async def test() -> None:
        async with serve(opening(stubborn), authority.context) as port:
            session = await connect(authority.endpoint(port), None, timeout=5)
            session.transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            session.transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            assert await send(session, [message(n, 100_000) for n in range(40)]) == dict.fromkeys(
                range(40), 250
            )

    run(test)


def test_replies_that_came_before_a_reset_are_read(authority: Authority) -> None:
    """We write into a connection that was reset, and what the server said before is still in our buffer."""
    gone = asyncio.Event()

    async def resets(peer: Peer) -> None:
        await asyncio.sleep(0.05)
        await peer.take(FIRST + 1)
        await peer.writer.drain()
        await asyncio.sleep(0.05)  # on its way before the reset
        reset(peer.writer)
        gone.set()

    async def test() -> None:
        async with serve(opening(resets)) as port:
            session = await connect(authority.endpoint(port, "none"), None)
            channel, loop = session.transport, asyncio.get_running_loop()

            def once() -> None:
                channel.read_available()
                loop.remove_reader(channel.sock)

            loop.add_reader(channel.sock, once)  # answers the first line; then the server does not read
            session.submit(message(1, 5000))
            channel.write()
            await gone.wait()
            for n in range(2, 12):
                session.submit(message(n, 100_000))  # written, which fails
            assert channel.is_broken
            channel.start()
            assert [s.transaction.context for s in await session.next_results()] == [1]
            with pytest.raises(ConnectionLost):
                await session.next_results()
            untouched, doubtful = session.list_unfinished()
            assert sorted(t.context for t in untouched + doubtful) == list(range(2, 12))  # type: ignore[type-var]

    run(test)


def reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def test_what_has_not_left_whole_is_not_in_doubt(authority: Authority) -> None:
    """The second message is in the socket's buffers in part: it is surely not at the server."""

    async def stops_reading(peer: Peer) -> None:
        await peer.take(FIRST + 1)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(10)

    async def test() -> None:
        async with serve(opening(stops_reading), authority.context) as port:
            session = await connect(authority.endpoint(port), None, timeout=0.3)
            assert await send(session, [message(1)]) == {1: 250}
            session.submit(message(2, 30_000_000))
            with pytest.raises(ConnectionLost, match="did not answer"):
                await session.next_results()
            assert [t.context for t in session.list_unfinished()[0]] == [2]

    run(test)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("rude", ["close", "reset", "garbage"])
def test_a_drop_leaves_what_was_sent_in_doubt(authority: Authority, tls: bool, rude: str) -> None:
    async def drops(peer: Peer) -> None:
        await peer.take(FIRST + 1)
        for _ in range(6):
            await peer.reader.readline()
        if rude == "garbage":
            peer.writer.write(b"\x00\xff what is this\r\n")
            await peer.writer.drain()
            await asyncio.sleep(5)
        if rude == "reset":
            reset(peer.writer)

    async def test() -> None:
        async with serve(opening(drops), authority.context if tls else None) as port:
            session = await connect(authority.endpoint(port, "tls" if tls else "none"), None)
            for n in range(4):
                session.submit(message(n))
            found: list[object] = []
            with pytest.raises(ProtocolViolation if rude == "garbage" else ConnectionLost):
                await take_all_results(session, found)
            assert found == [0]
            assert [t.context for t in session.list_unfinished()[1]] == [1, 2, 3]
            assert session.is_exhausted
            assert session.room == 0

    run(test)


def test_421_while_idle_ends_the_session(authority: Authority) -> None:
    async def idle(peer: Peer) -> None:
        await asyncio.sleep(0.02)
        peer.writer.write(b"421 4.4.2 idle too long\r\n")

    async def test() -> None:
        async with serve(opening(idle), authority.context) as port:
            session = await connect(authority.endpoint(port), None)
            await asyncio.sleep(0.05)
            assert session.is_exhausted
            with pytest.raises(ConnectionLost, match="421") as caught:
                await session.check_alive()
            assert caught.value.reply is not None
            assert caught.value.reply.code == 421

    run(test)


def test_a_server_that_does_not_answer_quit(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "GOODBYE", 0.05)

    async def silent(peer: Peer) -> None:
        await peer.reader.read()

    async def test() -> None:
        async with serve(opening(silent), authority.context) as port:
            session = await connect(authority.endpoint(port), None)
            await session.quit()
            await session.quit()
            session.abort()

    run(test)


def test_abort_leaves_every_message_unfinished(authority: Authority) -> None:
    async def silent(peer: Peer) -> None:
        await peer.reader.read()

    async def test() -> None:
        async with serve(opening(silent), authority.context) as port:
            session = await connect(authority.endpoint(port), None)
            session.submit(message(1))
            settling = asyncio.ensure_future(session.next_results())
            await asyncio.sleep(0.02)
            session.abort()
            with pytest.raises(ConnectionLost):
                await settling
            assert [t.context for t in session.list_unfinished()[0]] == [1]

    run(test)


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (
            b"554 Too many nonmail commands\r\n",
            "ended the session outside TLS: 554 Too many nonmail commands$",
        ),
        (b"250 2.0.0 Ok: queued\r\n", "broke: [A-Z_]+$"),
        (b"554 \x1b[2Jno\r\n", "broke: [A-Z_]+$"),
    ],
)
def test_tls_that_breaks_in_a_session(authority: Authority, octets: bytes, said: str) -> None:
    """Exim says its last words in plaintext. Anybody on the line could: they do not decide about messages."""

    async def breaks(peer: Peer) -> None:
        await peer.take(FIRST + 1)
        await peer.writer.drain()
        await peer.reader.read(1)  # the second message
        peer.writer.get_extra_info("socket")._sock.send(octets)
        await asyncio.sleep(5)

    async def test() -> None:
        async with serve(opening(breaks), authority.context) as port:
            session = await connect(authority.endpoint(port), None)
            assert await send(session, [message(1)]) == {1: 250}
            session.submit(message(2))
            with pytest.raises(ConnectionLost, match=said) as caught:
                await session.next_results()
            assert caught.value.reply is None
            unfinished = session.list_unfinished()
            assert (unfinished.unsent, [t.context for t in unfinished.in_doubt]) == ([], [2])

    run(test)


def test_sockets_send_without_delay(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            assert session.transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert isinstance(session.transport.tls, ssl.SSLObject)
            await session.quit()
            assert session.transport.sock.fileno() == -1

    run(test)
