"""SASL: each mechanism against its RFC's example, the lines on the wire, the order of `auto`, and lying servers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.errors import AuthenticationError
from mailer.secret import Secret
from mailer.smtp.sasl import (
    ChannelBinding,
    SaslError,
    SaslExchange,
    choose_mechanisms,
    find_provider,
    list_fallbacks,
    make_login_error,
)
from mailer.smtp.sasl.mechanism import Mechanism, UnfitCredentials
from mailer.smtp.sasl.mechanisms import (
    CramMd5Mechanism,
    LoginMechanism,
    OAuthBearerMechanism,
    PlainMechanism,
    XOAuth2Mechanism,
)
from mailer.smtp.sasl.saslprep import prepare_string
from mailer.smtp.sasl.scram import ScramMechanism, ScramPlusMechanism

TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
EVERYTHING = frozenset({"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"})


@dataclass(frozen=True)
class Said:
    code: int
    text: str


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def names(mechanisms: list[Mechanism]) -> list[str]:
    return [mechanism.name for mechanism in mechanisms]


# --- the mechanisms, each with its RFC's own example


def test_plain_sends_user_and_password_at_once() -> None:
    """RFC 4616 section 4, with the authorisation identity left out."""
    plain = PlainMechanism("tim", Secret("tanstaaftanstaaf"))
    assert plain.initial_response() == b"\0tim\0tanstaaftanstaaf"
    with pytest.raises(SaslError):
        plain.respond(b"")


def test_plain_is_utf8() -> None:
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


def test_login_accepted_before_the_password_is_a_lie() -> None:
    dialogue = SaslExchange(LoginMechanism("ada", Secret("s3cret")))
    dialogue.make_command()
    dialogue.answer("")
    with pytest.raises(SaslError):
        dialogue.finish()


def test_cram_md5() -> None:
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


def test_cram_md5_wants_a_challenge() -> None:
    with pytest.raises(SaslError, match="empty"):
        CramMd5Mechanism("tim", Secret("x")).respond(b"")


def test_xoauth2_as_google_describes_it() -> None:
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


def test_oauthbearer_as_in_rfc_7628() -> None:
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


# --- SCRAM

NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def scram() -> ScramMechanism:
    return ScramMechanism("user", Secret("pencil"), nonce=NONCE)


@pytest.mark.parametrize("kind", [XOAuth2Mechanism, OAuthBearerMechanism])
@pytest.mark.parametrize("length", [40, 400])
def test_an_error_that_repeats_the_token_shows_no_part_of_it(kind: type[Mechanism], length: int) -> None:
    token = ("ya29." + "aB3/x+7_" * 50)[:length]
    mechanism = kind("ada@example.com", Secret(token))
    line = b64(mechanism.initial_response() or b"")
    mechanism.respond(json.dumps({"status": "400", "token": token, "line": line}).encode())
    with pytest.raises(SaslError) as caught:
        mechanism.check_finished()
    for text in (str(caught.value), str(make_login_error("smtp.example.com", mechanism, Said(535, "no")))):
        assert "[secret]" in text
        assert token[:20] not in text
        assert b64(token[3:33].encode())[:20] not in text


def test_scram_sha_256() -> None:
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
def test_scram_refuses(server_first: bytes) -> None:
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
    ("advertised", "binding", "expected"),
    [
        ({"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}, BINDING, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]),
        ({"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}, None, ["SCRAM-SHA-256"]),
        ({"SCRAM-SHA-256-PLUS"}, BINDING, ["SCRAM-SHA-256-PLUS"]),
        ({"SCRAM-SHA-256", "PLAIN"}, BINDING, ["SCRAM-SHA-256", "PLAIN"]),
    ],
)
@pytest.mark.parametrize("choice", ["auto", "scram-sha-256", ["scram-sha-256", "plain"]])
def test_a_login_is_bound_if_both_sides_can(
    advertised: set[str], binding: ChannelBinding | None, expected: list[str], choice: str | list[str]
) -> None:
    found = choose_mechanisms("ada", Secret("pw"), choice, advertised, security="tls", binding=binding)
    assert names(found) == [name for name in expected if name != "PLAIN" or choice != "scram-sha-256"]
    flags = {mechanism.name: (mechanism.initial_response() or b"")[:1] for mechanism in found}
    could_bind = binding is not None and "SCRAM-SHA-256-PLUS" not in advertised
    assert flags.get("SCRAM-SHA-256", b"n") == (b"y" if could_bind else b"n") or "SCRAM-SHA-256" not in flags


def test_the_fallbacks_of_scram_are_scram() -> None:
    advertised = {"SCRAM-SHA-256-PLUS", *EVERYTHING}
    found = choose_mechanisms("ada", Secret("pw"), "auto", advertised, security="tls", binding=BINDING)
    assert names(list_fallbacks(found)) == ["SCRAM-SHA-256"]
    assert names(list_fallbacks(found[1:])) == []
    assert names(list_fallbacks(found[2:])) == ["LOGIN", "CRAM-MD5"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [(["login", "plain"], ["LOGIN", "PLAIN"]), (["cram-md5", "xoauth2"], ["CRAM-MD5", "XOAUTH2"])],
)
def test_auth_may_name_several_mechanisms(choice: list[str], expected: list[str]) -> None:
    assert names(choose_mechanisms("ada", Secret("pw"), choice, EVERYTHING, security="tls")) == expected


def test_of_several_named_mechanisms_none_is_offered() -> None:
    with pytest.raises(AuthenticationError, match="does not offer LOGIN or CRAM-MD5; it offers PLAIN"):
        choose_mechanisms("ada", Secret("pw"), ["login", "cram-md5"], {"PLAIN"}, security="tls")


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
def test_saslprep_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"SASLprep|right-to-left"):
        prepare_string(text)


# --- the lines of RFC 4954


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


def test_a_login_has_an_end() -> None:
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
def test_nothing_shows_the_secret(cls: type[Mechanism]) -> None:
    mechanism = cls("ada", Secret("hunter2"))
    dialogue = SaslExchange(mechanism)
    dialogue.make_command()
    assert "hunter2" not in f"{mechanism!r}{mechanism}{dialogue!r}{dialogue.__dict__['mechanism']!r}"


# --- which mechanism


@pytest.mark.parametrize(
    ("secret", "choice", "advertised", "expected"),
    [
        ("pw", "auto", EVERYTHING, ["SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"]),
        ("pw", "auto", {"login", "plain"}, ["PLAIN", "LOGIN"]),
        ("pw", "auto", {"LOGIN"}, ["LOGIN"]),
        ("pw", "auto", {"GSSAPI", "NTLM", "CRAM-MD5"}, ["CRAM-MD5"]),
        ("pw", "login", EVERYTHING, ["LOGIN"]),
        ("pw", "cram-md5", EVERYTHING, ["CRAM-MD5"]),
        (
            "pw",
            "xoauth2",
            EVERYTHING,
            ["XOAUTH2"],
        ),  # asked for by name, it is the user's word that it is a token
        (TOKEN, "auto", EVERYTHING, ["OAUTHBEARER", "XOAUTH2"]),
        (TOKEN, "auto", {"PLAIN", "XOAUTH2"}, ["XOAUTH2"]),
        (TOKEN, "auto", {"PLAIN", "LOGIN"}, ["PLAIN", "LOGIN"]),
        ("eyJhbGciOi.eyJzdWIi.c2ln", "auto", EVERYTHING, ["OAUTHBEARER", "XOAUTH2"]),
        ("E" * 900, "auto", {"PLAIN", "XOAUTH2"}, ["XOAUTH2"]),
        ("pass\u0007word", "auto", EVERYTHING, ["PLAIN", "LOGIN", "CRAM-MD5"]),  # SASLprep refuses it
    ],
)
def test_mechanisms_are_tried_from_the_strongest_on(
    secret: str, choice: str, advertised: frozenset[str], expected: list[str]
) -> None:
    assert names(choose_mechanisms("ada", Secret(secret), choice, advertised, security="tls")) == expected


@pytest.mark.parametrize(
    ("username", "secret", "choice", "advertised", "message", "hint"),
    [
        (None, "pw", "auto", EVERYTHING, "without a user name", "MAILER_USERNAME"),
        ("", "pw", "auto", EVERYTHING, "without a user name", "MAILER_USERNAME"),
        ("ada", None, "auto", EVERYTHING, "no password for ada", "MAILER_PASSWORD"),
        ("ada", "", "auto", EVERYTHING, "is empty", "MAILER_PASSWORD"),
        ("ada", "p\udcff", "auto", EVERYTHING, "not UTF-8", None),
        ("ada", "pw", "auto", (), "offers no login", "without a login"),
        ("ada", "pw", "auto", {"XOAUTH2"}, "offers XOAUTH2", "xoauth2"),
        ("ada", "pw", "auto", {"GSSAPI"}, "offers GSSAPI", "SCRAM-SHA-256"),
        ("ada", "pw", "plain", {"LOGIN"}, "does not offer PLAIN; it offers LOGIN", "auto"),
        ("ada", "p w", "xoauth2", EVERYTHING, "needs an OAuth 2 access token", None),
        ("ada", "\u0007", "auto", {"SCRAM-SHA-256"}, "SASLprep", None),
        ("ada", "pw", "auto", {"\x1b[31mEVIL" + "x" * 900}, r"offers \\x1b\[31MEVILX{1,40}$", None),
    ],
)
def test_without_a_mechanism_the_error_says_what_is_missing(
    username: str | None,
    secret: str | None,
    choice: str,
    advertised: frozenset[str],
    message: str,
    hint: str | None,
) -> None:
    with pytest.raises(AuthenticationError, match=message) as caught:
        choose_mechanisms(
            username, None if secret is None else Secret(secret), choice, advertised, security="tls"
        )
    assert hint is None or hint in (caught.value.hint or "")


def test_no_login_in_plaintext_but_to_ourselves() -> None:
    with pytest.raises(AuthenticationError, match="without TLS"):
        choose_mechanisms("ada", Secret("pw"), "scram-sha-256", EVERYTHING, security="plaintext")
    assert names(choose_mechanisms("ada", Secret("pw"), "auto", {"PLAIN"}, security="loopback")) == ["PLAIN"]
    with pytest.raises(AuthenticationError) as caught:
        choose_mechanisms("ada", Secret("pw"), "auto", (), security="loopback")
    assert "starttls" in (caught.value.hint or "")


# --- refusals


@pytest.mark.parametrize(
    ("host", "word"),
    [
        ("smtp.qq.com", "授权码"),
        ("smtp.exmail.qq.com", "客户端专用密码"),
        ("SMTP.163.COM.", "授权码"),
        ("smtp.gmail.com", "app password"),
        ("smtp-mail.outlook.com", "xoauth2"),
        ("smtp.office365.com", "xoauth2"),
        ("email-smtp.eu-west-1.amazonaws.com", "SMTP credentials"),
    ],
)
def test_a_provider_is_told_by_its_host(host: str, word: str) -> None:
    error = make_login_error(host, PlainMechanism("ada", Secret("hunter2")), Said(535, "5.7.8 no"))
    assert word in (error.hint or "")
    assert "http" in (error.hint or "")


def test_a_name_that_only_looks_alike_is_no_provider() -> None:
    assert find_provider("notqq.com") is None
    assert find_provider("qq.com.example.org") is None


def test_a_refusal_repeats_the_server_but_never_the_secret() -> None:
    mechanism = XOAuth2Mechanism("ada", Secret("hunter2hunter2"))
    mechanism.respond(b'{"status":"401","you sent":"hunter2hunter2"}')
    said = Said(535, "5.7.8 bad\n\x1b[31m hunter2hunter2 " + b64(b"hunter2hunter2") + "x" * 9000)
    error = make_login_error("mail.example.com", mechanism, said)
    text = f"{error}{error.hint}"
    assert "hunter2hunter2" not in text
    assert b64(b"hunter2hunter2").rstrip("=") not in text
    assert "535 5.7.8 bad" in text
    assert "status 401" in text
    assert text.isprintable()
    assert len(str(error)) < 1000
    assert not error.temporary


def test_454_is_temporary() -> None:
    error = make_login_error("smtp.qq.com", PlainMechanism("ada", Secret("x")), Said(454, "4.7.0 later"))
    assert error.temporary
    assert "try again later" in (error.hint or "")


@pytest.mark.parametrize(
    ("secret", "code", "word"),
    [("pw\n", 535, "line end"), ("pw", 538, "TLS first"), ("pw", 530, "TLS first"), ("pw", 535, "probe")],
)
def test_a_refused_login_has_the_hint_of_its_code(secret: str, code: int, word: str) -> None:
    assert word in (
        make_login_error("mail.example.com", PlainMechanism("ada", Secret(secret)), Said(code, "no")).hint
        or ""
    )


@pytest.mark.parametrize(
    ("code", "text", "advice"),
    [
        (534, "5.7.9 Application-specific password required. For more information, go to", "app password"),
        (
            534,
            "5.7.14 <https://accounts.google.com/signin/continue> Please log in via your web browser",
            "browser",
        ),
        (
            535,
            "5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms",
            "SMTP AUTH is switched off",
        ),
        (
            535,
            "5.7.139 Authentication unsuccessful, user is locked by your organization's policies",
            "xoauth2",
        ),
        (535, "Login Fail. Please enter your authorization code to login. More information in", "授权码"),
        (550, "User has no permission", "switch the SMTP service on"),
    ],
)
def test_a_reply_that_says_what_to_do_has_a_hint_of_its_own(code: int, text: str, advice: str) -> None:
    """Whatever the name of the server: a relay passes its provider's reply on."""
    error = make_login_error("relay.example.com", PlainMechanism("ada", Secret("hunter2")), Said(code, text))
    assert advice in (error.hint or "")
    assert "; see https://" in (error.hint or "") or "; see http://" in (error.hint or "")
