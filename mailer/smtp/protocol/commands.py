"""Commands as values: each function returns the octets of one command line, CRLF included (RFC 5321 4.1).

Nothing that comes from outside can end a line or add a parameter: an address that is not exactly the inside
of a path, or a control character anywhere, raises a ValueError whose text is for the user. Non-ASCII domains
become A-labels here.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mailer.idna import encode_domain

# The path's inside (RFC 5321 4.1.2, RFC 6531 3.3): atoms or one quoted string, "@", domain or address
# literal. It is looser than the address grammar that campaigns are checked with: its concern is that nothing
# leaves the brackets.
_LOCAL = r'(?:[^\x00-\x20\x7f-\x9f"(),:;<>@\[\\\]]+|"(?:[^\x00-\x1f\x7f-\x9f"\\]|\\[\x20-\x7e])*")'
_DOMAIN = r"(?:[^\x00-\x2c\x2f:-@\[-^`{-\x9f]+|\[[0-9A-Za-z.:-]+\])"
_PATH = re.compile(f"({_LOCAL})@({_DOMAIN})")
_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9._-]+", re.ASCII)
_WORD = re.compile(r"[\x21-\x7e]+")

MAX_PATH = 256  # RFC 5321 4.5.3.1.3, with the brackets

NOOP = b"NOOP\r\n"
QUIT = b"QUIT\r\n"
RSET = b"RSET\r\n"
STARTTLS = b"STARTTLS\r\n"
DATA = b"DATA\r\n"


def encode_ehlo(name: str) -> bytes:
    """Return EHLO with the client's name. Raises ValueError if it cannot be one."""
    return b"EHLO %s\r\n" % _word(name, "EHLO name")


def encode_helo(name: str) -> bytes:
    """Return HELO with the client's name. Raises ValueError if it cannot be one."""
    return b"HELO %s\r\n" % _word(name, "HELO name")


def encode_login_line(octets: bytes) -> bytes:
    """Return `octets`, a line of a SASL mechanism, with CRLF.

    Raises ValueError if it has a control character: the server's challenge is a part of it.
    """
    if not octets.isascii() or (octets and not octets.decode("ascii").isprintable()):
        raise ValueError("a login's line has a character that no command may have")
    return octets + b"\r\n"


def encode_mail(
    sender: str, *, size: int | None = None, eight_bit: bool = False, utf8: bool = False
) -> bytes:
    """Return MAIL for `sender`; "" is the null sender. Raises ValueError if the address cannot be written.

    `size` is the octets of the content, for SIZE (RFC 1870); None leaves it out. `eight_bit` adds
    BODY=8BITMIME (RFC 6152), and `utf8` adds SMTPUTF8 (RFC 6531).
    """
    parameters = b"".join(
        (
            b" SIZE=%d" % size if size is not None else b"",
            b" BODY=8BITMIME" if eight_bit else b"",
            b" SMTPUTF8" if utf8 else b"",
        )
    )
    return b"MAIL FROM:<%s>%s\r\n" % (_encode_sender(sender) if sender else b"", parameters)


def encode_rcpt(recipient: str) -> bytes:
    """Return RCPT for the address `recipient`. Raises ValueError if it cannot be written."""
    return b"RCPT TO:<%s>\r\n" % encode_mailbox(recipient)


def encode_bdat(octets: int, *, is_last: bool) -> bytes:
    """Return BDAT for a chunk of so many `octets` (RFC 3030, section 2). `is_last` ends the message."""
    return b"BDAT %d%s\r\n" % (octets, b" LAST" if is_last else b"")


def encode_mailbox(address: str) -> bytes:
    """Return `address` as it is written between < and >. Raises ValueError if it cannot be written so."""
    if _PLAIN.fullmatch(address) and len(address) < MAX_PATH - 1:
        return address.encode("ascii")
    match = _PATH.fullmatch(address)
    if match is None:
        raise ValueError(f"{address!r} cannot be written in an SMTP command")
    local, domain = match[1], match[2]
    try:
        octets = f"{local}@{encode_domain(domain)}".encode()
    except UnicodeEncodeError:
        raise ValueError(f"{address!r} is not Unicode text") from None
    if len(octets) > MAX_PATH - 2:
        raise ValueError(f"{address!r} is longer than SMTP allows ({MAX_PATH - 2} octets)")
    return octets


_encode_sender = lru_cache(maxsize=64)(encode_mailbox)  # most campaigns have one sender


def needs_utf8(address: str) -> bool:
    """Return whether the local part of `address` has characters outside ASCII.

    The domain does not matter: it is written in A-labels.
    """
    return not address.isascii() and not address.rpartition("@")[0].isascii()


def _word(text: str, what: str) -> bytes:
    if not _WORD.fullmatch(text) or len(text) > 255:
        raise ValueError(f"{text!r} cannot be an {what}")
    return text.encode("ascii")
