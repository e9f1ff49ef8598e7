"""The rules: each looks at one thing, and yields what it finds.

Envelope and header: the bulk sender guidelines of Gmail (support.google.com/a/answer/81126), Yahoo
(senders.yahooinc.com/best-practices) and Microsoft (Outlook.com's requirements for high-volume senders,
2025).

Clients: the tables have only what a newsletter may use and at least two of Gmail, Outlook for Windows,
Outlook.com, Yahoo and Apple Mail leave out, by caniemail.com and the clients' own documentation. What MJML
itself writes is left out: it has a fallback beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email.message import Message
from urllib.parse import urlsplit

from mailer.campaign import Campaign
from mailer.campaign.addresses import constant_mailbox
from mailer.errors import Place
from mailer.lint.document import Document
from mailer.lint.finding import Finding
from mailer.lint.source import Sources

Locate = Callable[[str], Place]

# -- envelope and header

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

# How the files begin that every mail program shows.
_SIGNATURES = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "image/gif": b"GIF8"}

_REPLY = re.compile(r"\s*(re|fwd?|aw|wg|tr)\s*:", re.IGNORECASE)


def check_campaign(campaign: Campaign, sources: Sources) -> Iterator[Finding]:
    """Check what the campaign file alone shows."""
    sender = constant_mailbox(campaign.sender)
    domain = sender.address.rpartition("@")[2].lower() if sender else ""
    host = campaign.server.host.lower() if campaign.server is not None else ""
    is_own_server = host.endswith(domain) or domain in PROVIDER_HOSTS.get(host, ())
    if domain in FREE_MAIL and not is_own_server:
        yield Finding(sources.find_key("from"), "from-freemail", f"'from' is an address at {domain}")
    for name in ("subject", "from", "to"):
        if (comment := sources.find_comment(name)) is not None:
            yield Finding(
                sources.find_key(name), "value-cut", f"the value of {name!r} ends before {comment[:40]!r}"
            )
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
    for text in dict.fromkeys(match.group() for match in _PLACEHOLDER.finditer(subject)):
        yield Finding(place, "placeholder", f"{text!r} is in the subject")


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


# -- text, HTML, images and links

CLIP = 102 * 1024  # octets of HTML that Gmail shows

# Words that other programs' fields for a recipient are called by; other words in such quotes may be prose.
_FIELD = (
    r"(?:(?:first|last|full|sur|fore|user)?[ _-]?name|e?-?mail|company|city"
    r"|vorname|nachname|anrede|firma|pr[ée]nom|nom)"
)
_PLACEHOLDER = re.compile(
    r"\{[{%][^{}]{0,40}[%}]\}|\{\{|\}\}|\b(?:TODO|TBD)\b|(?i:lorem ipsum)|\[(?i:your|insert) [^\]]{1,40}\]"
    # Fields of other programs: Mailchimp, Salesforce and SendGrid, Word, ...
    r"|\*\|[A-Z][A-Z0-9_:]{0,40}\|\*|%%[A-Za-z_][\w .-]{0,40}%%|\[\[[A-Za-z_][\w .-]{0,40}\]\]"
    r"|<<[A-Za-z_][\w .-]{0,40}>>|\$?\{[A-Za-z_][\w.-]{0,40}\}"
    rf"|«(?i:{_FIELD})»"
    # What a spreadsheet shows if a formula has failed, and how it writes text that looks like a number.
    r"|(?<!\w)#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!)|(?<!\S)=\"[^\"\n]{0,40}\""
    # What Python shows if a value was meant and something else was given.
    r"|<(?:generator object|Macro|function|bound method|built-in)\b[^<>]{1,80}>"
)
_URL = re.compile(r"https?://[^\s<>\"')\]]+")
_LEAVE = re.compile(
    r"unsubscribe|opt[ -]?out|abmelden|abbestellen|d[ée]sabonner|desinscr|darse de baja|cancelar (?:la )?suscripci|"
    r"disiscri|退订|取消订阅|配信停止|отписаться|wypisz|afmelden",
    re.IGNORECASE,
)
_LOCAL_CID = re.compile(r"^cid:[0-9a-f]{12}-")  # before the name of a local file, once it is embedded
_LOCAL = re.compile(
    r"(?:localhost|127(?:\.\d{1,3}){3}|0\.0\.0\.0|\[?::1\]?|.*\.local|.*\.localhost)\Z", re.IGNORECASE
)


def check_text(campaign: Campaign, text: str, html: Document | None, where: Locate) -> Iterator[Finding]:
    """Check the text alternative: it is not empty, has no placeholder, and has the links of the HTML."""
    if not text.strip():
        yield Finding(where(""), "text-empty", "the text alternative is empty")
    yield from find_placeholders(text, where)
    if html is None:
        yield from check_links(_URL.findall(text), where)
        return
    if campaign.text is None:
        return  # derived from the HTML: the same links by construction
    in_text = {_strip_punctuation(url) for url in _URL.findall(text)}
    in_html = {_strip_punctuation(url): url for url in html.links if url.startswith(("http://", "https://"))}
    for url in sorted(in_html.keys() - in_text):
        yield Finding(where(""), "links-differ", f"the HTML links to {in_html[url]}, the text does not")
    for url in sorted(in_text - in_html.keys()):
        yield Finding(where(url), "links-differ", f"the text links to {url}, the HTML does not")


def check_html(html: str, document: Document, where: Locate) -> Iterator[Finding]:
    """Check the HTML alternative: size, elements, styles, images, links, placeholders."""
    size = len(html.encode("utf-8", "replace"))
    if size > CLIP:
        yield Finding(where(""), "html-clipped", f"the HTML has {size / 1024:.0f} KB")
    for name, why in _find_elements(document):
        yield Finding(where(f"<{name}"), "client-tag", f"<{name}>: {why}")
    for written, why in _find_properties(document):
        yield Finding(where(written), "client-css", why)
    for image in dict.fromkeys(document.images):
        if image.alt is None and not image.source.startswith(MJML_ICONS):
            name = _LOCAL_CID.sub("", image.source)
            yield Finding(where(name), "image-alt", f"the image {name[:80]!r} has no alt text")
        if image.source.startswith("http://"):
            yield Finding(
                where(image.source), "image-remote", f"the image {image.source[:80]!r} is loaded over http"
            )
    yield from check_links(document.links, where)
    yield from find_placeholders(document.text, where)


def check_unsubscribe_link(
    document: Document | None, text: str, leave: str | None, where: Locate
) -> Iterator[Finding]:
    """Check for an unsubscribe link that a reader sees: by its words, or by the campaign's own URL."""
    seen = document.text if document else text
    links = document.links if document else _URL.findall(text)
    if not _LEAVE.search(seen) and not (leave and leave in links):
        yield Finding(where(""), "unsubscribe-invisible", "the body has no visible unsubscribe link")


