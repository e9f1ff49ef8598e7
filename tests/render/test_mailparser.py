"""A second parser, written by other people (Node's mailparser), reads back what was written."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mailer.campaign.model import Attachment, Unsubscribe
from tests.render.projects import PIXEL, Project, pattern, person

READER = Path(__file__).with_name("read_mail.mjs")
MODULES = Path(__file__).parents[1] / "node_modules" / "mailparser"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"

FIELD = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), max_size=120
)
BODY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=300)

FIELDS = [
    "Hello",
    " leading",
    "two  blanks",
    "a" * 3000,
    "é" * 3000,
    "a " * 1500 + "b",
    FAMILY * 50,
    "=?utf-8?q?looks_like_one?=",
    "x =?utf-8?b?eA==?= y",
    "مرحبا بالعالم",
    "a\u200bb \u200f",
    '"quoted", and; <more@than> (that)',
    "back\\slash",
    "\U0001f1e9\U0001f1ea" * 30,
    "e" + "\u0301" * 100,
]
BODIES = [
    "",
    "no line end",
    ".\n..\n.hidden\n",
    "From me\n>From you\n",
    "Subject: x\n\n--=_\nMAIL FROM:<eve@example.com>\nDATA\nQUIT\n",
    "a lone\rcarriage return\r\nand a lone\nline feed",
    "trailing \nblanks\t\n ",
    "é" + "x" * 1_000_000 + "\n",
    "= =3D =\n=20",
    "王小明" * 400,
    "\x01\x07\x0b\x0c\x7f\x85\u2028",
]


@pytest.fixture(autouse=True)
def node() -> str:
    found = shutil.which("node")
    if found is None or not MODULES.is_dir():
        reason = "needs Node and mailparser: tests/servers/install.sh"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def read(node: str, contents: list[bytes]) -> list[dict[str, Any]]:
    """Each message as mailparser sees it; one process for all."""
    done = subprocess.run(
        [node, READER],
        input="\n".join(base64.b64encode(content).decode("ascii") for content in contents),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def examples(strategy: st.SearchStrategy[str], count: int) -> list[str]:
    found: list[str] = []

    @settings(
        max_examples=count, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def collect(value: str) -> None:
        found.append(value)

    collect()
    return found


def test_mailparser_reads_any_field_back(project: Project, node: str) -> None:
    compiled = project.compile(text="Hi", subject="{{ x }}")
    fields = FIELDS + examples(FIELD, 150)
    sent = [compiled.render(person(x=field, name=field)).content for field in fields]
    for field, mail in zip(fields, read(node, sent), strict=True):
        assert mail["subject"] == field
        assert mail["to"] == [[field.strip(), "ada@example.com"]]


@pytest.mark.parametrize("eight_bit", [True, False])
def test_mailparser_reads_any_body_back(project: Project, node: str, eight_bit: bool) -> None:
    compiled = project.compile(text="{{ x }}|", template="<pre>{{ x }}</pre>")
    bodies = BODIES + examples(BODY, 100)
    sent = [compiled.render(person(x=body), eight_bit=eight_bit).content for body in bodies]
    for body, mail in zip(bodies, read(node, sent), strict=True):
        assert mail["text"] == lines(body) + "|"
        assert mail["html"] == f"<pre>{lines(escaped(body))}</pre>"


def escaped(text: str) -> str:
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ('"', "&#34;")):
        text = text.replace(char, entity)
    return text


def lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def test_mailparser_reads_any_attachment_back(project: Project, node: str) -> None:
    project.put("a.pdf", b"%PDF\r\n\0\xff")
    names = [
        "a.pdf",
        "Rechnung für Zoë.pdf",
        'semi;colon"quote.pdf',
        "é" * 120 + ".pdf",
        "100% 'sure'.pdf",
        FAMILY * 20,
    ]
    attachment = Attachment(pattern("a.pdf"), pattern("{{ x }}"))
    compiled = project.compile(text="Hi", attachments=(attachment,))
    for name, mail in zip(
        names, read(node, [compiled.render(person(x=n)).content for n in names]), strict=True
    ):
        [attached] = mail["attachments"]
        assert attached["filename"] == name
        assert base64.b64decode(attached["content"]) == b"%PDF\r\n\0\xff"


def test_mailparser_reads_every_part_of_a_message(project: Project, node: str) -> None:
    project.put("images/logo.png", PIXEL)
    project.put("images/inline.png", PIXEL + b"\0")
    project.put("terms.txt", "é\r\n")
    compiled = project.compile(
        template='<img src="cid:logo"><img alt="x" src="images/inline.png">',
        images={"logo": "images/logo.png"},
        attachments=(Attachment(pattern("terms.txt")),),
        reply_to=["Hilfe für Sie <help@bücher.example>"],
        cc=["boss@example.com"],
        unsubscribe=Unsubscribe(pattern("https://e.com/u/1"), None, True),
    )
    [mail] = read(node, [compiled.render(person(name="Zoë")).content])
    assert mail["from"] == [["Example News", "news@example.com"]]
    assert mail["to"] == [["Zoë", "ada@example.com"]]
    assert mail["cc"] == [["", "boss@example.com"]]
    assert mail["replyTo"] == [["Hilfe für Sie", "help@bücher.example"]]  # as it shows the A-label
    logo, inline, terms = mail["attachments"]
    assert (logo["cid"], logo["type"], logo["related"]) == ("logo", "image/png", True)
    assert base64.b64decode(logo["content"]) == PIXEL
    assert base64.b64decode(inline["content"]) == PIXEL + b"\0"
    assert f'<img alt="x" src="cid:{inline["cid"]}">' in mail["html"]
    assert (terms["filename"], base64.b64decode(terms["content"])) == ("terms.txt", "é\r\n".encode())
