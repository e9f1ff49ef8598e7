"""Sessions over real sockets and real TLS, with good servers and bad ones."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from mailer.errors import (
    AuthenticationError,
    ConnectionLost,
    InputError,
    ProtocolViolation,
    TlsError,
    Unreachable,
)
from mailer.secret import Secret
from mailer.smtp import connection as shell
from mailer.smtp.connection import Connection, connect
from mailer.smtp.endpoint import ClientCertificateFiles, Endpoint, Proxy
from mailer.smtp.protocol.values import Login, Strategy, Transaction
from tests.smtp.servers import Authority, Smtp, SocksServer, serve
from tests.smtp.test_tls import Server

LOGIN = Login("ada", Secret("pass word"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


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
        for settled in await session.next_results():
            assert settled.transaction.context not in codes
            assert settled.reply is not None
            codes[settled.transaction.context] = settled.reply.code
    return codes


async def settle_all(session: Connection, found: list[object]) -> None:
    while settled := await session.next_results():
        found += [one.transaction.context for one in settled]


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(bounded())


# -- good servers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offers", "strategy"),
    [
        (("PIPELINING", "CHUNKING", "AUTH PLAIN"), Strategy.STREAMED),
        (("PIPELINING", "AUTH PLAIN"), Strategy.PIPELINED),
        (("AUTH PLAIN",), Strategy.SEQUENTIAL),
    ],
)
@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_messages_go_through(
    authority: Authority, offers: tuple[str, ...], strategy: Strategy, security: str
) -> None:
    async def test() -> None:
        server = Smtp(offers, starttls=authority.context if security == "starttls" else None)
        async with serve(server, authority.context if security == "tls" else None) as port:
            session = await connect(authority.endpoint(port, security), LOGIN)  # type: ignore[arg-type]
            details = session.details
            assert (details.strategy, details.mechanism, details.port) == (strategy, "PLAIN", port)
            assert (details.tls is None) is (security == "none")
            if security != "none":
                assert details.tls == "TLSv1.3"
                assert details.cipher is not None
                assert details.certificate is not None
                assert "localhost" in details.certificate.names
            messages = [message(n, 5000) for n in range(60)]
            assert await send(session, messages) == dict.fromkeys(range(60), 250)
            await session.quit()
            assert session.details == details, "it is asked for when the report is written"
        assert server.accepted == [(t.sender, t.recipients, t.content) for t in messages]
        assert server.sessions == 1
        assert server.commands[-1] == "QUIT"

    run(test)


def test_a_refusal_concerns_its_message_alone(authority: Authority) -> None:
    async def test() -> None:
        server = Smtp(refuses=frozenset(f"r{n}@example.com" for n in range(0, 90, 3)))
        async with serve(server, authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            codes = await send(session, [message(n) for n in range(90)])
            await session.quit()
        assert codes == {n: 250 if n % 3 else 550 for n in range(90)}
        assert [sender for sender, *_ in server.accepted] == [f"s{n}@example.com" for n in range(90) if n % 3]

    run(test)


def test_settle_without_messages_returns_at_once(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            assert await session.next_results() == []
            await session.quit()

    run(test)


def test_a_cancelled_settle_loses_nothing(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            for n in range(3):
                session.submit(message(n))
                settling = asyncio.ensure_future(session.next_results())
                await asyncio.sleep(0)
                settling.cancel()
                await asyncio.wait([settling])
            found: list[object] = []
            while len(found) < 3:
                found += [settled.transaction.context for settled in await session.next_results()]
            assert sorted(map(str, found)) == ["0", "1", "2"]
            await session.quit()

    run(test)


@pytest.mark.parametrize("window", [1, 2, 5])
def test_a_window_is_a_maximum(authority: Authority, window: int) -> None:
    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN, window=window)
            assert session.details.strategy is (Strategy.SEQUENTIAL if window == 1 else Strategy.STREAMED)
            for n in range(0, 20, 2):
                assert session.room <= window
                await send(session, [message(n), message(n + 1)])
            await session.quit()

    run(test)


def test_noop_shows_whether_a_session_is_alive(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            await session.check_alive()
            await send(session, [message(1)])
            await session.check_alive()
            await session.quit()
            with pytest.raises(ConnectionLost):
                await session.check_alive()

    run(test)


def test_a_session_brings_itself_to_an_end_before_the_server_does(authority: Authority) -> None:
    """Exim ends a session at the eleventh command that is no mail."""

    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            for _ in range(10):
                if session.is_exhausted:
                    break
                await session.check_alive()
            assert session.is_exhausted
            assert session.room == 0

    run(test)


def test_more_than_the_session_takes(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp(("PIPELINING", "LIMITS MAILMAX=2", "AUTH PLAIN")), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            assert session.room == 2
            for n in range(3):
                session.submit(message(n))
            found = [s.transaction.context for s in await session.next_results()]
            while len(found) < 2:
                found += [s.transaction.context for s in await session.next_results()]
            assert session.is_exhausted
            with pytest.raises(ConnectionLost, match="takes no more messages"):
                await session.next_results()
            assert [t.context for t in session.list_unfinished()[0]] == [2]
            assert session.list_unfinished()[1] == []

    run(test)


def test_the_trace_has_no_secret(authority: Authority) -> None:
    async def test() -> None:
        lines: list[str] = []
        async with serve(Smtp(), authority.context) as port:
            session = await connect(
                authority.endpoint(port), LOGIN, trace=lambda who, line: lines.append(f"{who} {line}")
            )
            await send(session, [message(1)])
            await session.quit()
        shown = "\n".join(lines)
        assert "* TLSv1.3" in lines[0]
        assert "C AUTH PLAIN [secret]" in lines
        assert "S 235 2.7.0 welcome" in lines
        assert "C MAIL FROM:<s1@example.com>" in shown
        assert "pass word" not in shown
        assert "AGFkYQBwYXNzIHdvcmQ=" not in shown

    run(test)


# -- no session -------------------------------------------------------------------------------------------------------


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_a_port_that_nothing_listens_on_is_refused_at_once(authority: Authority) -> None:
    async def test() -> None:
        with pytest.raises(Unreachable, match="nothing listens") as caught:
            await connect(authority.endpoint(unused_port()), LOGIN)
        assert "465" in (caught.value.hint or "")

    run(test)


@pytest.mark.parametrize(
    ("security", "names", "text"),
    [
        ("tls", (), "unknown|private|not trusted|issuer"),
        ("tls", ("mail.example.net",), "another name: it is for mail.example.net"),
    ],
)
def test_a_certificate_that_does_not_fit(
    authority: Authority, tmp_path: Path, security: str, names: tuple[str, ...], text: str
) -> None:
    other = Authority.make(tmp_path, *names)

    async def test() -> None:
        async with serve(Smtp(), other.context) as port:
            trusted = other if names else authority
            with pytest.raises(TlsError, match=text) as caught:
                await connect(trusted.endpoint(port), LOGIN)
            assert caught.value.hint

    run(test)


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_handshake_that_does_not_come_to_an_end(authority: Authority, security: str) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if security == "starttls":
            writer.write(b"220 hi\r\n")
            await reader.readline()
            writer.write(b"250-hi\r\n250 STARTTLS\r\n")
            await reader.readline()
            writer.write(b"220 go\r\n")
        await asyncio.sleep(60)

    async def test() -> None:
        async with serve(silent) as port:
            with pytest.raises(ConnectionLost, match="in time"):
                await connect(authority.endpoint(port, security), LOGIN, timeout=0.2)  # type: ignore[arg-type]

    run(test)


def test_a_handshake_that_is_cut_off(authority: Authority) -> None:
    async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)

    async def test() -> None:
        async with serve(closes) as port:
            with pytest.raises(ConnectionLost, match="closed the connection"):
                await connect(authority.endpoint(port), LOGIN)

    run(test)


def test_plaintext_where_tls_is_meant(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp()) as port:
            with pytest.raises(TlsError, match="does not speak TLS"):
                await connect(authority.endpoint(port), LOGIN)

    run(test)


def test_an_unusable_ca_file(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(InputError):
            await connect(Endpoint("localhost", 1, "tls", tmp_path / "none.pem"), LOGIN)

    run(test)


def test_what_somebody_put_behind_the_answer_to_starttls_is_never_read(authority: Authority) -> None:
    async def injects(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250-hi\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n250-hi\r\n250 AUTH PLAIN\r\n")
        await writer.drain()
        await asyncio.sleep(5)

    async def test() -> None:
        async with serve(injects) as port:
            with pytest.raises(TlsError, match="before TLS began"):
                await connect(authority.endpoint(port, "starttls"), LOGIN)

    run(test)


def test_a_login_that_is_refused(authority: Authority) -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250-hi\r\n250 AUTH PLAIN\r\n")
        await reader.readline()
        writer.write(b"535 5.7.8 pass word is wrong\r\n")
        await asyncio.sleep(5)

    async def test() -> None:
        async with serve(refuses, authority.context) as port:
            with pytest.raises(AuthenticationError, match="535") as caught:
                await connect(authority.endpoint(port), LOGIN)
            assert not caught.value.temporary
            assert "pass word" not in str(caught.value)

    run(test)


# -- servers that are slow, silent or rude ----------------------------------------------------------------------------

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


async def take_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """MAIL, RCPT and the first chunk, answered."""
    for _ in range(2):
        await reader.readline()
    await reader.readexactly(int((await reader.readline()).split()[1]))
    writer.write(b"250 ok\r\n" * 3)


async def take_rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(int((await reader.readline()).split()[1]))
    writer.write(b"250 queued\r\n")


@pytest.mark.parametrize("drip", [b"", b"2", b"250-x\r\n"])
def test_the_time_for_a_reply_is_for_all_of_it(authority: Authority, drip: bytes) -> None:
    """A byte, or a line, now and then does not extend it; and the session is closed, since the reply may still come."""
    closed = asyncio.Event()

    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reading = asyncio.ensure_future(reader.read())
        while not reading.done():
            writer.write(drip)
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


def test_a_reader_that_is_slow_is_not_late(authority: Authority) -> None:
    """As long as octets leave, the reply to them is not due."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_first(reader, writer)
        size = int((await reader.readline()).split()[1])
        while size:
            size -= len(await reader.read(min(size, 1 << 18)))
            await asyncio.sleep(0.01)
        writer.write(b"250 queued\r\n")

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

    async def stubborn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        long = b"".join(b"250-%s\r\n" % (b"x" * 1000) for _ in range(10))
        while line := await reader.readline():
            if line.startswith(b"BDAT"):
                await reader.readexactly(int(line.split()[1]))
            writer.write(long + b"250 ok\r\n")
            await writer.drain()

    async def test() -> None:
        async with serve(opening(stubborn), authority.context) as port:
            session = await connect(authority.endpoint(port), None, timeout=5)
            session._transport._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            session._transport._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            assert await send(session, [message(n, 100_000) for n in range(40)]) == dict.fromkeys(
                range(40), 250
            )

    run(test)


