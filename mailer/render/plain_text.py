"""The text alternative of an HTML message: inscriptis lays it out, after what it does not know of mail is prepared.

A newsletter's tables are its layout, not data: their rows become lines, so that no column is padded to the width of a
phone book; a table with <th> stays a table. Links keep their addresses, in <> (RFC 3986 appendix C); what is hidden
(a preheader) stays hidden; images are their alt text.
"""

from __future__ import annotations

import re
from typing import Any

_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # no text in XML
_CELL = "\ue0c1"  # private use: stands for the blanks between two cells, which would be collapsed
_BLOCKS = "p|div|table|ul|ol|h1|h2|h3|h4|h5|h6|blockquote|pre|section|article|center|hr"
_HAS_BLOCK = "boolean(.//" + "|.//".join(_BLOCKS.split("|")) + ")"


def derive_text(html: str) -> str:
    """`html` as plain text that ends with a line end; empty for nothing but layout."""
    from inscriptis.css_profiles import STRICT_CSS_PROFILE
    from inscriptis.html_engine import Inscriptis
    from inscriptis.model.config import ParserConfig
    from lxml.etree import ParserError
    from lxml.html import HTMLParser, document_fromstring

    html = _CONTROL.sub("", html)
    try:
        tree = document_fromstring(
            html.encode("utf-8"), parser=HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
        )
    except ParserError:  # nothing but blanks and comments
        return ""
    _prepare(tree)
    _protect_entities(tree)
    lines = Inscriptis(tree, ParserConfig(css=STRICT_CSS_PROFILE)).get_text().split("\n")
    text = "\n".join(line.rstrip() for line in lines)
    text = re.sub(r"\n{3,}", "\n\n", text).strip("\n").replace(_CELL, "  ")
    return text + "\n" if text else ""


def _prepare(tree: Any) -> None:
    for element in [*tree.iter("title", "style", "script"), *tree.xpath("//*[@hidden or contains(@style, 'none')]")]:
        if element.tag in ("title", "style", "script") or _hidden(element):
            element.drop_tree()
    for image in [*tree.iter("img")]:
        _replace(image, f"[{alt}]" if (alt := (image.get("alt") or "").strip()) else "")
    for link in [*tree.iter("a")]:
        _link(link)
    for table in [*tree.iter("table")]:
        if not table.xpath("boolean(.//th)") and not table.xpath("boolean(ancestor::table//th)"):
            _flatten_table(table)


def _protect_entities(tree: Any) -> None:
    """inscriptis resolves entities once more than HTML does: `&amp;lt;`, which is the text `&lt;`, would become `<`."""
    for element in tree.iter():
        if element.text and "&" in element.text:
            element.text = element.text.replace("&", "&amp;")
        if element.tail and "&" in element.tail:
            element.tail = element.tail.replace("&", "&amp;")


def _hidden(element: Any) -> bool:
    return element.get("hidden") is not None or bool(_HIDDEN.search(element.get("style") or ""))


def _replace(element: Any, text: str) -> None:
    element.tail = text + (element.tail or "")
    element.drop_tree()


def _link(link: Any) -> None:
    address = (link.get("href") or "").strip()
    text = " ".join(link.text_content().split())
    shown = address.removeprefix("mailto:").removeprefix("tel:")
    if not address or address.startswith(("#", "cid:")) or text in (address, shown, shown.partition("://")[2]):
        return
    link.tail = f"{' ' if text else ''}<{shown}>{link.tail or ''}"


def _flatten_table(table: Any) -> None:
    for row in table.iter("tr"):
        cells = [cell for cell in row if cell.tag == "td"]
        blocks = any(cell.xpath(_HAS_BLOCK) for cell in cells)
        for n, cell in enumerate(cells):
            cell.tag = "div" if blocks else "span"
            cell.tail = None if blocks or n + 1 == len(cells) else _CELL
        row.tag = "div"
    for part in table.iter("table", "tbody", "thead", "tfoot", "caption"):
        part.tag = "div"
