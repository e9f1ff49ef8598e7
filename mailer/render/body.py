"""The bodies of text parts: line ends, and the encoding that is smallest.

Every line ends with CRLF, whatever ended it before. A bare CR or LF is never sent, because it allows SMTP smuggling.
A NUL is refused: RFC 5321 2.3.8 forbids it, and removing it would change the text.
"""

from __future__ import annotations

import binascii
from typing import NamedTuple

MAX_LINE = 998  # RFC 5322 2.1.1: octets of a line


class Body(NamedTuple):
    encoding: bytes  # Content-Transfer-Encoding (RFC 2045 6)
    content: bytes


class _QuotedLines(dict[bytes, bytes]):
    """Lines in quoted-printable. Most lines of a campaign are the same in every message, and are encoded once."""

    MOST = 2048

    def __missing__(self, line: bytes) -> bytes:
        encoded = binascii.b2a_qp(line).replace(b"=\n", b"=\r\n")  # its soft breaks are bare line feeds
        if len(line) <= MAX_LINE:
            if len(self) >= self.MOST:
                self.clear()
            self[line] = encoded
        return encoded


class BodyEncoder:
    """Encodes the texts of one campaign.

    `mark` is the beginning of the campaign's boundaries: a text that contains it is never sent unencoded.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._lines = _QuotedLines()

    def encode(self, text: str, *, eight_bit: bool = False) -> Body:
        """Encode a text.

        :param eight_bit: whether the server offers 8BITMIME (RFC 6152).
        :raises ValueError: if a character of the text cannot be sent.
        """
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if "\0" in text:
            raise ValueError("a NUL character (U+0000) cannot be sent")
        try:
            raw = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"a lone surrogate (U+{ord(text[error.start]):04X}) is not a character") from None
        lines = raw.split(b"\n")
        if (eight_bit or text.isascii()) and max(map(len, lines)) <= MAX_LINE and self._mark not in raw:
            return Body(b"7bit" if text.isascii() else b"8bit", b"\r\n".join(lines))
        quoted = b"\r\n".join(map(self._lines.__getitem__, lines))
        if len(quoted) > len(raw) * 1.38:  # base64 is 4/3, and a line end in 78
            encoded = encode_base64(b"\r\n".join(lines))
            if len(encoded) < len(quoted):
                return Body(b"base64", encoded)
        return Body(b"quoted-printable", quoted)


def encode_base64(content: bytes) -> bytes:
    """RFC 2045 6.8: lines of 76 characters, CRLF between them."""
    encoded = binascii.b2a_base64(content, newline=False)
    return b"\r\n".join([encoded[n : n + 76] for n in range(0, len(encoded), 76)])
