"""What a server offers: the EHLO reply (RFC 5321 4.1.1.1) as a value."""

from __future__ import annotations

from mailer.dataclass import dataclass
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.values import Strategy


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The limits of RFC 9422. None: no limit is known."""

    mail_max: int | None = None  # transactions in a session
    rcpt_max: int | None = None  # recipients in a transaction
    rcpt_domain_max: int | None = None  # different recipient domains in a transaction


@dataclass(frozen=True, slots=True)
class Extensions:
    """`names` are upper case, in the server's order; `size` is octets, None if none was named (or 0: no
    limit).
    """

    names: tuple[str, ...] = ()
    pipelining: bool = False  # RFC 2920
    chunking: bool = False  # RFC 3030
    eight_bit_mime: bool = False  # RFC 6152
    smtputf8: bool = False  # RFC 6531
    starttls: bool = False  # RFC 3207
    enhanced_status: bool = False  # RFC 2034
    declares_size: bool = False  # RFC 1870: MAIL may have SIZE=
    size: int | None = None
    auth: tuple[str, ...] = ()  # RFC 4954, upper case
    limits: SessionLimits = SessionLimits()

    @property
    def strategy(self) -> Strategy:
        """The highest strategy that these extensions allow."""
        if not self.pipelining:
            return Strategy.SEQUENTIAL
        return Strategy.STREAMED if self.chunking else Strategy.PIPELINED


def parse_extensions(reply: Reply) -> Extensions:
    """Read the reply to EHLO.

    The first line is the server's name. Names may be in any case; `AUTH=` is an old form.
    """
    offers: dict[str, list[str]] = {}
    for line in reply.lines[1:]:
        words = line.upper().split()
        if words and words[0].startswith("AUTH="):  # before RFC 2554; some servers still send both forms
            words[:1] = ["AUTH", words[0][5:]]
        if words:
            offers.setdefault(words[0], []).extend(word for word in words[1:] if word)
    return Extensions(
        names=tuple(offers),
        pipelining="PIPELINING" in offers,
        chunking="CHUNKING" in offers,
        eight_bit_mime="8BITMIME" in offers,
        smtputf8="SMTPUTF8" in offers,
        starttls="STARTTLS" in offers,
        enhanced_status="ENHANCEDSTATUSCODES" in offers,
        declares_size="SIZE" in offers,
        size=_parse_number(offers["SIZE"][0]) if offers.get("SIZE") else None,
        auth=tuple(dict.fromkeys(offers.get("AUTH", ()))),
        limits=_parse_limits(offers.get("LIMITS", ())),
    )


def _parse_limits(words: list[str] | tuple[()]) -> SessionLimits:
    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    return SessionLimits(
        *(_parse_number(pairs.get(name, "")) for name in ("MAILMAX", "RCPTMAX", "RCPTDOMAINMAX"))
    )


def _parse_number(text: str) -> int | None:
    """A positive decimal number of at most 20 digits (RFC 1870, section 3), else None."""
    return int(text) or None if text.isascii() and text.isdigit() and len(text) <= 20 else None