def check_image_use(
    campaign: Campaign, documents: list[Document], where: Callable[[str], Place]
) -> Iterator[Finding]:
    """Yield a finding for each image of the campaign that no message shows."""
    used = {image.source.removeprefix("cid:") for document in documents for image in document.images}
    styles = "\n".join(style for document in documents for style in document.styles)
    for name, pattern in campaign.images.items():
        if (
            not any(source == name or source.startswith(f"{name}@") for source in used)
            and f"cid:{name}" not in styles
        ):
            yield Finding(
                pattern.place or where(name),
                "image-unused",
                f"the image {name!r} is not used by the template",
            )


def check_image_files(sources: Sources, message: Message) -> Iterator[Finding]:
    """Check that each image in the parsed `message` begins as files of its type do."""
    for part in message.walk():
        signature = _SIGNATURES.get(part.get_content_type())
        octets = part.get_payload(decode=True) if signature is not None else None
        if signature is None or not isinstance(octets, bytes) or octets.startswith(signature):
            continue
        name = str(part.get("Content-ID", part.get_filename() or "")).strip("<> ").partition("@")[0]
        problem = f"is not a file of the type {part.get_content_subtype()}" if octets else "is an empty file"
        yield Finding(sources.find_key("images"), "image-broken", f"the image {name!r} {problem}")


def check_links(links: list[str], where: Locate) -> Iterator[Finding]:
    """Check each link once: it has an address that other people can open, over https."""
    for link in dict.fromkeys(links):
        try:
            parts = urlsplit(link)
        except ValueError:
            yield Finding(where(link), "link-empty", f"the link {link[:80]!r} is not a URL")
            continue
        if link in ("", "#") or (not parts.scheme and not parts.netloc and not link.startswith("#")):
            written = link or 'href=""'
            yield Finding(where(written), "link-empty", f"the link {link[:80]!r} leads nowhere from a mail")
        elif parts.hostname and _LOCAL.match(parts.hostname):
            yield Finding(where(link), "link-local", f"the link {link[:80]!r} leads to this machine")
        elif parts.scheme == "http":
            yield Finding(where(link), "link-http", f"the link {link[:80]!r} is not https")


