"""A message on its way through a session, and what the server said to each part of its envelope."""

from __future__ import annotations

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol import commands, data
from mailer.smtp.protocol.extensions import Extensions
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.values import Stage, Transaction, TransactionResult

NOT_WRITTEN = 1 << 62  # as an offset: behind everything


class Unsendable(ValueError):
    """This server cannot be given this message; the text says why."""


class Flight:
    """Its `mail` and `rcpts` are the command lines; `end` is the offset of its last octet in the session.

    Two of the same `kind` can share an open transaction: same sender, same declarations.
    """

    __slots__ = (
        "_answered", "accepted", "end", "is_taken", "kind", "mail", "mail_refusal", "person_refusal", "rcpts",
        "refused", "started", "transaction",
    )  # fmt: skip

    def __init__(self, transaction: Transaction, extensions: Extensions) -> None:
        """Unsendable where this server has not what the message needs."""
        self.transaction = transaction
        self.kind = _needs(transaction, extensions)
        self.mail, self.rcpts = _envelope(transaction, extensions, *self.kind[1:])
        self.started = 0.0
        self.restart()

    def restart(self) -> None:
        """Forget an attempt that came to nothing."""
        self.end = NOT_WRITTEN
        self.mail_refusal: Reply | None = None
        self.person_refusal: Reply | None = None  # of recipients[0]
        self.is_taken = False  # the server has accepted its content: nothing of the transaction is left
        self.refused: list[tuple[str, Reply]] = []
        self.accepted: list[str] = []
        self._answered = 0

    def on_mail(self, reply: Reply) -> None:
        _verdict(reply)
        if not reply.is_success:
            self.mail_refusal = reply

    def on_rcpt(self, reply: Reply) -> None:
        _verdict(reply)
        recipient = self.transaction.recipients[self._answered]
        self._answered += 1
        if not reply.is_success:
            if self._answered == 1:
                self.person_refusal = reply
            self.refused.append((recipient, reply))
        elif self.mail_refusal is not None:
            # It would join somebody else's transaction, and leave under that one's sender.
            raise ProtocolViolation(f"the server refused MAIL and then took a recipient: {reply}")
        else:
            self.accepted.append(recipient)

    @property
    def is_answered(self) -> bool:
        """The server has answered the whole envelope."""
        return self._answered == len(self.rcpts)

    @property
    def is_hopeless(self) -> bool:
        """The envelope is refused as a whole: no content can be accepted."""
        return self.mail_refusal is not None or (self.is_answered and not self.accepted)

    @property
    def is_left_open(self) -> bool:
        """Refused with MAIL accepted: if nothing else ended it, the server still has a transaction."""
        return self.is_hopeless and self.mail_refusal is None

    def outcome(self, stage: Stage, reply: Reply) -> TransactionResult:
        """What became of it, when `reply` was the last word at `stage`."""
        transaction = self.transaction
        if self.mail_refusal is not None:
            return TransactionResult(transaction, "mail", self.mail_refusal)
        if self.person_refusal is None:
            return TransactionResult(transaction, stage, reply, tuple(self.refused))
        taken = tuple(self.accepted) if stage == "content" and reply.is_success else ()
        return TransactionResult(transaction, "rcpt", self.person_refusal, tuple(self.refused), taken)


def _verdict(reply: Reply) -> None:
    if reply.is_intermediate:
        raise ProtocolViolation(f"the server asked for more where it had to decide: {reply}")


def _needs(transaction: Transaction, extensions: Extensions) -> tuple[str, bool, bool]:
    """Sender, whether it needs 8BITMIME, whether it needs SMTPUTF8."""
    content = transaction.content
    if not transaction.clean and not data.only_crlf(content):
        raise Unsendable("the message has a line end that is not CRLF")
    eight_bit = transaction.eight_bit or not content.isascii()
    if eight_bit and not extensions.eight_bit_mime:
        raise Unsendable("the message has 8-bit content, and the server does not offer 8BITMIME")
    utf8 = transaction.utf8 or any(map(commands.needs_utf8, (transaction.sender, *transaction.recipients)))
    if utf8 and not extensions.smtputf8:
        raise Unsendable("an address needs SMTPUTF8, which the server does not offer")
    return transaction.sender, eight_bit, utf8


def _envelope(
    transaction: Transaction, extensions: Extensions, eight_bit: bool, utf8: bool
) -> tuple[bytes, list[bytes]]:
    """MAIL and RCPT, as far as this server can take them."""
    octets = len(transaction.content)
    if extensions.size is not None and octets > extensions.size:
        raise Unsendable(f"the message has {octets} octets, and the server takes {extensions.size}")
    _check_limits(transaction, extensions)
    try:
        mail = commands.mail(
            transaction.sender, size=octets if extensions.declares_size else None, eight_bit=eight_bit, utf8=utf8
        )
        return mail, [commands.rcpt(recipient) for recipient in transaction.recipients]
    except ValueError as error:
        raise Unsendable(str(error)) from None


def _check_limits(transaction: Transaction, extensions: Extensions) -> None:
    """RFC 9422, section 4."""
    limits, recipients = extensions.limits, transaction.recipients
    if limits.rcpt_max is not None and len(recipients) > limits.rcpt_max:
        raise Unsendable(f"the message has {len(recipients)} recipients, and the server takes {limits.rcpt_max}")
    if limits.rcpt_domain_max is not None:
        domains = len({recipient.rpartition("@")[2].lower() for recipient in recipients})
        if domains > limits.rcpt_domain_max:
            raise Unsendable(
                f"the recipients are in {domains} domains, and the server takes {limits.rcpt_domain_max} a message"
            )
