"""Greeting, EHLO, STARTTLS and login, as they cross the wire."""

from __future__ import annotations

import pytest

from mailer.errors import AuthenticationError, ConnectionLost, ProtocolViolation, SessionRefused, TlsError
from mailer.secret import Secret
from mailer.smtp.protocol.states import State
from mailer.smtp.protocol.values import Login, ServerTraits, Strategy
from tests.wire.conversation import FEEDINGS, OPENING, Run, converse

LOGIN = Login("ada", Secret("pass word"))
PLAIN = "AGFkYQBwYXNzIHdvcmQ="  # \0ada\0pass word
AUTH_PLAIN = OPENING + f"S: 250 AUTH PLAIN LOGIN\nC: AUTH PLAIN {PLAIN}\n"

pytestmark = pytest.mark.parametrize("feeding", FEEDINGS)


def test_the_extensions_of_ehlo_are_read_in_any_case(feeding: str) -> None:
    run = converse(
        OPENING + "S: 250-pipelining\nS: 250-\nS: 250-Size 1000\nS: 250 Chunking\n-:", feeding=feeding
    )
    assert run.session.state is State.READY
    assert run.session.strategy is Strategy.STREAMED
    assert run.session.extensions.size == 1000
    assert run.session.greeting == "server.example ESMTP"


@pytest.mark.parametrize(
    ("offers", "at_most", "window", "strategy"),
    [
        ("S: 250-PIPELINING\nS: 250 CHUNKING", None, None, Strategy.STREAMED),
        ("S: 250-PIPELINING\nS: 250 CHUNKING", Strategy.PIPELINED, None, Strategy.PIPELINED),
        ("S: 250-PIPELINING\nS: 250 CHUNKING", None, 1, Strategy.SEQUENTIAL),
        ("S: 250 PIPELINING", Strategy.STREAMED, None, Strategy.PIPELINED),
        ("S: 250 CHUNKING", None, None, Strategy.SEQUENTIAL),
    ],
)
def test_the_strategy_is_the_best_that_is_offered_and_allowed(
    feeding: str, offers: str, at_most: Strategy | None, window: int | None, strategy: Strategy
) -> None:
    run = converse(OPENING + offers + "\n-:", feeding=feeding, at_most=at_most, window=window)
    assert run.session.strategy is strategy


def test_greeting_of_many_lines_with_bare_lf(feeding: str) -> None:
    run = converse("S: 220-one\nS: 220-\nS: 220 three\nC: EHLO client.example\n", feeding=feeding)
    assert run.session.greeting == "one three"


def test_helo_for_an_old_server(feeding: str) -> None:
    run = converse(
        """\
        S: 220 old.example
        C: EHLO client.example
        S: 500 what?
        C: HELO client.example
        S: 250 old.example
        -:""",
        feeding=feeding,
    )
    assert run.session.state is State.READY
    assert run.session.strategy is Strategy.SEQUENTIAL


@pytest.mark.parametrize(
    ("script", "error", "text"),
    [
        ("S: 554 5.7.1 not you", SessionRefused, "refuses the session: 554 5.7.1 not you"),
        ("S: 421 4.3.2 later", ConnectionLost, "421 4.3.2 later"),
        ("S: 450 later", ConnectionLost, "450 later"),
        ("S: 354 go on", ConnectionLost, "354"),
        ("S: HTTP/1.1 400 Bad Request", ProtocolViolation, "not an SMTP reply"),
        ("S: 22 no", ProtocolViolation, "not an SMTP reply"),
        ("S: 620 no", ProtocolViolation, "not an SMTP reply"),
        ("S: 120 no", ProtocolViolation, "not an SMTP reply"),
        ("S: 220x no", ProtocolViolation, "not an SMTP reply"),
        ("S: ", ProtocolViolation, "not an SMTP reply"),
        ("E:", ConnectionLost, "closed the connection"),
        ("L:", ConnectionLost, "did not answer within 10 seconds"),
        ("S: 220 hi\nC: EHLO client.example\nE:", ConnectionLost, "closed the connection"),
        ("S: 220 hi\nC: EHLO client.example\nS: 421 no", ConnectionLost, "421 no"),
        ("S: 220 hi\nC: EHLO client.example\nS: 450 no", ConnectionLost, "450 no"),
        ("S: 220 hi\nC: EHLO client.example\nS: 250-a\nS: 251 b", ProtocolViolation, "two codes"),
        (
            "S: 220 hi\nC: EHLO client.example\nS: 502 no\nC: HELO client.example\nS: 502 no",
            SessionRefused,
            "refuses EHLO and HELO: 502 no",
        ),
        ("S: 220 hi\nS: 250 before it was asked", ProtocolViolation, "nothing asked for"),
    ],
)
def test_an_opening_that_fails_says_why(feeding: str, script: str, error: type[Exception], text: str) -> None:
    run = converse(script, feeding=feeding)
    assert run.session.state is State.CLOSED
    assert type(run.failure) is error
    assert text in str(run.failure)


