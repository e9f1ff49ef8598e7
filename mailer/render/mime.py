"""Parts of a message as lists of bytes, put together without a copy until the last join (RFC 2045, 2046,
2387).

multipart/mixed( multipart/alternative( text, multipart/related( html, images ... ) ), attachments ... ), of
which the levels that hold one thing are left out. A part is its Content-* fields, a blank line and its body,
without a last line end: the boundary brings it (RFC 2046 5.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from mailer.dataclass import dataclass
from mailer.render.body import Body

Part = list[bytes]
MARK = b"=_"  # occurs in no quoted-printable and no base64 body (RFC 2045 6.7, note on boundaries)


@dataclass(frozen=True, slots=True)
class Boundaries:
    """The opening fields and the delimiters of one campaign's multiparts; `token` differs from campaign to
    campaign.
    """

    token: str
    mark: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mark", MARK + self.token.encode("ascii"))

    def make_alternative(self, parts: Sequence[Part]) -> Part:
        """Return a multipart/alternative of `parts`: the same message in several forms, the richest last."""
        return self._make_multipart("alternative", b"a", parts, b"")

    def make_related(self, parts: Sequence[Part]) -> Part:
        """Return a multipart/related of `parts`: HTML, and the images that it shows (RFC 2387)."""
        return self._make_multipart("related", b"r", parts, b'; type="text/html"')

    def make_mixed(self, parts: Sequence[Part]) -> Part:
        """Return a multipart/mixed of `parts`: the message, and its attachments."""
        return self._make_multipart("mixed", b"m", parts, b"")

    def _make_multipart(self, kind: str, sign: bytes, parts: Sequence[Part], more: bytes) -> Part:
        if len(parts) == 1:
            return parts[0]
        boundary = self.mark + sign
        delimiter = b"\r\n--" + boundary + b"\r\n"
        made: Part = [
            b"Content-Type: multipart/"
            + kind.encode()
            + more
            + b';\r\n boundary="'
            + boundary
            + b'"\r\n\r\n--',
            boundary + b"\r\n",
            *parts[0],
        ]
        for part in parts[1:]:
            made.append(delimiter)
            made += part
        made.append(b"\r\n--" + boundary + b"--\r\n")
        return made


def make_text_part(subtype: bytes, body: Body) -> Part:
    """A part of type `text/SUBTYPE`; parameters of the type may follow the subtype."""
    return [
        b"Content-Type: text/"
        + subtype
        + b"; charset=utf-8\r\nContent-Transfer-Encoding: "
        + body.encoding
        + b"\r\n\r\n",
        body.content,
    ]
