"""The lines of AUTH and of the answers to 334 (RFC 4954)."""

from __future__ import annotations

import base64

import pytest

from mailer.secret import Secret
from mailer.smtp.sasl.mechanism import Mechanism, SaslError, SaslExchange
from mailer.smtp.sasl.mechanisms import (
    CramMd5Mechanism,
    LoginMechanism,
    OAuthBearerMechanism,
    PlainMechanism,
    XOAuth2Mechanism,
)
from mailer.smtp.sasl.scram import ScramMechanism


def test_a_long_initial_response_waits_for_an_empty_challenge() -> None:
    """RFC 4954 section 4: an AUTH command over 512 octets goes without its initial response."""
    fits, too_long = Secret("x" * 367), Secret("x" * 369)
    assert len(SaslExchange(PlainMechanism("ada", fits)).make_command()) <= 510
    dialogue = SaslExchange(PlainMechanism("ada", too_long))
    assert dialogue.make_command() == b"AUTH PLAIN"
    with pytest.raises(SaslError):
        dialogue.finish()
    assert base64.b64decode(dialogue.answer("")) == b"\0ada\0" + too_long.reveal().encode()
    dialogue.finish()


def test_an_empty_initial_response_is_an_equals_sign() -> None:
    class Quiet(PlainMechanism):
        def initial_response(self) -> bytes:
            return b""

    assert SaslExchange(Quiet("a", Secret("b"))).make_command() == b"AUTH PLAIN ="


def test_a_challenge_must_be_base64() -> None:
    dialogue = SaslExchange(CramMd5Mechanism("ada", Secret("x")))
    dialogue.make_command()
    with pytest.raises(SaslError, match="not base64"):
        dialogue.answer("hello there!")


def test_a_server_that_asks_without_end_is_refused() -> None:
    class Patient(PlainMechanism):
        def respond(self, challenge: bytes) -> bytes:
            return b"more"

    dialogue = SaslExchange(Patient("a", Secret("b")))
    with pytest.raises(SaslError, match="end"):
        [dialogue.answer("") for _ in range(100)]


@pytest.mark.parametrize(
    "cls",
    [
        PlainMechanism,
        LoginMechanism,
        CramMd5Mechanism,
        ScramMechanism,
        XOAuth2Mechanism,
        OAuthBearerMechanism,
    ],
)
def test_no_repr_shows_the_secret(cls: type[Mechanism]) -> None:
    mechanism = cls("ada", Secret("hunter2"))
    dialogue = SaslExchange(mechanism)
    dialogue.make_command()
    assert "hunter2" not in f"{mechanism!r}{mechanism}{dialogue!r}{dialogue.__dict__['mechanism']!r}"
