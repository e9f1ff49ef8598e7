"""Header fields as bytes: RFC 5322 folding, RFC 2047 encoded words, RFC 2231 file names, RFC 6532 addresses.

A value is written as it is only if every parser reads it back unchanged. Otherwise it is written in encoded
words; a text that looks like an encoded word is encoded too. A control character, line end or lone surrogate
raises ValueError; the caller knows whose value it is.

The campaign's own fields are written by their grammar: an encoded word may be only where RFC 2047, section 5,
allows it, in text and in the phrases of a structured field, never in an address, an identifier or a URI.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from time import gmtime
from urllib.parse import quote

from mailer.campaign.addresses import parse_mailbox
from mailer.idna import encode_address

LINE = 76  # RFC 2047 2: a line with an encoded word; RFC 5322 2.1.1 recommends 78
WORD = 75  # RFC 2047 2: one encoded word
MAX_LINE = 998  # RFC 5322 2.1.1: octets of a line
_PREFIX, _SUFFIX = "=?utf-8?", "?="
_ROOM = WORD - len(_PREFIX) - len("q?") - len(_SUFFIX)
_MOST_CLUSTER = (
    36  # bytes of a character that is kept whole: fits a word behind `Subject: `, and joined emoji fit it
)

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")  # printable ASCII with single blanks
_QUOTABLE = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # RFC 5322 3.2.4: blanks inside quotes are kept
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")  # RFC 5322 3.2.3
_Q_SAFE = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
)  # RFC 2047 5 (3): phrases
_TOKEN = re.compile(r"[A-Za-z0-9!#$&+.^_`{|}~ -]+")  # the characters that a quoted file name may contain
_Q = [chr(byte) if byte in _Q_SAFE else "_" if byte == 0x20 else f"={byte:02X}" for byte in range(256)]

_URI = re.compile(r"[A-Za-z0-9!#$%&'()*+,/:;=?@\[\]~._-]*")

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

_DAYS = "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"
_MONTHS = "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"


def check_text(value: str) -> str:
    """`value`; ValueError if it contains a character that cannot be in a header."""
    if found := _CONTROL.search(value):
        code = ord(found[0])
        what = {
            10: "a line end",
            13: "a line end",
            0: "a NUL",
            0x2028: "a line end",
            0x2029: "a line end",
        }.get(code)
        raise ValueError(f"{what or 'a control character'} (U+{code:04X}) cannot be in a header")
    return value


def format_unstructured(name: str, value: str) -> bytes:
    """The field `Name: value` with CRLF, for Subject and the headers that the user adds."""
    if value.isascii() and len(name) + len(value) < LINE and _PLAIN.fullmatch(value) and "=?" not in value:
        return f"{name}: {value}\r\n".encode("ascii")
    check_text(value)
    if not value:
        return f"{name}: \r\n".encode("ascii")
    if _PLAIN.fullmatch(value) and "=?" not in value and (folded := _fold(name, value.split(" "))):
        return folded
    return _lines(name, encode_words(value, LINE - len(name) - 2))


def format_mailboxes(name: str, boxes: Iterable[tuple[str, str]]) -> bytes:
    """The field `Name: a list of mailboxes`.

    Each box is a display name, which may be empty, and an address.
    """
    words: list[str] = []
    for display, address in boxes:
        if words:
            words[-1] += ","
        words += encode_phrase(display, LINE - len(name) - 2)
        words.append(f"<{address}>" if display else address)
    return fold_words(name, words)


def fold_words(name: str, words: list[str]) -> bytes:
    """The field `name` with words between which it may be folded.

    ValueError if a word is longer than a line.
    """
    return _fold(name, words) or _lines(name, words)


def encode_phrase(text: str, first: int = LINE) -> list[str]:
    """A display name as words. A line may be folded between two words."""
    if not text:
        return []
    if len(text) < LINE and "=?" not in text:
        if _ATOMS.fullmatch(text):
            return text.split(" ")
        if _QUOTABLE.fullmatch(text):
            quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
            if len(quoted) <= first:
                return [quoted]
    return encode_words(check_text(text), first)


def encode_words(text: str, first: int = LINE) -> list[str]:
    """`text` as encoded words (RFC 2047), in B or Q, whichever is smaller; the first has at most `first`
    characters.
    """
    if (single := _encode_one_word(text, first)) is not None:
        return [single]
    pieces = [cluster.encode("utf-8") for cluster in split_clusters(text)]
    size = sum(len(_Q[byte]) for piece in pieces for byte in piece)
    base64 = sum(map(len, pieces)) * 4 // 3 < size or max(map(len, pieces)) > _ROOM // 3
    full = _ROOM // 4 * 3 if base64 else _ROOM
    room = min(full, (first - (WORD - _ROOM)) // 4 * 3 if base64 else first - (WORD - _ROOM))
    words: list[str] = []
    word: list[bytes] = []
    used = 0
    for piece in pieces:
        cost = len(piece) if base64 else sum(len(_Q[byte]) for byte in piece)
        if word and used + cost > room:
            words.append(_word(b"".join(word), base64))
            word, used, room = [], 0, full
        word.append(piece)
        used += cost
    return [*words, _word(b"".join(word), base64)]


def _encode_one_word(text: str, first: int) -> str | None:
    """A text that fits one encoded word; None if it does not."""
    raw = text.encode("utf-8")
    if len(raw) > _ROOM:
        return None
    quoted = "".join(map(_Q.__getitem__, raw))
    base64 = len(raw) * 4 // 3 < len(quoted)
    size = (len(raw) + 2) // 3 * 4 if base64 else len(quoted)
    if size > min(_ROOM, first - (WORD - _ROOM)):
        return None
    return _word(raw, True) if base64 else f"{_PREFIX}q?{quoted}{_SUFFIX}"


def _word(raw: bytes, base64: bool) -> str:
    if base64:
        return f"{_PREFIX}b?{binascii.b2a_base64(raw, newline=False).decode('ascii')}{_SUFFIX}"
    return f"{_PREFIX}q?{''.join(map(_Q.__getitem__, raw))}{_SUFFIX}"


def split_clusters(text: str) -> Iterator[str]:
    """Split a text into characters as a reader sees them, similar to UAX 29 and with a maximum length.

    Accents, joined emoji and flags stay together: RFC 2047 5 asks only for whole code points, but many mail
    clients decode and draw each encoded word alone.
    """
    if text.isascii():
        yield from text
        return
    cluster = ""
    for char in text:
        if cluster and (not _is_extended_by(cluster, char) or len((cluster + char).encode()) > _MOST_CLUSTER):
            yield cluster
            cluster = ""
        cluster += char
    if cluster:
        yield cluster


def _is_extended_by(cluster: str, char: str) -> bool:
    code = ord(char)
    if code < 0x300:
        return False
    if code == 0x200D or cluster[-1] == "\u200d" or 0xFE00 <= code <= 0xFE0F or 0x1F3FB <= code <= 0x1F3FF:
        return True
    if 0x1F1E6 <= code <= 0x1F1FF:  # a flag is two of these
        return len(cluster) == 1 and 0x1F1E6 <= ord(cluster) <= 0x1F1FF
    return 0xE0020 <= code <= 0xE007F or unicodedata.category(char) in ("Mn", "Me", "Mc")


def _fold(name: str, words: list[str]) -> bytes | None:
    """Words in lines of at most 78 octets (RFC 5322 2.1.1), or 76 if one is encoded (RFC 2047 2).

    None if a word does not fit.
    """
    whole = f"{name}: {' '.join(words)}"
    room = LINE if _PREFIX in whole else LINE + 2
    if words and len(whole) <= room:
        return f"{whole}\r\n".encode()
    lines, line = [], f"{name}:"
    for word in words:
        if len(line) + 1 + len(word) > room and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
        if len(line) > room and len(line.encode()) > LINE * 2:
            return None
    return "\r\n".join([*lines, line, ""]).encode("utf-8")


def _lines(name: str, words: list[str]) -> bytes:
    """One word per line. Only a word that cannot be split is in a line of more than 78 octets."""
    field = (f"{name}: " + "\r\n ".join(words) + "\r\n").encode("utf-8")
    if max(map(len, field.split(b"\r\n"))) > MAX_LINE:
        raise ValueError(f"a part without a blank is longer than {MAX_LINE} octets")
    return field


def format_parameter(name: str, value: str) -> str:
    """The parameter `; name=value` of a Content-* field, on a line of its own; by RFC 2231 if need be."""
    if len(value) + len(name) < LINE - 6 and _TOKEN.fullmatch(value):
        return f';\r\n {name}="{value}"'
    pieces, piece = [], ""
    for char in check_text(value):
        octets = quote(char, safe="!#$&+.^_`|~-")
        if len(piece) + len(octets) > LINE - len(name) - 14:
            pieces.append(piece)
            piece = ""
        piece += octets
    pieces.append(piece)
    if len(pieces) == 1:
        return f";\r\n {name}*=utf-8''{piece}"
    pieces[0] = "utf-8''" + pieces[0]
    return "".join(f";\r\n {name}*{n}*={piece}" for n, piece in enumerate(pieces))


def format_name(filename: str) -> str:
    """The parameter `name` of Content-Type, if `format_parameter` writes `filename` by RFC 2231; else
    nothing.

    It is for readers that do not know RFC 2231. RFC 2047 does not allow encoded words in a parameter, but
    every common client writes and reads them there.
    """
    if len(filename) < LINE - 6 - len("filename") and _TOKEN.fullmatch(filename):
        return ""
    words = encode_words(filename, LINE - len(' name=""'))
    return ';\r\n name="' + "\r\n ".join(words) + '"'


def format_uri(text: str) -> str:
    """A URI for a header: every character that is not a URI character is percent-encoded."""
    if _URI.fullmatch(text):
        return text
    return quote(check_text(text), safe="!#$%&'()*+,/:;=?@[]~")


@lru_cache(maxsize=2)
def format_date(seconds: int) -> bytes:
    """The Date field (RFC 5322 3.3) in UTC. `seconds` is the time since the epoch."""
    t = gmtime(seconds)
    stamp = f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
    return f"Date: {stamp}{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000\r\n".encode("ascii")


def format_field(name: str, value: str) -> bytes:
    """The field `name: value` with CRLF; `value` is text as the user wrote it.

    :raises ValueError: if the value is not what the field is for, or has a character that cannot be in a header.
    """
    kind = name.lower()
    if not value.strip():
        return format_unstructured(name, "")
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
    return format_unstructured(name, value)


def _format_addresses(name: str, value: str) -> bytes:
    boxes = [parse_mailbox(check_text(text)) for text in split_list(value)]
    if name.lower() in _SINGLE and len(boxes) != 1:
        raise ValueError(f"one mailbox is expected, found {len(boxes)}")
    return format_mailboxes(name, [(box.name, encode_address(box.address)) for box in boxes])


def _format_list_id(name: str, value: str) -> bytes:
    found = _LIST_ID.fullmatch(check_text(value.strip()))
    if found is None or not found[2].isascii():
        raise ValueError('expected a list identifier such as "Name <news.example.com>"')
    display = found[1].strip()
    if len(display) > 1 and display[0] == display[-1] == '"':
        display = re.sub(r"\\(.)", r"\1", display[1:-1])
    return fold_words(name, [*encode_phrase(display, LINE - len(name) - 2), f"<{found[2]}>"])


def _format_uris(name: str, value: str) -> bytes:
    if value.strip().upper() == "NO":  # RFC 2369 3.4: no posting
        return format_unstructured(name, "NO")
    words = []
    for text in split_list(check_text(value)):
        found = _URI_ITEM.fullmatch(text)
        if found is None or not found[1].isprintable() or " " in found[1]:
            raise ValueError("expected URIs in <>, with a comma between two of them")
        comment = f" {found[2]}" if found[2] and found[2].isascii() else ""
        words.append(f"<{format_uri(found[1])}>{comment}")
    return fold_words(name, [f"{word}," for word in words[:-1]] + words[-1:])


def _format_identifiers(name: str, value: str) -> bytes:
    words = check_text(value).split()
    if not all(_IDENTIFIER.fullmatch(word) for word in words):
        raise ValueError("expected message identifiers such as <id@example.com>")
    return fold_words(name, words)


def _format_phrases(name: str, value: str) -> bytes:
    words: list[str] = []
    for text in split_list(check_text(value)):
        if words and words[-1].startswith(_PREFIX):  # RFC 2047 5 (3): a blank is behind an encoded word
            words.append(",")
        elif words:
            words[-1] += ","
        words += encode_phrase(text.strip(), LINE - len(name) - 2)
    return fold_words(name, words)


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
