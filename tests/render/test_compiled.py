from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailer.campaign.model import Attachment, Recipient, Unsubscribe
from mailer.errors import Place, Problem, RenderError
from mailer.render.render_process import RenderProcess
from tests.render.projects import PIXEL, Project, content_of, parsed, pattern, person

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), max_size=100
)
BODY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)


def structure(part: EmailMessage) -> Any:
    """The types of a message's parts, as nested lists."""
    if not part.is_multipart():
        return part.get_content_type()
    return [part.get_content_subtype(), *(structure(inner) for inner in part.iter_parts())]  # type: ignore[arg-type]


def one(project: Project, recipient: Recipient | None = None, **fields: Any) -> EmailMessage:
    return parsed(project.compile(**fields).render(recipient or person()).content)


def test_a_campaign_with_text_alone_is_plain_text(project: Project) -> None:
    message = one(project, text="Hello {{ email }}\n")
    assert structure(message) == "text/plain"
    assert content_of(message) == "Hello ada@example.com\n"


def test_text_and_html(project: Project) -> None:
    message = one(project, text="Hi", template="<p>Hello {{ email }}</p>")
    assert structure(message) == ["alternative", "text/plain", "text/html"]
    text, html = message.iter_parts()
    assert content_of(text) == "Hi"
    assert content_of(html) == "<p>Hello ada@example.com</p>"


def test_html_alone_gets_its_text(project: Project) -> None:
    message = one(project, template='<p>Hello <a href="https://e.com/{{ email }}">you</a></p>')
    assert structure(message) == ["alternative", "text/plain", "text/html"]
    assert content_of(message.get_body(("plain",))) == "Hello you <https://e.com/ada@example.com>\n"


def test_images_and_attachments(project: Project) -> None:
    project.put("images/logo.png", PIXEL)
    project.put("files/terms.pdf", b"%PDF-1.4\r\n\0\xff")
    message = one(
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
    message = one(project, text="Hi", attachments=(Attachment(pattern("a.csv")),))
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


def test_the_header_has_each_field_encoded_by_its_grammar(project: Project) -> None:
    message = one(
        project,
        person(name="Zoë, Countess", team="Growth"),
        text="Hi",
        subject="Hello {{ name }}",
        reply_to=["Help <help@example.com>"],
        cc=["Boss <boss@example.com>", "{{ '' }}"],
        bcc=["audit@example.com"],
        headers={"X-Team": "{{ team }}"},
    )
    assert message["From"] == "Example News <news@example.com>"
    assert message["To"].addresses[0].display_name == "Zoë, Countess"
    assert message["Subject"] == "Hello Zoë, Countess"
    assert message["Reply-To"] == "Help <help@example.com>"
    assert message["Cc"] == "Boss <boss@example.com>"
    assert message["X-Team"] == "Growth"
    assert message["MIME-Version"] == "1.0"
    assert "Bcc" not in message
    assert "audit@" not in message.as_string()
    assert len(set(message.keys())) == len(message.keys())


def test_the_envelope_has_each_address_once_as_a_labels(project: Project) -> None:
    compiled = project.compile(
        text="Hi",
        cc=["Boss <boss@bücher.example>"],
        bcc=["audit@example.com", "ada@example.com"],
        envelope_from="bounce+{{ token }}@bücher.example",
    )
    message = compiled.render(person(token="t1"))
    assert message.sender == "bounce+t1@xn--bcher-kva.example"
    assert message.recipients == ("ada@example.com", "boss@xn--bcher-kva.example", "audit@example.com")
    assert not message.utf8


def test_the_envelope_sender_is_that_of_from(project: Project) -> None:
    assert project.compile(text="Hi").render(person()).sender == "news@example.com"


@pytest.mark.parametrize(
    "fields",
    [
        {"cc": ["zoë@example.com"]},
        {"sender": "zoë@example.com"},
        {"reply_to": ["zoë@example.com"]},
        {},
    ],
)
def test_an_address_beyond_ascii_needs_smtputf8(project: Project, fields: dict[str, Any]) -> None:
    message = project.compile(text="Hi", **fields).render(
        person("ada@example.com" if fields else "zoë@example.com")
    )
    assert message.utf8
    assert "zoë@example.com".encode() in message.content


def test_a_key_makes_the_message_id(project: Project) -> None:
    plain = project.compile(text="Hi")
    assert plain.make_key(person("Ada@Example.COM")) == "ada@example.com"
    keyed = project.compile(text="Hi", key="{{ email }}/{{ invoice }}")
    assert keyed.make_key(person(invoice=7)) == "ada@example.com/7"
    ids = {
        keyed.render(person(invoice=1)).message_id,
        keyed.render(person(invoice=2)).message_id,
        plain.render(person()).message_id,
        project.compile(text="Hi", edition=2).render(person()).message_id,
        project.compile(text="Hi", name="autumn").render(person()).message_id,
    }
    assert len(ids) == 5
    assert all(message_id.endswith("@example.com>") for message_id in ids)
    assert project.compile(text="Other").render(person("ADA@example.com")).message_id in ids
    message = keyed.render(person(invoice=1))
    assert parsed(message.content)["Message-ID"] == message.message_id


def test_the_unsubscribe_headers_are_those_of_rfc_8058(project: Project) -> None:
    unsubscribe = Unsubscribe(
        pattern("https://e.com/u/{{ token }}"), pattern("out@example.com?subject=a b"), True
    )
    message = one(project, person(token="é <x>"), text="Out: {{ unsubscribe_url }}", unsubscribe=unsubscribe)
    ways = "<https://e.com/u/%C3%A9%20%3Cx%3E>, <mailto:out@example.com?subject=a%20b>"
    assert message["List-Unsubscribe"] == ways
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "https://e.com/u/%C3%A9%20%3Cx%3E" in content_of(message)


def test_the_last_line_end_of_a_pattern_is_no_part_of_it(project: Project) -> None:
    assert one(project, text="Hi", subject="Hello {{ email }}\n")["Subject"] == "Hello ada@example.com"


def test_a_name_is_the_recipients_own(project: Project) -> None:
    assert one(project, text="Hi", vars={"name": "Everybody"})["To"] == "ada@example.com"
    assert one(project, person(name=None), text="Hi")["To"] == "ada@example.com"


def test_an_address_to_unsubscribe_at_fits_a_line(project: Project) -> None:
    with pytest.raises(RenderError, match="longer than 968 characters"):
        one(project, text="Hi", unsubscribe=Unsubscribe(pattern("https://e.com/" + "x" * 1000)))


def test_one_click_needs_https(project: Project) -> None:
    unsubscribe = Unsubscribe(pattern("http://e.com/u", 9), None, True)
    with pytest.raises(
        RenderError,
        match=r"^campaign.yaml:9: unsubscribe.url: one_click needs .* https://.*, for ada@example.com",
    ):
        one(project, text="Hi", unsubscribe=unsubscribe)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "ftp://e.com/u", "", "e.com/u", "mailto:out@example.com"]
)
def test_an_address_to_unsubscribe_at_is_one_of_the_web(project: Project, address: str) -> None:
    unsubscribe = Unsubscribe(pattern("{{ u }}", 9), None, False)
    with pytest.raises(
        RenderError,
        match=r"^campaign.yaml:9: unsubscribe.url: expected an address that starts with https:// or http://",
    ):
        one(project, person(u=address), text="Hi", unsubscribe=unsubscribe)


