"""Addresses and mailboxes: strict, linear, and the fast path agrees with email-validator."""

from __future__ import annotations

import time

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailer.campaign import Mailbox, check_address, parse_mailbox
from mailer.campaign.addresses import _PLAIN, normalize_address


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada.Lovelace+tag@Example.COM", "Ada.Lovelace+tag@example.com"),
        ("INFO@example.com", "info@example.com"),  # RFC 2142: role names are case-insensitive
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"),
        ('"ada lovelace"@example.com', '"ada lovelace"@example.com'),
        ('"ada"@example.com', "ada@example.com"),
        ('"a@b"@example.com', '"a@b"@example.com'),
        ("jörg@müller.de", "jörg@müller.de"),
        ("jo\u0308rg@example.com", "jörg@example.com"),  # NFC, RFC 6532 3.1
        ("用户@例子.广告", "用户@例子.广告"),
        ("x@xn--mller-kva.de", "x@müller.de"),
        ("root@localhost", "root@localhost"),
        ("a@corp.local", "a@corp.local"),
        ("a@mail.test", "a@mail.test"),
        ("a@example.invalid", "a@example.invalid"),
        ("ü@müller.test", "ü@müller.test"),
        ('"a b"@localhost', '"a b"@localhost'),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
        ("a@" + "b" * 63 + ".example.com", "a@" + "b" * 63 + ".example.com"),
    ],
)
def test_normalizing_an_address_twice_changes_nothing(text: str, normal: str) -> None:
    assert check_address(text) == normal
    assert check_address(normal) == normal


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the address is empty"),
        ("ada", "must have an @-sign"),
        ("@example.com", "something before the @-sign"),
        ("ada@", "something after the @-sign"),
        ("ada@example", "should have a period"),
        ("ada@example.123", "top-level domain"),
        ("ada..x@example.com", "two periods in a row"),
        (".ada@example.com", "start with a period"),
        ("ada.@example.com", "immediately before the @-sign"),
        ("ada@-example.com", "hyphen"),
        ("ada@example..com", "two periods in a row"),
        ("ada@ab--c.com", "two dashes"),
        ("ada x@example.com", "SPACE"),
        ("ada@exa mple.com", "invalid characters"),
        ("a" * 65 + "@example.com", "too long before the @-sign"),
        ("ä" * 33 + "@example.com", "there are 66 octets before the @-sign"),
        ("a@" + "b" * 64 + ".com", "so many characters"),
        ("a@" + "b." * 130 + "com", "longer than 254"),
        ("a" * 100_000, "longer than 254"),
        (" ada@example.com", "there is a blank before or after it"),
        ("ada@example.com\n", "control character or line end"),
        ("ada@example.com\r\nRCPT TO:<x@example.com>", "control character or line end"),
        ("a\0b@example.com", "control character or line end"),
        ("ada@example.com\u2028", "control character or line end"),
        ("ada@[127.0.0.1]", "an address literal in brackets is not accepted"),
        ("Ada <ada@example.com>", "the address alone is expected"),
        ("a@example.com, b@example.com", "one address is expected, found several"),
        ("a@example.com;b@example.com", "one address is expected, found several"),
        ("ada@example.com (Ada)", "invalid characters"),
        ("(Ada)ada@example.com", "invalid characters"),
        ("Team: a@example.com;", "invalid characters"),
        ("ada@例え。テスト@", "invalid characters"),
        ("\ud800@example.com", "control character"),
        ("a\u200db@example.com", "unsafe"),
    ],
)
def test_a_wrong_address_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_address(text)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\r" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "hostile", ["a." * 127, "a@" * 127, '"' * 254, "a@" + "-" * 250, "é" * 254, "@" * 254]
)
def test_a_hostile_address_is_refused_in_linear_time(hostile: str) -> None:
    started = time.process_time()
    for _ in range(20):
        with pytest.raises(ValueError):
            check_address(hostile)
    assert time.process_time() - started < 1.0


