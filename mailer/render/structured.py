"""The campaign's own header fields, each by its grammar.

An encoded word may stand only where RFC 2047, section 5, allows it: in text, and in the phrases of a
structured field, never in an address, an identifier or a URI.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailer.campaign.addresses import parse_mailbox
from mailer.idna import encode_address
from mailer.render import headers

_ADDRESSES = frozenset(  # RFC 5322 3.6.2, 3.6.3, 3.6.6; RFC 8098 2.1
    {
        "reply-to",
        "sender",
        "resent-from",
        "resent-sender",
        "resent-to",
        "resent-cc",
        "resent-bcc",
        "errors-to",
    }
    | {"disposition-notification-to", "return-receipt-to", "x-confirm-reading-to"}
)
_SINGLE = frozenset({"sender", "resent-sender"})  # one mailbox: RFC 5322 3.6.2
_URIS = frozenset("list-help list-subscribe list-post list-owner list-archive".split())  # noqa: SIM905 - RFC 2369
_IDENTIFIERS = frozenset({"in-reply-to", "references", "resent-message-id"})  # RFC 5322 3.6.4

_LIST_ID = re.compile(r"(.*?)<([^<>\s]+)>\s*", re.DOTALL)  # RFC 2919 3
_URI_ITEM = re.compile(r"\s*<([^<>]*)>\s*(\([^()]*\))?\s*")
_IDENTIFIER = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")


def format_field(name: str, value: str) -> bytes:
    """The field `name: value` with CRLF; `value` is text as the user wrote it.

    :raises ValueError: if the value is not what the field is for, or has a character that cannot be in a header.
    """
    kind = name.lower()
    if not value.strip():
        return headers.format_unstructured(name, "")
    if kind in _ADDRESSES:
        return _format_addresses(name, value)
    if kind == "list-id":
        return _format_list_id(name, value)
    if kind in _URIS:
        return _format_uris(name, value)
    if kind in _IDENTIFIERS:
        return _format_identifiers(name, value)
    if kind == "keywords":
        return _format_phrases(name, value)
    return headers.format_unstructured(name, value)


def _format_addresses(name: str, value: str) -> bytes:
    boxes = [parse_mailbox(headers.check_text(text)) for text in split_list(value)]
    if name.lower() in _SINGLE and len(boxes) != 1:
        raise ValueError(f"one mailbox is expected, found {len(boxes)}")
    return headers.format_mailboxes(name, [(box.name, encode_address(box.address)) for box in boxes])


def _format_list_id(name: str, value: str) -> bytes:
    found = _LIST_ID.fullmatch(headers.check_text(value.strip()))
    if found is None or not found[2].isascii():
        raise ValueError('expected a list identifier such as "Name <news.example.com>"')
    display = found[1].strip()
    if len(display) > 1 and display[0] == display[-1] == '"':
        display = re.sub(r"\\(.)", r"\1", display[1:-1])
    return headers.fold_words(
        name, [*headers.encode_phrase(display, headers.LINE - len(name) - 2), f"<{found[2]}>"]
    )


def _format_uris(name: str, value: str) -> bytes:
    if value.strip().upper() == "NO":  # RFC 2369 3.4: no posting
        return headers.format_unstructured(name, "NO")
    words = []
    for text in split_list(headers.check_text(value)):
        found = _URI_ITEM.fullmatch(text)
        if found is None or not found[1].isprintable() or " " in found[1]:
            raise ValueError("expected URIs in <>, with a comma between two of them")
        comment = f" {found[2]}" if found[2] and found[2].isascii() else ""
        words.append(f"<{headers.format_uri(found[1])}>{comment}")
    return headers.fold_words(name, [f"{word}," for word in words[:-1]] + words[-1:])


def _format_identifiers(name: str, value: str) -> bytes:
    words = headers.check_text(value).split()
    if not all(_IDENTIFIER.fullmatch(word) for word in words):
        raise ValueError("expected message identifiers such as <id@example.com>")
    return headers.fold_words(name, words)


def _format_phrases(name: str, value: str) -> bytes:
    words: list[str] = []
    for text in split_list(headers.check_text(value)):
        if words:
            words[-1] += ","
        words += headers.encode_phrase(text.strip(), headers.LINE - len(name) - 2)
    return headers.fold_words(name, words)


def split_list(value: str) -> Iterator[str]:
    """The items of a list, at the commas that are not in quotes and not in <>. Empty items are left out."""
    start = 0
    is_quoted = is_bracketed = False
    position = 0
    while position < len(value):
        char = value[position]
        if char == "\\" and is_quoted:
            position += 1
        elif char == '"':
            is_quoted = not is_quoted
        elif not is_quoted and char in "<>":
            is_bracketed = char == "<"
        elif char == "," and not is_quoted and not is_bracketed:
            if item := value[start:position].strip():
                yield item
            start = position + 1
        position += 1
    if item := value[start:].strip():
        yield item
