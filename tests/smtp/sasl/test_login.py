"""Which mechanisms are tried, in which order, and what a refused login says."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from mailer.errors import AuthenticationError
from mailer.secret import Secret
from mailer.smtp.sasl.login import choose_mechanisms, find_provider, list_fallbacks, make_login_error
from mailer.smtp.sasl.mechanism import ChannelBinding, Mechanism, SaslError
from mailer.smtp.sasl.mechanisms import (
    OAuthBearerMechanism,
    PlainMechanism,
    XOAuth2Mechanism,
)
from tests.smtp.sasl.test_mechanisms import TOKEN, b64
from tests.smtp.sasl.test_scram import BINDING

EVERYTHING = frozenset({"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"})


@dataclass(frozen=True)
class Said:
    code: int
    text: str


def names(mechanisms: list[Mechanism]) -> list[str]:
    return [mechanism.name for mechanism in mechanisms]


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
    found = choose_mechanisms("ada", Secret("pw"), choice, advertised, channel="tls", binding=binding)
    assert names(found) == [name for name in expected if name != "PLAIN" or choice != "scram-sha-256"]
    flags = {mechanism.name: (mechanism.initial_response() or b"")[:1] for mechanism in found}
    could_bind = binding is not None and "SCRAM-SHA-256-PLUS" not in advertised
    assert flags.get("SCRAM-SHA-256", b"n") == (b"y" if could_bind else b"n") or "SCRAM-SHA-256" not in flags


def test_the_fallbacks_of_scram_are_scram() -> None:
    advertised = {"SCRAM-SHA-256-PLUS", *EVERYTHING}
    found = choose_mechanisms("ada", Secret("pw"), "auto", advertised, channel="tls", binding=BINDING)
    assert names(list_fallbacks(found)) == ["SCRAM-SHA-256"]
    assert names(list_fallbacks(found[1:])) == []
    assert names(list_fallbacks(found[2:])) == ["LOGIN", "CRAM-MD5"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [(["login", "plain"], ["LOGIN", "PLAIN"]), (["cram-md5", "xoauth2"], ["CRAM-MD5", "XOAUTH2"])],
)
def test_auth_may_name_several_mechanisms(choice: list[str], expected: list[str]) -> None:
    assert names(choose_mechanisms("ada", Secret("pw"), choice, EVERYTHING, channel="tls")) == expected


def test_of_several_named_mechanisms_none_is_offered() -> None:
    with pytest.raises(AuthenticationError, match="does not offer LOGIN or CRAM-MD5; it offers PLAIN"):
        choose_mechanisms("ada", Secret("pw"), ["login", "cram-md5"], {"PLAIN"}, channel="tls")


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
    assert names(choose_mechanisms("ada", Secret(secret), choice, advertised, channel="tls")) == expected


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
            username, None if secret is None else Secret(secret), choice, advertised, channel="tls"
        )
    assert hint is None or hint in (caught.value.hint or "")


def test_a_login_in_plaintext_is_only_possible_on_loopback() -> None:
    with pytest.raises(AuthenticationError, match="without TLS"):
        choose_mechanisms("ada", Secret("pw"), "scram-sha-256", EVERYTHING, channel="plaintext")
    assert names(choose_mechanisms("ada", Secret("pw"), "auto", {"PLAIN"}, channel="loopback")) == ["PLAIN"]
    with pytest.raises(AuthenticationError) as caught:
        choose_mechanisms("ada", Secret("pw"), "auto", (), channel="loopback")
    assert "starttls" in (caught.value.hint or "")


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
def test_a_provider_is_recognized_by_its_host(host: str, word: str) -> None:
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


def test_a_4xx_reply_to_the_login_is_temporary() -> None:
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
