"""What every SASL mechanism is: octets in, octets out, and a verdict on the server (RFC 4422).

Base64 and SMTP's line rules are the business of exchange.py. A mechanism is used for one exchange and then thrown away.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from mailer.errors import AuthenticationError
from mailer.secret import Secret


class SaslError(AuthenticationError):
    """The server broke the mechanism's rules, or could not prove that it knows the password. Never try another
    mechanism after this one: a weaker one would hand the password to whoever answered.
    """


class UnfitCredentials(ValueError):
    """These credentials cannot be expressed in this mechanism; the text says why, without the secret."""


class Mechanism(ABC):
    """One exchange of one mechanism. `repr` shows the name only."""

    name: ClassVar[str]
    takes_token: ClassVar[bool] = False
    reads_challenges: ClassVar[bool] = True  # False where only the order of challenges matters, not their text

    def __init__(self, username: str, secret: Secret) -> None:
        self.username = username
        self.secret = secret

    def __repr__(self) -> str:
        return f"<SASL {self.name}>"

    def initial_response(self) -> bytes | None:
        """The initial response; None where the server speaks first (RFC 4422 section 3, `server-first`)."""
        return None

    @abstractmethod
    def respond(self, challenge: bytes) -> bytes:
        """The answer to a challenge; SaslError where the server has none to make, or lies."""

    def check_finished(self) -> None:  # noqa: B027 - most have nothing to prove
        """Called at 235: SaslError when the server has not proved what this mechanism makes it prove."""

    @property
    def failure(self) -> str | None:
        """What the server said, inside the exchange, of why it refuses; foreign text, printable, bounded, no secret."""
        return None

    def _make_unasked_error(self) -> SaslError:
        return SaslError(f"the server asks for more than {self.name} has to say")
