"""Parts of a message as lists of pieces, put together without a copy until the last join (RFC 2045, 2046,
2387).

multipart/mixed( multipart/alternative( text, multipart/related( html, images ... ) ), attachments ... ), of
which the levels that hold one thing are left out. A part is its Content-* fields, a blank line and its body,
without a last line end: the boundary brings it (RFC 2046 5.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from functools import lru_cache

from mailer.dataclass import dataclass
from mailer.render.body import Body
from mailer.render.pieces import Piece

Part = list[Piece]
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
        opening, delimiter, closing = _make_delimiters(kind, self.mark + sign, more)
        made: Part = [opening, *parts[0]]
        for part in parts[1:]:
            made.append(delimiter)
            made += part
        made.append(closing)
        return made


@lru_cache(maxsize=64)
def _make_delimiters(kind: str, boundary: bytes, more: bytes) -> tuple[bytes, bytes, bytes]:
    """What precedes the first part of a multipart, what separates two parts, and what follows the last one."""
    opening = b'Content-Type: multipart/%s%s;\r\n boundary="%s"\r\n\r\n--%s\r\n' % (
        kind.encode(),
        more,
        boundary,
        boundary,
    )
    return opening, b"\r\n--%s\r\n" % boundary, b"\r\n--%s--\r\n" % boundary


def make_text_part(subtype: bytes, body: Body) -> Part:
    """A part of type `text/SUBTYPE`; parameters of the type may follow the subtype."""
    return [_make_text_fields(subtype, body.encoding), *body.pieces]


@lru_cache(maxsize=64)
def _make_text_fields(subtype: bytes, encoding: bytes) -> bytes:
    return b"Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n" % (
        subtype,
        encoding,
    )
