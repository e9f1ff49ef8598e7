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
        ("<table><tr><th>A<th>BB</tr><tr><td>long<td>x</table>", "A | BB\nlong | x\n"),
        ("<table><tr><th>A<table><tr><td>B<td>C</table><th>D</table>", "A\nB  C\nD\n"),
        ("<table><tr><td>A<td><table><tr><th>B<th>C<tr><td>1<td>2</table></table>", "A\nB | C\n1 | 2\n"),
        ('<table role="presentation"><tr><th>A<th>B<tr><td>C<td>D</table>', "A  B\nC  D\n"),
        ("<table><tr><th>Heading</table><table><tr><td>A<td>B</table>", "Heading\nA  B\n"),
        (
            '<a href="https://e.com/h">Home</a><a href="https://e.com/b">Blog</a>',
            "Home <https://e.com/h> Blog <https://e.com/b>\n",
        ),
        ("<a>Home</a><a>Blog</a>", "Home Blog\n"),
        (
            "<a href=//e.com/1><b>One</b></a><span><a href=//e.com/2>Two</a></span>",
            "One <//e.com/1> Two <//e.com/2>\n",
        ),
        ("<span><a>One</a></span><span><a>Two</a></span>", "One Two\n"),
        ("<p><b><a>One</a></b>, two</p>", "One, two\n"),
        (
            "<a href=//e.com><img alt='' src=x></a><table><tr><td><a href=//e.com>Shop</a></table>",
            "Shop <//e.com>\n",
        ),
        ("<a href=//e.com><img alt='' src=x></a><a href=//e.com/2>Shop</a>", "<//e.com> Shop <//e.com/2>\n"),
        ("<section>One</section><section>Two</section><center>Three</center>", "One\nTwo\nThree\n"),
        ("<dl><dt>Term<dd>What it is<dt>Other<dd>More</dl>", "Term\nWhat it is\nOther\nMore\n"),
        ("above<hr>below", "above\nbelow\n"),
        ("<table><tr><td>Logo<td>Menu<tr><th>News<td>of today</table>", "Logo  Menu\nNews  of today\n"),
        ("<table><tr><th>Tea<td>3 €<tr><th>Cake<td>4 €</table>", "Tea | 3 €\nCake | 4 €\n"),
        ('<div style="max-height:0;overflow:hidden">hidden</div>x', "x\n"),
        ("<p>Soon" + "&#847;&zwnj;&nbsp;" * 40 + "</p>x", "Soon\n\nx\n"),
        (
            "family: \U0001f468\u200d\U0001f469\u200d\U0001f467",
            "family: \U0001f468\u200d\U0001f469\u200d\U0001f467\n",
        ),
        ("<!--[if mso]><table><tr><td><![endif]-->x<!--[if !mso]><!--><p>y</p><!--<![endif]-->", "x\n\ny\n"),
        ("<!--[if mso]><p>Outlook</p><![endif]-->x", "x\n"),
    ],
)
def test_what_a_reader_sees(html: str, text: str) -> None:
    assert derive_text(html) == text


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 1000,
        "<p " + "a=1 " * 1000 + ">",
        "<p " + "a " * 1000 + ">",
        "<p " + "a/" * 1000 + ">",
        "<p " + "a='b c'" * 1000 + ">",
        "<p x='/ /' " + 'a="1" ' * 1000 + ">",
        "<?<!-- >" + "<div>" * 1000,
        "</ <!-- >" + "<div>" * 1000,
        "<!-->" + "<div>" * 1000,
        "<!-- --!>" + "<div>" * 1000,
        "<img src=x '\"-->" + "<ul><li>" * 1000,
        '<a =">' + "<div>" * 1000,
        '<a b==">' + "<div>" * 1000,
        "<title><!--</title>" + "<div>" * 1000,
        "<img " + "x" * 100_000,
        "<b><div></b>" * 500,
    ],
)
def test_html_that_would_exhaust_a_parser_is_refused(html: str) -> None:
    with pytest.raises(ValueError, match=r"nested|attributes|characters"):
        derive_text(html)


def test_elements_that_close_themselves_are_not_deep() -> None:
    assert derive_text("<ul>" + "<li>x" * 1000 + "</ul>").count("x") == 1000
    assert derive_text("<p>x" * 1000 + "<br>" * 1000).count("x") == 1000


def test_the_sample_newsletter_reads_well() -> None:
    html = (Path(__file__).parents[2] / "templates" / "footer.html.j2").read_text()
    text = derive_text(html)
    assert "Unsubscribe <{{ unsubscribe_url }}> with one click, no questions." in text
    assert max(map(len, text.splitlines())) < 120


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200))
def test_nothing_makes_it_fail(html: str) -> None:
    derive_text(html)
    derive_text(f"<table><tr><td>{html}</table>")
