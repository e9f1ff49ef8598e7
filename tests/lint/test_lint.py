"""Each rule fires on what it is about, says the line of the user's file, and is silent when ignored."""

from __future__ import annotations

import re
from pathlib import Path
from time import process_time

import pytest

from mailer.campaign import load_campaign
from mailer.lint import RULES, Finding, lint_campaign
from mailer.lint.document import parse_html
from mailer.render.compile import compile_campaign

CLEAN_HTML = """<!doctype html>
<html><body>
<p>Hello {{ name }}, <a href="https://example.com/news">news</a></p>
<img src="cid:logo" alt="Logo">
<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
</body></html>
"""
CLEAN_CAMPAIGN = """campaign: spring
from: News <news@example.com>
subject: "Spring for {{ name }}"
template: news.html.j2
images: {logo: logo.png}
unsubscribe: {url: "https://example.com/u/{{ name }}", one_click: true}
ignore: [one-click-unsigned]
recipients:
  - {email: ada@example.com, name: Ada}
"""


def found(
    folder: Path, campaign: str = CLEAN_CAMPAIGN, html: str = CLEAN_HTML, **files: str
) -> list[Finding]:
    (folder / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "news.html.j2").write_text(html, encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    path = folder / "spring.yaml"
    path.write_text(campaign, encoding="utf-8")
    loaded = load_campaign(path)
    return lint_campaign(loaded, compile_campaign(loaded))


def rules(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


def test_a_clean_campaign_has_no_findings(tmp_path: Path) -> None:
    assert found(tmp_path) == []


def body(text: str) -> str:
    return CLEAN_HTML.replace("</body>", f"{text}\n</body>")


@pytest.mark.parametrize(
    ("html", "rule", "line"),
    [
        (body('<img src="https://example.com/a.png">'), "image-alt", 6),
        (body('<img src="http://example.com/a.png" alt="a">'), "image-remote", 6),
        (body('\n<img src="logo.png">'), "image-alt", 7),
        (body('\n<a href="">x</a>'), "link-empty", 7),
        (body('<a href="http://example.com/">x</a>'), "link-http", 6),
        (body('<a href="https://localhost:8000/">x</a>'), "link-local", 6),
        (body('<a href="http://127.0.0.1/">x</a>'), "link-local", 6),
        (body('<a href="#">x</a>'), "link-empty", 6),
        (body('<a href="pricing.html">x</a>'), "link-empty", 6),
        (body("Lorem ipsum dolor"), "placeholder", 6),
        (body("Call us: TODO"), "placeholder", 6),
        (body("Dear *|FNAME|*,"), "placeholder", 6),
        (body("Dear %%first_name%%,"), "placeholder", 6),
        (body("Dear ${name},"), "placeholder", 6),
        (body("Dear {name},"), "placeholder", 6),
        (body("Dear [[First Name]],"), "placeholder", 6),
        (body("Dear &lt;&lt;Name&gt;&gt;,"), "placeholder", 0),
        (body("Dear «Name»,"), "placeholder", 6),
        (body("{{ '{{ name }}' }}"), "placeholder", 0),
        (body("Dear #N/A,"), "placeholder", 6),
        (body("Your postcode: =&quot;01234&quot;"), "placeholder", 0),
        (body("<form></form>"), "client-tag", 6),
        (body('<div style="display: flex">x</div>'), "client-css", 6),
        (body("<!-- " + "x" * 110_000 + " -->"), "html-clipped", 0),
        (CLEAN_HTML.replace("cid:logo", "https://example.com/l.png"), "image-unused", 5),
        (
            CLEAN_HTML.replace("{{ unsubscribe_url }}", "https://example.com/x").replace("Unsub", "Sub"),
            "unsubscribe-invisible",
            0,
        ),
    ],
)
def test_a_body_rule_names_the_line(tmp_path: Path, html: str, rule: str, line: int) -> None:
    findings = [finding for finding in found(tmp_path, html=html) if finding.rule == rule]
    assert [finding.place.line for finding in findings] == [line]
    assert f"[{rule}]" in str(findings[0])


@pytest.mark.parametrize(
    "html",
    [
        body("Size XXX or XXXL. Todo: come and see. Todo el mundo."),
        body("Il dit «bonjour», sie sagt »hallo«, a set {1, 2} and 3 << 4 >> 1"),
        "<style>/* display: flex */ p {color: red}</style>" + CLEAN_HTML,
        "<style>@import url(https://fonts.googleapis.com/css?family=Ubuntu);</style>" + CLEAN_HTML,
        '<link href="https://fonts.googleapis.com/css?family=Ubuntu" rel="stylesheet">' + CLEAN_HTML,
    ],
)
def test_prose_and_what_mjml_writes_give_no_finding(tmp_path: Path, html: str) -> None:
    assert found(tmp_path, html=html) == []


MJML = """<mjml><mj-head><mj-preview>News</mj-preview>
<mj-font name="Raleway" href="https://fonts.googleapis.com/css?family=Raleway" />
</mj-head><mj-body>
<mj-hero background-url="https://example.com/a.png" height="200px"><mj-text>Hello {{ name }}</mj-text></mj-hero>
<mj-section><mj-column>
<mj-image src="cid:logo" alt="Logo" /><mj-button href="https://example.com/">Read</mj-button><mj-divider /><mj-spacer />
<mj-social><mj-social-element name="facebook" href="https://example.com/f" /></mj-social>
<mj-accordion><mj-accordion-element><mj-accordion-title>T</mj-accordion-title><mj-accordion-text>X</mj-accordion-text>
</mj-accordion-element></mj-accordion>
<mj-carousel><mj-carousel-image src="https://example.com/1.png" alt="1" /></mj-carousel>
<mj-navbar hamburger="hamburger"><mj-navbar-link href="https://example.com/a">A</mj-navbar-link></mj-navbar>
<mj-text>IMAGE<a href="{{ unsubscribe_url }}">Unsubscribe</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
"""


def test_no_element_of_mjml_gives_a_finding(tmp_path: Path) -> None:
    campaign = CLEAN_CAMPAIGN.replace("news.html.j2", "news.mjml")
    assert found(tmp_path, campaign, news_mjml=MJML.replace("IMAGE", "")) == []
    wrong = MJML.replace("IMAGE", "<img src='https://example.com/x.png'><input>").replace(' alt="Logo"', "")
    assert rules(found(tmp_path, campaign, news_mjml=wrong)) == {"image-alt", "client-tag"}


@pytest.mark.parametrize(
    ("address", "host"),
    [("a@gmail.com", "smtp.gmail.com"), ("a@hotmail.com", "smtp.office365.com"), ("a@qq.com", "smtp.qq.com")],
)
def test_a_free_address_through_its_own_provider_gives_no_finding(
    tmp_path: Path, address: str, host: str
) -> None:
    campaign = CLEAN_CAMPAIGN.replace("news@example.com", address) + f"server: {{host: {host}}}\n"
    assert found(tmp_path, campaign) == []


def test_null_columns_are_counted(tmp_path: Path) -> None:
    campaign = (
        CLEAN_CAMPAIGN + "  - {email: bob@example.com, name: null}\n  - {email: eve@example.com, name: Eve}\n"
    )
    (finding,) = found(tmp_path, campaign)
    assert (finding.rule, finding.place.line) == ("null-values", 10)
    assert "the column 'name' is null for 1 of the first 3 recipients" in finding.text


@pytest.mark.parametrize(
    ("old", "new", "rule", "line"),
    [
        ("news@example.com", "news@gmail.com", "from-freemail", 2),
        ('"Spring for {{ name }}"', '"Re: spring"', "subject-reply", 3),
        ('"Spring for {{ name }}"', '"{{ name * 80 }}"', "subject-long", 3),
        ('"Spring for {{ name }}"', '"{{ name[:0] }}"', "subject-empty", 3),
        (", one_click: true", "", "one-click-missing", 6),
        ("ignore: [one-click-unsigned]", "ignore: []", "one-click-unsigned", 6),
        ("ignore: [one-click-unsigned]", "ignore: [one-click-unsinged]", "unknown-rule", 7),
    ],
)
def test_a_campaign_rule_names_the_line(tmp_path: Path, old: str, new: str, rule: str, line: int) -> None:
    findings = [
        finding for finding in found(tmp_path, CLEAN_CAMPAIGN.replace(old, new)) if finding.rule == rule
    ]
    assert [finding.place.line for finding in findings] == [line]


def test_no_unsubscribe_at_all(tmp_path: Path) -> None:
    campaign = "\n".join(line for line in CLEAN_CAMPAIGN.splitlines() if not line.startswith("unsubscribe"))
    html = CLEAN_HTML.replace("{{ unsubscribe_url }}", "https://example.com/u")
    assert rules(found(tmp_path, campaign, html)) == {"unsubscribe-missing"}


def test_text_and_html_that_lead_to_different_places(tmp_path: Path) -> None:
    campaign = CLEAN_CAMPAIGN.replace("template:", "text: news.txt\ntemplate:")
    text = "Hello {{ name }}\nhttps://example.com/news\nhttps://example.com/other\nUnsubscribe: {{ unsubscribe_url }}\n"
    findings = found(tmp_path, campaign, news_txt=text)
    assert [(finding.rule, finding.place.line) for finding in findings] == [("links-differ", 3)]


def test_a_header_that_many_servers_refuse(tmp_path: Path) -> None:
    campaign = CLEAN_CAMPAIGN + "headers: {X-Long: \"{{ (name ~ ' ') * 2000 }}\"}\n"
    assert rules(found(tmp_path, campaign)) == {"header-size"}


def test_an_ignored_rule_is_silent(tmp_path: Path) -> None:
    campaign = CLEAN_CAMPAIGN.replace("ignore: [", "ignore: [subject-reply, ").replace(
        "Spring for", "Re: spring for"
    )
    assert found(tmp_path, campaign) == []


def test_a_finding_in_an_included_file_is_placed_there(tmp_path: Path) -> None:
    html = body('{% include "footer.html" %}')
    findings = found(tmp_path, html=html, footer_html='<p>\n<a href="http://example.com/imprint">x</a></p>')
    assert [(Path(f.place.file).name, f.place.line) for f in findings] == [("footer.html", 2)]


@pytest.mark.parametrize(
    ("subject", "is_cut"),
    [
        ("Offer #1 for {{ name }}", True),
        ("Offer\t#1", True),
        ("'Offer #1'", False),
        ('"Offer #1"', False),
        ("Offer#1", False),
        ("Offer # the first one", False),
        ("Offer ## the first one", False),
    ],
)
def test_a_subject_that_a_comment_cuts_is_found(tmp_path: Path, subject: str, is_cut: bool) -> None:
    campaign = re.sub(r"(?m)^subject: .*$", f"subject: {subject}", CLEAN_CAMPAIGN)
    assert rules(found(tmp_path, campaign)) == ({"value-cut"} if is_cut else set())


@pytest.mark.parametrize("subject", ["Hello {name}", "Hello #N/A", "Hello *|FNAME|*"])
def test_a_field_of_another_program_is_found_in_the_subject(tmp_path: Path, subject: str) -> None:
    campaign = re.sub(r"(?m)^subject: .*$", f'subject: "{subject}"', CLEAN_CAMPAIGN)
    assert rules(found(tmp_path, campaign)) == {"placeholder"}


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "the image 'logo' is an empty file"),
        (b"<html>404</html>", "the image 'logo' is not a file of the type png"),
        (b"\xff\xd8\xff\xe0 a JPEG", "the image 'logo' is not a file of the type png"),
        (b"\x89PNG\r\n\x1a\n...", None),
    ],
)
def test_an_image_file_that_is_none_is_found(tmp_path: Path, octets: bytes, problem: str | None) -> None:
    assert found(tmp_path) == []
    (tmp_path / "logo.png").write_bytes(octets)
    loaded = load_campaign(tmp_path / "spring.yaml")
    findings = lint_campaign(loaded, compile_campaign(loaded))
    assert [(f.rule, f.text) for f in findings] == ([("image-broken", problem)] if problem else [])