@pytest.mark.parametrize("address", ["", "out", "?subject=x", "a@example.com,b@example.com"])
def test_an_address_to_unsubscribe_by_mail_at_is_an_address(project: Project, address: str) -> None:
    unsubscribe = Unsubscribe(None, pattern("{{ u }}", 9), False)
    with pytest.raises(RenderError, match=r"^campaign.yaml:9: unsubscribe.mailto: .*no.* address"):
        one(project, person(u=address), text="Hi", unsubscribe=unsubscribe)


# What a template sees ---------------------------------------------------------------------------------------------


def test_a_recipients_own_value_wins_over_vars_and_ours_over_both(project: Project) -> None:
    variables = {"city": "Rome", "plan": "free"}
    recipient = person(city="Paris", image="mine", campaign="mine")
    message = one(project, recipient, text="{{ city }} {{ plan }} {{ campaign }}", vars=variables)
    assert content_of(message) == "Paris free spring\n"


def test_data_is_never_rendered_again_and_is_escaped_in_html(project: Project) -> None:
    name = "{{ 7 * 7 }}{% raw %}</script><b>&amp;"
    message = one(
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


# What can go wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "columns", "text"),
    [
        (
            {"template": "<p>\n{{ nmae }}"},
            {"name": "x"},
            "body.html:2: 'nmae' is undefined; did you mean 'name'?",
        ),
        ({"text": "\n\n{{ a.b }}"}, {"a": {}}, "body.txt:3: 'dict object' has no 'b'"),
        ({"subject": "{{ x }}"}, {}, "campaign.yaml:1: 'x' is undefined"),
        (
            {"subject": "{{ x }}"},
            {"x": "a\r\nBcc: eve@example.com"},
            "campaign.yaml:1: subject: a line end (U+000D)",
        ),
        ({"headers": {"X-A": "{{ x }}"}}, {"x": "a\0"}, "campaign.yaml:1: headers.X-A: a NUL (U+0000)"),
        ({}, {"name": "a\x1b"}, "people.csv:2: name: a control character (U+001B)"),
        ({"cc": ["{{ x }}"]}, {"x": "a@b@c"}, "campaign.yaml:1: cc: 'a@b@c' is not an address"),
        ({"envelope_from": "{{ x }}"}, {"x": "eve> NOTIFY"}, "campaign.yaml:1: envelope_from: "),
        ({"text": "{{ x }}"}, {"x": "a\0b"}, "people.csv:2: a NUL character"),
        ({"text": "{{ x }}"}, {"x": "a\ud800b"}, "people.csv:2: a lone surrogate"),
        ({"text": "{{ x + 1 }}"}, {"x": "a\x1b[2J"}, "body.txt:1: "),
        (
            {"text": "a\n\n{% set x.y = 1 %}"},
            {"x": 0},
            "body.txt:3: cannot assign attribute on non-namespace object",
        ),
        ({"text": "{{ 1 // x }}"}, {"x": 0}, "body.txt:1: ZeroDivisionError"),
        ({"text": "{{ x.__class__ }}"}, {"x": 0}, "body.txt:1: not allowed in a template: "),
        ({"template": "<img src='{{ x }}'>"}, {"x": "no.png"}, "no.png: not found"),
        ({"template": "<img src='{{ x }}'>"}, {"x": "../../../etc/passwd"}, "is outside the project root"),
        (
            {"template": "<img src='cid:{{ x }}'>"},
            {"x": "logo"},
            "body.html: image cid:logo: 'logo' is not in the campaign's images",
        ),
        (
            {"template": "{{ image(x) }}"},
            {"x": "logo"},
            "body.html:1: 'logo' is not in the campaign's images (it has none)",
        ),
    ],
)
def test_an_error_names_the_place_the_reason_and_the_recipient(
    project: Project, fields: dict[str, Any], columns: dict[str, object], text: str
) -> None:
    compiled = project.compile(**{"text": "Hi", **fields})
    with pytest.raises(RenderError) as caught:
        compiled.render(person(**columns))
    said = str(caught.value).replace(f"{project.root}/", "")
    assert text in said
    assert "ada@example.com" in said
    assert "people.csv:2" in said
    assert said.isprintable()


