from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailer.campaign.model import Attachment
from mailer.errors import RenderError
from tests.render.projects import PIXEL, Project, content_of, parsed, pattern, person, render_one

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), max_size=100
)
BODY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)


def structure(part: EmailMessage) -> Any:
    """The types of a message's parts, as nested lists."""
    if not part.is_multipart():
        return part.get_content_type()
    return [part.get_content_subtype(), *(structure(inner) for inner in part.iter_parts())]  # type: ignore[arg-type]


def test_a_campaign_with_text_alone_is_plain_text(project: Project) -> None:
    message = render_one(project, text="Hello {{ email }}\n")
    assert structure(message) == "text/plain"
    assert content_of(message) == "Hello ada@example.com\n"


def test_text_and_html_are_alternatives(project: Project) -> None:
    message = render_one(project, text="Hi", template="<p>Hello {{ email }}</p>")
    assert structure(message) == ["alternative", "text/plain", "text/html"]
    text, html = message.iter_parts()
    assert content_of(text) == "Hi"
    assert content_of(html) == "<p>Hello ada@example.com</p>"


def test_html_alone_gets_its_text(project: Project) -> None:
    message = render_one(project, template='<p>Hello <a href="https://e.com/{{ email }}">you</a></p>')
    assert structure(message) == ["alternative", "text/plain", "text/html"]
    assert content_of(message.get_body(("plain",))) == "Hello you <https://e.com/ada@example.com>\n"


def test_images_are_related_to_the_html_and_attachments_are_mixed(project: Project) -> None:
    project.put("images/logo.png", PIXEL)
    project.put("files/terms.pdf", b"%PDF-1.4\r\n\0\xff")
    message = render_one(
        project,
        text="Hi",
        template="<img src=\"{{ image('logo') }}\">",
        images={"logo": "images/logo.png"},
        attachments=(Attachment(pattern("files/terms.pdf")),),
    )
    assert structure(message) == [
        "mixed",
        ["alternative", "text/plain", ["related", "text/html", "image/png"]],
        "application/pdf",
    ]
    [attached] = message.iter_attachments()
    assert attached.get_filename() == "terms.pdf"
    assert attached.get_content() == b"%PDF-1.4\r\n\0\xff"
    [image] = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert image["Content-ID"] == "<logo>"
    assert image.get_content() == PIXEL  # type: ignore[attr-defined]


def test_attachments_of_a_text(project: Project) -> None:
    project.put("a.csv", "a,b\n1,é\n")
    message = render_one(project, text="Hi", attachments=(Attachment(pattern("a.csv")),))
    assert structure(message) == ["mixed", "text/plain", "text/csv"]
    [attached] = message.iter_attachments()
    assert attached.get_payload(decode=True) == "a,b\n1,é\n".encode()
    assert attached.get_content_charset() == "utf-8"


def test_each_recipient_has_their_own_attachment(project: Project) -> None:
    project.put("invoices/1.pdf", b"one")
    project.put("invoices/2.pdf", b"two")
    attachment = Attachment(
        pattern("invoices/{{ invoice }}.pdf"), pattern("Rechnung {{ invoice }} für {{ name }}.pdf")
    )
    compiled = project.compile(text="Hi", attachments=(attachment,))
    for invoice, content in ((1, b"one"), (2, b"two"), (1, b"one")):
        message = parsed(compiled.render(person(invoice=invoice, name="Zoë")).content)
        [attached] = message.iter_attachments()
        assert attached.get_filename() == f"Rechnung {invoice} für Zoë.pdf"
        assert attached.get_content() == content


def test_a_recipients_own_value_wins_over_vars_and_ours_over_both(project: Project) -> None:
    variables = {"city": "Rome", "plan": "free"}
    recipient = person(city="Paris", image="mine", campaign="mine")
    message = render_one(project, recipient, text="{{ city }} {{ plan }} {{ campaign }}", vars=variables)
    assert content_of(message) == "Paris free spring\n"


