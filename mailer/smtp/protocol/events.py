"""What a session tells the owner of its socket.

The result of a message is an event, too: a `TransactionResult` is among those that `SmtpSession.receive`
returns.
"""

from __future__ import annotations

from mailer.dataclass import dataclass
from mailer.errors import ProtocolViolation, ServerError
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.values import TransactionResult


@dataclass(frozen=True, slots=True)
class HandshakeNeeded:
    """The server is ready for the TLS handshake. After it, call `complete_handshake`."""


@dataclass(frozen=True, slots=True)
class SessionReady:
    """The session takes messages."""


@dataclass(frozen=True, slots=True)
class NoopAnswered:
    """The server answered a NOOP."""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """How the session ended.

    `error` says why; it is None after QUIT. `announcement` is the reply by which the server announced the
    end: 421, or the refusal of RSET. `may_still_accept` is True if the server refused RSET and then fell
    silent: without a 421 it may still accept what it was sent. `has_timed_out` is True if a reply did not
    come in time: this side gave up waiting for it, or the server gave up waiting for a command.
    """

    error: ServerError | None
    announcement: Reply | None = None
    may_still_accept: bool = False
    has_timed_out: bool = False

    @property
    def is_violation(self) -> bool:
        """The server's replies fit nothing that was sent."""
        return isinstance(self.error, ProtocolViolation)

    @property
    def discards_messages(self) -> bool:
        """The server does not accept what it has not accepted by now (RFC 5321 3.8)."""
        return self.announcement is not None and not self.may_still_accept


Event = HandshakeNeeded | SessionReady | NoopAnswered | TransactionResult | SessionEnded