def test_an_error_in_an_include_names_the_include(project: Project) -> None:
    project.put("templates/part.html", "\n{% macro m() %}\n{{ nothing }}{% endmacro %}")
    compiled = project.compile(template="{% from 'part.html' import m %}{{ m() }}")
    with pytest.raises(
        RenderError, match=r"templates/part\.html:3: 'nothing' is undefined, for ada@example\.com"
    ):
        compiled.render(person())


def test_an_import_says_that_it_does_not_see_the_recipient(project: Project) -> None:
    project.put("templates/part.html", "{% macro m() %}\n{{ name }}{% endmacro %}")
    compiled = project.compile(template="{% from 'part.html' import m %}{{ m() }}")
    said = (
        r"templates/part\.html:2: 'name' is undefined here: an imported template does not see it; pass it as"
    )
    with pytest.raises(RenderError, match=said):
        compiled.render(person(name="Zoë"))


def test_a_row_with_a_problem_has_no_message(project: Project) -> None:
    problem = Problem(Place("people.csv", 9), "'x' is not an address")
    with pytest.raises(RenderError, match=r"^people.csv:9: 'x' is not an address$"):
        project.compile(text="Hi").render(Recipient("x", {}, Place("people.csv", 9), problem))


def test_time_and_size_are_bounded(project: Project) -> None:
    endless = "\n{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    expected = r"body.txt:2: stopped: it takes longer than 0.1 s of processor time, for ada@example.com"
    with (
        RenderProcess(project.compile(text=endless, seconds=0.1)) as process,
        pytest.raises(RenderError, match=expected),
    ):
        process.render(person())
    with pytest.raises(
        RenderError, match=r"body.txt:2: stopped: it writes more than 1,000 characters, for ada"
    ):
        project.compile(text="\n{% for a in range(99999) %}aaaaaaaa{% endfor %}", max_bytes=1000).render(
            person()
        )
    with pytest.raises(RenderError, match=r"the message is .*; the limit is 2,000 bytes, for ada"):
        project.compile(text="x" * 3000, max_message=2000).render(person())


def test_a_large_attachment_is_refused_before_it_is_read(project: Project) -> None:
    with (project.root / "large.bin").open("wb") as file:
        file.truncate(26 * 1024 * 1024)
    compiled = project.compile(text="Hi", attachments=(Attachment(pattern("{{ file }}")),))
    with pytest.raises(RenderError, match=r"attachment large.bin: is 26.0 MB; the limit is 25.0 MB"):
        compiled.render(person(file="large.bin"))


# The fingerprint --------------------------------------------------------------------------------------------------


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


