"""SCRAM-SHA-256 (RFC 5802, RFC 7677): the password never crosses, and the server proves that it knows it,
too.

SCRAM-SHA-256-PLUS binds the login to the TLS connection: an attacker between us and the server, even with a
certificate that we trust, cannot pass it on. That needs tls-unique (RFC 5929), which exists up to TLS 1.2.
Python's ssl does not give tls-exporter (RFC 9266), so a TLS 1.3 connection is not bound.

    C  n,,n=user,r=CNONCE
    S  r=CNONCE+SNONCE,s=salt,i=iterations
    C  c=biws,r=CNONCE+SNONCE,p=proof
    S  v=signature         (SMTP: as a challenge that gets an empty answer, then 235)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from enum import Enum, auto

from mailer.secret import Secret, blank_secrets
from mailer.smtp.sasl.mechanism import ChannelBinding, Mechanism, SaslError, UnfitCredentials
from mailer.smtp.sasl.mechanisms import escape_saslname

HASH = "sha256"
MIN_ITERATIONS = 4096  # RFC 7677 section 4: fewer make the proof cheap to guess from
MAX_ITERATIONS = 1_000_000  # about half a second; more is a server that burns our CPU (RFC 5802 section 9)
NONCE_BYTES = 24
SERVER_ERRORS = {  # RFC 5802 7, those that a person can do something about
    "unknown-user": "unknown user",
    "invalid-proof": "wrong password",
    "invalid-username-encoding": "the user name is wrongly encoded",
    "no-resources": "the server is out of resources",
}


class _ScramStep(Enum):
    FIRST = auto()  # client-first is out or on its way; server-first is next
    FINAL = auto()  # client-final is out; server-final is next
    REFUSED = auto()  # server-error was read
    VERIFIED = auto()


class ScramMechanism(Mechanism):
    """Without channel binding. `could_bind` says that this side could, and the server does not offer it.

    `nonce` is for tests; None makes a random one.
    """

    name = "SCRAM-SHA-256"
    proves_server = True

    def __init__(
        self, username: str, secret: Secret, *, could_bind: bool = False, nonce: str | None = None
    ) -> None:
        super().__init__(username, secret)
        self._gs2_header = b"y,," if could_bind else b"n,,"
        self._binding_data = b""
        try:
            self._prepared = prepare_string(username)
            self._password = Secret(prepare_string(secret.reveal()))
        except ValueError as error:
            raise UnfitCredentials(
                f"SCRAM-SHA-256 cannot carry this user name or password: it {error}"
            ) from None
        if not self._prepared or not self._password:
            raise UnfitCredentials(
                "SCRAM-SHA-256 needs a user name and a password that are not empty after SASLprep"
            )
        self._nonce = nonce or secrets.token_urlsafe(NONCE_BYTES)
        self._signature = b""
        self._failure: str | None = None
        self._step = _ScramStep.FIRST

    def initial_response(self) -> bytes:
        return self._gs2_header + self._client_first_bare.encode()

    @property
    def failure(self) -> str | None:
        return self._failure

    @property
    def _client_first_bare(self) -> str:
        return f"n={escape_saslname(self._prepared)},r={self._nonce}"

    def respond(self, challenge: bytes) -> bytes:
        text = _decode_utf8(challenge)
        if text.startswith("e=") and self._step in (_ScramStep.FIRST, _ScramStep.FINAL):
            self._failure = SERVER_ERRORS.get(text[2:], blank_secrets(text[2:], [self.secret.reveal()])[:60])
            self._step = _ScramStep.REFUSED
            return b""
        if self._step is _ScramStep.FIRST:
            return self._client_final(text)
        if self._step is _ScramStep.FINAL:
            self._verify(text)
            return b""
        raise self._make_unasked_error()

    def check_finished(self) -> None:
        if self._step is not _ScramStep.VERIFIED:
            raise SaslError(
                "the server accepted the login without proving that it knows the password (RFC 5802, 3)",
                hint="do not trust this connection: an attacker may be answering in the server's place",
            )

    def _client_final(self, server_first: str) -> bytes:
        nonce, salt, iterations = _parse_server_first(server_first)
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise SaslError("the server's SCRAM nonce does not continue ours")
        bound = base64.b64encode(self._gs2_header + self._binding_data).decode()
        without_proof = f"c={bound},r={nonce}"
        message = f"{self._client_first_bare},{server_first},{without_proof}".encode()
        salted = hashlib.pbkdf2_hmac(HASH, self._password.reveal().encode(), salt, iterations)
        client_key = _hmac(salted, b"Client Key")
        proof = _xor(client_key, _hmac(hashlib.new(HASH, client_key).digest(), message))
        self._signature = _hmac(_hmac(salted, b"Server Key"), message)
        self._step = _ScramStep.FINAL
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def _verify(self, server_final: str) -> None:
        verifier = server_final.split(",", 1)[0]
        if not verifier.startswith("v=") or not hmac.compare_digest(
            _decode_base64(verifier[2:]), self._signature
        ):
            raise SaslError(
                "the server's SCRAM signature is wrong: it does not know the password",
                hint="do not trust this connection: an attacker may be answering in the server's place",
            )
        self._step = _ScramStep.VERIFIED


class ScramPlusMechanism(ScramMechanism):
    """With channel binding (RFC 5802, section 6)."""

    name = "SCRAM-SHA-256-PLUS"

    def __init__(
        self, username: str, secret: Secret, *, binding: ChannelBinding, nonce: str | None = None
    ) -> None:
        super().__init__(username, secret, nonce=nonce)
        self._gs2_header = f"p={binding.kind},,".encode()
        self._binding_data = binding.data


def _parse_server_first(text: str) -> tuple[str, bytes, int]:
    """Return nonce, salt and iterations.

    The attributes' order is fixed. "m=" is an extension that we must know and do not (RFC 5802 5.1); others
    behind `i` are ignored.
    """
    parts = text.split(",")
    if parts[0].startswith("m="):
        raise SaslError("the server demands a SCRAM extension that we do not know")
    if [part[:2] for part in parts[:3]] != ["r=", "s=", "i="]:
        raise SaslError("the server's first SCRAM message is malformed")
    nonce, encoded_salt, count = (part[2:] for part in parts[:3])
    salt = _decode_base64(encoded_salt)
    if not salt or not count.isascii() or not count.isdigit() or len(count) > 9:
        raise SaslError("the server's first SCRAM message is malformed")
    iterations = int(count)
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise SaslError(
            f"the server asks for {iterations} SCRAM iterations; "
            f"{MIN_ITERATIONS} to {MAX_ITERATIONS} are accepted"
        )
    return nonce, salt, iterations


def _decode_utf8(challenge: bytes) -> str:
    try:
        return challenge.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("the server's SCRAM message is not UTF-8") from None


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SaslError("the server's SCRAM message holds bad base64") from None


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, HASH)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


# -- SASLprep (RFC 4013): how a user name and a password are prepared before they are hashed (RFC 5802 2.2) --
#
# The tables are those of the standard library's `stringprep`. "Query" strings may hold unassigned code points
# (RFC 3454 7), so only what RFC 4013 2.3 prohibits is refused.

_PROHIBITED = (  # RFC 4013 2.3
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepare_string(text: str) -> str:
    """Return `text` prepared; plain ASCII comes back as it is.

    Raises ValueError if RFC 4013 forbids a character.
    """
    mapped = "".join(_map(char) for char in text)
    prepared = unicodedata.normalize("NFKC", mapped)
    if any(prohibited(char) for char in prepared for prohibited in _PROHIBITED):
        raise ValueError("holds a character that SASLprep (RFC 4013) prohibits")
    _check_direction(prepared)
    return prepared


def _map(char: str) -> str:
    """RFC 4013 2.1: other spaces become a space, what is "commonly mapped to nothing" goes."""
    if stringprep.in_table_c12(char):
        return " "
    return "" if stringprep.in_table_b1(char) else char


def _check_direction(text: str) -> None:
    """RFC 3454 6: a right-to-left text begins and ends so, and holds nothing left-to-right."""
    right_to_left = [stringprep.in_table_d1(char) for char in text]
    if not any(right_to_left):
        return
    if any(map(stringprep.in_table_d2, text)) or not (right_to_left[0] and right_to_left[-1]):
        raise ValueError("mixes right-to-left and left-to-right letters (RFC 3454 section 6)")
