from __future__ import annotations

import json
import unicodedata
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from mailer.report.escape import json_text, printable, xml_text

ANY = st.text(st.characters(codec=None))


def test_controls_are_shown_not_obeyed() -> None:
    assert printable("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert printable("a\u202eb") == "a\\u202eb"
    assert printable("\x9b31m") == "\\x9b31m"


def test_lines_become_one() -> None:
    assert printable("one  \r\n  two\nthree") == "one two three"


def test_what_is_harmless_stays() -> None:
    assert printable("Zoë 李雷 👩‍🚀 שלום") == "Zoë 李雷 👩‍🚀 שלום"


@given(ANY)
def test_nothing_unprintable_is_left(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)


@given(ANY)
def test_xml_takes_it(text: str) -> None:
    from xml.sax.saxutils import escape

    element = ElementTree.fromstring(f"<a>{escape(xml_text(text))}</a>".encode())
    assert (element.text or "") == xml_text(text)


@given(ANY)
def test_json_means_the_same(text: str) -> None:
    document = json_text(json.dumps(text, ensure_ascii=False))
    assert json.loads(document) == text
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in document)
