"""Which reply belongs to what, and since when it is waited for."""

from __future__ import annotations

import pytest

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol.pipeline import Pipeline
from mailer.smtp.protocol.reply import Reply

OK = Reply(250, None, ("ok",))
NO = Reply(500, None, ("no",))


def send_all(pipeline: Pipeline, now: float) -> bytes:
    data = pipeline.data_to_send(now)
    pipeline.bytes_sent(pipeline.sent_offset + len(data), now)
    return data


def test_replies_go_to_the_oldest() -> None:
    pipeline, heard = Pipeline(), []
    for n in (1, 2, 3):
        pipeline.write_command(b"NOOP\r\n", lambda reply, n=n: heard.append(n))  # type: ignore[misc] # n is for the lambda
    assert send_all(pipeline, 0) == b"NOOP\r\n" * 3
    for _ in range(3):
        pipeline.handle_reply(OK, 0)
    assert heard == [1, 2, 3]


def test_a_reply_without_a_command_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation, match="nothing asked for"):
        Pipeline().handle_reply(OK, 0)


def test_a_reply_to_a_command_that_was_not_sent_is_a_violation() -> None:
    pipeline = Pipeline()
    pipeline.write_command(b"NOOP\r\n", lambda reply: None)
    with pytest.raises(ProtocolViolation, match="nothing asked for"):
        pipeline.handle_reply(OK, 0)


def test_content_that_has_not_left_cannot_be_accepted() -> None:
    pipeline, heard = Pipeline(), []
    pipeline.write_command(b"BDAT 100 LAST\r\n", heard.append)
    pipeline.write_content(b"x" * 100)
    octets = len(pipeline.data_to_send(0))
    pipeline.bytes_sent(octets - 1, 0)
    with pytest.raises(ProtocolViolation, match="nothing asked for"):
        pipeline.handle_reply(OK, 0)
    pipeline.bytes_sent(octets, 0)
    pipeline.handle_reply(OK, 0)
    assert heard == [OK]


def test_content_that_has_not_left_can_be_refused() -> None:
    pipeline, heard = Pipeline(), []
    pipeline.write_command(b"BDAT 100 LAST\r\n", heard.append)
    pipeline.write_content(b"x" * 100)
    pipeline.data_to_send(0)
    pipeline.bytes_sent(50, 0)
    pipeline.handle_reply(NO, 0)
    assert heard == [NO]


def test_as_many_refusals_are_ignored_as_were_announced() -> None:
    pipeline = Pipeline()
    pipeline.ignore_refusals(1)
    pipeline.handle_reply(NO, 0)
    with pytest.raises(ProtocolViolation):
        pipeline.handle_reply(NO, 0)
    pipeline.ignore_refusals(1)
    with pytest.raises(ProtocolViolation):
        pipeline.handle_reply(OK, 0)


def test_time_begins_when_the_command_leaves() -> None:
    pipeline = Pipeline()
    pipeline.write_command(b"NOOP\r\n", lambda reply: None)
    send_all(pipeline, 5)
    assert pipeline.waiting_since == 5
    pipeline.write_command(b"NOOP\r\n", lambda reply: None)
    send_all(pipeline, 7)
    assert pipeline.waiting_since == 5, "the first one is still waited for"
    pipeline.handle_reply(OK, 8)
    assert pipeline.waiting_since == 8, "and the second from then on"


def test_time_does_not_run_while_content_leaves() -> None:
    pipeline = Pipeline()
    pipeline.write_command(b"BDAT 100\r\n", lambda reply: None)
    pipeline.write_content(b"x" * 100)
    assert len(pipeline.data_to_send(0)) == 110
    for offset, now in ((50, 20), (109, 40), (110, 60)):
        pipeline.bytes_sent(offset, now)
        assert pipeline.waiting_since == now
    pipeline.write_command(b"NOOP\r\n", lambda reply: None)
    pipeline.data_to_send(70)
    pipeline.bytes_sent(113, 70)
    assert pipeline.waiting_since == 60, "what leaves for a later one does not count"


def test_a_quiet_time_does_not_count() -> None:
    pipeline = Pipeline()
    pipeline.write_command(b"NOOP\r\n", lambda reply: None)
    send_all(pipeline, 0)
    pipeline.handle_reply(OK, 1)
    pipeline.write_command(b"NOOP\r\n", lambda reply: None)
    pipeline.data_to_send(500)
    assert pipeline.waiting_since == 500


def test_traces_show_what_is_to_be_shown() -> None:
    lines: list[tuple[str, str]] = []
    pipeline = Pipeline(lambda who, line: lines.append((who, line)))
    pipeline.write_command(b"AUTH PLAIN abc\r\n", lambda reply: None, shown="AUTH PLAIN [secret]")
    pipeline.write_command(b"BDAT 3\r\n", lambda reply: None)
    pipeline.write_content(b"abc")
    assert lines == [("C", "AUTH PLAIN [secret]"), ("C", "BDAT 3"), ("*", "3 octets of content")]