def test_replies_that_came_before_a_reset_are_read(authority: Authority) -> None:
    """We write into a connection that was reset, and what the server said before is still in our buffer."""
    gone = asyncio.Event()

    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        await take_first(reader, writer)
        await take_rest(reader, writer)
        await writer.drain()
        await asyncio.sleep(0.05)  # on its way before the reset
        reset(writer)
        gone.set()

    async def test() -> None:
        async with serve(opening(resets)) as port:
            session = await connect(authority.endpoint(port, "none"), None)
            channel, loop = session._transport, asyncio.get_running_loop()

            def once() -> None:
                channel._read_socket()
                loop.remove_reader(channel._sock)

            loop.add_reader(channel._sock, once)  # answers the first line; then the server does not read
            session.submit(message(1, 5000))
            session._write()
            await gone.wait()
            for n in range(2, 12):
                session.submit(message(n, 100_000))  # written, which fails
            assert channel._is_broken
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

    async def stops_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_first(reader, writer)
        await take_rest(reader, writer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
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
    async def drops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_first(reader, writer)
        await take_rest(reader, writer)
        for _ in range(6):
            await reader.readline()
        if rude == "garbage":
            writer.write(b"\x00\xff what is this\r\n")
            await writer.drain()
            await asyncio.sleep(5)
        if rude == "reset":
            reset(writer)

    async def test() -> None:
        async with serve(opening(drops), authority.context if tls else None) as port:
            session = await connect(authority.endpoint(port, "tls" if tls else "none"), None)
            for n in range(4):
                session.submit(message(n))
            found: list[object] = []
            with pytest.raises(ProtocolViolation if rude == "garbage" else ConnectionLost):
                await settle_all(session, found)
            assert found == [0]
            assert [t.context for t in session.list_unfinished()[1]] == [1, 2, 3]
            assert session.is_exhausted
            assert session.room == 0

    run(test)


def test_421_while_idle(authority: Authority) -> None:
    async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(b"421 4.4.2 idle too long\r\n")

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

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def test() -> None:
        async with serve(opening(silent), authority.context) as port:
            session = await connect(authority.endpoint(port), None)
            await session.quit()
            await session.quit()
            session.abort()

    run(test)


def test_abort_leaves_everything_unsettled(authority: Authority) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

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


def test_tls_that_breaks_in_a_session(authority: Authority) -> None:
    """Exim says its last words in plaintext: no traceback, and the name of the trouble."""

    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_first(reader, writer)
        await take_rest(reader, writer)
        await writer.drain()
        writer.get_extra_info("socket")._sock.send(b"554 Too many nonmail commands\r\n")
        await asyncio.sleep(5)

    async def test() -> None:
        async with serve(opening(breaks), authority.context) as port:
            session = await connect(authority.endpoint(port), None)
            assert await send(session, [message(1)]) == {1: 250}
            session.submit(message(2))
            with pytest.raises(ConnectionLost, match="broke"):
                await session.next_results()

    run(test)


def test_sockets_have_no_delay(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            assert session._transport._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert isinstance(session._transport.tls, ssl.SSLObject)
            await session.quit()
            assert session._transport._sock.fileno() == -1

    run(test)


# -- what the endpoint says -------------------------------------------------------------------------------------------


def wanting_certificate(
    authority: Authority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert("localhost").configure_cert(context)
    authority.ca.configure_trust(context)
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version
    return context


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """In a thread: asyncio's TLS closes without the alert that says why."""
    server = Server(context)
    try:
        yield server.port
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (ssl.TLSVersion.TLSv1_2, "refuses the TLS handshake"),
        (ssl.TLSVersion.TLSv1_3, "wants a certificate from the client"),
    ],
)
def test_a_client_certificate_that_is_wanted_is_said(
    authority: Authority, version: ssl.TLSVersion, text: str
) -> None:
    """In TLS 1.3 the alert comes after the handshake."""

    async def test() -> None:
        with (
            tls_server(wanting_certificate(authority, version)) as port,
            pytest.raises(TlsError, match=text) as caught,
        ):
            await connect(authority.endpoint(port), None)
        assert "client_cert" in (caught.value.hint or "")

    run(test)


def test_a_client_certificate_of_a_stranger_is_refused(authority: Authority, tmp_path: Path) -> None:
    trustme.CA().issue_cert("x@y.example").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "me.pem")
    )

    async def test() -> None:
        with tls_server(wanting_certificate(authority)) as port:
            endpoint = replace(
                authority.endpoint(port), client_cert=ClientCertificateFiles(tmp_path / "me.pem")
            )
            with pytest.raises(TlsError, match="refuses our certificate"):
                await connect(endpoint, None)

    run(test)


