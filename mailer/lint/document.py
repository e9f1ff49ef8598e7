"""A rendered HTML message as the rules need it: links, images, elements, styles and visible text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_UNSEEN = frozenset({"style", "script", "head", "title", "template"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)


@dataclass(frozen=True, slots=True)
class Image:
    source: str
    alt: str | None


@dataclass(slots=True)
class Document:
    """What stands in the HTML, in order. `text` is what a reader sees, without the head."""

    links: list[str] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    text: str = ""


def read(html: str) -> Document:
    """Parse as a browser would, forgiving; linear in the length of `html`."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.document.text = " ".join(" ".join(reader.seen).split())
    return reader.document


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.document = Document()
        self.seen: list[str] = []
        self.unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.document.elements.append((tag, values))
        if tag in _UNSEEN:
            self.unseen.append(tag)
        if tag in ("a", "area") and "href" in values:
            self.document.links.append(values["href"].strip())
        if tag == "img":
            self.document.images.append(Image(values.get("src", "").strip(), values.get("alt")))
        if "style" in values:
            self.document.styles.append(values["style"])
        if tag not in _VOID and tag not in ("a", "b", "i", "em", "strong", "span"):
            self.seen.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.unseen:
            del self.unseen[self.unseen.index(tag) :]

    def handle_data(self, data: str) -> None:
        if self.unseen and self.unseen[-1] == "style":
            self.document.styles.append(data)
        elif not self.unseen:
            self.seen.append(data)