# What the campaign's keys make ----------------------------------------------------------------------------------------


def test_to_names_the_recipient_and_its_line_ends_are_blanks(project: Project) -> None:
    message = one(
        project, person(first="Zoë", last="Ł\nBcc: x@example.com"), text="Hi", to="{{ first }} {{ last }}"
    )
    (box,) = message["To"].addresses
    assert (box.display_name, box.addr_spec) == ("Zoë Ł Bcc: x@example.com", "ada@example.com")
    assert one(project, person(name="Ada\r\nL"), text="Hi")["To"] == "Ada L <ada@example.com>"
    assert one(project, person(name="Ada"), text="Hi", to="{{ '' }}")["To"] == "ada@example.com"


def test_replies_go_to_several_and_may_differ_for_each_recipient(project: Project) -> None:
    compiled = project.compile(
        text="Hi", reply_to=["{{ who }} <{{ mail }}>", "Help <help@example.com>", "{{ no }}"]
    )
    for name in ("Jörg", "Zoë"):
        message = parsed(compiled.render(person(who=name, mail="m@example.com", no="")).content)
        assert [box.display_name for box in message["Reply-To"].addresses] == [name, "Help"]


def test_structured_headers_of_the_campaign(project: Project) -> None:
    fields = {
        "Sender": "Jörg <joerg@example.com>",
        "List-Id": "Nächte <n.example.com>",
        "X-Note": "{{ name }}",
    }
    message = one(project, person(name="Zoë"), text="Hi", headers=fields)
    assert message["Sender"].address.addr_spec == "joerg@example.com"
    assert message["List-Id"] == "Nächte <n.example.com>"
    assert message["X-Note"] == "Zoë"
    with pytest.raises(RenderError, match=r"campaign.yaml:1: headers.Sender: .*is not an address"):
        one(project, text="Hi", headers={"Sender": "nobody"})


def test_a_template_sees_the_row_by_the_lists_own_names(project: Project) -> None:
    compiled = project.compile(
        text="{{ row['First Name'] }} {{ row.First_Name }} {{ First_Name }} {{ row|length }}"
    )
    for n in range(20):
        assert compiled.render_text(person(First_Name=f"Ada {n}")) == f"Ada {n} Ada {n} Ada {n} 2"
    with pytest.raises(RenderError, match="'Last Name'"):
        project.compile(text="{{ row['Last Name'] }}").render_text(person())


def test_names_of_attachments(project: Project) -> None:
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


@pytest.mark.parametrize("value", ["../dkim.pem", "a/b.pdf", ".env", "..", "a\\b.pdf", "/etc/passwd"])
def test_a_value_is_one_segment_of_a_path(project: Project, value: str) -> None:
    project.put("docs/a/b.pdf", b"%PDF")
    with pytest.raises(RenderError, match="is not a single segment of a path"):
        project.compile(text="Hi", attachments=(Attachment(pattern("docs/{{ doc }}")),)).render(
            person(doc=value)
        )
    compiled = project.compile(text="Hi", attachments=(Attachment(pattern("docs/{{ doc|path }}")),))
    for _ in range(20):
        compiled.render(person(doc="a/b.pdf"))
    with pytest.raises(RenderError, match=r"not found|outside|hidden"):
        compiled.render(person(doc="../../" + value))


@pytest.mark.parametrize(
    "template",
    ["<img src='{{ photo }}'>", "<img src={{ photo }}>", "<p>{{ x|random }}<img src='{{ photo }}'>"],
)
@pytest.mark.parametrize("count", [1, 20])
def test_a_value_in_src_is_an_address_and_never_a_file(project: Project, template: str, count: int) -> None:
    project.put("scan.png", PIXEL)
    compiled = project.compile(text="Hi", template=template)
    for n in range(count):
        assert b"https://e.com/" in compiled.render(person(photo=f"https://e.com/{n}", x=[1])).content
    with pytest.raises(RenderError, match=r"body.html.*a value of the list chooses no file"):
        compiled.render(person(photo="scan.png", x=[1]))


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


@pytest.mark.parametrize("count", [0, 16, 17, 30])
def test_an_error_is_the_same_however_many_messages_were_made_before(project: Project, count: int) -> None:
    compiled = project.compile(text="Hi {{ n }}\n{{ city }}", subject="{{ 6 // n }}")
    for n in range(count):
        compiled.render(person(n=n + 1, city="Rome"))
    with pytest.raises(
        RenderError, match=r"^campaign.yaml:1: .*by zero, for ada@example.com \(people.csv:2\)$"
    ):
        compiled.render(person(n=0, city="Rome"))
    with pytest.raises(RenderError, match=r"body.txt:2: 'city' is undefined; did you mean 'cty'\?, for ada"):
        compiled.render(person(n=1, cty="Rome"))