@pytest.mark.parametrize(
    ("greeting", "reply", "hint"),
    [
        ("mx.example LMTP ready", "500 5.5.1 Command unrecognized", "it speaks LMTP"),
        ("mx.example", "502 5.5.2 no", "it may be another service than SMTP (LMTP, FTP, …)"),
        ("mx.example", "550 5.7.1 access denied", None),
        ("mx.example", "504 5.5.2 helo command rejected", None),
    ],
)
def test_a_server_without_ehlo_and_helo_is_explained(
    feeding: str, greeting: str, reply: str, hint: str | None
) -> None:
    script = f"S: 220 {greeting}\nC: EHLO client.example\nS: {reply}\nC: HELO client.example\nS: {reply}"
    failure = converse(script, feeding=feeding).failure
    assert isinstance(failure, SessionRefused)
    assert (failure.hint or "").partition(";")[0].partition(", with")[0] == (hint or "")
    assert f"{failure.reply.code} {failure.reply.text}" == reply


def test_a_server_that_asks_for_lhlo_is_not_asked_for_helo(feeding: str) -> None:
    script = "S: 220 mx.example\nC: EHLO client.example\nS: 500 5.5.1 This is LMTP: say LHLO"
    failure = converse(script, feeding=feeding).failure
    assert isinstance(failure, SessionRefused)
    assert (failure.hint or "").startswith("it speaks LMTP")


@pytest.mark.parametrize(
    "flood",
    [
        b"220 " + b"x" * 20_000,
        b"220-" + b"x" * 20_000 + b"\r\n",
        b"220-x\r\n" * 300,
        (b"220-" + b"x" * 10_000 + b"\r\n") * 8,
        b"\x00" * 20_000,
    ],
)
def test_a_flood_before_the_greeting_is_cut_off(feeding: str, flood: bytes) -> None:
    def pour(run: Run) -> None:
        pieces = [flood] if feeding == "whole" else [flood[n : n + 7] for n in range(0, len(flood), 7)]
        for piece in pieces:
            run.receive(piece)

    run = converse("!:", feeding=feeding, then=pour)
    assert isinstance(run.failure, ProtocolViolation)


# -- STARTTLS ---------------------------------------------------------------------------------------------------------


def test_starttls_forgets_what_was_offered(feeding: str) -> None:
    run = converse(
        OPENING
        + f"""\
S: 250-CHUNKING
S: 250-AUTH CRAM-MD5
S: 250 STARTTLS
C: STARTTLS
S: 220 go ahead
T:
C: EHLO client.example
S: 250-server.example
S: 250 AUTH PLAIN
C: AUTH PLAIN {PLAIN}
S: 235 welcome
-:""",
        feeding=feeding.replace(
            "trailing", "whole"
        ),  # attached to the answer to STARTTLS it ends the session, see below
        starttls=True,
        channel="plaintext",
        login=LOGIN,
    )
    assert run.session.state is State.READY
    assert run.session.extensions.names == ("AUTH",)
    assert run.session.mechanism == "PLAIN"


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("S: 250 HELP", "does not offer STARTTLS"),
        ("S: 250 STARTTLS\nC: STARTTLS\nS: 454 not now", "refuses STARTTLS: 454 not now"),
        ("S: 250 STARTTLS\nC: STARTTLS\nS: 502 no", "refuses STARTTLS: 502 no"),
    ],
)
def test_starttls_never_falls_back(feeding: str, script: str, text: str) -> None:
    run = converse(OPENING + script, feeding=feeding, starttls=True, channel="plaintext", login=LOGIN)
    assert isinstance(run.failure, TlsError)
    assert text in str(run.failure)
    assert b"AUTH" not in run.written


def test_ehlo_refused_where_starttls_is_wanted(feeding: str) -> None:
    script = "S: 220 hi\nC: EHLO client.example\nS: 500 no\nC: HELO client.example\nS: 250 ok"
    run = converse(script, feeding=feeding, starttls=True, channel="plaintext", login=LOGIN)
    assert isinstance(run.failure, TlsError)


@pytest.mark.parametrize("injected", [b"250 ok\r\n", b"2", b"\r\n", b"\x16\x03\x03"])
def test_what_follows_the_answer_to_starttls_ends_the_session(feeding: str, injected: bytes) -> None:
    def pour(run: Run) -> None:
        run.receive(b"220 go ahead\r\n" + injected)

    script = OPENING + "S: 250 STARTTLS\nC: STARTTLS\n!:"
    run = converse(script, feeding=feeding, starttls=True, channel="plaintext", login=LOGIN, then=pour)
    assert isinstance(run.failure, TlsError)
    assert "before TLS began" in str(run.failure)


