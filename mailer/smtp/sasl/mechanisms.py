"""The mechanisms with hardly any state: PLAIN, LOGIN, CRAM-MD5, and the two for OAuth 2 tokens."""

from __future__ import annotations

import hashlib
import hmac
import json
import re

from mailer.secret import Secret, blank_secrets
from mailer.smtp.sasl.mechanism import Mechanism, SaslError, UnfitCredentials
from mailer.text import make_printable

_FAILURE_LIMIT = 200
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 2.1


class PlainMechanism(Mechanism):
    """RFC 4616: NUL authcid NUL passwd. The server prepares the strings (section 2)."""

    name = "PLAIN"

    def __init__(self, username: str, secret: Secret) -> None:
        super().__init__(username, secret)
        if "\0" in username or "\0" in secret.reveal():
            raise UnfitCredentials("PLAIN cannot carry a NUL in the user name or password")

    def initial_response(self) -> bytes:
        return f"\0{self.username}\0{self.secret.reveal()}".encode()

    def respond(self, challenge: bytes) -> bytes:
        raise self._make_unasked_error()


class LoginMechanism(Mechanism):
    """draft-murchison-sasl-login: user name, then password.

    Servers word the two prompts as they like, some in plain text, so only their order counts.
    """

    name = "LOGIN"
    reads_challenges = False

    def __init__(self, username: str, secret: Secret) -> None:
        super().__init__(username, secret)
        self._answers = [secret.reveal().encode(), username.encode()]

    def respond(self, challenge: bytes) -> bytes:
        if not self._answers:
            raise self._make_unasked_error()
        return self._answers.pop()

    def check_finished(self) -> None:
        if self._answers:
            raise SaslError("the server accepted the login before it was given the password")


class CramMd5Mechanism(Mechanism):
    """RFC 2195: user name, space, hex HMAC-MD5 of the challenge keyed with the password."""

    name = "CRAM-MD5"

    def __init__(self, username: str, secret: Secret) -> None:
        super().__init__(username, secret)
        self._answered = False
        try:
            hashlib.md5(b"")  # noqa: S324 - the mechanism is defined so; FIPS builds of OpenSSL have none
        except ValueError:
            raise UnfitCredentials("CRAM-MD5 needs MD5, which this system's OpenSSL forbids") from None

    def respond(self, challenge: bytes) -> bytes:
        if self._answered:
            raise self._make_unasked_error()
        if not challenge:
            # The digest of nothing would be the same every time: an attacker could replay it.
            raise SaslError("the server's CRAM-MD5 challenge is empty")
        self._answered = True
        digest = hmac.new(self.secret.reveal().encode(), challenge, "md5").hexdigest()
        return f"{self.username} {digest}".encode()

    def check_finished(self) -> None:
        if not self._answered:
            raise SaslError("the server accepted the login without a challenge")


class BearerMechanism(Mechanism):
    """A token is sent; a refusal comes as a challenge in JSON that wants an answer before the real 535
    follows.
    """

    acknowledgement: bytes

    def __init__(self, username: str, secret: Secret) -> None:
        super().__init__(username, secret)
        if not _B64TOKEN.fullmatch(secret.reveal()):
            # A \x01 in here would let a token write further key-value pairs.
            raise UnfitCredentials(
                f"{self.name} needs an OAuth 2 access token (RFC 6750: letters, digits and -._~+/ only)"
            )
        if "\x01" in username:
            raise UnfitCredentials(f"{self.name} cannot carry a control character in the user name")
        self._failure: str | None = None

    @property
    def failure(self) -> str | None:
        return self._failure

    def respond(self, challenge: bytes) -> bytes:
        if self._failure is not None:
            raise self._make_unasked_error()
        self._failure = _describe(challenge, self.secret)
        return self.acknowledgement

    def check_finished(self) -> None:
        if self._failure is not None:
            raise SaslError(f"the server refused the token ({self._failure}) and then accepted the login")


class XOAuth2Mechanism(BearerMechanism):
    """Google's and Microsoft's XOAUTH2; "the client sends an empty response to the challenge containing an
    error".

    https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
    """

    name = "XOAUTH2"
    acknowledgement = b""

    def initial_response(self) -> bytes:
        return f"user={self.username}\x01auth=Bearer {self.secret.reveal()}\x01\x01".encode()


class OAuthBearerMechanism(BearerMechanism):
    """RFC 7628 3.1: a GS2 header, then key-value pairs; 3.2.3: an error is answered with %x01."""

    name = "OAUTHBEARER"
    acknowledgement = b"\x01"

    def initial_response(self) -> bytes:
        return f"n,a={escape_saslname(self.username)},\x01auth=Bearer {self.secret.reveal()}\x01\x01".encode()


def escape_saslname(text: str) -> str:
    """Return `text`, a user name, as GS2 and SCRAM write it: "=" and "," as =3D and =2C (RFC 5802 5.1)."""
    return text.replace("=", "=3D").replace(",", "=2C")


def _describe(challenge: bytes, secret: Secret) -> str:
    """Return the server's JSON ({"status": "401", "scope": …}) as one short printable line.

    It may repeat the token, which is blanked before the line is cut: a part of a token would not be
    recognized.
    """
    text = challenge.decode("utf-8", "replace")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict):
        text = ", ".join(f"{key} {value}" for key, value in fields.items() if isinstance(value, str | int))
    text = blank_secrets(text, [secret.reveal()])
    return make_printable(text).strip()[:_FAILURE_LIMIT] or "no reason given"
