from __future__ import annotations

import email
import email.policy
from typing import Any

import pytest

from mailer.render.headers import format_field, split_list


def read(field: bytes) -> Any:
    message = email.message_from_bytes(field + b"\r\nx", policy=email.policy.default)
    (header,) = message.values()
    assert not header.defects
    assert max(map(len, field.split(b"\r\n"))) <= 998
    return header


@pytest.mark.parametrize("name", ["Reply-To", "Sender", "Resent-From", "Resent-Sender", "Resent-To"])
def test_addresses_keep_their_grammar(name: str) -> None:
    header = read(format_field(name, "Jörg Müller <joerg@example.com>"))
    (box,) = header.addresses
    assert (box.display_name, box.addr_spec) == ("Jörg Müller", "joerg@example.com")


@pytest.mark.parametrize("name", ["Disposition-Notification-To", "Return-Receipt-To", "Errors-To"])
def test_an_address_is_never_in_an_encoded_word(name: str) -> None:
    field = format_field(name, "Jörg <joerg@bücher.example>")
    assert (
        field.replace(b"\r\n ", b" ")
        == f"{name}: =?utf-8?b?SsO2cmc=?= <joerg@xn--bcher-kva.example>\r\n".encode()
    )


def test_a_list_of_addresses() -> None:
    value = '"Müller, Jörg" <j@example.com>, Ada <a@example.com>,, b@example.com'
    header = read(format_field("Reply-To", value))
    assert [box.display_name for box in header.addresses] == ["Müller, Jörg", "Ada", ""]
    with pytest.raises(ValueError, match="one mailbox is expected, found 3"):
        format_field("Sender", value)


def test_identifiers_uris_and_phrases() -> None:
    assert (
        format_field("List-Id", "Nächte <night.example.com>")
        == b"List-Id: =?utf-8?b?TsOkY2h0ZQ==?= <night.example.com>\r\n"
    )
    assert (
        format_field("List-ID", '"A \\"b\\"" <a.example.com>') == b'List-ID: "A \\"b\\"" <a.example.com>\r\n'
    )
    assert format_field("List-Help", "<https://e.com/é>, <mailto:a@e.com>") == (
        b"List-Help: <https://e.com/%C3%A9>, <mailto:a@e.com>\r\n"
    )
    assert format_field("List-Post", "NO") == b"List-Post: NO\r\n"
    assert format_field("References", "<a@b>  <c@d>") == b"References: <a@b> <c@d>\r\n"
    assert format_field("Keywords", "Zug, Nächte") == b"Keywords: Zug, =?utf-8?b?TsOkY2h0ZQ==?=\r\n"
    assert format_field("Keywords", "Nächte, Zug") == b"Keywords: =?utf-8?b?TsOkY2h0ZQ==?= , Zug\r\n"
    assert format_field("X-Note", "Jörg <j@example.com>").startswith(b"X-Note: =?utf-8?")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("Reply-To", "nobody", "is not an address"),
        ("List-Id", "news", "expected a list identifier"),
        ("List-Id", "<nächte.example>", "expected a list identifier"),
        ("List-Help", "https://e.com", "expected URIs in <>"),
        ("References", "abc", "expected message identifiers"),
        ("References", "<a\n@b>", "a line end"),
        ("Reply-To", "a@example.com\nBcc: b@example.com", "a line end"),
        ("Keywords", "a\0", "a NUL"),
    ],
)
def test_a_value_that_is_not_what_the_field_is_for(name: str, value: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        format_field(name, value)


def test_an_empty_value_is_an_empty_field() -> None:
    assert format_field("Reply-To", " ") == b"Reply-To: \r\n"


def test_lists_are_split_at_their_commas() -> None:
    assert list(split_list('a, "b, c" <d@e>, <f,g>, "h\\", i", ')) == [
        "a",
        '"b, c" <d@e>',
        "<f,g>",
        '"h\\", i"',
    ]
