"""A message ready for the wire: its envelope and its bytes."""

from __future__ import annotations

from typing import NamedTuple

from mailer.frozen import frozen_value
from mailer.render.pieces import Piece, join_pieces


@frozen_value()
class Message:
    """RFC 5321 2.3.1: envelope and content.

    `recipients[0]` is the person the message is for; the others are copies (cc, then bcc), whose refusal does
    not stop it. `content` ends every line with CRLF, has no bare CR or LF and no line over 998 octets, and is
    not dot-stuffed. `eight_bit` says that it needs 8BITMIME (RFC 6152), `utf8` that an address needs SMTPUTF8
    (RFC 6531).
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    message_id: str
    eight_bit: bool = False
    utf8: bool = False


class MessageParts(NamedTuple):
    """A message whose content is still in pieces.

    Octets that no recipient changes are the same object in each message.
    """

    sender: str
    recipients: tuple[str, ...]
    pieces: list[Piece]
    message_id: str
    eight_bit: bool
    utf8: bool

    def join(self) -> Message:
        """Return the message."""
        sender, recipients, pieces, message_id, eight_bit, utf8 = self
        return Message(sender, recipients, join_pieces(pieces), message_id, eight_bit, utf8)
