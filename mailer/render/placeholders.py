"""Values as tokens while Markdown or MJML is made into HTML, so that a value's own characters are never
markup.
"""

from __future__ import annotations

import re
from typing import Any

from markupsafe import escape

from mailer.render.skeleton import make_token
from mailer.templating.environment import show_html, show_text

NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:px|%)?")  # shown as it is: MJML computes with widths


class Placeholders:
    """The values of one message by the numbers of their tokens. The same value has the same token."""

    def __init__(self) -> None:
        self.raw: list[str] = []
        self.shown: list[str] = []
        self._numbers: dict[str, int] = {}

    def clear(self) -> None:
        """Forget the values of the message before."""
        self.raw = []
        self.shown = []
        self._numbers.clear()

    def show(self, value: Any) -> str:
        """A value as its token; markup, numbers and blanks as they are."""
        if hasattr(value, "__html__"):
            return show_html(value)
        text = show_text(value)
        if NUMBER.fullmatch(text) or not text.strip():
            return text
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.raw)
            self.raw.append(text)
            self.shown.append(str(escape(text)))
        return make_token(number)