# -- login ------------------------------------------------------------------------------------------------------------


def test_a_login_opens_the_session(feeding: str) -> None:
    run = converse(AUTH_PLAIN + "S: 235 2.7.0 welcome\n-:", feeding=feeding, login=LOGIN)
    assert run.session.state is State.READY
    assert run.session.mechanism == "PLAIN"


def test_a_login_waits_until_it_may_happen(feeding: str) -> None:
    script = OPENING + "S: 250-PIPELINING\nS: 250 AUTH PLAIN LOGIN\n-:"
    run = converse(script, feeding=feeding, login=LOGIN, waits_to_log_in=True)
    assert run.session.state is State.BEFORE_LOGIN
    assert run.session.strategy is Strategy.PIPELINED
    assert b"AUTH" not in run.written
    assert run.session.log_in(run.now) == []
    assert run.pump() == f"AUTH PLAIN {PLAIN}\r\n".encode()
    run.session.receive(b"235 2.7.0 welcome\r\n", run.now)
    assert run.session.state is State.READY


def test_a_session_that_ends_before_its_login_does_not_log_in(feeding: str) -> None:
    script = OPENING + "S: 250 AUTH PLAIN LOGIN\n-:\nE:"
    run = converse(script, feeding=feeding, login=LOGIN, waits_to_log_in=True)
    assert isinstance(run.failure, ConnectionLost)
    run.session.log_in(run.now)
    assert run.session.data_to_send(run.now) == b""


@pytest.mark.parametrize(
    "reply", ["535 5.7.8 no", "534 5.7.9 application-specific password required", "550 no"]
)
def test_a_wrong_password_is_tried_once(feeding: str, reply: str) -> None:
    run = converse(AUTH_PLAIN + f"S: {reply}", feeding=feeding, login=LOGIN)
    assert isinstance(run.failure, AuthenticationError)
    assert not run.failure.temporary
    assert reply in str(run.failure)


@pytest.mark.parametrize("code", [500, 501, 502, 503, 504])
def test_a_mechanism_that_the_server_does_not_know_is_not_a_wrong_password(feeding: str, code: int) -> None:
    run = converse(
        AUTH_PLAIN
        + f"""\
S: {code} 5.5.4 no such mechanism
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: YWRh
S: 334 UGFzc3dvcmQ6
C: cGFzcyB3b3Jk
S: 235 welcome
-:""",
        feeding=feeding,
        login=LOGIN,
    )
    assert run.session.state is State.READY
    assert run.session.mechanism == "LOGIN"


