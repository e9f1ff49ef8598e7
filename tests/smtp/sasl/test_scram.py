"""SCRAM-SHA-256 with and without channel binding, against RFC 7677's example and against lying servers; SASLprep."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.secret import Secret
from mailer.smtp.sasl.mechanism import ChannelBinding, SaslError
from mailer.smtp.sasl.scram import ScramMechanism, ScramPlusMechanism, prepare_string

NONCE = "rOprNGfwEbeRWgbNEkqO"


SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def scram() -> ScramMechanism:
    return ScramMechanism("user", Secret("pencil"), nonce=NONCE)


def test_scram_sha_256_proves_both_sides() -> None:
    """RFC 7677 section 3."""
    mechanism = scram()
    assert mechanism.initial_response() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert mechanism.respond(SERVER_FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert mechanism.respond(SERVER_FINAL) == b""
    mechanism.check_finished()


@pytest.mark.parametrize(
    "server_first",
    [
        pytest.param(SERVER_FIRST.replace(b"r=rO", b"r=xx"), id="another nonce"),
        pytest.param(
            b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", id="the nonce not continued"
        ),
        pytest.param(SERVER_FIRST.replace(b"4096", b"4095"), id="too few iterations"),
        pytest.param(SERVER_FIRST.replace(b"4096", b"1000001"), id="too many iterations"),
        pytest.param(SERVER_FIRST.replace(b"4096", b"-4096"), id="negative iterations"),
        pytest.param(SERVER_FIRST.replace(b"4096", "٤٠٩٦".encode()), id="digits of another script"),
        pytest.param(SERVER_FIRST.replace(b"4096", b"9" * 5000), id="iterations without end"),
        pytest.param(SERVER_FIRST.replace(b"W22", b"W2!"), id="bad salt"),
        pytest.param(b"r=rOprNGfwEbeRWgbNEkqOabc,s=,i=4096", id="no salt"),
        pytest.param(b"m=ext," + SERVER_FIRST, id="mandatory extension"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(SERVER_FINAL, id="the signature first"),
    ],
)
def test_scram_refuses_a_malformed_first_message(server_first: bytes) -> None:
    mechanism = scram()
    mechanism.initial_response()
    with pytest.raises(SaslError):
        mechanism.respond(server_first)


@pytest.mark.parametrize(
    "final", [b"v=AAAA", b"v=", b"v=%%", b"", b"x=1", SERVER_FINAL.replace(b"6", b"7", 1)]
)
def test_scram_server_must_prove_itself(final: bytes) -> None:
    mechanism = scram()
    mechanism.respond(SERVER_FIRST)
    with pytest.raises(SaslError):
        mechanism.respond(final)


def test_scram_success_without_a_signature_is_refused() -> None:
    for steps in ([], [SERVER_FIRST]):
        mechanism = scram()
        for challenge in steps:
            mechanism.respond(challenge)
        with pytest.raises(SaslError, match="without proving"):
            mechanism.check_finished()


def test_scram_server_error_waits_for_the_real_reply() -> None:
    mechanism = scram()
    mechanism.respond(SERVER_FIRST)
    assert mechanism.respond(b"e=invalid-proof") == b""
    assert mechanism.failure == "wrong password"
    with pytest.raises(SaslError):
        mechanism.check_finished()


def test_scram_nonces_differ() -> None:
    assert (
        ScramMechanism("u", Secret("p")).initial_response()
        != ScramMechanism("u", Secret("p")).initial_response()
    )


class ScramServer:
    """RFC 5802 from the server's side, to check the client's proof for any user name and password.

    `header` and `binding` are what it knows of the channel.
    """

    def __init__(self, password: str, header: bytes = b"n,,", binding: bytes = b"") -> None:
        self.header, self.binding = header, binding
        self.salted = hashlib.pbkdf2_hmac("sha256", prepare_string(password).encode(), b"salt", 4096)

    def first(self, client_first: bytes) -> bytes:
        assert client_first.startswith(self.header)
        self.bare = client_first.removeprefix(self.header)
        self.said = self.bare.split(b",r=")[1] + b"-server,s=" + base64.b64encode(b"salt") + b",i=4096"
        self.said = b"r=" + self.said
        return self.said

    def final(self, client_final: bytes) -> bytes:
        without_proof, proof = client_final.rsplit(b",p=", 1)
        if without_proof.split(b",")[0] != b"c=" + base64.b64encode(self.header + self.binding):
            return b"e=channel-bindings-dont-match"
        message = b",".join([self.bare, self.said, without_proof])
        stored = hashlib.sha256(hmac.digest(self.salted, b"Client Key", "sha256")).digest()
        signature = hmac.digest(stored, message, "sha256")
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if hashlib.sha256(key).digest() != stored:
            return b"e=invalid-proof"
        server_key = hmac.digest(self.salted, b"Server Key", "sha256")
        return b"v=" + base64.b64encode(hmac.digest(server_key, message, "sha256"))


PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(PRINTABLE, PRINTABLE)
def test_scram_with_any_credentials(username: str, password: str) -> None:
    client, server = ScramMechanism(username, Secret(password)), ScramServer(password)
    final = server.final(client.respond(server.first(client.initial_response())))
    assert client.respond(final) == b""
    client.check_finished()


BINDING = ChannelBinding("tls-unique", b"octets of this connection")


@pytest.mark.parametrize(("seen", "is_accepted"), [(BINDING.data, True), (b"of another connection", False)])
def test_scram_plus_is_bound_to_its_connection(seen: bytes, is_accepted: bool) -> None:
    """Somebody in the middle has two connections, and passes messages from one to the other."""
    client = ScramPlusMechanism("ada", Secret("pw"), binding=BINDING)
    server = ScramServer("pw", b"p=tls-unique,,", seen)
    final = server.final(client.respond(server.first(client.initial_response())))
    assert client.respond(final) == b""
    if is_accepted:
        client.check_finished()
    else:
        assert client.failure == "channel-bindings-dont-match"
        with pytest.raises(SaslError):
            client.check_finished()


def test_scram_tells_the_server_that_it_could_have_been_bound() -> None:
    """RFC 5802, section 6: a server that offered -PLUS finds out that it was taken away."""
    client = ScramMechanism("ada", Secret("pw"), could_bind=True)
    server = ScramServer("pw", b"y,,")
    assert client.respond(server.final(client.respond(server.first(client.initial_response())))) == b""
    client.check_finished()


@pytest.mark.parametrize(
    ("text", "prepared"),  # RFC 4013 section 3
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
    ],
)
def test_a_password_is_prepared_by_saslprep(text: str, prepared: str) -> None:
    assert prepare_string(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "\ue000", "\ufdd0", "a\u0627"])
def test_saslprep_refuses_forbidden_characters(text: str) -> None:
    with pytest.raises(ValueError, match=r"SASLprep|right-to-left"):
        prepare_string(text)
