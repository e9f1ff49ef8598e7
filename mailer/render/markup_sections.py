"""Whether the HTML of a section can be cut out of the whole, and what it does to the style sheets of the message.

Sections are between marks: comments in the HTML. A rule that selects nothing stays in its style sheet, so what is
left of the sheets depends on all sections. Selectors that look only at an element and at what it is in select what
each section has, whatever the others are: what is left is what none of the sections selects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailer.render.markup import VOID
from mailer.render.skeleton import MARK, MARK_COMMENT, NotLocal

MARKUP = re.compile(
    r"<!--.*?(?:-->|\Z)|<(style|script)\b.*?(?:</\1\s*>|\Z)"
    r"|<[A-Za-z/!](?:[^>\"']++|\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z))*+(?:>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
STYLE = re.compile(r"<style\b[^>]*+(?:>(.*?)(?:</style|\Z)|\Z)", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"<(/?)([A-Za-z][^\s/>]*)")
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
# Selectors that look at an element's neighbours, or at what is in it.
_NEIGHBOURS = re.compile(r"[+~]|:(?:first|last|nth|only|empty|has|not)", re.IGNORECASE)
_RULE = re.compile(r"([^@{}\n][^{}\n]*) (\{[^{}\n]*\})")  # as css-inline writes one
_COMPLEX = re.compile(r"[(\[\\\"']")  # a selector that may have a comma in it


def find_marks_in_markup(html: str) -> set[int]:
    """The marks that are within a tag, a comment, a style sheet or a script."""
    pieces = [found[0] for found in MARKUP.finditer(html)]
    return {
        int(number)
        for piece in pieces
        if not MARK_COMMENT.fullmatch(piece)
        for number, _ in MARK.findall(piece)
    }


def check_markup(written: str, inlined: str) -> None:
    """Check HTML with marks, before and after CSS is inlined.

    :raises NotLocal: if a style depends on an element's neighbours, or a section is not a part of the tree.
    """
    sheets = "".join(STYLE.findall(_CSS_COMMENT.sub("", written)))
    if any(_NEIGHBOURS.search(selectors) for selectors in re.findall(r"([^{}]*)\{", sheets)):
        raise NotLocal(())
    opened: list[str] = []
    for found in MARKUP.finditer(inlined):
        piece = found[0]
        sections = [int(name[1:]) for name in opened if name[0] == "#"]
        if mark := MARK_COMMENT.fullmatch(piece):
            name = f"#{mark[1]}"
            if mark[2] == "s":
                opened.append(name)
            elif not opened or opened.pop() != name:
                raise NotLocal({int(mark[1]), *sections})
        elif found[1]:
            if sections and found[1].lower() == "style":  # it styles what is in other sections, too
                raise NotLocal(sections)
        elif (tag := _NAME.match(piece)) and tag[2].lower() not in VOID:
            if not tag[1]:
                opened.append(tag[2].lower())
            elif not opened or opened.pop() != tag[2].lower():
                raise NotLocal(sections)


def has_rules(html: str) -> bool:
    """Whether a style sheet has rules: if not, HTML stays as it is written."""
    return any("{" in sheet for sheet in STYLE.findall(html))


def list_sheets(html: str) -> list[str]:
    """The style sheets of HTML."""
    return STYLE.findall(html)


def without_sheets(html: str) -> str:
    """HTML with empty style sheets."""
    return STYLE.sub("<style>", html)


def find_selected(before: Iterable[str], after: Iterable[str]) -> frozenset[str]:
    """The selectors that are in the style sheets `before`, and not in those `after` more elements were there.

    :raises NotLocal: if what is left of a style sheet is not known by its selectors.
    """
    selected: set[str] = set()
    for sheet, rest in zip(before, after, strict=True):
        if sheet != rest:
            selected |= _list_selectors(sheet) - _list_selectors(rest)
    return frozenset(selected)


def _list_selectors(sheet: str) -> set[str]:
    found: set[str] = set()
    for line in sheet.split("\n"):
        if (rule := _RULE.fullmatch(line)) is not None:
            if "," in rule[1] and _COMPLEX.search(rule[1]):
                raise NotLocal(())
            found.update(rule[1].split(", "))
    return found


def remove_selected(html: str, selected: frozenset[str]) -> str:
    """Remove selectors from the style sheets of HTML, as css-inline removes those that select something."""

    def shorten_sheet(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        start, end = found.start(1) - found.start(), found.end(1) - found.start()
        lines = [_shorten_rule(line, selected) for line in found[1].split("\n")]
        return found[0][:start] + "\n".join([line for line in lines if line is not None]) + found[0][end:]

    return STYLE.sub(shorten_sheet, html) if selected else html


def _shorten_rule(line: str, selected: frozenset[str]) -> str | None:
    rule = _RULE.fullmatch(line)
    if rule is None:
        return line
    left = [selector for selector in rule[1].split(", ") if selector not in selected]
    return f"{', '.join(left)} {rule[2]}" if left else None
