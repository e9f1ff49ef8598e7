"""What big mail clients do not show: elements they remove, CSS they ignore.

A small table in our own words, of facts that caniemail.com and the clients' own documentation give: only what at least
two of Gmail, Outlook for Windows, Outlook.com, Yahoo and Apple Mail leave out, and what a newsletter would really use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailer.lint.document import Document

ELEMENTS = {
    "script": "removed everywhere",
    "form": "Outlook removes it, Gmail warns",
    "input": "Outlook and Yahoo remove it",
    "button": "Outlook for Windows does not make it clickable; use a link that looks like a button",
    "video": "Gmail, Outlook and Yahoo show only what stands inside it",
    "audio": "Gmail, Outlook and Yahoo show only what stands inside it",
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
    r"@import\b": "@import: Gmail, Outlook and Yahoo ignore it",
    r"@font-face\b": "@font-face: Gmail, Outlook and Yahoo ignore it; name a fallback font",
    r"\bvar\(\s*--": "CSS variables: Gmail, Outlook and Yahoo ignore them",
    r"\banimation(?:-name)?\s*:|@keyframes\b": "animation: Gmail and Outlook ignore it",
    r"\bfilter\s*:": "filter: Gmail, Outlook and Yahoo ignore it",
    r"background(?:-image)?\s*:[^;]*url\(\s*['\"]?data:": "a data: background: Gmail and Outlook remove it",
}

_COMPILED = [(re.compile(pattern, re.IGNORECASE), why) for pattern, why in PROPERTIES.items()]


def elements(document: Document) -> Iterator[tuple[str, str]]:
    """(element, why) for each element that big clients remove, once an element."""
    for name in dict.fromkeys(tag for tag, _ in document.elements):
        if name in ELEMENTS:
            yield name, ELEMENTS[name]
    if any(t == "link" and "stylesheet" in a.get("rel", "").lower() for t, a in document.elements):
        yield (
            "link",
            "an external style sheet is ignored by Gmail, Outlook and Yahoo; write the rules into the template",
        )


def properties(document: Document) -> Iterator[tuple[str, str]]:
    """(the text as written, why) for each CSS feature that big clients ignore, once a feature."""
    css = "\n".join(document.styles)
    for pattern, why in _COMPILED:
        if found := pattern.search(css):
            yield found.group(), why
