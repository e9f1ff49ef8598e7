"""Fuzz targets with cost: `python -m tests.fuzz_cost [NAME...]`. `make soak` gives each a minute.

A target parses a text that repeats a unit of random pieces, and the same four times as long. Time that grows with
the square of the length is a find, and so is an input that reaches the limit of the process. What a target raises
is of no interest here.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, process_time
from typing import NamedTuple

from mailer.bounded_process import LimitExceeded, ProcessLimits, run_bounded
from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources.source import FileSource
from mailer.lint.document import parse_html
from mailer.render.markup import inline_css, make_markdown_converter, make_mjml_converter
from mailer.render.plain_text import derive_text
from mailer.templating import create_environment
from tests.fuzz import _workbook as make_workbook
from tests.fuzz import run_command

SIZE = 16_000  # characters of the shorter text
TIMES = 4  # by which the longer one is longer: 4 times the time is linear, 16 times is quadratic
MAX_RATIO = 9.0
MIN_SECONDS = 0.4  # of processor time for the longer text: less is no find
LIMITS = ProcessLimits(seconds=20.0)

# fmt: off
HTML = ["<p>", "</p>", "<a ", "<a href='", ">", "<", "</", "<!--", "-->", "<![CDATA[", "&amp", "&#", ";", '"', "'", "=",
        "<b><i>", "<table><tr>", "<td>", "<ul><li>", "<style>", "<img src=x ", "/", " ", "\n", "x", "<pre>", "<!", "<?",
        "https://a.de/", "<br>", "<h1>", "a='b' ", "\u00a0", "<blockquote>"]
CSS = ["{", "}", "a:b;", "p", " ", ",", ">", "*", ":not(", ")", "[a=b]", ".a", "#b", "/*", "*/", "@media x", "@import ", ";",
       '"', "'", "\\", "!important", "color:red", "+", "~", "::x", "url(", "-", "1", "\n", ":first-child"]
MARKDOWN = ["*", "**", "_", "`", "[", "]", "(", ")", "<", ">", "!", "#", "-", "1. ", "> ", "  ", "\n", "\n\n", "|", ":", "a", " ",
            "\\", "&amp;", "http://a.de", "[a]: b\n", "```\n", "~~", "\t", "=", "<a>", "<!--", '"']
MJML = ["<mj-section>", "</mj-section>", "<mj-column>", "</mj-column>", "<mj-text>", "</mj-text>", "<mj-text/>", "x", " ", "<b>",
        "<!--", "-->", "&amp;", "<mj-raw>", "</mj-raw>", "a='b' ", "<mj-image src='x' />", "<mj-", ">", "<", "<![CDATA[", "]]>"]
CELLS = ["<row>", "</row>", "<c>", "</c>", "<c t='inlineStr'><is><t>", "</t></is></c>", "<v>1</v>", "<c r='A1'>", "<c r='XFD9'>",
         "<f>A1</f>", "&amp;", "x", " ", "<v>", "</v>", "<c s='1'/>", "<c t='s'><v>0</v></c>", "<row r='9'/>", "<!-- x -->"]
STRINGS = ["<si>", "</si>", "<t>", "</t>", "x", "<r>", "</r>", "<rPr/>", "&amp;", "<si/>", "<!-- -->", "<phoneticPr/>"]
FORMATS = ["[", "]", "0", "#", "y", "m", "d", "h", "s", ";", '"', "\\", "_", "*", "?", "/", "[h]", "[$-409]", "General", "@", ".",
           "E+"]
TEMPLATES = ["{{ ", " }}", "{% ", " %}", "{#", "#}", "a", "|e", ".b", "[0]", "(", ")", "~", "+", "-", "not ", "if a ", "else ",
             ",", "1", '"', "\\", " ", "{% if a %}", "{% endif %}", "{% set a=1 %}", "{% raw %}", "\n", "x", "{",
             "}", ":", "==", "in "]
TEXTS = ["a", " ", "\n", "<", ">", "&", '"', "www.a.de", "@", ".", "%", "{0}", "\u00e9",
         "\u0390", "-", "9", "a b", "<b>", "\t", "&lt;",
         "/"]
# fmt: on


def _render(source: str, text: str) -> None:
    create_environment(autoescape=True).from_string(source).render(x=text)


def _list_filters() -> list[str]:
    return [f"{{{{ x|{name} }}}}" for name in sorted(create_environment().filters)]


FILTERS = _list_filters()


def _read_workbook(part: str, template: str, text: str) -> None:
    """Read a workbook with `text` in one of its parts."""
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(make_workbook())) as old, zipfile.ZipFile(content, "w") as new:
        for name in {*old.namelist(), part}:
            before = old.read(name).decode() if name in old.namelist() else ""
            new.writestr(name, template.format(text) if name == part else before)
    with TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "p.xlsx"
        path.write_bytes(content.getvalue())
        list(FileSource(NamedFile(path, "p.xlsx"), "xlsx"))


MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
SHEET = f"<worksheet {MAIN}><sheetData><row><c t='inlineStr'><is><t>email</t></is></c></row>{{}}</sheetData></worksheet>"
SHARED = f"<sst {MAIN}>{{}}</sst>"
STYLES = (
    f"<styleSheet {MAIN}><numFmts><numFmt numFmtId='164' formatCode='{{}}'/></numFmts>"
    "<cellXfs><xf numFmtId='164'/></cellXfs></styleSheet>"
)


class Target(NamedTuple):
    """What parses a text, the pieces that the text is made of, and what is around it."""

    parse: Callable[[str], object]
    pieces: list[str]
    before: str = ""
    after: str = ""


TARGETS = {
    "text of HTML": Target(derive_text, HTML),
    "lint of HTML": Target(parse_html, HTML),
    "HTML": Target(inline_css, HTML, "<style>p {color: red}</style>"),
    "CSS": Target(inline_css, CSS, "<style>", "</style>" + "<p class='a' id='b'>x</p>" * 10),
    "style attribute": Target(inline_css, CSS, "<p style='", "'>x</p>"),
    "Markdown": Target(make_markdown_converter(), MARKDOWN),
    "MJML": Target(make_mjml_converter(), MJML, "<mjml><mj-body>", "</mj-body></mjml>"),
    "XLSX cells": Target(partial(_read_workbook, "xl/worksheets/sheet1.xml", SHEET), CELLS),
    "XLSX strings": Target(partial(_read_workbook, "xl/sharedStrings.xml", SHARED), STRINGS),
    "XLSX formats": Target(partial(_read_workbook, "xl/styles.xml", STYLES), FORMATS),
    "templates": Target(lambda text: create_environment().from_string(text), TEMPLATES),
    **{source: Target(partial(_render, source), TEXTS) for source in FILTERS},
}


def try_one(name: str, seed: int) -> None:
    """Try one input. AssertionError, with the seed, if its cost grows too fast."""
    target, dice = TARGETS[name], random.Random(seed)
    before, unit, after = (
        "".join(dice.choices(target.pieces, k=count)) for count in (dice.randint(0, 3), dice.randint(1, 4), 1)
    )
    texts = [f"{before}{unit * (size // len(unit))}{after}" for size in (SIZE, SIZE * TIMES)]

    def measure(text: str) -> float:
        began = process_time()
        with suppress(Exception):
            target.parse(f"{target.before}{text}{target.after}")
        return process_time() - began

    again = f"python -m tests.fuzz_cost {name!r} --seed {seed}: {unit!r}"
    try:
        short, long = (run_bounded(partial(measure, text), LIMITS) for text in texts)
    except LimitExceeded as error:
        raise AssertionError(f"{again}: {error}") from None
    assert long < MIN_SECONDS or long < short * MAX_RATIO, f"{again}: {short:.2f} s, then {long:.2f} s"


def run(name: str, seconds: float) -> int:
    """Try inputs for so many seconds; returns how many there were. AssertionError at the first find."""
    count = 0
    for count, seed in enumerate(_iterate_seeds(seconds), 1):  # noqa: B007 - what is left is the count
        try_one(name, seed)
    return count


def _iterate_seeds(seconds: float) -> Iterator[int]:
    dice, end = random.Random(), monotonic() + seconds
    while monotonic() < end:
        yield dice.randrange(1 << 48)


if __name__ == "__main__":
    run_command("Look for inputs whose cost grows with the square of their length.", TARGETS, run, try_one)
