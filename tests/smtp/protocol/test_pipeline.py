"""Which reply belongs to what, and since when it is waited for."""

from __future__ import annotations

import pytest

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol.pipeline import Exchange
from mailer.smtp.protocol.reply import Reply

OK = Reply(250, None, ("ok",))
NO = Reply(500, None, ("no",))


def leave(exchange: Exchange, now: float) -> bytes:
    data = exchange.take(now)
    exchange.wrote(exchange.left + len(data), now)
    return data


def test_replies_go_to_the_oldest() -> None:
    exchange, heard = Exchange(), []
    for n in (1, 2, 3):
        exchange.command(b"NOOP\r\n", lambda reply, n=n: heard.append(n))  # type: ignore[misc] # n is for the lambda
    assert leave(exchange, 0) == b"NOOP\r\n" * 3
    for _ in range(3):
        exchange.answer(OK, 0)
    assert heard == [1, 2, 3]


def test_a_reply_to_nothing() -> None:
    with pytest.raises(ProtocolViolation, match="nothing asked for"):
        Exchange().answer(OK, 0)


def test_a_reply_to_what_was_not_written_yet() -> None:
    exchange = Exchange()
    exchange.command(b"NOOP\r\n", lambda reply: None)
    with pytest.raises(ProtocolViolation, match="nothing asked for"):
        exchange.answer(OK, 0)


def test_strays_are_forgiven_as_often_as_said() -> None:
    exchange = Exchange()
    exchange.strays = 1
    exchange.answer(NO, 0)
    with pytest.raises(ProtocolViolation):
        exchange.answer(NO, 0)
    exchange.strays = 1
    with pytest.raises(ProtocolViolation):
        exchange.answer(OK, 0)


def test_time_begins_when_the_command_leaves() -> None:
    exchange = Exchange()
    exchange.command(b"NOOP\r\n", lambda reply: None)
    leave(exchange, 5)
    assert exchange.since == 5
    exchange.command(b"NOOP\r\n", lambda reply: None)
    leave(exchange, 7)
    assert exchange.since == 5, "the first one is still waited for"
    exchange.answer(OK, 8)
    assert exchange.since == 8, "and the second from then on"


def test_time_does_not_run_while_content_leaves() -> None:
    exchange = Exchange()
    exchange.command(b"BDAT 100\r\n", lambda reply: None)
    exchange.content(b"x" * 100)
    assert len(exchange.take(0)) == 110
    for left, now in ((50, 20), (109, 40), (110, 60)):
        exchange.wrote(left, now)
        assert exchange.since == now
    exchange.command(b"NOOP\r\n", lambda reply: None)
    exchange.take(70)
    exchange.wrote(113, 70)
    assert exchange.since == 60, "what leaves for a later one does not count"


def test_a_quiet_time_does_not_count() -> None:
    exchange = Exchange()
    exchange.command(b"NOOP\r\n", lambda reply: None)
    leave(exchange, 0)
    exchange.answer(OK, 1)
    exchange.command(b"NOOP\r\n", lambda reply: None)
    exchange.take(500)
    assert exchange.since == 500


def test_traces_show_what_is_to_be_shown() -> None:
    lines: list[tuple[str, str]] = []
    exchange = Exchange(lambda who, line: lines.append((who, line)))
    exchange.command(b"AUTH PLAIN abc\r\n", lambda reply: None, shown="AUTH PLAIN [secret]")
    exchange.command(b"BDAT 3\r\n", lambda reply: None)
    exchange.content(b"abc")
    assert lines == [("C", "AUTH PLAIN [secret]"), ("C", "BDAT 3"), ("*", "3 octets of content")]
