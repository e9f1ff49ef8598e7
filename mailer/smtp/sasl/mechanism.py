"""What every SASL mechanism is: octets in, octets out, and a verdict on the server (RFC 4422).

Base64 and SMTP's line rules are in exchange.py. A mechanism is used for one exchange and then thrown away.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from mailer.errors import AuthenticationError
from mailer.secret import Secret


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
    shows_password: ClassVar[bool] = False  # the server reads the password

    def __init__(self, username: str, secret: Secret) -> None:
        """Raises UnfitCredentials if the mechanism cannot carry them."""
        self.username = username
        self.secret = secret

    def __repr__(self) -> str:
        return f"<SASL {self.name}>"

    def initial_response(self) -> bytes | None:
        """Return the initial response; None if the server speaks first (RFC 4422, section 3)."""
        return None

    @abstractmethod
    def respond(self, challenge: bytes) -> bytes:
        """Return the answer to a challenge. Raises SaslError if the server may not send one, or lies."""

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
