"""PLAIN, LOGIN, CRAM-MD5 and the mechanisms for tokens, each against its RFC's example and against lying servers."""

from __future__ import annotations

import base64

import pytest

from mailer.secret import Secret
from mailer.smtp.sasl.mechanism import Mechanism, SaslError, SaslExchange, UnfitCredentials
from mailer.smtp.sasl.mechanisms import (
    CramMd5Mechanism,
    LoginMechanism,
    OAuthBearerMechanism,
    PlainMechanism,
    XOAuth2Mechanism,
)

TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def test_plain_sends_the_password_at_once() -> None:
    """RFC 4616 section 4, with the authorisation identity left out."""
    plain = PlainMechanism("tim", Secret("tanstaaftanstaaf"))
    assert plain.initial_response() == b"\0tim\0tanstaaftanstaaf"
    with pytest.raises(SaslError):
        plain.respond(b"")


def test_plain_is_sent_as_utf8() -> None:
    assert PlainMechanism("jürgen", Secret("π")).initial_response() == "\0jürgen\0π".encode()


@pytest.mark.parametrize(("username", "password"), [("a\0b", "c"), ("a", "b\0c")])
def test_plain_carries_no_nul(username: str, password: str) -> None:
    with pytest.raises(UnfitCredentials, match="NUL"):
        PlainMechanism(username, Secret(password))


@pytest.mark.parametrize(
    "prompts", [("VXNlcm5hbWU6", "UGFzc3dvcmQ6"), ("User Name", "not base64!"), ("", "")]
)
def test_login_answers_in_order_whatever_the_prompt(prompts: tuple[str, str]) -> None:
    dialogue = SaslExchange(LoginMechanism("ada", Secret("s3cret")))
    assert dialogue.make_command() == b"AUTH LOGIN"
    assert [dialogue.answer(prompt) for prompt in prompts] == [b64(b"ada").encode(), b64(b"s3cret").encode()]
    dialogue.finish()
    with pytest.raises(SaslError):
        dialogue.answer("")


def test_login_accepted_before_the_password_is_refused() -> None:
    dialogue = SaslExchange(LoginMechanism("ada", Secret("s3cret")))
    dialogue.make_command()
    dialogue.answer("")
    with pytest.raises(SaslError):
        dialogue.finish()


def test_cram_md5_answers_the_challenge() -> None:
    """RFC 2195 section 2."""
    cram = CramMd5Mechanism("tim", Secret("tanstaaftanstaaf"))
    assert cram.initial_response() is None
    with pytest.raises(SaslError):
        cram.check_finished()
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert cram.respond(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    cram.check_finished()
    with pytest.raises(SaslError):
        cram.respond(challenge)


def test_cram_md5_refuses_an_empty_challenge() -> None:
    with pytest.raises(SaslError, match="empty"):
        CramMd5Mechanism("tim", Secret("x")).respond(b"")


def test_xoauth2_answers_an_error_with_an_empty_line() -> None:
    """The example of Google's page."""
    dialogue = SaslExchange(XOAuth2Mechanism("someuser@example.com", Secret(TOKEN)))
    assert dialogue.make_command() == (
        b"AUTH XOAUTH2 dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52"
        b"YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    )
    error = b64(b'{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}')
    assert dialogue.answer(error) == b""  # an empty line, then the real 535
    assert dialogue.mechanism.failure == "status 401, schemes bearer mac, scope https://mail.google.com/"
    with pytest.raises(SaslError):
        dialogue.finish()
    with pytest.raises(SaslError):
        dialogue.answer(error)


def test_oauthbearer_answers_an_error_with_x01() -> None:
    """RFC 7628 sections 4.1 and 4.3; the host and port pairs are optional (3.1)."""
    dialogue = SaslExchange(
        OAuthBearerMechanism("user=a,b@example.com", Secret("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="))
    )
    initial = base64.b64decode(dialogue.make_command().split()[2])
    assert (
        initial
        == b"n,a=user=3Da=2Cb@example.com,\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
    )
    assert dialogue.answer(b64(b'{"status":"invalid_token"}')) == b"AQ=="
    assert dialogue.mechanism.failure == "status invalid_token"


@pytest.mark.parametrize("cls", [XOAuth2Mechanism, OAuthBearerMechanism])
@pytest.mark.parametrize("token", ["a\x01auth=Bearer b", "a b", "a\n", "ä"])
def test_a_token_cannot_write_pairs_of_its_own(cls: type[Mechanism], token: str) -> None:
    with pytest.raises(UnfitCredentials):
        cls("ada", Secret(token))


@pytest.mark.parametrize(
    "challenge", [b"", b"[" * 100_000, b"\xff\xfe", b"null", b'{"status": {"a": 1}}', b"\x1b[31m"]
)
def test_any_bearer_error_is_one_printable_line(challenge: bytes) -> None:
    mechanism = XOAuth2Mechanism("ada", Secret(TOKEN))
    mechanism.respond(challenge)
    assert mechanism.failure
    assert mechanism.failure.isprintable()
    assert len(mechanism.failure) <= 200
