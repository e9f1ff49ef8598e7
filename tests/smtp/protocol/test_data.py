"""Line ends, and DATA's dots."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.smtp.protocol.data import END, first_line_length, has_only_crlf, stuff_dots

CONTENT = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\x0b", b"\x85", b"\xe2\x80\xa8"])
).map(b"".join)


@given(CONTENT)
@example(b"")
@example(b"\n\r")
@example(b"\r\r\n\n")
def test_a_bare_cr_or_lf_is_found(content: bytes) -> None:
    rest = content.replace(b"\r\n", b"")
    assert has_only_crlf(content) is (b"\r" not in rest and b"\n" not in rest)


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b""),
        (b"a\r\n", b"a\r\n"),
        (b"a", b"a\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.\r\n.b\r\n..\r\n", b"a\r\n..\r\n..b\r\n...\r\n"),
        (b".", b"..\r\n"),
    ],
)
def test_a_dot_at_the_begin_of_a_line_is_doubled(content: bytes, wire: bytes) -> None:
    assert stuff_dots(content) == wire


@given(
    st.lists(st.sampled_from([b".", b"..", b"a", b".a", b""])).map(
        lambda lines: b"".join(x + b"\r\n" for x in lines)
    )
)
def test_a_server_reads_back_what_was_stuffed(content: bytes) -> None:
    read: list[bytes] = []
    for line in (stuff_dots(content) + END).split(b"\r\n"):
        if line == b".":
            break
        read.append(line.removeprefix(b"."))
    assert b"".join(line + b"\r\n" for line in read) == content


@pytest.mark.parametrize(
    ("content", "octets"), [(b"", 0), (b"a", 1), (b"a\r\n", 3), (b"a\r\nb", 3), (b"\r\n", 2)]
)
def test_the_first_line_ends_at_its_crlf(content: bytes, octets: int) -> None:
    assert first_line_length(content) == octets