def find_placeholders(text: str, where: Locate) -> Iterator[Finding]:
    """Yield a finding for each text that looks like a field that was to be filled in, once each."""
    for found in dict.fromkeys(match.group() for match in _PLACEHOLDER.finditer(text)):
        is_syntax = found[:2] in ("{{", "{%", "}}")  # a template has such text everywhere
        yield Finding(where("" if is_syntax else found), "placeholder", f"{found!r} is in the message")


def _strip_punctuation(url: str) -> str:
    return url.rstrip(".,;:!?/")


# -- what big mail clients do not show

MJML_FONTS = "https://fonts.googleapis.com/"
MJML_ICONS = "https://www.mailjet.com/images/theme/"  # of <mj-social-element>; its name is beside the icon

ELEMENTS = {
    "script": "removed everywhere",
    "form": "Outlook removes it, Gmail warns",
    "input": "Outlook and Yahoo remove it",
    "button": "Outlook for Windows does not make it clickable; use a link that looks like a button",
    "video": "Gmail, Outlook and Yahoo show only its content",
    "audio": "Gmail, Outlook and Yahoo show only its content",
    "iframe": "removed everywhere",
    "object": "removed everywhere",
    "embed": "removed everywhere",
    "svg": "Gmail and Outlook remove inline SVG; use a PNG",
    "canvas": "removed everywhere",
    "base": "Gmail ignores it",
}

PROPERTIES = {
    r"position\s*:\s*(?:absolute|fixed|sticky)": "position: Gmail, Outlook and Yahoo ignore it",
    r"display\s*:\s*(?:inline-)?flex": "display: flex: Outlook for Windows ignores it; use a table",
    r"display\s*:\s*(?:inline-)?grid": "display: grid: Gmail, Outlook and Yahoo ignore it; use a table",
    r"@import\b(?!\s*url\(https://fonts\.googleapis\.com/)": "@import: Gmail, Outlook and Yahoo ignore it",
    r"@font-face\b": "@font-face: Gmail, Outlook and Yahoo ignore it; name a fallback font",
    r"\bvar\(\s*--": "CSS variables: Gmail, Outlook and Yahoo ignore them",
    r"\banimation(?:-name)?\s*:|@keyframes\b": "animation: Gmail and Outlook ignore it",
    r"\bfilter\s*:": "filter: Gmail, Outlook and Yahoo ignore it",
    r"background(?:-image)?\s*:[^;]*url\(\s*['\"]?data:": "a data: background: Gmail and Outlook remove it",
}

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_COMPILED = [(re.compile(pattern, re.IGNORECASE), why) for pattern, why in PROPERTIES.items()]


def _find_elements(document: Document) -> Iterator[tuple[str, str]]:
    """Yield each element that big clients remove, once, with what they do."""
    for name in dict.fromkeys(tag for tag, attributes in document.elements if not _is_of_mjml(attributes)):
        if name in ELEMENTS:
            yield name, ELEMENTS[name]
    if any(_is_style_sheet(tag, attributes) for tag, attributes in document.elements):
        yield (
            "link",
            "an external style sheet is ignored by Gmail, Outlook and Yahoo; write the rules into the template",
        )


def _is_of_mjml(attributes: dict[str, str]) -> bool:
    """Whether MJML wrote the element: the switch of a carousel, a menu or an accordion."""
    return any(name.startswith("mj-") for name in attributes.get("class", "").split())


def _is_style_sheet(tag: str, attributes: dict[str, str]) -> bool:
    """An external style sheet, except the fonts that MJML itself links to, with a fallback."""
    is_link = tag == "link" and "stylesheet" in attributes.get("rel", "").lower()
    return is_link and not attributes.get("href", "").startswith(MJML_FONTS)


def _find_properties(document: Document) -> Iterator[tuple[str, str]]:
    """Yield each CSS feature that big clients ignore, once: the text as written, and what they do."""
    css = _COMMENT.sub(" ", "\n".join(document.styles))
    for pattern, why in _COMPILED:
        if found := pattern.search(css):
            yield found.group(), why
