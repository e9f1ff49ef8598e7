from __future__ import annotations

from typing import Any

import pytest

from mailer.campaign.model import Unsubscribe
from mailer.errors import RenderError
from tests.render.projects import Project, content_of, parsed, pattern, person, render_one


def test_the_header_has_each_field_encoded_by_its_grammar(project: Project) -> None:
    message = render_one(
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
    message = render_one(
        project, person(token="é <x>"), text="Out: {{ unsubscribe_url }}", unsubscribe=unsubscribe
    )
    ways = "<https://e.com/u/%C3%A9%20%3Cx%3E>, <mailto:out@example.com?subject=a%20b>"
    assert message["List-Unsubscribe"] == ways
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "https://e.com/u/%C3%A9%20%3Cx%3E" in content_of(message)


def test_the_last_line_end_of_a_pattern_is_no_part_of_it(project: Project) -> None:
    assert render_one(project, text="Hi", subject="Hello {{ email }}\n")["Subject"] == "Hello ada@example.com"


def test_a_name_is_the_recipients_own(project: Project) -> None:
    assert render_one(project, text="Hi", vars={"name": "Everybody"})["To"] == "ada@example.com"
    assert render_one(project, person(name=None), text="Hi")["To"] == "ada@example.com"


def test_an_address_to_unsubscribe_at_fits_a_line(project: Project) -> None:
    with pytest.raises(RenderError, match="longer than 968 characters"):
        render_one(project, text="Hi", unsubscribe=Unsubscribe(pattern("https://e.com/" + "x" * 1000)))


def test_one_click_needs_https(project: Project) -> None:
    unsubscribe = Unsubscribe(pattern("http://e.com/u", 9), None, True)
    with pytest.raises(
        RenderError,
        match=r"^campaign.yaml:9: unsubscribe.url: one_click needs .* https://.*, for ada@example.com",
    ):
        render_one(project, text="Hi", unsubscribe=unsubscribe)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "ftp://e.com/u", "", "e.com/u", "mailto:out@example.com"]
)
def test_an_address_to_unsubscribe_at_is_one_of_the_web(project: Project, address: str) -> None:
    unsubscribe = Unsubscribe(pattern("{{ u }}", 9), None, False)
    with pytest.raises(
        RenderError,
        match=r"^campaign.yaml:9: unsubscribe.url: expected an address that starts with https:// or http://",
    ):
        render_one(project, person(u=address), text="Hi", unsubscribe=unsubscribe)


@pytest.mark.parametrize("address", ["", "out", "?subject=x", "a@example.com,b@example.com"])
def test_an_address_to_unsubscribe_by_mail_at_is_an_address(project: Project, address: str) -> None:
    unsubscribe = Unsubscribe(None, pattern("{{ u }}", 9), False)
    with pytest.raises(
        RenderError, match=r"^campaign.yaml:9: unsubscribe.mailto: (the address is empty|.*not an address)"
    ):
        render_one(project, person(u=address), text="Hi", unsubscribe=unsubscribe)


def test_to_names_the_recipient_and_its_line_ends_are_blanks(project: Project) -> None:
    message = render_one(
        project, person(first="Zoë", last="Ł\nBcc: x@example.com"), text="Hi", to="{{ first }} {{ last }}"
    )
    (box,) = message["To"].addresses
    assert (box.display_name, box.addr_spec) == ("Zoë Ł Bcc: x@example.com", "ada@example.com")
    assert render_one(project, person(name="Ada\r\nL"), text="Hi")["To"] == "Ada L <ada@example.com>"
    assert render_one(project, person(name="Ada"), text="Hi", to="{{ '' }}")["To"] == "ada@example.com"


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
    message = render_one(project, person(name="Zoë"), text="Hi", headers=fields)
    assert message["Sender"].address.addr_spec == "joerg@example.com"
    assert message["List-Id"] == "Nächte <n.example.com>"
    assert message["X-Note"] == "Zoë"
    with pytest.raises(RenderError, match=r"campaign.yaml:1: headers.Sender: .*is not an address"):
        render_one(project, text="Hi", headers={"Sender": "nobody"})
