"""One message taken apart for a page: headers, bodies, parts. No message may break the page that shows it.

The reader is `email` with its oldest policy, which takes headers as text. The newer policies parse them, and
a header of 4,000 parentheses ends such a parser. What the page shows is bounded, whatever the message holds.
"""

from __future__ import annotations

import email.parser
import email.policy
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message as MimePart
from functools import cached_property
from itertools import islice
from typing import Any

from mailer.dataclass import dataclass
from mailer.text import make_printable

MAX_DECODED = 4_000  # characters of a header in which encoded words are decoded; the rest is shown as it is
MAX_HEADER = 20_000  # characters of a header that are shown
MAX_HEADERS = 1_000  # that are shown
MAX_PARAMETERS = 2_000  # characters of a header with parameters, whose parser takes quadratic time
MAX_HTML = 8_000_000  # characters of HTML that are shown; more than any mail program takes
MAX_PARTS = 500

_CID = re.compile(r"cid:([^\s\"'<>)]{1,200})", re.IGNORECASE)
# A browser connects to what these name although the policy forbids to load it. No mail program shows them
# either.
_CALLING_TAG = re.compile(r"<(/?)(?=(?:iframe|frame|link|object|embed)\b)", re.IGNORECASE)
_HEAD_TAG = re.compile(r"<head\b[^<>]{0,1000}>", re.IGNORECASE)
_FOLD = re.compile(r"\r?\n[ \t]+")  # RFC 5322, 2.2.3
_SCHEME = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(light|dark)\s*\)", re.IGNORECASE)
_REMOTE_IMAGE = re.compile(r"<img\b[^<>]{0,1000}?\bsrc\s*=\s*[\"']?https?:", re.IGNORECASE)
_DARK_CANVAS = re.compile(r"color-scheme[\"']?[^;<>]{0,60}\bdark\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MessagePart:
    """An attachment or an inline file. `number` is its position among all parts, `size` is in octets."""

    number: int
    name: str
    type: str
    size: int
    is_inline: bool
    content: bytes

    def describe(self) -> dict[str, object]:
        """Return what the page lists of the part, as JSON has it."""
        return {
            "number": self.number,
            "name": self.name,
            "type": self.type,
            "size": self.size,
            "inline": self.is_inline,
        }


class MessageView:
    """A message as a page shows it. `content` is the message's octets, as they were sent."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """Names and decoded values, in the message's order."""
        items = islice(self._message.raw_items(), MAX_HEADERS)
        return [(make_printable(name), decode_text(value)) for name, value in items]

    def header(self, name: str) -> str:
        """Return the decoded value of the first header `name`; empty if there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @cached_property
    def html(self) -> str | None:
        """The HTML body, or None."""
        return self._find_body("text/html")

    @cached_property
    def text(self) -> str | None:
        """The plain text body, or None."""
        return self._find_body("text/plain")

    @cached_property
    def parts(self) -> list[MessagePart]:
        """The attachments and inline files."""
        return [
            self._describe(number, leaf)
            for number, leaf in enumerate(self._leaves)
            if not any(leaf is body for body in self._bodies.values())
        ]

    @cached_property
    def remote_images(self) -> int:
        """The number of images in the HTML that a mail program would load from the network."""
        return len(_REMOTE_IMAGE.findall((self.html or "")[:MAX_HTML]))

    def find_part(self, number: int) -> MessagePart | None:
        """Return the part with that number, or None."""
        return next((part for part in self.parts if part.number == number), None)

    def make_html_document(self, *, images: bool = True, scheme: str | None = None) -> str | None:
        """Return the HTML body for a frame. Links open outside of it; inline images are at `parts/NUMBER`.

        Without `images` no image is shown. `scheme` is "light" or "dark": the colour scheme that media
        queries find.
        """
        if self.html is None:
            return None
        html = _CALLING_TAG.sub(r"<\1x-", self.html[:MAX_HTML])
        if images:
            html = _CID.sub(self._make_image_address, html)
        head = '<base target="_blank">'
        if scheme in ("light", "dark"):
            html = _SCHEME.sub(
                lambda match: "(min-width:0)" if match[1].lower() == scheme else "(max-width:0)", html
            )
            is_dark = scheme == "dark" and _DARK_CANVAS.search(html) is not None
            head += f"<style>:root{{color-scheme:{'dark' if is_dark else 'light'} only}}</style>"
        with_head, count = _HEAD_TAG.subn(lambda tag: tag[0] + head, html, count=1)
        return with_head if count else _insert_into_head(html, head)

    def summarize(self) -> dict[str, object]:
        """Return what the page shows beside the bodies, as JSON has it."""
        html = self.html
        return {
            "headers": self.headers,
            "subject": self.header("Subject"),
            "from": self.header("From"),
            "to": self.header("To"),
            "cc": self.header("Cc"),
            "html": html is not None,
            "htmlSize": len(html.encode("utf-8", "replace")) if html is not None else 0,
            "text": self.text,
            "size": len(self.content),
            "remoteImages": self.remote_images,
            "parts": [part.describe() for part in self.parts],
        }

    @cached_property
    def _message(self) -> MimePart[Any, Any]:
        parser = email.parser.BytesParser(policy=_BoundedPolicy())
        try:
            return parser.parsebytes(self.content)
        except (RecursionError, ValueError, LookupError, HeaderParseError):  # parts within parts without end
            return parser.parsebytes(self.content, headersonly=True)

    @cached_property
    def _leaves(self) -> list[MimePart[Any, Any]]:
        found: list[MimePart[Any, Any]] = []
        for leaf in _walk_leaves(self._message):
            found.append(leaf)
            if len(found) >= MAX_PARTS:
                break
        return found

    @cached_property
    def _bodies(self) -> Mapping[str, MimePart[Any, Any]]:
        """The first part of each of the two types that is not an attachment."""
        bodies: dict[str, MimePart[Any, Any]] = {}
        for leaf in self._leaves:
            kind = leaf.get_content_type()
            if kind in ("text/html", "text/plain") and not _is_attachment(leaf):
                bodies.setdefault(kind, leaf)
        return bodies

    @cached_property
    def _image_numbers(self) -> Mapping[str, int]:
        """Content-ID -> number of the part."""
        return {
            str(leaf["Content-ID"]).strip().strip("<>"): number
            for number, leaf in enumerate(self._leaves)
            if leaf["Content-ID"] is not None
        }

    def _make_image_address(self, match: re.Match[str]) -> str:
        number = self._image_numbers.get(match[1])
        return match[0] if number is None else f"parts/{number}"

    def _find_body(self, kind: str) -> str | None:
        leaf = self._bodies.get(kind)
        return None if leaf is None else _decode_body(leaf)

    @staticmethod
    def _describe(number: int, leaf: MimePart[Any, Any]) -> MessagePart:
        content = _decode_octets(leaf)
        is_inline = not _is_attachment(leaf) or leaf["Content-ID"] is not None
        return MessagePart(
            number, _find_file_name(leaf, number), leaf.get_content_type(), len(content), is_inline, content
        )


class _BoundedPolicy(email.policy.Compat32):
    """Headers as text, cut before they are parsed for parameters."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[: MAX_PARAMETERS if name.lower().startswith("content-") else MAX_HEADER]


def decode_text(value: object) -> str:
    """Return a header's value on one line, encoded words decoded (RFC 2047)."""
    octets = str(value)[:MAX_HEADER].encode("utf-8", "surrogateescape")  # RFC 6532: a header may be UTF-8
    text = _FOLD.sub(" ", octets.decode("utf-8", "replace"))
    first, rest = text[:MAX_DECODED], text[MAX_DECODED:]
    with suppress(HeaderParseError, LookupError, ValueError, AssertionError):  # then it is shown as it is
        first = str(make_header(decode_header(first)))
    return make_printable(first + rest)[:MAX_HEADER]


def _insert_into_head(html: str, head: str) -> str:
    """Return `html` with `head` first, but after a doctype, because that selects the browser's rules."""
    start = html[:200].lstrip()
    if start[:9].lower() == "<!doctype" and (end := html.find(">", 0, 500)) >= 0:
        return html[: end + 1] + head + html[end + 1 :]
    return head + html


def _walk_leaves(message: MimePart[Any, Any]) -> Iterator[MimePart[Any, Any]]:
    """Yield the parts without parts of their own, in order; without recursion, because of the depth."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        payload = part.get_payload()
        if isinstance(payload, list) and part.get_content_maintype() == "multipart":
            waiting.extend(part for part in reversed(payload) if isinstance(part, MimePart))
        else:
            yield part


def _is_attachment(leaf: MimePart[Any, Any]) -> bool:
    return str(leaf.get("Content-Disposition", "")).strip().lower().startswith("attachment")


def _find_file_name(leaf: MimePart[Any, Any], number: int) -> str:
    try:
        name = leaf.get_filename()
    except (ValueError, LookupError, TypeError):
        name = None
    return decode_text(name)[:200] if name else f"part-{number}"


def _decode_octets(leaf: MimePart[Any, Any]) -> bytes:
    """Return a leaf's content without its transfer encoding; the octets of an attached message."""
    payload = leaf.get_payload()
    if isinstance(payload, list):  # message/rfc822
        return b"".join(_flatten_part(part) for part in payload if isinstance(part, MimePart))
    try:
        data = leaf.get_payload(decode=True)
    except (ValueError, LookupError):
        return b""
    return data if isinstance(data, bytes) else b""


def _flatten_part(part: MimePart[Any, Any]) -> bytes:
    try:
        return part.as_bytes()
    except (RecursionError, ValueError, LookupError, KeyError, TypeError):
        return b""


def _decode_body(leaf: MimePart[Any, Any]) -> str:
    data = _decode_octets(leaf)
    try:
        charset = leaf.get_content_charset() or "utf-8"
        return data.decode(charset, "replace")
    except (LookupError, ValueError):
        return data.decode("latin-1")