def test_a_client_certificate_is_given(authority: Authority, tmp_path: Path) -> None:
    own = authority.ca.issue_cert("client@example.com")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "me.pem"))

    async def test() -> None:
        async with serve(Smtp(), wanting_certificate(authority)) as port:
            endpoint = replace(
                authority.endpoint(port), client_cert=ClientCertificateFiles(tmp_path / "me.pem")
            )
            session = await connect(endpoint, None)
            assert await send(session, [message(1)]) == {1: 250}
            await session.quit()

    run(test)


def test_silence_is_explained_while_it_lasts(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """STARTTLS at a port that speaks TLS from the first byte: both sides wait for the other."""
    monkeypatch.setattr(shell, "SILENCE", 0.02)
    notices: list[str] = []

    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            with pytest.raises(ConnectionLost, match="did not answer") as caught:
                await connect(
                    authority.endpoint(port, "starttls"), LOGIN, timeout=0.2, on_notice=notices.append
                )
            assert "from the first byte" in (caught.value.hint or "")
        assert len(notices) == 1
        assert "has not greeted within 0.02 seconds: the port may speak TLS from the first byte" in notices[0]

    run(test)


def test_no_notice_for_a_server_that_greets(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    notices: list[str] = []

    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            await (await connect(authority.endpoint(port), LOGIN, on_notice=notices.append)).quit()
        assert notices == []

    run(test)


def test_the_address_that_worked_is_known_to_the_next_session(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            assert session.traits.address == ("127.0.0.1", port)
            await session.quit()
            again = await connect(authority.endpoint(port), LOGIN, traits=session.traits)
            await again.quit()

    run(test)


def test_the_ehlo_name_is_said(authority: Authority) -> None:
    async def test() -> None:
        server = Smtp()
        async with serve(server, authority.context) as port:
            await (
                await connect(replace(authority.endpoint(port), ehlo_name="mail.example.net"), LOGIN)
            ).quit()
            await (await connect(replace(authority.endpoint(port), ehlo_name=None), LOGIN)).quit()
        assert [line for line in server.commands if line.startswith("EHLO")] == [
            "EHLO mail.example.net",
            "EHLO [127.0.0.1]",
        ]

    run(test)


def test_through_a_proxy(authority: Authority) -> None:
    async def test() -> None:
        server = Smtp()
        async with (
            serve(server, authority.context) as port,
            serve(SocksServer({"localhost": "127.0.0.1"})) as proxy,
        ):
            endpoint = replace(authority.endpoint(port), proxy=Proxy("127.0.0.1", proxy))
            session = await connect(endpoint, LOGIN)
            assert await send(session, [message(1, 100_000)]) == {1: 250}
            assert session.traits.address is None
            await session.quit()

    run(test)
