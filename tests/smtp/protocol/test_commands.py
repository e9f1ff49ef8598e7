"""Commands to the octet, and that nothing gets out of one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.smtp.protocol import commands


def test_login_lines_hold_no_control_characters() -> None:
    assert commands.encode_ehlo("[127.0.0.1]") == b"EHLO [127.0.0.1]\r\n"
    assert commands.encode_helo("a.example") == b"HELO a.example\r\n"
    assert commands.encode_mail("a@b.example") == b"MAIL FROM:<a@b.example>\r\n"
    assert commands.encode_mail("") == b"MAIL FROM:<>\r\n"
    assert (
        commands.encode_mail("ü@b.example", size=7, eight_bit=True, utf8=True)
        == "MAIL FROM:<ü@b.example> SIZE=7 BODY=8BITMIME SMTPUTF8\r\n".encode()
    )
    assert commands.encode_rcpt("a@b.example") == b"RCPT TO:<a@b.example>\r\n"
    assert commands.encode_bdat(12, is_last=False) == b"BDAT 12\r\n"
    assert commands.encode_bdat(0, is_last=True) == b"BDAT 0 LAST\r\n"
    assert commands.encode_login_line(b"") == b"\r\n"


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("ada+tag=x@example.com", b"ada+tag=x@example.com"),
        ("o'neil/#!$%&*?^`{|}~@example.com", b"o'neil/#!$%&*?^`{|}~@example.com"),
        ('"a b>c"@example.com', b'"a b>c"@example.com'),
        (r'"a\"b"@example.com', rb'"a\"b"@example.com'),
        ("ada@[192.0.2.1]", b"ada@[192.0.2.1]"),
        ("ada@[IPv6:2001:db8::1]", b"ada@[IPv6:2001:db8::1]"),
        ("ada@a_b.example", b"ada@a_b.example"),
        ("ada@bücher.example", b"ada@xn--bcher-kva.example"),
        ("ada@BÜCHER.example", b"ada@xn--bcher-kva.example"),
        ("ada@xn--bcher-kva.example", b"ada@xn--bcher-kva.example"),
        ("жук@пример.испытание", "жук@xn--e1afmkfd.xn--80akhbyknj4f".encode()),
    ],
)
def test_an_address_in_its_path(address: str, path: bytes) -> None:
    assert commands.encode_mailbox(address) == path


NOT_ADDRESSES = r"""
ada;@example.com;ada@;a@b@c;a b@c.example;a@b c;<a@b;a@b>;a@b> SIZE=1;"a"b@c;"a\"@c;
a@[b;a@b];a,b@c;a@b,c@d;(x)a@b;a@-ü-.example
""".replace("\n", "").split(";")
CONTROLS = [
    "a@b\r\nDATA",
    "a@b\n",
    "\ra@b",
    "a\0@b",
    "a@b\0",
    "a@b\x7f",
    "a@b\x85",
    "a\x85@b",
    '"a\r\nb"@c',
    "a@[x\r\ny]",
]
NOT_TEXT = ["a@\ud800.example", "\ud800@b"]


@pytest.mark.parametrize("address", ["", "a@" + "b" * 300, *NOT_ADDRESSES, *CONTROLS, *NOT_TEXT])
def test_what_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        commands.encode_mailbox(address)


@pytest.mark.parametrize("name", ["", "a b", "a\r\nRSET", "ü.example", "x" * 256, "a\0"])
def test_no_name_for_ehlo(name: str) -> None:
    with pytest.raises(ValueError, match="EHLO"):
        commands.encode_ehlo(name)


@pytest.mark.parametrize("octets", [b"a\r\nRSET", b"a\n", b"a\0", b"\xff"])
def test_no_line_of_a_login(octets: bytes) -> None:
    with pytest.raises(ValueError, match="login"):
        commands.encode_login_line(octets)


@given(st.text(max_size=60) | st.from_regex(r"[^\n]{0,10}@[^\n]{0,20}", fullmatch=True))
def test_nothing_leaves_the_brackets(address: str) -> None:
    try:
        line = commands.encode_rcpt(address)
    except ValueError:
        return
    assert line.startswith(b"RCPT TO:<")
    assert line.endswith(b">\r\n")
    inside = line[9:-3].decode()
    assert inside.isprintable() or not inside.isascii()
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in inside)
    local, _, domain = inside.rpartition("@")
    assert not set("<> ") & set(domain)
    assert not set("<> ") & set(local) or local[0] == local[-1] == '"'
    assert domain.isascii()


def test_whose_local_part_needs_smtputf8() -> None:
    assert commands.needs_utf8("ü@example.com")
    assert not commands.needs_utf8("u@bücher.example")
    assert not commands.needs_utf8("u@example.com")
    assert not commands.needs_utf8("")
