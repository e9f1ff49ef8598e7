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

_PLACEHOLDER = re.compile(
    r"\{[{%][^{}]{0,40}[%}]\}|\{\{|\}\}|\bX{3,}\b|\bTODO\b|\bTBD\b|lorem ipsum|\[(?:your|insert) [^\]]{1,40}\]"
    r"|<(?:generator object|Macro|function|bound method|built-in)\b[^<>]{1,80}>",  # Python's, where a value was meant
    re.IGNORECASE,
)
_URL = re.compile(r"https?://[^\s<>\"')\]]+")
_LEAVE = re.compile(
    r"unsubscribe|opt[ -]?out|abmelden|abbestellen|d[ée]sabonner|desinscr|darse de baja|cancelar (?:la )?suscripci|"
    r"disiscri|退订|取消订阅|配信停止|отписаться|wypisz|afmelden",
    re.IGNORECASE,
)
_LOCAL_CID = re.compile(r"^cid:[0-9a-f]{12}-")  # before the name of a local file, once it is embedded
_LOCAL = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|0\.0\.0\.0|\[?::1\]?|.*\.local|.*\.localhost)\Z", re.IGNORECASE)

Locate = Callable[[str], Place]


def text_rules(campaign: Campaign, text: str, html: Document | None, where: Locate) -> Iterator[Finding]:
    """The text alternative: that it is there, what was left in it, and that it leads where the HTML leads."""
    if not text.strip():
        yield Finding(where(""), "text-empty", "the text alternative is empty")
    yield from placeholders(text, where)
    if html is None:
        yield from link_rules(_URL.findall(text), where)
        return
    if campaign.text is None:
        return  # derived from the HTML: the same links by construction
    in_text = {_plain(url) for url in _URL.findall(text)}
    in_html = {_plain(url): url for url in html.links if url.startswith(("http://", "https://"))}
    for url in sorted(in_html.keys() - in_text):
        yield Finding(where(""), "links-differ", f"the HTML links to {in_html[url]}, the text does not")
    for url in sorted(in_text - in_html.keys()):
        yield Finding(where(url), "links-differ", f"the text links to {url}, the HTML does not")


def html_rules(html: str, document: Document, where: Locate) -> Iterator[Finding]:
    """The HTML alternative: size, elements, styles, images, links, leftovers."""
    size = len(html.encode("utf-8", "replace"))
    if size > CLIP:
        yield Finding(where(""), "html-clipped", f"the HTML has {size / 1024:.0f} KB")
    for name, why in clients.elements(document):
        yield Finding(where(f"<{name}"), "client-tag", f"<{name}>: {why}")
    for written, why in clients.properties(document):
        yield Finding(where(written), "client-css", why)
    for image in dict.fromkeys(document.images):
        if image.alt is None:
            name = _LOCAL_CID.sub("", image.source)
            yield Finding(where(name), "image-alt", f"the image {name[:80]!r} has no alt text")
        if image.source.startswith("http://"):
            yield Finding(where(image.source), "image-remote", f"the image {image.source[:80]!r} is loaded over http")
    yield from link_rules(document.links, where)
    yield from placeholders(document.text, where)


def unsubscribe_rule(document: Document | None, text: str, leave: str | None, where: Locate) -> Iterator[Finding]:
    """A way out that a reader can see: the word, or a link to the campaign's own unsubscribe url."""
    seen = document.text if document else text
    links = document.links if document else _URL.findall(text)
    if not _LEAVE.search(seen) and not (leave and leave in links):
        yield Finding(where(""), "unsubscribe-invisible", "the body has no visible unsubscribe link")


def image_use(campaign: Campaign, documents: list[Document], where: Callable[[str], Place]) -> Iterator[Finding]:
    """Images of the campaign that none of the messages shows."""
    used = {image.source.removeprefix("cid:") for document in documents for image in document.images}
    styles = "\n".join(style for document in documents for style in document.styles)
    for name, pattern in campaign.images.items():
        if not any(source == name or source.startswith(f"{name}@") for source in used) and f"cid:{name}" not in styles:
            yield Finding(
                pattern.place or where(name), "image-unused", f"the image {name!r} is not used by the template"
            )


def link_rules(links: list[str], where: Locate) -> Iterator[Finding]:
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


def placeholders(text: str, where: Locate) -> Iterator[Finding]:
    """Things that were meant to be filled in; once each."""
    for found in dict.fromkeys(match.group() for match in _PLACEHOLDER.finditer(text)):
        braces = found[0] in "{}"  # in the template these are syntax, so its first one is not the one meant
        yield Finding(where("" if braces else found), "placeholder", f"{found!r} stands in the message")


def _plain(url: str) -> str:
    return url.rstrip(".,;:!?/")
