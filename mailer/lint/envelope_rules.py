"""Rules for the campaign as a whole and for headers: sender, unsubscribe fields, subject.

The bulk sender guidelines: Gmail (support.google.com/a/answer/81126), Yahoo
(senders.yahooinc.com/best-practices), Microsoft (Outlook.com's requirements for high-volume senders, 2025).
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
    {
        "gmail.com",
        "googlemail.com",
        "yahoo.com",
        "ymail.com",
        "aol.com",
        "outlook.com",
        "hotmail.com",
        "live.com",
    }
    | {"msn.com", "icloud.com", "me.com", "mac.com", "qq.com", "163.com", "126.com", "mail.ru", "yandex.ru"}
    | {"gmx.de", "gmx.net", "web.de", "proton.me", "protonmail.com"}
)
# Servers of those providers whose host name does not end with the domain.
PROVIDER_HOSTS = {
    "smtp.office365.com": {"outlook.com", "hotmail.com", "live.com", "msn.com"},
    "smtp-mail.outlook.com": {"outlook.com", "hotmail.com", "live.com", "msn.com"},
    "smtp.gmail.com": {"gmail.com", "googlemail.com"},
    "smtp.mail.yahoo.com": {"yahoo.com", "ymail.com"},
    "smtp.mail.me.com": {"icloud.com", "me.com", "mac.com"},
    "mail.gmx.net": {"gmx.de", "gmx.net"},
    "smtp.protonmail.ch": {"proton.me", "protonmail.com"},
}
LONG_SUBJECT = 150  # characters
HEADER_LIMIT = 16_384  # octets, the whole header
FIELD_LIMIT = 4_096  # octets, one field

_REPLY = re.compile(r"\s*(re|fwd?|aw|wg|tr)\s*:", re.IGNORECASE)


def check_campaign(campaign: Campaign, sources: Sources) -> Iterator[Finding]:
    """Check what the campaign file alone shows."""
    sender = constant_mailbox(campaign.sender)
    domain = sender.address.rpartition("@")[2].lower() if sender else ""
    host = campaign.server.host.lower() if campaign.server is not None else ""
    is_own_server = host.endswith(domain) or domain in PROVIDER_HOSTS.get(host, ())
    if domain in FREE_MAIL and not is_own_server:
        yield Finding(sources.find_key("from"), "from-freemail", f"'from' is an address at {domain}")
    unsubscribe = campaign.unsubscribe
    if unsubscribe is None:
        yield Finding(
            sources.find_key("campaign"), "unsubscribe-missing", "the campaign has no 'unsubscribe'"
        )
    elif unsubscribe.url is None or not unsubscribe.one_click:
        yield Finding(sources.find_key("unsubscribe"), "one-click-missing", "'unsubscribe' is not one click")
    elif campaign.dkim is None:
        yield Finding(
            sources.find_key("unsubscribe"), "one-click-unsigned", "one-click unsubscribe without 'dkim'"
        )


def check_subject(campaign: Campaign, subject: str) -> Iterator[Finding]:
    """Check the rendered subject of one message."""
    place = campaign.subject.place
    if not subject.strip():
        yield Finding(place, "subject-empty", "the subject is empty")
    if len(subject) > LONG_SUBJECT:
        yield Finding(place, "subject-long", f"the subject has {len(subject)} characters")
    if found := _REPLY.match(subject):
        yield Finding(place, "subject-reply", f"the subject begins with {found.group().strip()!r}")


def check_headers(campaign: Campaign, sources: Sources, content: bytes) -> Iterator[Finding]:
    """Check the size of the header of one message, in octets as they are sent."""
    header = content.partition(b"\r\n\r\n")[0]
    if len(header) > HEADER_LIMIT:
        yield Finding(sources.find_key("headers"), "header-size", f"the header has {len(header):,} octets")
    for field in re.split(rb"\r\n(?![ \t])", header):
        if len(field) > FIELD_LIMIT:
            name = field.partition(b":")[0].decode("ascii", "replace")
            yield Finding(
                sources.find_key("headers"), "header-size", f"the field {name} has {len(field):,} octets"
            )
