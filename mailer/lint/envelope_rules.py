"""Rules on the campaign as a whole and on its headers: who sends, how to leave, what the subject says.

The bulk sender guidelines: Gmail (support.google.com/a/answer/81126), Yahoo (senders.yahooinc.com/best-practices),
Microsoft (Outlook.com's requirements for high-volume senders, 2025).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailer.campaign import Campaign
from mailer.campaign.addresses import constant_mailbox
from mailer.lint.finding import Finding
from mailer.lint.source import Sources

# Providers that publish a DMARC policy against others who send in their name.
FREE_MAIL = frozenset(
    {"gmail.com", "googlemail.com", "yahoo.com", "ymail.com", "aol.com", "outlook.com", "hotmail.com", "live.com"}
    | {"msn.com", "icloud.com", "me.com", "mac.com", "qq.com", "163.com", "126.com", "mail.ru", "yandex.ru"}
    | {"gmx.de", "gmx.net", "web.de", "proton.me", "protonmail.com"}
)
LONG_SUBJECT = 150  # characters
HEADER_LIMIT = 16_384  # octets, the whole header
FIELD_LIMIT = 4_096  # octets, one field

_REPLY = re.compile(r"\s*(re|fwd?|aw|wg|tr)\s*:", re.IGNORECASE)


def campaign_rules(campaign: Campaign, sources: Sources) -> Iterator[Finding]:
    """What the campaign file alone can show."""
    sender = constant_mailbox(campaign.sender)
    domain = sender.address.rpartition("@")[2].lower() if sender else ""
    hosted = campaign.server is not None and campaign.server.host.lower().endswith(domain)
    if domain in FREE_MAIL and not hosted:
        yield Finding(sources.key("from"), "from-freemail", f"'from' is an address at {domain}")
    unsubscribe = campaign.unsubscribe
    if unsubscribe is None:
        yield Finding(sources.key("campaign"), "unsubscribe-missing", "the campaign has no 'unsubscribe'")
    elif unsubscribe.url is None or not unsubscribe.one_click:
        yield Finding(sources.key("unsubscribe"), "one-click-missing", "'unsubscribe' is not one click")
    elif campaign.dkim is None:
        yield Finding(sources.key("unsubscribe"), "one-click-unsigned", "one-click unsubscribe without 'dkim'")


def subject_rules(campaign: Campaign, subject: str) -> Iterator[Finding]:
    """The rendered subject of one message."""
    place = campaign.subject.place
    if not subject.strip():
        yield Finding(place, "subject-empty", "the subject is empty")
    if len(subject) > LONG_SUBJECT:
        yield Finding(place, "subject-long", f"the subject has {len(subject)} characters")
    if found := _REPLY.match(subject):
        yield Finding(place, "subject-reply", f"the subject begins with {found.group().strip()!r}")


def header_rules(campaign: Campaign, sources: Sources, content: bytes) -> Iterator[Finding]:
    """The size of a message's header, as it travels."""
    header = content.partition(b"\r\n\r\n")[0]
    if len(header) > HEADER_LIMIT:
        yield Finding(sources.key("headers"), "header-size", f"the header has {len(header):,} octets")
    for field in re.split(rb"\r\n(?![ \t])", header):
        if len(field) > FIELD_LIMIT:
            name = field.partition(b":")[0].decode("ascii", "replace")
            yield Finding(sources.key("headers"), "header-size", f"the field {name} has {len(field):,} octets")
