"""A message on its way through a session, and the replies to each part of its envelope."""

from __future__ import annotations

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol import commands, data
from mailer.smtp.protocol.extensions import Extensions
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.values import Stage, Transaction, TransactionResult

NOT_WRITTEN = 1 << 62  # an offset behind every other


class UnsendableTransaction(ValueError):
    """This server cannot be given this message; the text says why."""


class InFlightTransaction:
    """A transaction with its command lines, how far it is written, and the replies so far.

    It is made when the transaction is submitted, and waits in the TransactionQueue until `begin` is called.
    While `is_held`, its content is not to be written: the caller permits that later.
    `end_offset` is the end of its last octet in the session's output. Two transactions of the same `profile`
    can share one MAIL command: they have the same sender and the same declarations.
    """

    __slots__ = (
        "_answered", "accepted_recipients", "end_offset", "is_content_accepted", "is_held", "is_mail_answered",
        "mail_line", "mail_refusal", "person_refusal", "profile", "rcpt_lines", "refused_recipients", "started_at", "transaction",
    )  # fmt: skip

    def __init__(self, transaction: Transaction, extensions: Extensions, *, is_held: bool = False) -> None:
        """Make the command lines of `transaction` for a server with these `extensions`.

        With `is_held`, its content is not to be written before `permit_content`. Raises
        UnsendableTransaction if the server lacks something that the message needs.
        """
        self.transaction = transaction
        self.is_held = is_held
        self.profile = _make_profile(transaction, extensions)
        self.mail_line, self.rcpt_lines = _make_envelope(transaction, extensions, *self.profile[1:])
        self.restart()

    def restart(self) -> None:
        """Forget an attempt that came to nothing."""
        self.started_at = 0.0
        self.end_offset = NOT_WRITTEN
        self.is_mail_answered = False
        self.mail_refusal: Reply | None = None
        self.person_refusal: Reply | None = None  # of recipients[0]
        self.is_content_accepted = False  # noted with BDAT only: nothing of the transaction is left
        self.refused_recipients: list[tuple[str, Reply]] = []
        self.accepted_recipients: list[str] = []
        self._answered = 0

    def permit_content(self) -> None:
        """Let the content be written."""
        self.is_held = False

    def begin(self, now: float) -> None:
        """Note that the first command is written at `now`, in seconds."""
        self.started_at = now

    def mark_written(self, offset: int) -> None:
        """Note that `offset`, in octets, is the end of the content in the output of the session."""
        self.end_offset = offset

    def mark_content_accepted(self) -> None:
        """Note that the server has accepted the content."""
        self.is_content_accepted = True

    def handle_mail_reply(self, reply: Reply) -> None:
        """Note the reply to MAIL. Raises ProtocolViolation if it is 3xx."""
        _check_decision(reply)
        self.is_mail_answered = True
        if not reply.is_success:
            self.mail_refusal = reply

    def handle_rcpt_reply(self, reply: Reply) -> None:
        """Note the reply to the next RCPT. Raises ProtocolViolation if it cannot be one."""
        _check_decision(reply)
        recipient = self.transaction.recipients[self._answered]
        self._answered += 1
        if not reply.is_success:
            if self._answered == 1:
                self.person_refusal = reply
            self.refused_recipients.append((recipient, reply))
        elif self.mail_refusal is not None:
            # It would join another message's transaction, and leave under that one's sender.
            raise ProtocolViolation(f"the server refused MAIL and then took a recipient: {reply}")
        else:
            self.accepted_recipients.append(recipient)

    @property
    def is_envelope_answered(self) -> bool:
        """The server has answered every RCPT."""
        return self._answered == len(self.rcpt_lines)

    @property
    def is_envelope_refused(self) -> bool:
        """MAIL or every RCPT is refused: no content can be accepted."""
        return self.mail_refusal is not None or (self.is_envelope_answered and not self.accepted_recipients)

    @property
    def leaves_transaction_open(self) -> bool:
        """Refused after MAIL was accepted: unless something else ended it, the server still has a
        transaction.
        """
        return self.is_envelope_refused and self.mail_refusal is None

    @property
    def session_refusal(self) -> Reply | None:
        """The reply that refuses the whole envelope for a reason that is not in the envelope."""
        if self.mail_refusal is not None:
            return self.mail_refusal if self.mail_refusal.concerns_session else None
        if self.is_envelope_refused and all(reply.code == 503 for _, reply in self.refused_recipients):
            return self.person_refusal
        return None

    def make_result(self, stage: Stage, reply: Reply) -> TransactionResult:
        """Return the result if `reply` is the server's last word, and belongs to the command of `stage`.

        A refusal of MAIL or of the person's RCPT goes before it: then that is the reply of the result.
        """
        transaction = self.transaction
        if self.mail_refusal is not None:
            return TransactionResult(transaction, "mail", self.mail_refusal)
        if self.person_refusal is None:
            return TransactionResult(transaction, stage, reply, tuple(self.refused_recipients))
        accepted = tuple(self.accepted_recipients) if stage == "content" and reply.is_success else ()
        return TransactionResult(
            transaction, "rcpt", self.person_refusal, tuple(self.refused_recipients), accepted
        )


