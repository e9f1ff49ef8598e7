"""Rules on what a reader sees: text, HTML, images and links of one rendered message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from mailer.campaign import Campaign
from mailer.errors import Place
from mailer.lint import clients
from mailer.lint.document import Document
from mailer.lint.finding import Finding

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

Locate = Callable[[str], Place]


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
    for name, why in clients.find_elements(document):
        yield Finding(where(f"<{name}"), "client-tag", f"<{name}>: {why}")
    for written, why in clients.find_properties(document):
        yield Finding(where(written), "client-css", why)
    for image in dict.fromkeys(document.images):
        if image.alt is None:
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