@pytest.mark.parametrize("reply", ["535 5.7.8 no", "504 5.5.4 no such mechanism"])
def test_after_scram_nothing_weaker_is_tried(
    feeding: str, reply: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody between us and the server could refuse it to read the password."""
    monkeypatch.setattr("mailer.smtp.sasl.scram.secrets.token_urlsafe", lambda _octets: "nonce")
    script = (
        OPENING
        + "S: 250 AUTH SCRAM-SHA-256 PLAIN LOGIN CRAM-MD5\nC: AUTH SCRAM-SHA-256 biwsbj1hZGEscj1ub25jZQ==\nS: "
        + reply
    )
    run = converse(script, feeding=feeding, login=LOGIN)
    assert isinstance(run.failure, AuthenticationError)
    assert reply in str(run.failure)


def test_where_scram_was_used_no_later_session_takes_less(feeding: str) -> None:
    script = OPENING + "S: 250 AUTH PLAIN LOGIN\n"
    run = converse(script, feeding=feeding, login=LOGIN, traits=ServerTraits(has_scram=True))
    assert isinstance(run.failure, AuthenticationError)
    assert "offered SCRAM before" in str(run.failure)
    assert b"AUTH" not in run.written


def test_a_login_that_cannot_be_checked_now(feeding: str) -> None:
    run = converse(AUTH_PLAIN + "S: 454 4.7.0 later", feeding=feeding, login=LOGIN)
    assert isinstance(run.failure, AuthenticationError)
    assert run.failure.temporary


@pytest.mark.parametrize("channel", ["tls", "loopback", "plaintext"])
def test_no_login_is_sent_in_plaintext(feeding: str, channel: str) -> None:
    script = AUTH_PLAIN + "S: 235 ok" if channel != "plaintext" else OPENING + "S: 250 AUTH PLAIN LOGIN"
    run = converse(script, feeding=feeding, login=LOGIN, channel=channel)
    assert isinstance(run.failure, AuthenticationError) is (channel == "plaintext")
    assert (b"AUTH" in run.written) is (channel != "plaintext")


def test_a_challenge_that_is_no_base64_is_cancelled(feeding: str) -> None:
    login = Login("ada", Secret("pass word"), "cram-md5")
    script = OPENING + "S: 250 AUTH CRAM-MD5\nC: AUTH CRAM-MD5\nS: 334 %%%\nC: *\nS: 501 cancelled"
    run = converse(script, feeding=feeding, login=login)
    assert isinstance(run.failure, AuthenticationError)
    assert "not base64" in str(run.failure)


@pytest.mark.parametrize("answer", ["354 go on", "334 again\nS: 334 again", "250", "421 bye"])
def test_a_strange_answer_to_auth(feeding: str, answer: str) -> None:
    run = converse(
        AUTH_PLAIN + f"S: {answer}\n-:" if answer == "250" else AUTH_PLAIN + f"S: {answer}", login=LOGIN
    )
    assert (run.session.state is State.READY) is (answer == "250")
    if "334" in answer:
        return  # cancelled with "*" at the first
    assert (run.failure is None) is (answer == "250")


def test_secrets_are_blanked(feeding: str) -> None:
    run = converse(
        AUTH_PLAIN
        + f"S: 504-you said {PLAIN}\nS: 504-that is pass word\nS: 504 or cGFzcyB3b3Jk\nC: AUTH LOGIN\n",
        feeding=feeding,
        login=LOGIN,
        trace=True,
    )
    shown = "\n".join(line for _, line in run.trace)
    assert "you said [secret]" in shown
    assert "that is [secret]" in shown
    assert "or [secret]" in shown
    assert "AUTH PLAIN [secret]" in shown
    for secret in ("pass word", PLAIN, "cGFzcyB3b3Jk"):
        assert secret not in shown
        assert secret not in str(run.failure)


def test_a_short_password_does_not_spoil_challenges(feeding: str) -> None:
    """Blanking "b" out of the challenge would make it another one."""
    login = Login("ada", Secret("b"), "cram-md5")
    script = (
        OPENING
        + """\
S: 250 AUTH CRAM-MD5
C: AUTH CRAM-MD5
S: 334 PGJibkBiPg==
C: YWRhIDY2OTUzMzJkZDdjZDg4YjMyMTJkZDFjYjFjNzY5ZjQ2
S: 235 b
-:"""
    )
    import base64
    import hmac

    digest = hmac.new(b"b", base64.b64decode("PGJibkBiPg=="), "md5").hexdigest()
    answer = base64.b64encode(f"ada {digest}".encode()).decode()
    script = script.replace("YWRhIDY2OTUzMzJkZDdjZDg4YjMyMTJkZDFjYjFjNzY5ZjQ2", answer)
    assert converse(script, feeding=feeding, login=login).session.state is State.READY


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["S: 221 bye", "E:", "S: 421 bye", "S: 500 what?"])
def test_quit_closes_the_session_whatever_the_answer(feeding: str, answer: str) -> None:
    run = converse(
        OPENING + f"S: 250 HELP\n!:\nC: QUIT\n{answer}", feeding=feeding, then=lambda r: r.session.send_quit()
    )
    assert run.session.state is State.CLOSED
    assert run.failure is None


def test_an_answered_noop_is_counted(feeding: str) -> None:
    run = converse(
        OPENING + "S: 250 HELP\n!:\nC: NOOP\nS: 250 ok\n-:",
        feeding=feeding,
        then=lambda r: r.session.send_noop(),
    )
    assert run.noops_answered == 1


@pytest.mark.parametrize("said", ["250 unasked", "421 4.4.2 idle too long", "500 hello?"])
def test_an_unsolicited_reply_ends_the_session(feeding: str, said: str) -> None:
    run = converse(OPENING + f"S: 250 HELP\n-:\nS: {said}", feeding=feeding)
    assert isinstance(run.failure, ConnectionLost)
    if said.startswith("421"):
        assert run.failure.reply is not None
        assert run.failure.reply.code == 421
    else:
        assert isinstance(run.failure, ProtocolViolation)


def test_nothing_is_heard_or_said_when_it_is_over(feeding: str) -> None:
    run = converse("S: 554 no", feeding=feeding)
    failure = run.failure
    run.receive(b"220 changed my mind\r\n")
    run.session.receive_eof(run.now)
    run.session.handle_timeout(run.now)
    assert run.pump() == b""
    assert run.session.deadline is None
    assert run.failure is failure


def test_a_refused_noop_ends_the_session(feeding: str) -> None:
    """Exim's "too many nonmail commands"."""
    script = OPENING + "S: 250 HELP\n!:\nC: NOOP\nS: 554 too many nonmail commands"
    run = converse(script, feeding=feeding, then=lambda r: r.session.send_noop())
    assert isinstance(run.failure, ConnectionLost)
    assert run.noops_answered == 0


def test_a_strange_code_in_the_midst_of_a_login(feeding: str) -> None:
    run = converse(AUTH_PLAIN + "S: 354 go on", feeding=feeding, login=LOGIN)
    assert isinstance(run.failure, ProtocolViolation)
