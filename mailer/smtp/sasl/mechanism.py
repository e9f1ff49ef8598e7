"""What every SASL mechanism is: octets in, octets out, and a verdict on the server (RFC 4422). A mechanism is
used for one exchange and then thrown away.

Its octets as SMTP lines (RFC 4954 section 4), the AUTH command and the answers to 334:

    exchange = SaslExchange(mechanism)
    write(exchange.make_command())               b"AUTH PLAIN AGFkYQBzM2NyZXQ="   (the caller adds CRLF)
    while reply.code == 334:
        write(exchange.answer(reply.text))       SaslError: write CANCEL, read the 501, close
    if reply.code == 235:
        exchange.finish()                        SaslError: close; the server has not proved itself
"""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from typing import ClassVar

from mailer.dataclass import dataclass
from mailer.errors import AuthenticationError
from mailer.secret import Secret

CANCEL = b"*"  # RFC 4954 section 4
MAX_COMMAND = 512  # RFC 5321 4.5.3.1.4, CRLF included
MAX_ROUNDS = 8  # our longest exchange has three challenges


class SaslError(AuthenticationError):
    """The server broke the mechanism's rules, or could not prove that it knows the password.

    No other mechanism is tried after it: a weaker one would hand the password to a false server.
    """


class UnfitCredentials(ValueError):
    """These credentials cannot be expressed in this mechanism; the text says why, without the secret."""


@dataclass(frozen=True, slots=True)
class ChannelBinding:
    """What ties a login to one TLS connection (RFC 5056): its type ("tls-unique") and its octets."""

    kind: str
    data: bytes


class Mechanism(ABC):
    """One exchange of one mechanism. `repr` shows the name only."""

    name: ClassVar[str]
    reads_challenges: ClassVar[bool] = True  # False if only the order of challenges matters, not their text
    proves_server: ClassVar[bool] = False  # the server must show that it knows the password

    def __init__(self, username: str, secret: Secret) -> None:
        """`secret` is the password or the token.

        Raises UnfitCredentials if the mechanism cannot carry it or `username`.
        """
        self.username = username
        self.secret = secret

    def __repr__(self) -> str:
        return f"<SASL {self.name}>"

    def initial_response(self) -> bytes | None:
        """Return the initial response; None if the server speaks first (RFC 4422, section 3)."""
        return None

    @abstractmethod
    def respond(self, challenge: bytes) -> bytes:
        """Return the answer to `challenge`, both decoded from base64.

        Raises SaslError if the server may not send one now, or if it cannot be right.
        """

    def check_finished(self) -> None:  # noqa: B027 - most have nothing to prove
        """Called at 235. Raises SaslError if the server has not proved what this mechanism makes it prove."""

    @property
    def failure(self) -> str | None:
        """What the server said, inside the exchange, of why it refuses: printable, bounded, without the
        secret.
        """
        return None

    def _make_unasked_error(self) -> SaslError:
        return SaslError(f"the server asks for more than {self.name} has to say")


class SaslExchange:
    """One mechanism's exchange, as lines."""

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism
        self._held_back: bytes | None = None  # an initial response that the command had no room for
        self._rounds = 0

    def __repr__(self) -> str:
        return f"<AUTH {self.mechanism.name}>"

    def make_command(self) -> bytes:
        """Return AUTH, with the initial response if it fits.

        Otherwise the server sends an empty challenge (RFC 4954 section 4), whose answer may have 12,288
        octets.
        """
        bare = b"AUTH " + self.mechanism.name.encode("ascii")
        initial = self.mechanism.initial_response()
        if initial is None:
            return bare
        # "=" is an initial response of no octets, which differs from none at all.
        full = bare + b" " + (base64.b64encode(initial) or b"=")
        if len(full) + 2 <= MAX_COMMAND:
            return full
        self._held_back = initial
        return bare

    def answer(self, challenge: str) -> bytes:
        """Return the line, without CRLF, that answers a 334 with the text `challenge`; b"" if it is empty.

        Raises SaslError if the login does not end, or if the challenge is not one of this mechanism.
        """
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise SaslError("the login does not end")
        if self._held_back is not None:
            response, self._held_back = self._held_back, None
        else:
            response = self.mechanism.respond(self._decode(challenge))
        return base64.b64encode(response)

    def finish(self) -> None:
        """Called at 235. Raises SaslError if the server's success proves nothing."""
        if self._held_back is not None:
            raise SaslError("the server accepted the login before it was given the password")
        self.mechanism.check_finished()

    def _decode(self, challenge: str) -> bytes:
        text = challenge.strip()
        if not self.mechanism.reads_challenges or text == "=":
            return b""
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise SaslError(f"the server's {self.mechanism.name} challenge is not base64") from None
