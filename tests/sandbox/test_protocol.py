"""The sandbox's dialogue, octet by octet, as a bare client sees it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import Sandbox
from mailer.sandbox import protocol as sandbox_protocol

MAIL = "MAIL FROM:<a@example.com>\n"
RCPT = "RCPT TO:<b@example.com>\n"


def test_it_offers_what_a_large_provider_does(sandbox: Sandbox, connect: Any) -> None:
    client = connect(sandbox)
    assert client.greeting.startswith("220 ")
    first, *extensions = client.say("EHLO client.example\n").split("\n")
    assert first == "250-sandbox.localhost"
    assert {line[4:] for line in extensions} == {
        "SIZE 36700160", "8BITMIME", "SMTPUTF8", "AUTH LOGIN PLAIN", "PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES",
    }  # fmt: skip


def test_helo_answers_without_an_enhanced_code(sandbox: Sandbox, connect: Any) -> None:
    assert connect(sandbox).say("HELO client.example\n") == "250 sandbox.localhost"


def test_no_message_is_accepted_without_a_login(sandbox: Sandbox, connect: Any) -> None:
    client = connect(sandbox)
    client.say("EHLO client.example\n")
    assert client.say(MAIL).startswith("530 5.7.0 ")
    assert client.say("BDAT 4 LAST\nabcd").startswith("530 5.7.0 ")
    assert client.say("DATA\n").startswith("530 5.7.0 ")


def test_a_wrong_password_is_refused_and_the_right_one_accepted_after_it(
    sandbox: Sandbox, connect: Any
) -> None:
    client = connect(sandbox)
    client.say("EHLO client.example\n")
    wrong = base64.b64encode(b"\0sandbox\0wrong").decode()
    assert client.say(f"AUTH PLAIN {wrong}\n").startswith("535 5.7.8 ")
    client.log_in()


def test_auth_login_is_accepted(sandbox: Sandbox, connect: Any) -> None:
    client = connect(sandbox)
    client.say("EHLO client.example\n")
    assert client.say("AUTH LOGIN\n").startswith("334 ")
    assert client.say(base64.b64encode(b"sandbox").decode() + "\n").startswith("334 ")
    password = base64.b64encode(sandbox.password.encode()).decode()
    assert client.say(password + "\n").startswith("235 ")


def test_data_is_unstuffed_and_kept_byte_for_byte(sandbox: Sandbox, client: Any) -> None:
    assert client.say(MAIL) == "250 2.1.0 OK"
    assert client.say(RCPT) == "250 2.1.5 OK"
    assert client.say("DATA\n").startswith("354 ")
    assert client.say("Subject: x\n\n..\n...dots\nends with a dot.\n\n.\n").startswith("250 2.0.0 ")
    (caught,) = sandbox.messages
    assert caught.content == b"Subject: x\r\n\r\n.\r\n..dots\r\nends with a dot.\r\n\r\n"
    assert (caught.sender, caught.recipients) == ("a@example.com", ("b@example.com",))


def test_an_empty_message_is_stored(sandbox: Sandbox, client: Any) -> None:
    client.write(MAIL + RCPT + "DATA\n")
    client.replies(3)
    assert client.say(".\n").startswith("250 ")
    assert [caught.content for caught in sandbox.messages] == [b""]


def test_a_group_of_commands_is_answered_in_order(sandbox: Sandbox, client: Any) -> None:
    """RFC 2920: the end of one message with the envelope of the next, in one segment."""
    client.write(MAIL + RCPT + "DATA\n")
    client.replies(3)
    client.write("one\n.\n" + MAIL + RCPT + "DATA\n")
    assert [reply[:3] for reply in client.replies(4)] == ["250", "250", "250", "354"]
    client.write("two\n.\nQUIT\n")
    assert [reply[:3] for reply in client.replies(2)] == ["250", "221"]
    assert client.closed()
    assert [caught.content for caught in sandbox.messages] == [b"one\r\n", b"two\r\n"]


def test_many_messages_in_flight_are_stored(sandbox: Sandbox, client: Any) -> None:
    """RFC 3030: no reply is read before the last message is written."""
    client.write("".join(f"{MAIL}RCPT TO:<u{n}@example.com>\nBDAT 4 LAST\n{n:02}\n" for n in range(50)))
    assert {reply[:9] for reply in client.replies(150)} == {"250 2.1.0", "250 2.1.5", "250 2.0.0"}
    assert [caught.content for caught in sandbox.messages] == [b"%02d\r\n" % n for n in range(50)]
    assert [caught.recipients[0] for caught in sandbox.messages] == [f"u{n}@example.com" for n in range(50)]


def test_chunks_become_one_message(sandbox: Sandbox, client: Any) -> None:
    client.write(MAIL + RCPT)
    client.replies(2)
    assert client.say(b"BDAT 4\r\nab\r\n") == "250 2.0.0 4 octets"
    assert client.say(b"BDAT 0\r\n") == "250 2.0.0 0 octets"
    assert client.say(b"bdat 7 last\r\n..\r\n.\r\n").startswith("250 2.0.0 OK")
    assert [caught.content for caught in sandbox.messages] == [b"ab\r\n..\r\n.\r\n"]  # no dot is unstuffed


def test_an_empty_last_chunk_ends_the_message(sandbox: Sandbox, client: Any) -> None:
    client.write(MAIL + RCPT)
    client.write(b"BDAT 4\r\nab\r\nBDAT 0 LAST\r\n")
    assert [reply[:9] for reply in client.replies(4)] == ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0"]
    assert [caught.content for caught in sandbox.messages] == [b"ab\r\n"]


def refuse_some(address: str) -> str | None:
    return "550 5.1.1 No such user" if address.startswith("nobody") else None


@pytest.fixture
def picky(tmp_path: Path) -> Any:
    sandbox = Sandbox(maildir=tmp_path / "picky", refuse=refuse_some)
    sandbox.start()
    yield sandbox
    sandbox.stop()


def test_a_refused_recipient_within_a_window_concerns_its_message_alone(picky: Sandbox, connect: Any) -> None:
    """As in Postfix: the last chunk ends the transaction, so that the next MAIL needs no RSET before it."""
    client = connect(picky)
    client.log_in()
    one = "BDAT 4 LAST\n1.\n"
    two = "BDAT 4 LAST\n2.\n"
    client.write(MAIL + "RCPT TO:<nobody@example.com>\n" + one + MAIL + RCPT + two)
    codes = [reply[:9] for reply in client.replies(6)]
    assert codes == ["250 2.1.0", "550 5.1.1", "503 5.5.1", "250 2.1.0", "250 2.1.5", "250 2.0.0"]
    assert [caught.content for caught in picky.messages] == [b"2.\r\n"]


def test_chunks_after_a_refusal_are_swallowed_until_the_last(picky: Sandbox, connect: Any) -> None:
    client = connect(picky)
    client.log_in()
    client.write(
        MAIL + "RCPT TO:<nobody@example.com>\n" + "BDAT 6\nQUIT\n" + "BDAT 6 LAST\nRSET\n" + "NOOP\n"
    )
    assert [reply[:3] for reply in client.replies(5)] == ["250", "550", "503", "503", "250"]
    assert client.say(MAIL).startswith("250 ")


def test_a_refused_recipient_does_not_stop_the_other(picky: Sandbox, connect: Any) -> None:
    client = connect(picky)
    client.log_in()
    client.write(MAIL + "RCPT TO:<nobody@example.com>\n" + RCPT + "BDAT 3 LAST\n" + "a\n")
    assert [reply[:3] for reply in client.replies(4)] == ["250", "550", "250", "250"]
    assert [caught.recipients for caught in picky.messages] == [("b@example.com",)]


def test_data_without_a_recipient_is_refused(picky: Sandbox, connect: Any) -> None:
    client = connect(picky)
    client.log_in()
    client.write(MAIL + "RCPT TO:<nobody@example.com>\n" + "DATA\n" + "RSET\n" + MAIL + RCPT)
    assert [reply[:3] for reply in client.replies(6)] == ["250", "550", "503", "250", "250", "250"]


def test_data_and_chunks_do_not_mix(client: Any) -> None:
    client.write(MAIL + RCPT + "BDAT 3\na\n" + "DATA\n" + RCPT + "RSET\n")
    assert [reply[:3] for reply in client.replies(6)] == ["250", "250", "250", "503", "503", "250"]
    client.write(MAIL + RCPT + "DATA\n")
    assert [reply[:3] for reply in client.replies(3)] == ["250", "250", "354"]


def test_rset_forgets_chunks(sandbox: Sandbox, client: Any) -> None:
    client.write(MAIL + RCPT + "BDAT 6\nold.\n" + "RSET\n" + MAIL + RCPT + "BDAT 6 LAST\nnew.\n")
    client.replies(7)
    assert [caught.content for caught in sandbox.messages] == [b"new.\r\n"]


@pytest.mark.parametrize("argument", ["", " x", " -1", " 5 LASTLY", " 5 LAST 6", " 9999999999999"])
def test_a_chunk_of_unknown_length_ends_the_session(client: Any, argument: str) -> None:
    assert client.say(f"BDAT{argument}\n").startswith("501 5.5.4 ")
    assert client.closed()


def test_a_message_over_the_limit_is_refused(
    sandbox: Sandbox, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_protocol, "SIZE_LIMIT", 1000)
    line = b"x" * 98 + b"\r\n"
    client.write(MAIL + RCPT + "BDAT 900\n")
    client.write(line * 9 + b"BDAT 200 LAST\r\n" + line * 2)
    assert [reply[:9] for reply in client.replies(4)][2:] == ["250 2.0.0", "552 5.3.4"]
    client.write(MAIL + RCPT + "DATA\n")
    client.replies(3)
    assert client.say(line * 2000 + b".\r\n").startswith("552 5.3.4 ")
    client.write(MAIL + RCPT + "BDAT 100 LAST\n")
    client.write(line)
    assert [reply[:3] for reply in client.replies(3)] == ["250", "250", "250"]
    assert len(sandbox.messages) == 1


def test_an_announced_size_over_the_limit_is_refused(client: Any) -> None:
    assert client.say("MAIL FROM:<a@example.com> SIZE=99999999\n").startswith("552 5.3.4 ")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a\nb\r\n", "Bare CR or LF"),
        (b"a\rb\r\n", "Bare CR or LF"),
        (b"a\0b\r\n", "NUL"),
        (b"x" * 999 + b"\r\n", "998"),
    ],
)
def test_bare_line_ends_nul_and_long_lines_are_refused(
    sandbox: Sandbox, client: Any, content: bytes, why: str
) -> None:
    client.write(MAIL + RCPT)
    client.replies(2)
    reply = client.say(b"BDAT %d LAST\r\n%b" % (len(content), content))
    assert reply.startswith("550 5.6.0 ")
    assert why in reply
    assert sandbox.messages == []


def test_a_line_of_998_octets_and_eight_bits_are_accepted(sandbox: Sandbox, client: Any) -> None:
    content = b"x" * 998 + b"\r\n" + "żółć\r\n".encode()
    client.write("MAIL FROM:<a@example.com> BODY=8BITMIME\n" + RCPT)
    client.replies(2)
    assert client.say(b"BDAT %d LAST\r\n%b" % (len(content), content)).startswith("250 ")
    assert sandbox.messages[0].content == content


def test_every_kind_of_address_is_accepted(sandbox: Sandbox, client: Any) -> None:
    addresses = [
        "plain@example.com",
        '"two words"@example.com',
        "żółć@example.com",
        "a.b+c@xn--bcher-kva.example",
    ]
    client.write("MAIL FROM:<> SMTPUTF8\n" + "".join(f"RCPT TO:<{address}>\n" for address in addresses))
    client.write("BDAT 3 LAST\na\n")
    assert {reply[:3] for reply in client.replies(6)} == {"250"}
    (caught,) = sandbox.messages
    assert caught.sender == ""
    assert caught.recipients == tuple(addresses)


def test_wrong_order_and_unknown_commands_are_refused(client: Any) -> None:
    client.write(RCPT + "BDAT 3 LAST\na\n" + "MAKE TEA\n" + MAIL + MAIL)
    codes = [reply[:9] for reply in client.replies(5)]
    assert codes == ["503 5.5.1", "503 5.5.1", "500 5.5.2", "250 2.1.0", "503 5.5.1"]


def test_a_full_disk_is_a_temporary_refusal(
    sandbox: Sandbox, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    client.write(MAIL + RCPT + "BDAT 3 LAST\na\n")
    assert client.replies(3)[2] == "452 4.3.1 Not stored: No space left on device"
    monkeypatch.undo()
    client.write(MAIL + RCPT + "BDAT 3 LAST\nb\n")
    client.replies(3)
    assert [caught.content for caught in sandbox.messages] == [b"b\r\n"]
