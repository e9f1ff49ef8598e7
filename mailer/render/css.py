"""The rules of <style> in the style attributes of the elements that they select, since some clients read only
those.

css-inline does the work. Rules that cannot be inlined (@media, :hover ...) stay in <style>, and so do rules
that select nothing. Outlook's conditional comments stay as they are written.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from mailer.render.markup import check_html

if TYPE_CHECKING:
    from css_inline import CSSInliner

MAX_RULES = 20_000  # of all style sheets, braces counted
_STYLE = re.compile(r"<style\b[^>]*+>(.*?)</style", re.IGNORECASE | re.DOTALL)
# `<![if !mso]>` is shown by every client but Outlook. To an HTML parser it is a comment with an error in it.
_REVEALED = re.compile(r"<!--.*?-->|<!\[(?:if\b[^\]>]*+|endif)\]>", re.IGNORECASE | re.DOTALL)
_STAND_IN = "<!--mailer-revealed-{}-->"


def inline_css(html: str) -> str:
    """Copy the rules of the style sheets in `html` into style attributes.

    HTML without a style sheet stays as it is; other HTML is written anew, as an HTML parser reads it.

    :raises ValueError: if the HTML or the style sheet is made to exhaust a parser.
    """
    sheets = _STYLE.findall(html)
    if not any("{" in sheet for sheet in sheets):
        return html
    check_html(html)
    if sum(sheet.count("{") for sheet in sheets) > MAX_RULES:
        raise ValueError(f"style sheets with more than {MAX_RULES:,} rules")
    revealed: list[str] = []

    def hide(found: re.Match[str]) -> str:
        if found[0].startswith("<!--"):
            return found[0]
        revealed.append(found[0])
        return _STAND_IN.format(len(revealed) - 1)

    inlined = _inliner().inline(_REVEALED.sub(hide, html))
    for number, original in enumerate(revealed):
        inlined = inlined.replace(_STAND_IN.format(number), original)
    return inlined


@lru_cache(maxsize=1)
def _inliner() -> CSSInliner:
    from css_inline import CSSInliner

    return CSSInliner(
        keep_style_tags=True,
        remove_inlined_selectors=True,
        keep_at_rules=True,
        keep_link_tags=True,
        load_remote_stylesheets=False,
    )