def _check_decision(reply: Reply) -> None:
    if reply.is_intermediate:
        raise ProtocolViolation(f"the server asked for more instead of a decision: {reply}")


def _make_profile(transaction: Transaction, extensions: Extensions) -> tuple[str, bool, bool]:
    """Return the sender, whether the message needs 8BITMIME, and whether it needs SMTPUTF8."""
    content = transaction.content
    if not transaction.clean and not data.has_only_crlf(content):
        raise UnsendableTransaction("the message has a line end that is not CRLF")
    eight_bit = transaction.eight_bit or not (transaction.clean or content.isascii())
    if eight_bit and not extensions.eight_bit_mime:
        raise UnsendableTransaction("the message has 8-bit content, and the server does not offer 8BITMIME")
    utf8 = transaction.utf8 or any(map(commands.needs_utf8, (transaction.sender, *transaction.recipients)))
    if utf8 and not extensions.smtputf8:
        raise UnsendableTransaction("an address needs SMTPUTF8, which the server does not offer")
    return transaction.sender, eight_bit, utf8


def _make_envelope(
    transaction: Transaction, extensions: Extensions, eight_bit: bool, utf8: bool
) -> tuple[bytes, list[bytes]]:
    """Return the lines of MAIL and RCPT."""
    octets = len(transaction.content)
    if extensions.size is not None and octets > extensions.size:
        raise UnsendableTransaction(f"the message has {octets} octets; the server accepts {extensions.size}")
    _check_limits(transaction, extensions)
    try:
        mail = commands.encode_mail(
            transaction.sender,
            size=octets if extensions.declares_size else None,
            eight_bit=eight_bit,
            utf8=utf8,
        )
        return mail, [commands.encode_rcpt(recipient) for recipient in transaction.recipients]
    except ValueError as error:
        raise UnsendableTransaction(str(error)) from None


def _check_limits(transaction: Transaction, extensions: Extensions) -> None:
    """RFC 9422, section 4."""
    limits, recipients = extensions.limits, transaction.recipients
    if limits.rcpt_max is not None and len(recipients) > limits.rcpt_max:
        raise UnsendableTransaction(
            f"the message has {len(recipients)} recipients; the server accepts {limits.rcpt_max}"
        )
    if limits.rcpt_domain_max is not None:
        domains = len({recipient.rpartition("@")[2].lower() for recipient in recipients})
        if domains > limits.rcpt_domain_max:
            raise UnsendableTransaction(
                f"the recipients are in {domains} domains; "
                f"the server accepts {limits.rcpt_domain_max} in a message"
            )
