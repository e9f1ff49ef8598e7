from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.idna import encode_address
from mailer.render import headers

ANY_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), max_size=200
)
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"


def field(raw: bytes) -> Any:
    """The one field of `raw` as the standard library reads it, after a look at its lines."""
    lines = raw.split(b"\r\n")
    assert lines.pop() == b""
    assert all(b"\r" not in line and b"\n" not in line for line in lines)
    assert all(len(line) <= (76 if b"=?utf-8?" in line else 78) for line in lines)
    assert all(line.startswith(b" ") and line.strip() for line in lines[1:])
    message = cast(EmailMessage, email.message_from_bytes(raw + b"\r\nbody", policy=email.policy.default))
    [(_, value)] = message.items()
    assert not value.defects
    return value


@given(ANY_TEXT)
@example("")
@example(" leading and trailing ")
@example("two  blanks")
@example("a" * 3000)
@example("é" * 3000)
@example("word " * 300 + "end")
@example(FAMILY * 60)
@example("=?utf-8?q?looks_like_one?=")
@example("a =?utf-8?q?b?= c")
@example("=?")
@example("مرحبا بالعالم " * 20)
@example("e" + "\u0301" * 200)
def test_a_subject_arrives_as_it_was_written(text: str) -> None:
    assert str(field(headers.format_unstructured("Subject", text))) == text


@given(ANY_TEXT.map(str.strip))
@example('Ada "the first", Countess')
@example("a\\b")
@example("Zoë")
@example("x" * 500)
@example("Dr. A. (Ada)")
@example("=?utf-8?q?x?=")
def test_a_display_name_arrives_as_it_was_written(name: str) -> None:
    check_mailbox("To", name, "ada@example.com")


def check_mailbox(field_name: str, name: str, address: str) -> None:
    raw = headers.format_mailboxes(field_name, [(name, address)])
    assert field(raw).addresses[0].addr_spec == address
    # Not `addresses[0].display_name`: that puts a blank between two encoded words, against RFC 2047 6.2.
    text = raw.decode("ascii").removeprefix(f"{field_name}: ").replace("\r\n", "")
    [(shown, found)] = getaddresses([text])
    assert found == address
    assert str(make_header(decode_header(shown))) == name


@pytest.mark.parametrize("name", ["Ada  Example", 'Ada   "A"  Example', "a, b", "Zoë"])
def test_a_name_of_one_word_on_the_wire_arrives_with_all_its_blanks(name: str) -> None:
    """As `display_name` too, which makes one blank of two outside of quotes."""
    [address] = field(headers.format_mailboxes("To", [(name, "ada@example.com")])).addresses
    assert address.display_name == name


def test_many_mailboxes_are_folded_between_them() -> None:
    boxes = [(f"{n}, Zoë", f"person{n}@example.com") for n in range(40)]
    addresses = field(headers.format_mailboxes("Cc", boxes)).addresses
    assert [(a.display_name, a.addr_spec) for a in addresses] == boxes


@pytest.mark.parametrize(
    "char", ["\r", "\n", "\0", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]
)
@pytest.mark.parametrize("before", ["a", "é"])
def test_no_control_character_gets_in(char: str, before: str) -> None:
    text = f"{before}{char}Bcc: eve@example.com"
    for make in (
        lambda: headers.format_unstructured("Subject", text),
        lambda: headers.format_mailboxes("To", [(text, "ada@example.com")]),
        lambda: headers.format_parameter("filename", text),
        lambda: headers.format_uri(text),
    ):
        with pytest.raises(ValueError, match="cannot be in a header"):
            make()


def test_plain_ascii_stays_readable() -> None:
    assert (
        headers.format_unstructured("Subject", "[timetable] 2.4.0 is live")
        == b"Subject: [timetable] 2.4.0 is live\r\n"
    )
    assert headers.format_mailboxes("To", [("", "a@example.com")]) == b"To: a@example.com\r\n"
    assert headers.format_mailboxes("To", [("Ada L", "a@example.com")]) == b"To: Ada L <a@example.com>\r\n"
    assert (
        headers.format_mailboxes("To", [("L, Ada", "a@example.com")]) == b'To: "L, Ada" <a@example.com>\r\n'
    )


def test_the_smaller_of_b_and_q_is_taken() -> None:
    assert b"?q?" in headers.format_unstructured("Subject", "Grüße aus Zürich, and more that is in ASCII")
    assert b"?b?" in headers.format_unstructured("Subject", "王小明")


@pytest.mark.parametrize(
    "character", [FAMILY, "\U0001f1e9\U0001f1ea", "e\u0301", "\U0001f44d\U0001f3fd", "\u2764\ufe0f"]
)
def test_what_a_reader_sees_as_one_character_is_never_split(character: str) -> None:
    for count in range(1, 40):
        raw = headers.format_unstructured("Subject", "x" * count + character * 30)
        for word in raw.decode("ascii").removeprefix("Subject: ").split():
            part = str(make_header(decode_header(word)))
            assert part.replace("x", "").replace(character, "") == ""


def test_a_long_name_of_a_header_leaves_little_in_its_line() -> None:
    raw = headers.format_unstructured("X-" + "Long-" * 7 + "Name", "é" * 90)
    assert str(field(raw)) == "é" * 90


@given(ANY_TEXT)
def test_splitting_into_clusters_keeps_every_character(text: str) -> None:
    assert "".join(headers.split_clusters(text)) == text


@given(ANY_TEXT.filter(lambda name: name.strip() == name and name != ""))
@example("Rechnung für Zoë.pdf")
@example("a" * 300 + ".pdf")
@example("é" * 200)
@example('semi;colon"quote.pdf')
@example("100%.pdf")
def test_a_file_name_arrives_as_it_was_written(name: str) -> None:
    raw = f"Content-Disposition: attachment{headers.format_parameter('filename', name)}\r\n".encode("ascii")
    assert field(raw).params["filename"] == name


def test_the_domain_travels_as_its_a_label() -> None:
    assert encode_address("ada@bücher.example") == "ada@xn--bcher-kva.example"
    assert encode_address("zoë@bücher.example") == "zoë@xn--bcher-kva.example"
    assert encode_address("zoë@example.com") == "zoë@example.com"


def test_an_address_beyond_ascii_is_written_in_utf8() -> None:
    """RFC 6532 3.2: there is no encoded form of a local part."""
    assert headers.format_mailboxes("To", [("Zoë", "zoë@example.com")]).endswith(
        " <zoë@example.com>\r\n".encode()
    )


def test_an_address_of_the_web_keeps_its_own_escapes() -> None:
    assert headers.format_uri("https://e.com/a b?x=é&y=%20<>") == "https://e.com/a%20b?x=%C3%A9&y=%20%3C%3E"


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_a_date_is_read_back(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert field(headers.format_date(int(moment.timestamp()))).datetime == moment


def test_a_word_that_no_line_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="998"):
        headers.format_mailboxes("To", [("", "a" * 1200 + "@example.com")])


@pytest.mark.parametrize("length", range(60, 80))
def test_a_name_in_quotes_is_no_longer_than_a_line(length: int) -> None:
    for name in ("a, b " * 20, 'a"b ' * 20, "a\\b " * 20):
        for field_name in ("To", "Reply-To"):
            check_mailbox(field_name, name[:length].strip(), "ada@example.com")


@pytest.mark.parametrize("length", range(1, 60))
def test_a_line_with_an_encoded_word_has_76_characters_at_most(length: int) -> None:
    for name in ("é" * 20, "a é " * 10, "王" * 12):
        check_mailbox("To", name.strip(), "a" * length + "@example.com")
