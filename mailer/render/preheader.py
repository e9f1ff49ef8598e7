"""The preheader: the text that a mail client's list of messages shows behind the subject.

It is at the beginning of the HTML and hidden in the message itself. Invisible characters follow it, so that the
list does not show what comes next. The text alternative leaves it out, as all that is hidden.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from mailer.templating.environment import show_html, show_text

_STYLE = (
    "display:none;mso-hide:all;max-height:0;max-width:0;opacity:0;overflow:hidden;font-size:1px;line-height:1px;"
    "color:transparent"
)
BEFORE = f'<div style="{_STYLE}">'
AFTER = "&#847;&zwnj;&nbsp;" * 60 + "</div>"


def make_preheader(text: Any) -> Markup:
    """Return the hidden element for `preheader("…")` in a template; `text` is escaped, and is one line."""
    return Markup(f"{BEFORE}{show_html(join_lines(text))}{AFTER}")  # noqa: S704 - escaped


def join_lines(text: Any) -> str:
    """Return a text on one line: in Markdown, an empty line would end the element."""
    return " ".join(show_text(text).split())
