"""The envelope and the header of a message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from time import time
from typing import TypeVar

from mailer.campaign.addresses import check_address, parse_mailbox
from mailer.campaign.model import Campaign, Recipient
from mailer.dataclass import dataclass
from mailer.frozen import frozen_value
from mailer.idna import encode_address
from mailer.render import headers
from mailer.render.failure import RenderFailure
from mailer.render.templates import PatternTemplate, TemplateVariables
from mailer.text import shorten

T = TypeVar("T")
_LINE_ENDS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class PatternSet:
    """The campaign's patterns, compiled."""

    sender: PatternTemplate
    reply_to: tuple[PatternTemplate, ...]
    to: PatternTemplate | None
    subject: PatternTemplate
    cc: tuple[PatternTemplate, ...]
    bcc: tuple[PatternTemplate, ...]
    envelope_from: PatternTemplate | None
    key: PatternTemplate | None
    unsubscribe_url: PatternTemplate | None
    unsubscribe_mailto: PatternTemplate | None
    headers: tuple[tuple[str, PatternTemplate], ...]
    attachments: tuple[tuple[PatternTemplate, PatternTemplate | None], ...]

    def list_patterns(self) -> list[PatternTemplate]:
        """The patterns that are given."""
        return [pattern for pattern in self._list_all() if pattern is not None]

    def list_sources(self) -> Iterator[str]:
        """The source of each pattern for the fingerprint; empty for a pattern that is not given."""
        for pattern in self._list_all():
            yield pattern.source if pattern else ""

    def _list_all(self) -> Iterator[PatternTemplate | None]:
        yield from (self.sender, self.to, self.subject, self.envelope_from, self.key)
        yield from (self.unsubscribe_url, self.unsubscribe_mailto)
        yield from (*self.reply_to, *self.cc, *self.bcc, *(value for _, value in self.headers))
        for pair in self.attachments:
            yield from pair


@frozen_value()
class MessageHead:
    """One message's envelope and its header, without the fields of its body."""

    sender: str
    recipients: tuple[str, ...]
    utf8: bool  # an address needs SMTPUTF8
    fields: list[bytes]


