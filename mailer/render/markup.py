"""Markdown and MJML to HTML, and the CSS of HTML in its style attributes.

Tokens stand for a recipient's values: data is never markup. mrml and css-inline do most of the work. Some
clients read only style attributes; rules that cannot be inlined (@media, :hover ...) stay in <style>, and so
do rules that select nothing. Outlook's conditional comments stay as they are written.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from mailer.errors import MissingExtra
from mailer.render.skeleton import MARK_COMMENT
from mailer.text import find_similar

if TYPE_CHECKING:
    from css_inline import CSSInliner

MAX_DEPTH = 256  # of elements, as deep as browsers and libxml2 follow HTML
MAX_TAG = 65536  # characters of one tag
MAX_ATTRIBUTES = 512  # of one tag: some parsers compare each with all others
_MJML_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)|/>")
_TAG = re.compile(r"<!--|<(/?)([A-Za-z][^\s/>]*+)|<(?:[!?]|/[^A-Za-z>])[^>]*+")
_COMMENT_END = re.compile(r"--!?>")
# As HTML's tokenizer has it: a quote means something only at the begin of a value.
_TAG_END = re.compile(
    r"(?:[\s/]++|[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)|[^\s>\"'][^\s>]*+)?+)?+)*+>"
)
_RAW = frozenset("script style textarea title xmp iframe noembed noframes".split())  # noqa: SIM905 - no tags in them
_QUOTED = re.compile(r"\"[^\"]*+\"|'[^']*+'")
_BETWEEN_ATTRIBUTES = re.compile(r"[\s/]++")
_CLOSED_BY_ITSELF = frozenset("p li dt dd td th tr tbody thead tfoot option colgroup".split())  # noqa: SIM905
VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())  # noqa: SIM905

_MJML_COMPONENT = re.compile(
    r"<!--.*?(?:-->|\Z)|<mj-raw\b.*?(?:</mj-raw\s*>|\Z)|<(mj-[\w-]*)", re.IGNORECASE | re.DOTALL
)
_POSITION = re.compile(r" at position (\d+):(\d+)")
MJML_COMPONENTS = frozenset(
    f"mj-{name}"
    for name in """
    accordion accordion-element accordion-text accordion-title all attributes body breakpoint button carousel
    carousel-image class column divider font group head hero html-attribute html-attributes image include navbar
    navbar-link preview raw section selector social social-element spacer style table text title wrapper
    """.split()  # noqa: SIM905 - a name for each line would be forty lines
)

MAX_RULES = 20_000  # of all style sheets, braces counted
_STYLE = re.compile(r"<style\b[^>]*+(?:>(.*?)(?:</style|\Z)|\Z)", re.IGNORECASE | re.DOTALL)
# `<![if !mso]>` is shown by every client but Outlook. To an HTML parser it is a comment with an error in it.
_REVEALED = re.compile(r"<!--.*?(?:-->|\Z)|<!\[(?:if\b[^\]>]*+|endif)\]>", re.IGNORECASE | re.DOTALL)
_STAND_IN = "<!--mailer-revealed-{}-->"
_HIDDEN = re.compile(_STAND_IN.format(r"(\d+)"))

# A table whose rows are not in a <tbody>; sections' marks may be before the first row.
_ROWS = re.compile(
    rf"<!--.*?(?:-->|\Z)|<table\b(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>(?=(?:\s|{MARK_COMMENT.pattern})*<tr\b)",
    re.IGNORECASE | re.DOTALL,
)

_TEXT = (
    "font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;color:#24292f;"
)
_STYLES = {  # inline: the only CSS that every client shows
    "h1": _TEXT + "font-size:28px;line-height:36px;font-weight:700;margin:0 0 16px;",
    "h2": _TEXT + "font-size:22px;line-height:30px;font-weight:700;margin:28px 0 12px;",
    "h3": _TEXT + "font-size:18px;line-height:26px;font-weight:700;margin:24px 0 8px;",
    "p": "margin:0 0 16px;",
    "ul": "margin:0 0 16px;padding:0 0 0 24px;",
    "ol": "margin:0 0 16px;padding:0 0 0 24px;",
    "li": "margin:0 0 6px;",
    "a": "color:#0b57d0;text-decoration:underline;",
    "blockquote": "margin:0 0 16px;padding:4px 0 4px 16px;border-left:4px solid #d0d7de;color:#57606a;",
    "code": "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:14px;background:#f3f4f6;padding:2px 4px;",
    "pre": "margin:0 0 16px;padding:12px 16px;background:#f3f4f6;border-radius:6px;white-space:pre-wrap;",
    "hr": "border:0;border-top:1px solid #d0d7de;margin:28px 0;",
    "img": "max-width:100%;height:auto;border:0;",
    "table": "border-collapse:collapse;margin:0 0 16px;",
    "th": "text-align:left;padding:8px 16px 8px 0;border-bottom:2px solid #d0d7de;",
    "td": "padding:8px 16px 8px 0;border-bottom:1px solid #d0d7de;",
}
_LAYOUT = """\
<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
@media (prefers-color-scheme: dark) {{
body {{ background: #14171d !important; }}
td, h1, h2, h3, blockquote {{ color: #e3e7ed !important; }}
a {{ color: #9db8ff !important; }}
pre, code {{ background: #242a33 !important; }}
}}
</style>
</head>
<body style="margin:0;padding:0;background:#ffffff;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0">
<tr><td align="center" style="padding:32px 20px;">
<table role="presentation" width="600" cellpadding="0" cellspacing="0" border="0" style="width:100%;max-width:600px;">
<tr><td style="{text}font-size:16px;line-height:26px;text-align:left;">
{content}</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
"""


class MarkupError(ValueError):
    """Markup that is wrong. `wrong` is the part of it that is, to find its line; empty if it is not known."""

    def __init__(self, text: str, wrong: str = "") -> None:
        super().__init__(text)
        self.wrong = wrong


def make_markdown_converter() -> Callable[[str], str]:
    """A function from CommonMark, with tables and strikethrough, to HTML in a plain layout of one column."""
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

    def style(tokens: list[Token]) -> None:
        for token in tokens:
            if token.nesting >= 0 and (css := _STYLES.get(token.tag)):
                token.attrSet("style", css + str(token.attrGet("style") or ""))
            style(token.children or [])

    def render(source: str) -> str:
        tokens = parser.parse(source)
        style(tokens)
        content = str(parser.renderer.render(tokens, parser.options, {}))
        return _LAYOUT.format(text=_TEXT, content=content)

    return render


def make_mjml_converter() -> Callable[[str], str]:
    """A function from MJML to HTML; it raises ValueError if the MJML is wrong.

    :raises MissingExtra: if mrml is not installed.

    It follows no `<mj-include>`: only Jinja2's include checks that a file is inside the root.
    """
    try:
        from mrml import to_html
    except ImportError as error:
        raise MissingExtra(
            "MJML templates need the mrml package", hint="pip install 'mailer[mjml]'"
        ) from error

    def transform(source: str) -> str:
        _check_depth(source)
        _check_components(source)
        try:
            with _silence_stderr():
                return str(to_html(source).content)
        except OSError as error:
            found = _POSITION.search(str(error))
            wrong = source[int(found[1]) : int(found[2])] if found else ""
            raise MarkupError(f"MJML: {_POSITION.sub('', str(error))}", wrong) from error
        except BaseException as error:
            if (
                type(error).__name__ != "PanicException"
            ):  # of pyo3; it cannot be imported and is not an Exception
                raise
            raise ValueError("MJML: it is not well-formed") from None

    return transform


def _check_components(source: str) -> None:
    """MarkupError for an element that MJML does not have: mrml would leave it out, with its content."""
    for found in _MJML_COMPONENT.finditer(source):
        name = found[1]
        if name is not None and name.lower() not in MJML_COMPONENTS:
            near = find_similar(name.lower(), MJML_COMPONENTS)
            hint = f"; did you mean <{near}>?" if near else ""
            raise MarkupError(f"MJML: <{name}> is not an element of MJML{hint}", f"<{name}")


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

    inlined = _inliner().inline(_ROWS.sub(_open_table_body, _REVEALED.sub(hide, html)))
    return (
        _HIDDEN.sub(
            lambda found: revealed[int(found[1])] if int(found[1]) < len(revealed) else found[0], inlined
        )
        if revealed
        else inlined
    )


def _open_table_body(found: re.Match[str]) -> str:
    """Write the <tbody> that an HTML parser puts before the first row, so that blanks before the row are in it."""
    return found[0] if found[0].startswith("<!--") else f"{found[0]}<tbody>"


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


def check_html(html: str) -> None:
    """Check that HTML is not made to exhaust a parser.

    :raises ValueError: if elements are nested too deeply, or a tag is too long or has too many attributes.
    """
    opened: Counter[str] = Counter()
    depth = position = 0
    while found := _TAG.search(html, position):
        if found[2] is None:
            position = found.end()  # of `<!doctype`, `<?xml` and the like, which end at the next `>`
            if found[0] == "<!--":
                ended = _COMMENT_END.search(html, found.end() - 2)  # `<!-->` is a whole comment
                position = ended.end() if ended is not None else len(html)
            continue
        name = found[2].lower()
        if len(name) > MAX_TAG:
            raise ValueError(f"a tag of more than {MAX_TAG:,} characters")
        position = end = _find_tag_end(html, found.end())
        if end - found.end() > MAX_ATTRIBUTES and _count_attributes(html[found.end() : end]) > MAX_ATTRIBUTES:
            raise ValueError(f"a tag <{name}> with more than {MAX_ATTRIBUTES} attributes")
        if name in _RAW and not found[1]:
            position = _find_raw_end(html, name, end)
            continue
        if name in VOID or name in _CLOSED_BY_ITSELF:
            continue
        if not found[1]:
            opened[name] += 1
            depth += 1
        elif opened[name]:
            opened[name] -= 1
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"elements are nested deeper than {MAX_DEPTH} levels")


def _find_raw_end(html: str, name: str, start: int) -> int:
    """The begin of the end tag of an element that has no other tags in it."""
    found = re.compile(f"</{name}(?![^\\s/>])", re.IGNORECASE).search(html, start)
    return found.start() if found is not None else len(html)


def _find_tag_end(html: str, start: int) -> int:
    """The end of a tag; a `>` may be in an attribute's value."""
    found = _TAG_END.match(html, start, start + MAX_TAG)
    if found is not None:
        return found.end()
    if len(html) - start > MAX_TAG:
        raise ValueError(f"a tag of more than {MAX_TAG:,} characters")
    return len(html)


def _count_attributes(text: str) -> int:
    """The attributes of a tag, or a few more; those without a value count too."""
    names = _QUOTED.sub("", text)
    return max(names.count("="), len(_BETWEEN_ATTRIBUTES.split(names)))


def _check_depth(source: str) -> None:
    """ValueError if elements are nested too deeply: mrml recurses in native code."""
    depth = 0
    for found in _MJML_TAG.finditer(source):
        if found[2] is None or found[1]:
            depth -= 1
        elif found[2].lower() not in VOID:
            depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"MJML: nested deeper than {MAX_DEPTH} levels")


@contextmanager
def _silence_stderr() -> Iterator[None]:
    """Discard what Rust's panics write to file descriptor 2."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
