"""Replies from octets: any split, every bound."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol.reply import MAX_LINE, MAX_LINES, MAX_REPLY, MAX_TEXT, Reply, ReplyParser

SECRET = "S3cr3t/pass+wörd=="


def replies(*pieces: bytes, parser: ReplyParser | None = None) -> Iterator[Reply]:
    parser = parser or ReplyParser()
    for piece in pieces:
        parser.feed(piece)
        while (reply := parser.next_reply()) is not None:
            yield reply


def blanking_parser(*secrets: str) -> ReplyParser:
    parser = ReplyParser()
    parser.blank_secrets(secrets)
    return parser


@pytest.mark.parametrize(
    ("octets", "code", "enhanced", "lines"),
    [
        (b"250 2.1.0 Ok\r\n", 250, "2.1.0", ("2.1.0 Ok",)),
        (b"250 Ok\n", 250, None, ("Ok",)),
        (b"250\r\n", 250, None, ("",)),
        (b"250 \r\n", 250, None, ("",)),
        (b"250-a\r\n250-\r\n250 c\r\n", 250, None, ("a", "", "c")),
        (b"250-a\n250\n", 250, None, ("a", "")),
        (b"550 5.1.1 no\r\n", 550, "5.1.1", ("5.1.1 no",)),
        (b"550 5.1.1\r\n", 550, "5.1.1", ("5.1.1",)),
        (b"450 5.1.1 of another class\r\n", 450, None, ("5.1.1 of another class",)),
        (b"250 2.0.0.1 is an address\r\n", 250, None, ("2.0.0.1 is an address",)),
        (b"550-5.7.1 one\r\n550 5.7.1 two\r\n", 550, "5.7.1", ("5.7.1 one", "5.7.1 two")),
        (b"250 \xff\xfe\r\n", 250, None, ("\ufffd\ufffd",)),
        ("250 grün\r\n".encode(), 250, None, ("grün",)),
        (b"250 a\x00b\x1b[31m\tc\r\r\n", 250, None, (r"a\x00b\x1b[31m\x09c ",)),
    ],
)
def test_a_reply_is_read(octets: bytes, code: int, enhanced: str | None, lines: tuple[str, ...]) -> None:
    for pieces in ([octets], [octets[n : n + 1] for n in range(len(octets))]):
        assert list(replies(*pieces)) == [Reply(code, enhanced, lines)]


NO_REPLIES = [
    b"", b"2", b"25 Ok", b"2500 Ok", b"abc def", b"250_Ok", b"199 x", b"600 x", b"-250 x", b" 250 x", b"\xb2\xb5\xb0 x",
    b"250-a\r\nb", b"250-a\r\n251 b", b"HTTP/1.1 200 OK",
]  # fmt: skip


@pytest.mark.parametrize("octets", [line + b"\r\n" for line in NO_REPLIES])
def test_what_is_not_a_reply_is_a_violation(octets: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        list(replies(octets))


@pytest.mark.parametrize("step", [1, 13, 10**6])
@pytest.mark.parametrize(
    "octets",
    [
        b"250 " + b"x" * MAX_LINE,
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"250-x\r\n" * (MAX_LINES + 1),
        (b"250-" + b"x" * (MAX_LINE - 10) + b"\r\n") * (MAX_REPLY // MAX_LINE + 1),
    ],
)
def test_what_does_not_end_is_cut_off(octets: bytes, step: int) -> None:
    if step == 1 and len(octets) > 2 * MAX_LINE:
        step = 97  # octet by octet takes its time, and shows nothing that the shorter ones do not
    pieces = [octets[n : n + step] for n in range(0, len(octets), step)]
    with pytest.raises(ProtocolViolation):
        list(replies(*pieces))


def test_the_longest_that_is_read() -> None:
    line = b"250-" + b"x" * 4000 + b"\r\n"
    (reply,) = replies(line * 15 + b"250 end\r\n")
    assert len(reply.lines) == 16


def test_replies_before_a_violation_count() -> None:
    found = replies(b"250 one\r\n250 two\r\nwhat\r\n")
    assert [next(found).text, next(found).text] == ["one", "two"]
    with pytest.raises(ProtocolViolation):
        next(found)


def test_text_of_many_lines() -> None:
    assert Reply(550, "5.7.1", ("5.7.1 one", "5.7.1 two", "", "three")).text == "5.7.1 one two three"
    assert str(Reply(250, None, ("",))) == "250"


def test_severity_is_the_first_digit() -> None:
    names = ("is_success", "is_intermediate", "is_transient", "is_permanent")
    for code, expected in ((250, 0), (354, 1), (421, 2), (550, 3)):
        assert [getattr(Reply(code, None, ("",)), name) for name in names] == [
            n == expected for n in range(4)
        ]


def test_what_is_buffered_behind_a_reply_is_known() -> None:
    parser = ReplyParser()
    parser.feed(b"220 go\r\n")
    assert parser.next_reply() is not None
    assert not parser.has_input
    parser.feed(b"220 go\r\n2")
    assert parser.next_reply() is not None
    assert parser.has_input


def test_secrets_are_taken_out() -> None:
    parser = blanking_parser("s3cret")
    assert [r.text for r in replies(b"535 s3cret is wrong\r\n535 czNjcmV0\r\n", parser=parser)] == [
        "[secret] is wrong",
        "[secret]",
    ]


@pytest.mark.parametrize(
    "echo",
    [
        "S3cr3t%2Fpass%2Bw%C3%B6rd%3D%3D",
        "S3cr3t%2fpass%2bw%c3%b6rd%3d%3d",
        "S3cr3t/pass%2Bw%C3%B6rd%3D%3D",
        json.dumps({"password": SECRET}),
        *(base64.b64encode(f"{before}:{SECRET}:1".encode()).decode() for before in ("", "u", "us", "use")),
        base64.urlsafe_b64encode(f"u:{SECRET}".encode()).decode(),
    ],
)
def test_secrets_are_taken_out_in_whatever_form_a_server_writes_them(echo: str) -> None:
    (reply,) = replies(f"535 {echo}\r\n".encode(), parser=blanking_parser(SECRET))
    assert "[secret]" in reply.text
    assert "cr3t" not in reply.text
    assert len(reply.text) < len("[secret]") + 20


def test_secrets_are_taken_out_of_a_latin_1_reply_and_with_characters_that_do_not_print() -> None:
    parser = blanking_parser(SECRET, "tab\there")
    (reply,) = replies(f"535 {SECRET} tab\there\r\n".encode("latin-1"), parser=parser)
    assert reply.text == "[secret] [secret]"


def test_a_challenge_is_kept_as_it_came() -> None:
    seen: list[str] = []
    parser = ReplyParser(show=seen.append)
    parser.blank_secrets(["a"])
    parser.keep_challenges(True)
    assert [r.text for r in replies(b"334 abc\r\n535 abc\r\n", parser=parser)] == ["abc", "[secret]bc"]
    assert seen == ["334 [secret]bc", "535 [secret]bc"]


LINES = st.lists(
    st.text(st.characters(min_codepoint=32, exclude_categories=("C", "Z")), max_size=30),
    min_size=1,
    max_size=5,
)


@given(st.lists(st.tuples(st.integers(200, 599), LINES), max_size=8), st.data())
def test_any_split_gives_the_same(expected: list[tuple[int, list[str]]], data: st.DataObject) -> None:
    octets = b""
    for code, lines in expected:
        for line in lines[:-1]:
            octets += f"{code}-{line}\r\n".encode()
        octets += f"{code} {lines[-1]}\r\n".encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=10)))
    pieces = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    assert [(r.code, list(r.lines)) for r in replies(*pieces)] == expected


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_octets_are_replies_or_a_violation(pieces: list[bytes]) -> None:
    try:
        for reply in replies(*pieces):
            assert 200 <= reply.code < 600
            assert all(line.isprintable() for line in reply.lines)
    except ProtocolViolation:
        pass


@pytest.mark.parametrize(
    "octets", [b"250 " + b"x" * 9000 + b"\r\n", b"250-" + b"x" * 900 + b"\r\n250 " + b"y" * 900 + b"\r\n"]
)
def test_the_text_that_is_kept_is_bounded(octets: bytes) -> None:
    (reply,) = replies(octets)
    assert len(reply.text) == MAX_TEXT
    assert reply.text.endswith("…")