class HeadMaker:
    """Makes the envelope and the header of each message of a campaign."""

    def __init__(self, campaign: Campaign, patterns: PatternSet) -> None:
        self._patterns = patterns
        # Most campaigns have one sender for all recipients: it is parsed once.
        is_constant = patterns.sender.constant is not None
        self._constant_sender = _parse_sender(patterns.sender, TemplateVariables()) if is_constant else None
        self._one_click = bool(campaign.unsubscribe and campaign.unsubscribe.one_click)
        self._constant_fields: dict[str, bytes] = {}  # of Reply-To and of the campaign's headers

    def render_unsubscribe_url(self, variables: TemplateVariables) -> str | None:
        """The URL to unsubscribe at, percent-encoded once, for the header and for templates; None if there is
        none.

        :raises RenderFailure: if it cannot be in a header.
        """
        pattern = self._patterns.unsubscribe_url
        if pattern is None:
            return None
        return _at("unsubscribe.url", pattern, lambda: headers.format_uri(pattern.render(variables).strip()))

    def find_domain(self, variables: TemplateVariables) -> str:
        """Return the domain of the address in From, for the Message-ID.

        :raises RenderFailure: if the sender's pattern does not render to a mailbox.
        """
        return self._find_sender(variables)[0].rpartition("@")[2]

    def make_head(self, recipient: Recipient, variables: TemplateVariables, message_id: str) -> MessageHead:
        """Make the envelope and the header of one message.

        :raises RenderFailure: at the pattern whose value cannot be in a header or an envelope.
        """
        patterns = self._patterns
        to = encode_address(recipient.email)
        from_address, from_field = self._find_sender(variables)
        fields = [
            from_field,
            self._make_to(recipient, to, variables),
            self._make_subject(variables),
            headers.format_date(int(time())),
            f"Message-ID: {message_id}\r\n".encode("ascii"),
        ]
        if patterns.reply_to:
            fields.append(self._reply_to(variables))
        people = [to]
        if patterns.cc and (copies := [*_copies("cc", patterns.cc, variables)]):
            fields.append(headers.format_mailboxes("Cc", copies))
            people += [address for _, address in copies]
        if patterns.bcc:
            people += [address for _, address in _copies("bcc", patterns.bcc, variables)]
        if patterns.unsubscribe_url or patterns.unsubscribe_mailto:
            fields += self._unsubscribe(variables)
        fields += [self._custom(name, value, variables) for name, value in patterns.headers]
        fields.append(b"MIME-Version: 1.0\r\n")
        sender = self._envelope_sender(from_address, variables)
        # Only an address is written in UTF-8; everything else in a header is encoded.
        utf8 = not (sender.isascii() and all(map(str.isascii, people)) and all(map(bytes.isascii, fields)))
        return MessageHead(sender, tuple(dict.fromkeys(people)), utf8, fields)

    def check_head(self, recipient: Recipient, variables: TemplateVariables) -> None:
        """Raise what `make_head` would raise, but make only what can fail.

        A name and a subject of printable characters can always be written, in encoded words if need be.
        """
        patterns = self._patterns
        if patterns.cc or patterns.bcc or patterns.envelope_from or self._constant_sender is None:
            self.make_head(recipient, variables, message_id="")
            return
        to = encode_address(recipient.email)
        if not self._find_display_name(recipient, variables).isprintable():
            self._make_to(recipient, to, variables)
        subject = patterns.subject
        if not subject.is_plain(variables) and not subject.render(variables).isprintable():
            self._make_subject(variables)
        if patterns.reply_to:
            self._reply_to(variables)
        if patterns.unsubscribe_url or patterns.unsubscribe_mailto:
            self._unsubscribe(variables)
        for name, value in patterns.headers:
            self._custom(name, value, variables)

    # These two are made for each message: `_at` would take as long as they do.

    def _make_to(self, recipient: Recipient, to: str, variables: TemplateVariables) -> bytes:
        display = self._find_display_name(recipient, variables)
        try:
            return headers.format_mailboxes("To", [(display, to)])
        except ValueError as error:
            pattern = self._patterns.to
            place, name = (recipient.place, "name") if pattern is None else (pattern.place, "to")
            raise RenderFailure(place, f"{name}: {error}") from error

    def _make_subject(self, variables: TemplateVariables) -> bytes:
        subject = self._patterns.subject
        try:
            return headers.format_unstructured("Subject", subject.render(variables))
        except ValueError as error:
            raise RenderFailure(subject.place, f"subject: {error}") from error

    def _find_display_name(self, recipient: Recipient, variables: TemplateVariables) -> str:
        """The display name in To: the pattern `to`, or else the column `name`.

        A line end in it is a blank.
        """
        if self._patterns.to is not None:
            return _join_lines(self._patterns.to.render(variables))
        name = recipient.columns.get("name")
        return _join_lines(name) if isinstance(name, str) else ""

    def _reply_to(self, variables: TemplateVariables) -> bytes:
        if (known := self._constant_fields.get("Reply-To")) is not None:
            return known
        replies = [*_copies("reply_to", self._patterns.reply_to, variables)]
        field = headers.format_mailboxes("Reply-To", replies) if replies else b""
        if all(pattern.constant is not None for pattern in self._patterns.reply_to):
            self._constant_fields["Reply-To"] = field
        return field

    def _custom(self, name: str, value: PatternTemplate, variables: TemplateVariables) -> bytes:
        if (known := self._constant_fields.get(name)) is not None:
            return known
        field = _at(f"headers.{name}", value, lambda: headers.format_field(name, value.render(variables)))
        if value.constant is not None:
            self._constant_fields[name] = field
        return field

    def _find_sender(self, variables: TemplateVariables) -> tuple[str, bytes]:
        return self._constant_sender or _parse_sender(self._patterns.sender, variables)

    def _envelope_sender(self, from_address: str, variables: TemplateVariables) -> str:
        pattern = self._patterns.envelope_from
        if pattern is None:
            return from_address
        return _at("envelope_from", pattern, lambda: encode_address(check_address(pattern.render(variables))))

    def _unsubscribe(self, variables: TemplateVariables) -> list[bytes]:
        """RFC 2369 3.2; and RFC 8058 3.1, which needs an https address."""
        ways = []
        if url := self._patterns.unsubscribe_url:
            address = str(variables["unsubscribe_url"])
            if self._one_click and not address.startswith("https://"):
                raise RenderFailure(
                    url.place,
                    f"unsubscribe.url: one_click needs an address that starts with https://, found {shorten(address, 20)!r}",
                )
            if not address.lower().startswith(
                ("https://", "http://")
            ):  # as the campaign file asks of a constant
                raise RenderFailure(
                    url.place,
                    f"unsubscribe.url: expected an address that starts with https:// or http://, found {shorten(address, 20)!r}",
                )
            ways.append(address)
        if mailto := self._patterns.unsubscribe_mailto:
            rest = mailto.render(variables).strip().removeprefix("mailto:")
            ways.append(_at("unsubscribe.mailto", mailto, lambda: _format_mailto(rest)))
        if max(map(len, ways)) > headers.MAX_LINE - 30:
            raise RenderFailure(
                url.place if url else None,
                f"unsubscribe: the address is longer than {headers.MAX_LINE - 30} characters",
            )
        field = "List-Unsubscribe: " + ",\r\n ".join(f"<{way}>" for way in ways) + "\r\n"
        post = b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" if self._one_click else b""
        return [field.encode("ascii"), post]


def _join_lines(name: str) -> str:
    """A display name on one line."""
    if name.isprintable():  # then it has no line end
        return name.strip()
    return _LINE_ENDS.sub(" ", name).strip()


@lru_cache(maxsize=64)
def _format_mailto(rest: str) -> str:
    """RFC 6068 2: `rest` is an address and maybe a query."""
    check_address(rest.partition("?")[0])
    return headers.format_uri(f"mailto:{rest}")


def _parse_sender(pattern: PatternTemplate, variables: TemplateVariables) -> tuple[str, bytes]:
    """The address in From, with its domain as A-labels, and the field."""
    box = _at("from", pattern, lambda: parse_mailbox(pattern.render(variables)))
    address = encode_address(box.address)
    return address, headers.format_mailboxes("From", [(box.name, address)])


def _copies(
    name: str, patterns: tuple[PatternTemplate, ...], variables: TemplateVariables
) -> Iterator[tuple[str, str]]:
    """The copies' mailboxes. A pattern that renders empty gives this recipient no copy."""
    for pattern in patterns:
        if text := pattern.render(variables).strip():
            box = _at(name, pattern, lambda: parse_mailbox(text))
            yield box.name, encode_address(box.address)


def _at(name: str, source: PatternTemplate | Recipient, make: Callable[[], T]) -> T:
    """`make()`; a ValueError in it becomes a RenderFailure that names the key `name`."""
    try:
        return make()
    except ValueError as error:
        raise RenderFailure(source.place, f"{name}: {error}") from error
