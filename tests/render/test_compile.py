from __future__ import annotations

import os
from typing import Any

import pytest

from mailer.campaign.model import Attachment, Dkim
from mailer.errors import InputError, Place, RenderError
from mailer.render.compile import compile_campaign
from tests.render.projects import Project, content_of, parsed, pattern, person


def problems(project: Project, **fields: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        project.compile(**{"text": "Hi", **fields})
    return [str(problem).replace(f"{project.root}/", "") for problem in caught.value.problems]


def test_all_problems_are_told_at_once(project: Project) -> None:
    project.put("templates/broken.html", "a\n{% if %}")
    project.put("templates/deep.html", "{% include 'missing.html' %}")
    found = problems(
        project,
        template="\n{% include 'broken.html' %}{% include 'deep.html' %}",
        text="{{ x|nofilter }}",
        subject="{{ x",
        headers={"X-A": "{% endif %}"},
        cc=["{{ }}"],
        images={"logo": "no.png"},
        attachments=(Attachment(pattern("no.pdf")), Attachment(pattern("{{ }}"))),
    )
    for text in (
        "templates/broken.html:2: Expected an expression",
        "templates/deep.html:1: missing.html: not found",
        "body.txt:1: there is no filter 'nofilter'",
        "campaign.yaml:1: unexpected end of template",
        "campaign.yaml:1: Encountered unknown tag 'endif'",
        "campaign.yaml:1: no.png: not found",
    ):
        assert any(text in problem for problem in found), (text, found)
    assert len(found) >= 7


@pytest.mark.parametrize("sender", ["${SENDER}", "{# nobody #}", "{@example.com}"])
def test_a_sender_that_is_constant_and_no_address_is_an_error(project: Project, sender: str) -> None:
    """Its brace could begin a Jinja2 tag, so the campaign file's schema does not look at it."""
    (found,) = problems(project, sender=sender)
    assert found.startswith("campaign.yaml:1: from: ")
    assert "address" in found


@pytest.mark.parametrize(
    "fields",
    [
        {"template": pattern("x" * 5000 + ".html")},
        {"images": {"logo": "x" * 5000}},
        {"attachments": (Attachment(pattern("x" * 5000)),)},
    ],
)
def test_a_long_name_does_not_make_a_long_error(project: Project, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        compile_campaign(project.campaign(text="Hi", **fields))
    assert max(len(problem.text) for problem in caught.value.problems) < 700


def test_an_attachment_that_is_missing_is_found(project: Project) -> None:
    assert (
        "attachment no.pdf: not found" in problems(project, attachments=(Attachment(pattern("no.pdf")),))[0]
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no.html", "campaign.yaml:1: no.html: not found (looked in"),
        ("../x.html", "campaign.yaml:1: ../x.html: is outside the project root"),
        ("/etc/passwd.html", "campaign.yaml:1: /etc/passwd.html: is outside"),
        ("out.html", "campaign.yaml:1: out.html: is outside"),
        ("pipe.html", "pipe.html: it is a FIFO"),
        ("folder.html", "folder.html: it is a folder"),
        ("latin.html", "latin.html:2: not UTF-8 (found 0xE9)"),
        ("nul.html", "nul.html:3: a NUL character (U+0000) cannot be sent"),
        ("parentheses.html", "parentheses.html:2: nested too deeply"),
        ("loops.html", "loops.html:1: nested too deeply"),
        ("elifs.html", "elifs.html:"),
        ("digits.html", "digits.html:2: a number of too many digits"),
        ("mail.txt", "campaign.yaml:1: template mail.txt: expected .html, .md or .mjml"),
        ("huge.html", "huge.html: is 5.0 MB; the limit is 4.0 MB"),
    ],
)
def test_a_template_that_cannot_be_used(project: Project, name: str, text: str) -> None:
    (project.root / "out.html").symlink_to("/etc/hostname")
    (project.root / "folder.html").mkdir()
    os.mkfifo(project.root / "pipe.html")
    project.put("latin.html", "a\né".encode("latin-1"))
    project.put("nul.html", "a\n\nb\0")
    project.put("parentheses.html", "\n{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}")
    project.put("loops.html", "{% for i in [1] %}" * 30 + "{% endfor %}" * 30)
    project.put("elifs.html", "{% if 0 %}" + "\n{% elif 0 %}" * 5000 + "{% endif %}")
    project.put("digits.html", "\n{{ " + "9" * 5000 + " }}")
    project.put("mail.txt", "x")
    with (project.root / "huge.html").open("wb") as file:
        file.truncate(5 * 1024 * 1024)
    [problem] = problems(project, template=pattern(name))
    assert text in problem


def test_a_key_that_cannot_be_used_is_at_its_name(project: Project) -> None:
    key = project.put("key.pem", "no key")
    dkim = Dkim("example.com", "s1", key, Place("campaign.yaml", 9, 44))
    assert problems(project, dkim=dkim) == [
        "campaign.yaml:9:44: dkim.key_file: key.pem: is not a private key in PEM"
    ]


def test_a_key_pattern_that_gives_nothing_is_an_error(project: Project) -> None:
    compiled = project.compile(text="Hi", key=" {{ token }} ")
    assert compiled.make_key(person(token="x")) == " x "
    with pytest.raises(
        RenderError, match=r"^campaign.yaml:1: key: expected text, found only blanks, for ada"
    ):
        compiled.make_key(person(token=""))


def test_includes_stay_inside_the_root(project: Project) -> None:
    for include in ("../secret.html", "/etc/passwd", "out.html"):
        (project.root / "out.html").unlink(missing_ok=True)
        (project.root / "out.html").symlink_to("/etc/hostname")
        assert "is outside the project root" in problems(project, template=f"{{% include '{include}' %}}x")[0]
        (project.root / "body.html").unlink()
    compiled = project.compile(template="{% include name %}")
    with pytest.raises(RenderError, match=r"body.html:1: .*is outside the project root"):
        compiled.render(person(name="/etc/passwd"))


def test_includes_are_found_beside_then_in_templates(project: Project) -> None:
    project.put(
        "templates/mails/a.html",
        "{% include 'part.html' %}{% include 'shared.html' %}{% include 'mails/c.html' %}",
    )
    project.put("templates/mails/part.html", "beside ")
    project.put("templates/part.html", "not this ")
    project.put("templates/shared.html", "shared ")
    project.put("templates/mails/c.html", "c")
    assert project.compile(template="mails/a.html").render_html(person()) == "beside shared c"


def test_inheritance_macros_and_imports(project: Project) -> None:
    project.put(
        "templates/layout.html", "<title>{% block t %}T{% endblock %}</title>{% block b %}{% endblock %}"
    )
    project.put("templates/m.html", "{% macro hi(x) %}Hi {{ x }} of {{ campaign }}{% endmacro %}")
    source = "{% extends 'layout.html' %}{% from 'm.html' import hi %}{% block b %}{{ super() }}{{ hi(name) }}{% endblock %}"
    html = project.compile(template=source).render_html(person(name="<Ada>"))
    assert html == "<title>T</title>Hi &lt;Ada&gt; of spring"


def test_the_path_of_a_template_may_vary(project: Project) -> None:
    project.put("templates/welcome.de.html.j2", "Hallo {{ name }}")
    project.put("templates/welcome.en.html.j2", "Hello {{ name }}")
    compiled = project.compile(
        template=pattern("welcome.{{ lang }}.html.j2"), text=pattern("welcome.{{ lang }}.html.j2")
    )
    assert compiled.render_html(person(lang="de", name="<A>")) == "Hallo &lt;A&gt;"
    assert compiled.render_html(person(lang="en", name="B")) == "Hello B"
    assert compiled.render_text(person(lang="de", name="<A>")) == "Hallo <A>"
    with pytest.raises(
        RenderError, match=r"^campaign.yaml:1: welcome.fr.html.j2: not found .*, for ada@example.com"
    ):
        compiled.render_html(person(lang="fr"))
    for value in ("/../../../../etc/x", "..", "a/b", "a\\b", ".git"):
        with pytest.raises(RenderError, match="is not a single segment of a path"):
            compiled.render_html(person(lang=value))


def test_a_byte_order_mark_is_no_text(project: Project) -> None:
    project.put("body.txt", b"\xef\xbb\xbfHi")
    assert content_of(parsed(project.compile(text="body.txt").render(person()).content)) == "Hi\n"


def test_a_template_in_the_campaigns_folder_comes_first(project: Project) -> None:
    project.put("templates/mail.html", "templates")
    project.put("mail.html", "beside")
    assert project.compile(template="mail.html").render_html(person()) == "beside"
    project.put("campaigns/mail.html", "campaigns")
    campaign_path = project.root / "campaigns" / "a.yaml"
    assert (
        project.compile(template=pattern("mail.html"), path=campaign_path).render_html(person())
        == "campaigns"
    )


def test_names_that_are_ours_are_everywhere(project: Project) -> None:
    project.put("logo.png", b"x")
    compiled = project.compile(
        text="{{ campaign }}", subject="{{ campaign }}", template="{{ image('a') }}", images={"a": "logo.png"}
    )
    assert compiled.render_html(person()) == "cid:a"
    assert parsed(compiled.render(person()).content)["Subject"] == "spring"


def test_a_variable_that_no_template_uses_is_an_error(project: Project) -> None:
    fields: dict[str, Any] = {"template": "{{ company }}", "vars": {"company": "x", "versoin": "1"}}
    assert project.compile(**fields, subject="{{ versoin }}", unknown_variables=("versoin",))
    with pytest.raises(InputError, match=r"campaign.yaml: --var versoin: no template and no key"):
        project.compile(**fields, unknown_variables=("versoin",))
    project.put("a.html", "{{ versoin }}")
    assert project.compile(
        **{**fields, "template": pattern("{{ which }}.html")}, unknown_variables=("versoin",)
    )