def test_every_rule_says_why() -> None:
    assert all(len(why) > 10 for why in RULES.values())


@pytest.mark.parametrize("html", ["<!--" * 100_000, "<a " * 100_000, "<div>" * 50_000, "<" * 200_000])
def test_html_is_read_in_linear_time(html: str) -> None:
    started = process_time()
    parse_html(html)
    assert process_time() - started < 5


@pytest.mark.slow
def test_a_text_is_looked_for_once(tmp_path: Path) -> None:
    started = process_time()
    assert "link-http" in rules(
        found(tmp_path, html=body('<a href="http://example.com/">x</a><img src="logo.png">' * 20_000))
    )
    assert process_time() - started < 10


def test_a_document_is_what_a_reader_sees() -> None:
    document = parse_html(
        "<title>T</title><style>p {color: red}</style><p style='x: y'>A<b>B</b>&amp;C<br>D</p><script>no</script>"
        "<a href=' /x '>L</a><img src=i.png><img src='j.png' alt=''>\0\x1bE<!-- no -->"
    )
    assert document.text == "AB&C D L E"
    assert document.links == ["/x"]
    assert [(image.source, image.alt) for image in document.images] == [("i.png", None), ("j.png", "")]
    assert document.styles == ["p {color: red}", "x: y"]
    assert parse_html("").text == parse_html(" <!-- x --> ").text == ""
