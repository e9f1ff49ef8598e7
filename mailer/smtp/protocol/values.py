"""What goes into a session and what comes out of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, NamedTuple

from mailer.dataclass import dataclass
from mailer.frozen import frozen_value
from mailer.secret import Secret
from mailer.smtp.protocol.reply import Reply

SocketAddress = tuple[Any, ...]  # as the socket module has it: host, port, and more for IPv6
Stage = Literal["mail", "rcpt", "data", "content"]


class Strategy(StrEnum):
    """How much is written before replies are read; each one needs more of the server than the one before."""

    SEQUENTIAL = "sequential"  # one command at a time
    PIPELINED = "pipelined"  # RFC 2920: one round trip a message
    STREAMED = "streamed"  # RFC 2920 and RFC 3030: many messages in flight

    def at_most(self, cap: Strategy | None) -> Strategy:
        """Return this strategy, or `cap` if that is a lower one. None is no limit."""
        order = list(Strategy)
        return self if cap is None else order[min(order.index(self), order.index(cap))]


def choose_lower_strategy(one: Strategy | None, other: Strategy | None) -> Strategy | None:
    """Return the lower of `one` and `other`, two limits. None is no limit."""
    return other if one is None else one.at_most(other)


@dataclass(frozen=True, slots=True)
class Login:
    """`auth` is the campaign's choice: auto, or those of plain, login, cram-md5, scram-sha-256, xoauth2 and
    oauthbearer that may be used, the preferred one first.
    """

    username: str
    secret: Secret
    auth: Literal["auto"] | tuple[str, ...] = "auto"


@frozen_value(eq=False)
class Transaction:
    """One message to some recipients; `recipients[0]` is the person it is for, the others are copies.

    `content` has CRLF line ends only and is not dot-stuffed; if it has octets of 8 bits, `eight_bit` says so.
    Both are checked here, unless `clean` says that its maker promises them (the check costs a third of what
    sending costs). `context` is the caller's: it is carried with the transaction and never looked at.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    utf8: bool = False
    eight_bit: bool = False
    context: object = None
    clean: bool = False

    def __post_init__(self) -> None:
        if not self.recipients:
            raise ValueError("a message without recipients")


@frozen_value(eq=False)
class TransactionResult:
    """What became of a transaction.

    `reply` is the one that decided, and `stage` says to which command it belongs. If the RCPT of the person
    was refused, that reply decided, and `stage` is "rcpt"; if the server took the message for copies all the
    same, `accepted_recipients` names them. `refused_recipients` has every refused recipient with its reply.
    Without a `reply` the message was not sent, and `problem` says why this server cannot be given it.
    """

    transaction: Transaction
    stage: Stage
    reply: Reply | None
    refused_recipients: tuple[tuple[str, Reply], ...] = ()
    accepted_recipients: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def is_success(self) -> bool:
        """The server has taken the message for the person it is for."""
        return self.reply is not None and self.stage == "content" and self.reply.is_success


class UnfinishedTransactions(NamedTuple):
    """What a lost session leaves without a result.

    The last octet of an `unsent` transaction certainly did not leave, or the server announced that it does
    not handle it: it can be sent again. The last octet of one that is `in_doubt` may have left, and no reply
    came.
    """

    unsent: list[Transaction]
    in_doubt: list[Transaction]


@dataclass(frozen=True, slots=True)
class ServerTraits:
    """What sessions learned about a server that its EHLO reply does not say.

    Give the traits of one session to the next `connect`, so that it need not learn them again.

    - `strategy_at_most`: the highest strategy to use from now on; None if no session had to go to a lower one.
    - `refuses_behind_content`: it refuses or drops commands that come with the end of a message, so the next
      MAIL waits for the reply to the content.
    - `reads_behind_content`: it has answered such a command, so it does not drop them.
    - `keeps_refused_transaction`: a message that it refuses leaves its transaction open, so RSET precedes the
      next MAIL.
    - `needs_resets`: a session was lost after RSETs were left out, so none is left out any more.
    - `window_at_most`: half of the window of a session that was lost without notice and with messages in it;
      doubled by success. None is no limit.
    - `address`: the one of the host's addresses that worked.
    - `has_scram`: the login by SCRAM worked, so that no session uses a weaker mechanism.
    """

    strategy_at_most: Strategy | None = None
    refuses_behind_content: bool = False
    reads_behind_content: bool = False
    keeps_refused_transaction: bool = False
    needs_resets: bool = False
    window_at_most: int | None = None
    address: SocketAddress | None = None
    has_scram: bool = False

    def merged_with(self, newer: ServerTraits) -> ServerTraits:
        """Return these traits together with `newer`, which a later session learned."""
        return ServerTraits(
            strategy_at_most=choose_lower_strategy(self.strategy_at_most, newer.strategy_at_most),
            refuses_behind_content=self.refuses_behind_content or newer.refuses_behind_content,
            reads_behind_content=self.reads_behind_content or newer.reads_behind_content,
            keeps_refused_transaction=self.keeps_refused_transaction or newer.keeps_refused_transaction,
            needs_resets=self.needs_resets or newer.needs_resets,
            window_at_most=newer.window_at_most,
            address=newer.address or self.address,
            has_scram=self.has_scram or newer.has_scram,
        )


NOTHING_LEARNED = ServerTraits()
