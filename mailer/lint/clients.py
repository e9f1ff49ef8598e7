"""What big mail clients do not show: elements that they remove, and CSS that they ignore.

The tables have only what a newsletter may use and at least two of Gmail, Outlook for Windows, Outlook.com,
Yahoo and Apple Mail leave out, by caniemail.com and the clients' own documentation. What MJML itself writes
is left out: it has a fallback beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailer.lint.document import Document

MJML_FONTS = "https://fonts.googleapis.com/"

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


def find_elements(document: Document) -> Iterator[tuple[str, str]]:
    """Yield each element that big clients remove, once, with what they do."""
    for name in dict.fromkeys(tag for tag, _ in document.elements):
        if name in ELEMENTS:
            yield name, ELEMENTS[name]
    if any(_is_style_sheet(tag, attributes) for tag, attributes in document.elements):
        yield (
            "link",
            "an external style sheet is ignored by Gmail, Outlook and Yahoo; write the rules into the template",
        )


def _is_style_sheet(tag: str, attributes: dict[str, str]) -> bool:
    """An external style sheet, except the fonts that MJML itself links to, with a fallback."""
    is_link = tag == "link" and "stylesheet" in attributes.get("rel", "").lower()
    return is_link and not attributes.get("href", "").startswith(MJML_FONTS)


def find_properties(document: Document) -> Iterator[tuple[str, str]]:
    """Yield each CSS feature that big clients ignore, once: the text as written, and what they do."""
    css = _COMMENT.sub(" ", "\n".join(document.styles))
    for pattern, why in _COMPILED:
        if found := pattern.search(css):
            yield found.group(), why
