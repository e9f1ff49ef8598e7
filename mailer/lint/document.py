"""A rendered HTML message as the rules need it: links, images, elements, styles and visible text."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any

from mailer.dataclass import dataclass

_UNSEEN = frozenset({"style", "script", "head", "title", "template"})
_INLINE = frozenset({"a", "b", "i", "em", "strong", "span"})
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")  # libxml2 would stop there


@dataclass(frozen=True, slots=True)
class ImageElement:
    """An image element. `alt` is None if it has no such attribute."""

    source: str
    alt: str | None


@dataclass(slots=True)
class Document:
    """The parts of the HTML, in its order. `text` is what a reader sees, without the head."""

    links: list[str] = field(default_factory=list)
    images: list[ImageElement] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    text: str = ""


def parse_html(html: str) -> Document:
    """Parse HTML as a browser does, errors included.

    The time is linear in the length of `html`, which it is not with the standard library's parser.
    """
    from lxml.etree import HTMLParser, XMLSyntaxError

    reader = _EventReader()
    parser = HTMLParser(target=reader, encoding="utf-8")
    try:
        parser.feed(_CONTROL.sub("", html).encode())
        parser.close()
    except XMLSyntaxError:  # nothing but blanks and comments
        pass
    reader.document.text = " ".join("".join(reader.seen).split())
    return reader.document


class _EventReader:
    """libxml2's events (lxml's target interface) to a Document."""

    def __init__(self) -> None:
        self.document = Document()
        self.seen: list[str] = []
        self.unseen: list[str] = []

    def start(self, tag: str, attributes: Any) -> None:
        values = {str(name): str(value) for name, value in attributes.items()}
        self.document.elements.append((tag, values))
        if tag in _UNSEEN:
            self.unseen.append(tag)
        if tag in ("a", "area") and "href" in values:
            self.document.links.append(values["href"].strip())
        if tag == "img":
            self.document.images.append(ImageElement(values.get("src", "").strip(), values.get("alt")))
        if "style" in values:
            self.document.styles.append(values["style"])
        if tag not in _INLINE:
            self.seen.append(" ")

    def end(self, tag: str) -> None:
        if tag in self.unseen:
            del self.unseen[self.unseen.index(tag) :]

    def data(self, data: str) -> None:
        if self.unseen and self.unseen[-1] == "style":
            self.document.styles.append(data)
        elif not self.unseen:
            self.seen.append(data)

    def comment(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass
