"""A maildir read for the inbox page: summaries, and one message taken apart. Built to survive any message."""

from __future__ import annotations

import base64
import re
from dataclasses import asdict, dataclass
from email import policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesHeaderParser, BytesParser
from pathlib import Path

from mailer.sandbox.maildir import CaughtMessage, Maildir

SHOWN = 200  # the newest; a search looks through all
HEAD = 64 * 1024  # octets in which a message's header is looked for

CID = re.compile(r"cid:([^\s\"'<>)]+)", re.IGNORECASE)
# A browser connects to what these name although the policy forbids to load it; no mail client shows them either.
CALLERS = re.compile(r"<(/?)(?=(?:iframe|frame|link|object|embed)\b)", re.IGNORECASE)
HEAD_TAG = re.compile(r"<head\b[^>]*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of the list. `at` is seconds since 1970, `size` octets."""

    id: str
    sender: str
    to: str
    subject: str
    at: float
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """An attachment or inline file of a message."""

    number: int
    name: str
    type: str
    size: int
    inline: bool


class Inbox:
    def __init__(self, path: Path) -> None:
        self._maildir = Maildir(path)
        self._summaries: dict[str, Summary] = {}  # files of a maildir never change

    def list(self, find: str = "") -> dict[str, object]:
        """The newest messages that hold `find` in sender, recipient or subject, and how many there are."""
        names = self._maildir.list_names()
        if not find:
            shown = [summary for name in names[: -SHOWN - 1 : -1] if (summary := self._summary(name))]
            return {"total": len(names), "found": len(names), "messages": [asdict(summary) for summary in shown]}
        wanted = find.casefold()
        found = [s for name in reversed(names) if (s := self._summary(name)) and wanted in _searched(s)]
        return {"total": len(names), "found": len(found), "messages": [asdict(summary) for summary in found[:SHOWN]]}

    def message(self, name: str) -> dict[str, object] | None:
        caught = self._maildir.read_message(name)
        if caught is None:
            return None
        message = _parse(caught)
        return {
            "id": name,
            "envelope": {"sender": caught.sender, "recipients": caught.recipients},
            "at": caught.at,
            "size": len(caught.content),
            "headers": [[key, _flat(value)] for key, value in message.items()],
            "html": _body(message, "html") is not None,
            "text": _body(message, "plain"),
            "parts": [asdict(part) for part, _ in _files(message)],
        }

    def html(self, name: str) -> str | None:
        """The HTML part, with the message's own images inside it (data: URLs)."""
        caught = self._maildir.read_message(name)
        if caught is None:
            return None
        message = _parse(caught)
        html = _body(message, "html")
        return None if html is None else _self_contained(html, message)

    def source(self, name: str) -> bytes | None:
        caught = self._maildir.read_message(name)
        return caught.content if caught else None

    def part(self, name: str, number: int) -> tuple[Part, bytes] | None:
        caught = self._maildir.read_message(name)
        if caught is None:
            return None
        return next((pair for pair in _files(_parse(caught)) if pair[0].number == number), None)

    def _summary(self, name: str) -> Summary | None:
        if (known := self._summaries.get(name)) is None and (path := self._maildir.find_path(name)):
            known = self._summaries[name] = _summarise(name, path)
        return known


def _summarise(name: str, path: Path) -> Summary:
    with path.open("rb") as file:
        header = BytesHeaderParser(policy=policy.default).parsebytes(file.read(HEAD))
    stat = path.stat()
    sender, to, subject = (_flat(header.get(key, "")) for key in ("From", "To", "Subject"))
    return Summary(name, sender, to or _flat(header.get("Delivered-To", "")), subject, stat.st_mtime, stat.st_size)


def _searched(summary: Summary) -> str:
    return f"{summary.sender}\n{summary.to}\n{summary.subject}".casefold()


def _parse(caught: CaughtMessage) -> EmailMessage:
    return BytesParser(EmailMessage, policy=policy.default).parsebytes(caught.content)


def _flat(value: object) -> str:
    """A header's value on one line, without lone surrogates (undecodable octets), which JSON would choke on."""
    return " ".join(str(value).split()).encode("utf-8", "replace").decode("utf-8")


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return None if part is None else _decoded(part)


def _decoded(part: MIMEPart) -> str:
    data = _octets(part)
    try:
        return data.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        return data.decode("latin-1")


def _octets(part: MIMEPart) -> bytes:
    """A leaf's content without its transfer encoding; empty for a multipart."""
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _files(message: EmailMessage) -> list[tuple[Part, bytes]]:
    """Everything but the bodies: attachments and inline images, numbered as they stand."""
    bodies = [message.get_body((kind,)) for kind in ("html", "plain")]
    found = []
    for number, part in enumerate(message.walk()):
        if part.is_multipart() or any(part is body for body in bodies):
            continue
        content = _octets(part)
        name = part.get_filename() or f"part-{number}"
        inline = part.get_content_disposition() != "attachment" or part["Content-ID"] is not None
        found.append((Part(number, _flat(name), part.get_content_type(), len(content), inline), content))
    return found


def _self_contained(html: str, message: EmailMessage) -> str:
    images = {
        str(part["Content-ID"]).strip().strip("<>"): part for part in message.walk() if part["Content-ID"] is not None
    }

    def embed(match: re.Match[str]) -> str:
        part = images.get(match[1])
        if part is None:
            return match[0]
        return f"data:{part.get_content_type()};base64,{base64.b64encode(_octets(part)).decode('ascii')}"

    shown = CALLERS.sub(r"<\1x-", CID.sub(embed, html))
    # Links leave the frame for a tab of their own.
    return HEAD_TAG.sub(lambda head: head[0] + '<base target="_blank">', shown, count=1)
