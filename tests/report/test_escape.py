from __future__ import annotations

import json
import unicodedata
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from mailer.report.escape import escape_json, escape_xml
from mailer.text import make_printable

ANY = st.text(st.characters(codec=None))


def test_control_characters_are_shown_as_escapes() -> None:
    assert make_printable("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert make_printable("a\u202eb") == "a\\u202eb"
    assert make_printable("\x9b31m") == "\\x9b31m"


def test_a_line_end_becomes_a_blank() -> None:
    assert make_printable("one  \r\n  two\nthree") == "one two three"


def test_printable_text_stays_as_it_is() -> None:
    assert make_printable("Zoë 李雷 👩‍🚀 שלום") == "Zoë 李雷 👩‍🚀 שלום"


@given(ANY)
def test_nothing_unprintable_is_left(text: str) -> None:
    shown = make_printable(text)
    shown.encode("utf-8")
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)


@given(ANY)
def test_any_text_is_valid_xml(text: str) -> None:
    from xml.sax.saxutils import escape

    element = ElementTree.fromstring(f"<a>{escape(escape_xml(text))}</a>".encode())
    assert (element.text or "") == escape_xml(text)


@given(ANY)
def test_an_escaped_json_document_has_the_same_meaning(text: str) -> None:
    document = escape_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(document) == text
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in document)
