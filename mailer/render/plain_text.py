"""The text alternative of an HTML message. inscriptis lays it out, after the tree is prepared for mail.

Most tables of a newsletter are its layout: their rows become lines. A table with <th> cells is data if no cell has
a block in it: its cells are separated by bars. Links keep their addresses, in <> (RFC 3986 appendix C).
What is hidden (a preheader) stays hidden, Outlook's conditional comments too. Images are their alt text.

No width depends on a cell's text. So a text can be derived from a skeleton whose slots are filled afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

from mailer.render.markup import check_html
from mailer.render.skeleton import MARK, NONCHARACTERS, PAD, TOKEN, NotLocal, has_token

_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all", re.IGNORECASE)
_COLLAPSED = re.compile(r"max-height\s*:\s*0(?![.\d]*[1-9])", re.IGNORECASE)
# Invisible characters that keep what follows out of a preheader: they come in runs.
_PADDING = re.compile(f"(?:{PAD}[ \u00a0]*){{3,}}")
_PADDED_MARK = re.compile(f"{PAD}{MARK.pattern}|{MARK.pattern}{PAD}")
_CONTROL = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff{NONCHARACTERS}]")  # not in XML
_GAP = "\ufdd0"  # a noncharacter: stands for the blanks between two cells, which would be collapsed
_BLOCKS = "p|div|table|ul|ol|h1|h2|h3|h4|h5|h6|blockquote|pre|article"
# Blocks that inscriptis does not know.
_OTHER_BLOCKS = (
    "section",
    "center",
    "dl",
    "dt",
    "dd",
    "form",
    "fieldset",
    "legend",
    "details",
    "summary",
    "hr",
)
_INLINE = frozenset(
    {
        *("a", "abbr", "b", "big", "cite", "em", "font", "i", "img", "ins", "mark", "s", "small", "span"),
        *("strike", "strong", "sub", "sup", "tt", "u"),
    }
)
_HAS_BLOCK = "boolean(.//" + "|.//".join(_BLOCKS.split("|")) + ")"


def derive_text(html: str, compared: list[tuple[str, str]] | None = None) -> str:
    """Derive the text alternative of an HTML message.

    :param html: the HTML; tokens (`skeleton.py`) may stand in it for values.
    :param compared: is given the texts and addresses of links that are equal for some values of their tokens.
    :returns: plain text that ends with a line end; empty if the HTML has nothing but layout.
    """
    return finish_text(lay_out(html, compared if compared is not None else []))


def lay_out(html: str, compared: list[tuple[str, str]], rounds: Container[int] | None = None) -> str:
    """Do the work of `derive_text`, up to what is the same for a part of a text as for the whole.

    :param rounds: the marks of sections that are rounds of a loop, which has at least one; None if the HTML has
        no marks of sections. Marks are in the text where they were in the HTML.
    :raises NotLocal: if the text of a section depends on what is around it.
    """
    from inscriptis.css_profiles import STRICT_CSS_PROFILE
    from inscriptis.html_engine import Inscriptis
    from inscriptis.model.config import ParserConfig
    from lxml.etree import ParserError
    from lxml.html import HTMLParser, document_fromstring

    check_html(html)
    html = _CONTROL.sub("", html)
    parser = HTMLParser(encoding="utf-8", remove_comments=rounds is None, remove_pis=True)
    try:
        tree = document_fromstring(html.encode("utf-8"), parser=parser)
    except ParserError:  # nothing but blanks and comments
        return ""
    if rounds is None:
        _prepare(tree, compared)
    else:
        from mailer.render.text_sections import check_sections, replace_marks

        check_sections(tree, rounds)
        _prepare(tree, compared)
        replace_marks(tree)
    _protect_entities(tree)
    text = Inscriptis(tree, ParserConfig(css=STRICT_CSS_PROFILE)).get_text()
    if rounds is not None and (found := _PADDED_MARK.search(text)):
        raise NotLocal({int(found[1] or found[3])})
    lines = _PADDING.sub(" ", text).split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join([line.rstrip() for line in lines]))


def finish_text(text: str) -> str:
    """Finish a text that `lay_out` made."""
    text = fill_gaps(text.strip("\n"))
    return text + "\n" if text else ""


def fill_gaps(text: str) -> str:
    """Put blanks between the cells of a row."""
    return text.replace(_GAP, "  ")


def _prepare(tree: Any, compared: list[tuple[str, str]]) -> None:
    for element in [*tree.iter("title", "style", "script"), *tree.xpath("//*[@hidden or @style]")]:
        if element.tag in ("title", "style", "script") or _is_hidden(element):
            element.drop_tree()
    for image in [*tree.iter("img")]:
        _replace(image, f"[{alt}]" if (alt := (image.get("alt") or "").strip()) else "")
    for block in [*tree.iter(*_OTHER_BLOCKS)]:
        block.tag = "div"
    links = [(link, " ".join(link.text_content().split())) for link in tree.iter("a")]
    for number, (link, text) in enumerate(links):
        neighbours = [links[n] for n in (number - 1, number + 1) if 0 <= n < len(links)]
        if text or not _is_repeated(link, neighbours, compared):
            _write_address(link, text, compared)
    for table in reversed([*tree.iter("table")]):  # inner tables first
        _flatten_table(table)


def _protect_entities(tree: Any) -> None:
    """inscriptis resolves entities once more than HTML does: `&amp;lt;`, which is the text `&lt;`, would
    become `<`.
    """
    for element in tree.iter():
        if element.text and "&" in element.text:
            element.text = element.text.replace("&", "&amp;")
        if element.tail and "&" in element.tail:
            element.tail = element.tail.replace("&", "&amp;")


def _is_hidden(element: Any) -> bool:
    style = element.get("style") or ""
    if element.get("hidden") is not None or _HIDDEN.search(style):
        return True
    return _COLLAPSED.search(style) is not None and "overflow" in style.lower()


def _replace(element: Any, text: str) -> None:
    element.tail = text + (element.tail or "")
    element.drop_tree()


def _is_repeated(link: Any, neighbours: list[tuple[Any, str]], compared: list[tuple[str, str]]) -> bool:
    """Whether a link without text, such as an icon, has the address of the text link beside it."""
    address = _find_address(link)
    others = [_find_address(neighbour) for neighbour, text in neighbours if text]
    for other in others:
        if (has_token(address) or has_token(other)) and may_be_equal(address, other):
            compared.append((address, other))
    return address in others


def _find_address(link: Any) -> str:
    return (link.get("href") or "").strip()


def _is_followed(link: Any) -> bool:
    """Whether an element follows a link on its line, with no text between them."""
    element = link
    while element is not None and not element.tail:
        following = element.getnext()
        if following is not None:
            if not isinstance(following.tag, str):  # a section begins or ends
                found = MARK.fullmatch(following.text or "")
                raise NotLocal({int(found[1])} if found else ())
            return following.tag in _INLINE
        element = element.getparent()
        if element is None or element.tag not in _INLINE:
            return False
    return False


def _write_address(link: Any, text: str, compared: list[tuple[str, str]]) -> None:
    """Write a link's address behind its text, unless the text is the address. A blank separates two links."""
    if _is_followed(link):
        link.tail = " "
    address = _find_address(link)
    if not address or address.startswith(("#", "cid:")) or is_address_shown(text, address):
        return
    if (has_token(text) or has_token(address)) and may_be_equal(text, address):
        compared.append((text, address))
    shown = _shorten_address(address)
    link.tail = f"{' ' if text else ''}<{shown}>{link.tail or ''}"


