"""The text alternative of an HTML message."""

from __future__ import annotations

import re
from functools import lru_cache


def text_of(html: str) -> str:
    """What a reader without HTML sees: paragraphs, lists and tables, links with their addresses."""
    return _derive(html)


@lru_cache(maxsize=64)
def _derive(html: str) -> str:
    from inscriptis import get_text
    from inscriptis.model.config import ParserConfig

    text = get_text(html, ParserConfig(display_links=True))
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"
