"""Messages over real sockets and real TLS, with servers that do what they should."""

from __future__ import annotations

import asyncio

import pytest

from mailer.errors import (
    ConnectionLost,
)
from mailer.smtp.connection import connect
from mailer.smtp.protocol.values import Strategy
from tests.smtp.servers import Authority, Smtp, serve
from tests.smtp.sessions import LOGIN, message, run, send


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


def test_next_results_without_messages_returns_at_once(authority: Authority) -> None:
    async def test() -> None:
        async with serve(Smtp(), authority.context) as port:
            session = await connect(authority.endpoint(port), LOGIN)
            assert await session.next_results() == []
            await session.quit()

    run(test)


def test_a_cancelled_wait_loses_no_result(authority: Authority) -> None:
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
                found += [results.transaction.context for results in await session.next_results()]
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


def test_mailmax_ends_a_session_before_the_server_does(authority: Authority) -> None:
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