_SPECIAL = ("test", "local", "localhost", "onion", "invalid", "arpa")
_LOCAL = st.text("abcAB019.!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=66)
_DOMAIN = st.text("abcXn019.-", min_size=1, max_size=70) | st.sampled_from(
    ["example.com", "a.b.c.de", "xn--abc.de"]
)


@settings(max_examples=1000, deadline=None)
@given(_LOCAL, _DOMAIN)
@example("info", "Example.com")
@example("a", "b.c-d")
@example("a", "1.a1")
def test_the_fast_path_takes_nothing_that_email_validator_refuses(local: str, domain: str) -> None:
    text = f"{local}@{domain}"
    if domain.rpartition(".")[2].lower() in _SPECIAL:
        return
    if _PLAIN.fullmatch(text):
        assert check_address(text) == validate_email(text, check_deliverability=False, strict=True).normalized


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40) | st.emails())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        normal = check_address(text)
    except ValueError:
        return
    assert check_address(normal) == normal
    assert not any(ord(character) < 32 for character in normal)
    try:
        validate_email(text, check_deliverability=False, allow_quoted_local=True)
    except EmailNotValidError:
        assert text.rpartition("@")[2].rpartition(".")[2].lower() in _SPECIAL


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("ada@example.com", Mailbox("", "ada@example.com")),
        ("<ada@example.com>", Mailbox("", "ada@example.com")),
        ("Ada Lovelace <ada@example.com>", Mailbox("Ada Lovelace", "ada@example.com")),
        ("Dr. Zoë O'Neil  <ada@example.com> ", Mailbox("Dr. Zoë O'Neil", "ada@example.com")),
        ('"Lovelace, Ada" <ada@example.com>', Mailbox("Lovelace, Ada", "ada@example.com")),
        ('"A \\"B\\" \\\\ C" <ada@example.com>', Mailbox('A "B" \\ C', "ada@example.com")),
        ('"<x>" <ada@example.com>', Mailbox("<x>", "ada@example.com")),
        ("👩\u200d💻 Ada <ada@example.com>", Mailbox("👩\u200d💻 Ada", "ada@example.com")),
    ],
)
def test_a_mailbox_is_a_name_and_an_address(text: str, mailbox: Mailbox) -> None:
    assert parse_mailbox(text) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ada",
        "Ada <ada>",
        "Ada ada@example.com>",
        "Lovelace, Ada <ada@example.com>",
        "Ada (work) <ada@example.com>",
        "Team: Ada <ada@example.com>",
        '"Ada <ada@example.com>',
        "Ada\r\nBcc: x <ada@example.com>",
        "Ada <ada@example.com> <bob@example.com>",
        "Ada <ada@example.com>, Bob <bob@example.com>",
    ],
)
def test_text_that_is_not_a_mailbox_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_mailbox(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@EXAMPLE.com", " ada@example.com "),
        ("jo\u0308rg@müller.de", "JÖRG@xn--mller-kva.de".replace("Ö", "ö")),
        ("ü@BÜCHER.example", "ü@xn--bcher-kva.example"),
    ],
)
def test_two_spellings_of_one_mailbox_are_compared_as_equal(one: str, other: str) -> None:
    assert normalize_address(one) == normalize_address(other)
    assert normalize_address(normalize_address(one)) == normalize_address(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u017fam@example.com", "sam@example.com"),
        ("straße@example.com", "strasse@example.com"),
        ("\uff21\uff24\uff21@example.com", "ada@example.com"),
    ],
)
def test_two_different_mailboxes_are_not_compared_as_equal(one: str, other: str) -> None:
    assert normalize_address(one) != normalize_address(other)


@given(st.text(max_size=30))
def test_any_text_can_be_normalized(text: str) -> None:
    assert normalize_address(normalize_address(text)) == normalize_address(text)
