from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.render.plain_text import derive_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("<!-- nothing -->", ""),
        ("<p> </p>", ""),
        ("plain", "plain\n"),
        ("<p>One</p><p>Two<br>three</p>", "One\n\nTwo\nthree\n"),
        ("<p>Zo<b>ë</b>, a <i>b</i> c</p>", "Zoë, a b c\n"),
        ("a &lt;b&gt; &amp; c&nbsp;d", "a <b> & c d\n"),
        ("a &amp;lt;b&amp;gt; &amp;amp;", "a &lt;b&gt; &amp;\n"),
        ("<ul><li>one<li>two</ul>", "  * one\n  * two\n"),
        ("<ol><li>one<li>two</ol>", " 1. one\n 2. two\n"),
        ('<a href="https://e.com/a">Read on</a>.', "Read on <https://e.com/a>.\n"),
        ('<a href="https://e.com">https://e.com</a>', "https://e.com\n"),
        ('<a href="https://e.com">e.com</a>', "e.com\n"),
        ('<a href="mailto:a@e.com">a@e.com</a>', "a@e.com\n"),
        ('<a href="mailto:a@e.com">Write</a>', "Write <a@e.com>\n"),
        ('<a href="#top">Top</a>', "Top\n"),
        ('<a href="https://e.com"><img alt="Shop" src=x></a>', "[Shop] <https://e.com>\n"),
        ('<a href="https://e.com"><img alt="" src=x></a>', "<https://e.com>\n"),
        ('a<img alt="" src=x>b', "ab\n"),
        ('<div style="display:none">hidden</div>x', "x\n"),
        ("<p hidden>hidden</p>x", "x\n"),
        ("<head><title>T</title><style>p{}</style></head><script>1</script>x", "x\n"),
        ("<table><tr><td>A<td>B</table>", "A  B\n"),
        ("<table><tr><td><p>A</p><td><p>B</p></table>", "A\n\nB\n"),
        ("<table><tr><th>A<th>BB</tr><tr><td>long<td>x</table>", "A     BB\nlong  x\n"),
        ("<!--[if mso]><p>Outlook</p><![endif]-->x", "x\n"),
    ],
)
def test_what_a_reader_sees(html: str, text: str) -> None:
    assert derive_text(html) == text


def test_the_sample_newsletter_reads_well() -> None:
    html = (Path(__file__).parents[2] / "templates" / "footer.html.j2").read_text()
    text = derive_text(html)
    assert "Unsubscribe <{{ unsubscribe_url }}> with one click, no questions." in text
    assert max(map(len, text.splitlines())) < 120


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200))
def test_nothing_makes_it_fail(html: str) -> None:
    derive_text(html)
    derive_text(f"<table><tr><td>{html}</table>")