def is_address_shown(text: str, address: str) -> bool:
    """Whether a link's text is its address, or what a reader takes for it."""
    return text in _address_forms(address)


def _address_forms(address: str) -> list[str]:
    shown = _shorten_address(address)
    return [address, shown, shown.partition("://")[2] or shown]


def _shorten_address(address: str) -> str:
    return address.removeprefix("mailto:").removeprefix("tel:")


def may_be_equal(text: str, address: str) -> bool:
    """Whether there are values for the tokens in a link's text and address that make them equal."""
    return any(_may_match(text, form) for form in _address_forms(address))


def _may_match(left: str, right: str) -> bool:
    """Two texts with tokens: their constant beginnings and ends must agree."""
    lefts, rights = TOKEN.split(left)[0::2], TOKEN.split(right)[0::2]
    if len(lefts) == 1 and len(rights) == 1:
        return left == right
    start, end = min(len(lefts[0]), len(rights[0])), min(len(lefts[-1]), len(rights[-1]))
    return lefts[0][:start] == rights[0][:start] and (end == 0 or lefts[-1][-end:] == rights[-1][-end:])


def _flatten_table(table: Any) -> None:
    """Make lines of a table's rows."""
    rows = [*table.iter("tr")]  # those of inner tables are no rows any more
    is_data = is_data_table(table, rows)
    for row in rows:
        cells = [cell for cell in row if cell.tag in ("td", "th")]
        has_blocks = any(cell.xpath(_HAS_BLOCK) for cell in cells)
        for n, cell in enumerate(cells):
            cell.tag = "div" if has_blocks else "span"
            cell.tail = None if has_blocks or n + 1 == len(cells) else " | " if is_data else _GAP
        row.tag = "div"
    for part in table.iter("table", "tbody", "thead", "tfoot", "caption"):
        part.tag = "div"


def is_data_table(table: Any, rows: list[Any]) -> bool:
    """Return whether it is a table of data: headings are in its first row, or at the beginning of each row.

    Some layouts are made of <th> cells too; those have blocks or one cell a row.
    """
    if (table.get("role") or "").lower() in ("presentation", "none"):
        return False
    tags = [[cell.tag for cell in row if cell.tag in ("td", "th")] for row in rows]
    if not tags or not ("td" not in tags[0] or all(row[:1] == ["th"] for row in tags)):
        return False
    for row in rows:
        cells = [cell for cell in row if cell.tag in ("td", "th")]
        if len(cells) < 2 or any(cell.xpath(_HAS_BLOCK) for cell in cells):
            return False
    return len(rows) > 1
