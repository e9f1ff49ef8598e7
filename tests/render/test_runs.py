"""Texts that are put together from runs are encoded as the whole would be."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.render.body import MAX_LINE, Body, BodyEncoder
from mailer.render.runs import AssembledText, Run

MARK = b"=_boundary"
TEXTS = st.sampled_from(
    ["", "a", "word ", " ", "\n", "é", "=", "line\nnext ", "x" * 70, "x" * 500, "\n.\n", "\t", "ü\n" * 30]
)
VALUES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["", "Ada", "é" * 20, "a\nb", "x" * 33, "y" * 900, " ", "a\rb", "\0"]),
)


@st.composite
def assembled_texts(draw: st.DrawFn) -> AssembledText:
    runs, firsts, values = [], [], list[str]()
    for _ in range(draw(st.integers(1, 6))):
        texts = draw(st.lists(TEXTS, min_size=1, max_size=4))
        runs.append(Run(texts, [*range(len(texts) - 1)]))
        if len(texts) > 1:
            firsts.append(len(values))
            values += draw(st.lists(VALUES, min_size=len(texts) - 1, max_size=len(texts) - 1))
    return AssembledText(runs, firsts, values)


def decode(body: Body) -> bytes:
    if body.encoding == b"quoted-printable":
        return quopri.decodestring(body.content)
    return base64.b64decode(body.content) if body.encoding == b"base64" else body.content


@settings(max_examples=500)
@given(assembled_texts(), st.booleans())
def test_runs_are_encoded_as_their_text(text: AssembledText, eight_bit: bool) -> None:
    encoder = BodyEncoder(MARK)
    try:
        expected = encoder.encode(text.write(), eight_bit=eight_bit)
    except ValueError:
        assert not text.is_sendable()
        with pytest.raises(ValueError, match=r"cannot be sent|not a character"):
            text.encode(encoder, eight_bit=eight_bit)
        return
    assert text.is_sendable()
    made = text.encode(encoder, eight_bit=eight_bit)
    assert decode(made) == decode(expected)
    assert (made.encoding == b"7bit") == (expected.encoding == b"7bit")
    assert (made.encoding == b"8bit") == (expected.encoding == b"8bit")
    most = 76 if made.encoding == b"quoted-printable" else MAX_LINE
    assert all(
        len(line) <= most and b"\n" not in line and b"\r" not in line for line in made.content.split(b"\r\n")
    )
    assert text.measure() >= len(text.write())


@pytest.mark.parametrize("text", ["x" * 998, "\nfirst " + "x" * 970 + "\nlast", "é" * 499])
def test_a_line_is_as_long_as_it_may_be(text: str) -> None:
    halves = [Run([text[:400]], []), Run([text[400:]], [])]
    assert AssembledText(halves, [], []).encode(BodyEncoder(MARK), eight_bit=True).encoding in (
        b"7bit",
        b"8bit",
    )
    longer = [*halves[:1], Run(["x" * 29], []), *halves[1:]]
    encoding = AssembledText(longer, [], []).encode(BodyEncoder(MARK), eight_bit=True).encoding
    assert encoding in (b"quoted-printable", b"base64")


def test_a_line_that_is_short_only_with_these_values_is_sent_as_it_is() -> None:
    text = AssembledText([Run(["x" * 500, "x" * 490], [0])], [0], ["short"])
    assert text.encode(BodyEncoder(MARK), eight_bit=False).encoding == b"7bit"


def test_a_text_with_a_boundary_in_it_is_encoded() -> None:
    text = AssembledText([Run(["=_bou"], []), Run(["", "ary"], [0])], [0], ["nd"])
    assert text.encode(BodyEncoder(MARK), eight_bit=True).encoding == b"quoted-printable"