def test_data_is_never_rendered_again_and_is_escaped_in_html(project: Project) -> None:
    name = "{{ 7 * 7 }}{% raw %}</script><b>&amp;"
    message = render_one(
        project, person(name=name), text="{{ name }}", template="<p>{{ name }}</p>", subject="{{ name }}"
    )
    assert message["Subject"] == name
    assert content_of(message.get_body(("plain",))) == name
    assert content_of(message.get_body(("html",))) == (
        "<p>{{ 7 * 7 }}{% raw %}&lt;/script&gt;&lt;b&gt;&amp;amp;</p>"
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT, BODY, st.booleans())
@example("=?utf-8?q?a?=", "From me\n.\n..\n--=_\nSubject: x\n\nQUIT\n", True)
@example("x", "a lone\rcarriage return, trailing \n blanks\t", False)
def test_any_text_in_any_field_comes_back(
    new_project: Callable[[], Project], field: str, body: str, eight_bit: bool
) -> None:
    field = field.strip()
    project = new_project()
    project.put("files/a.txt", body)
    compiled = project.compile(
        text="{{ body }}|",
        template="<pre>{{ body }}</pre>",
        subject="{{ field }}",
        headers={"X-Field": "{{ field }}"},
        attachments=(
            Attachment(pattern("files/a.txt"), pattern("a{{ field|replace('/', '')|replace('\\\\', '') }}")),
        ),
    )
    content = compiled.render(person(field=field, body=body), eight_bit=eight_bit).content
    assert content.endswith(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or len(line) > 998 for line in content.split(b"\r\n"))
    message = parsed(content)
    assert (message["Subject"], message["X-Field"]) == (field, field)
    expected = body.replace("\r\n", "\n").replace("\r", "\n")
    assert content_of(message.get_body(("plain",))) == expected + "|"
    [attached] = message.iter_attachments()
    assert attached.get_payload(decode=True) == body.encode()
    assert attached.get_filename() == "a" + field.replace("/", "").replace("\\", "")


def test_eight_bit_is_said(project: Project) -> None:
    compiled = project.compile(text="Grüße aus Zürich, und viel mehr Text", template="<p>Hi</p>")
    assert compiled.render(person(), eight_bit=True).eight_bit
    assert not compiled.render(person()).eight_bit
    assert not project.compile(text="Hi").render(person(), eight_bit=True).eight_bit


def test_the_fingerprint_changes_with_what_is_sent(project: Project) -> None:
    project.put("logo.png", PIXEL)
    project.put("templates/part.html", "part")
    base: dict[str, Any] = {
        "template": "{% include 'part.html' %}<img src='cid:logo'>",
        "text": "Hi",
        "images": {"logo": "logo.png"},
        "vars": {"a": 1},
    }

    def fingerprint(**changes: Any) -> str:
        return project.compile(**{**base, **changes}).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    project.put("body.txt", "Hi")
    changed = {fingerprint(subject="Other"), fingerprint(vars={"a": 2}), fingerprint(text="Hi there")}
    project.put("body.txt", "Hi")
    project.put("templates/part.html", "another part")
    changed.add(fingerprint())
    project.put("templates/part.html", "part")
    project.put("logo.png", PIXEL + b"\0")
    changed.add(fingerprint())
    assert len(changed - {first}) == 5


def test_a_template_sees_the_row_by_the_lists_own_names(project: Project) -> None:
    compiled = project.compile(
        text="{{ row['First Name'] }} {{ row.First_Name }} {{ First_Name }} {{ row|length }}"
    )
    for n in range(20):
        assert compiled.render_text(person(First_Name=f"Ada {n}")) == f"Ada {n} Ada {n} Ada {n} 2"
    with pytest.raises(RenderError, match="'Last Name'"):
        project.compile(text="{{ row['Last Name'] }}").render_text(person())


def test_an_attachment_keeps_its_name_in_both_parameters(project: Project) -> None:
    project.put("a.pdf", b"%PDF")
    attachment = Attachment(pattern("a.pdf"), pattern("Rechnung {{ n }}.pdf"))
    content = project.compile(text="Hi", attachments=(attachment,)).render(person(n="7/Ä")).content
    assert b'Content-Type: application/pdf;\r\n name="=?utf-8?b?UmVjaG51bmcgNy3DhC5wZGY=?="\r\n' in content
    assert b"filename*=utf-8''Rechnung%207-%C3%84.pdf\r\n" in content
    (part,) = parsed(content).iter_attachments()
    assert part.get_filename() == "Rechnung 7-Ä.pdf"


def test_an_attachment_whose_path_renders_empty_is_left_out(project: Project) -> None:
    project.put("a.pdf", b"%PDF")
    compiled = project.compile(text="Hi", attachments=(Attachment(pattern("{{ file }}")),))
    assert structure(parsed(compiled.render(person(file="a.pdf")).content)) == [
        "mixed",
        "text/plain",
        "application/pdf",
    ]
    assert structure(parsed(compiled.render(person(file="")).content)) == "text/plain"


@pytest.mark.parametrize("count", [1, 20])
def test_a_path_in_src_that_is_not_the_lists_is_a_file(project: Project, count: int) -> None:
    project.put("images/winter.png", PIXEL)
    template = "<img src='images/{{ season }}.png'><img src='{{ image('logo') }}'>{{ name }}"
    compiled = project.compile(
        text="Hi", template=template, vars={"season": "winter"}, images={"logo": "images/winter.png"}
    )
    for n in range(count):
        message = parsed(compiled.render(person(name=f"Ada {n}")).content)
    assert [part.get_content_type() for part in message.walk()].count("image/png") == 2
