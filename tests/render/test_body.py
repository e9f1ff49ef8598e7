from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.errors import RenderError
from mailer.render.body import (
    MAX_LINE,
    QUOTED_VALUE,
    Body,
    BodyEncoder,
    encode_base64,
    quote_runs,
    quote_value,
)
from mailer.render.skeleton import Skeleton
from tests.render.projects import Project, measure_growth, person

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=60),
    st.text("ab =\n\té", max_size=200),
    st.sampled_from(["", " ", "x" * 75, "x" * 31 + " ", "=" * 40, "é" * 40, "\n", " \n ", "."]),
)
LINES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n")), max_size=12)


def decoded(body: Body) -> bytes:
    if body.encoding == b"quoted-printable":
        return quopri.decodestring(body.content)
    return base64.b64decode(body.content) if body.encoding == b"base64" else body.content


def canonical(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").encode()


def check(text: str, *, eight_bit: bool) -> Body:
    body = BodyEncoder(b"=_mark").encode(text, eight_bit=eight_bit)
    lines = body.content.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    if body.encoding in (b"quoted-printable", b"base64"):
        assert max(map(len, lines)) <= 76
        assert body.content.isascii()
        assert not any(line.endswith((b" ", b"\t")) for line in lines)
    else:
        assert max(map(len, lines)) <= MAX_LINE
        assert b"=_mark" not in body.content
    assert body.content.isascii() or body.encoding == b"8bit"
    assert decoded(body) == canonical(text)
    return body


@given(ANY_TEXT, st.booleans())
@example("", False)
@example("no end", False)
@example("trailing \t\nblanks ", False)
@example("é trailing \t\nblanks ", False)
@example("a lone\rcarriage return\r\n\r", True)
@example(".\n..\n.é\n.", False)
@example("--=_marka\nFrom me\nSubject: x\nRSET\nQUIT", False)
@example("é" + "x" * 1_000_000, True)
@example("x" * 998, False)
@example("x" * 999, False)
@example("=" * 200, False)
@example("王" * 500, False)
def test_any_text_comes_back(text: str, eight_bit: bool) -> None:
    check(text, eight_bit=eight_bit)


@given(st.lists(LINES, max_size=6))
def test_lines_that_were_seen_before_change_nothing(texts: list[list[str]]) -> None:
    encoder = BodyEncoder(b"=_mark")
    for lines in texts:
        text = "é\n" + "\n".join(lines)
        assert decoded(encoder.encode(text)) == canonical(text)


@pytest.mark.parametrize(
    ("text", "eight_bit", "encoding"),
    [
        ("plain", False, b"7bit"),
        ("x" * 998, False, b"7bit"),
        ("x" * 999, False, b"quoted-printable"),
        ("Grüße aus Zürich an alle, die hier wohnen und lesen", False, b"quoted-printable"),
        ("Grüße", True, b"8bit"),
        ("é" + "x" * 999, True, b"quoted-printable"),
        ("王小明" * 20, False, b"base64"),
        ("a text that shows =_mark", False, b"quoted-printable"),
    ],
)
def test_the_smallest_encoding_that_fits(text: str, eight_bit: bool, encoding: bytes) -> None:
    assert check(text, eight_bit=eight_bit).encoding == encoding


def test_nul_and_lone_surrogates_are_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        BodyEncoder(b"=_").encode("a\0b")
    with pytest.raises(ValueError, match="U\\+D800"):
        BodyEncoder(b"=_").encode("a\ud800b")


@pytest.mark.slow
def test_what_is_kept_of_lines_is_bounded() -> None:
    encoder = BodyEncoder(b"=_")

    def encode(number: int) -> None:
        encoder.encode(
            "é\n" + "\n".join(f"line {number} {m:100}" for m in range(1000)) + "\n" + "long" * 1000
        )

    for n in range(10):
        encode(n)
    with measure_growth() as growth:
        for n in range(10, 30):
            encode(n)
    assert growth() < 500_000, "20,000 lines of 100 octets were encoded"


@given(st.binary(max_size=400))
def test_base64_in_lines_of_76(content: bytes) -> None:
    encoded = encode_base64(content)
    assert base64.b64decode(encoded) == content
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))


@given(st.lists(TEXTS, min_size=1, max_size=6), st.lists(TEXTS, min_size=5, max_size=5))
def test_values_between_quoted_runs_give_the_text(pieces: list[str], values: list[str]) -> None:
    """What is encoded once and what is encoded for a recipient fit together, whatever their lengths are."""
    runs = quote_runs([piece.encode() for piece in pieces])
    body, text = runs[0], pieces[0]
    for run, piece, value in zip(runs[1:], pieces[1:], values, strict=False):
        body += quote_value(value) + run
        text += value + piece
    assert max(map(len, body.split(b"\r\n"))) <= 76
    assert not any(line.endswith((b" ", b"\t")) for line in body.split(b"\r\n"))
    assert quopri.decodestring(body).replace(b"\r\n", b"\n") == text.encode()


@pytest.mark.parametrize("length", range(1, 160))
def test_a_value_of_any_length_has_room_for_its_soft_line_breaks(length: int) -> None:
    for text in (
        "x" * length,
        "é" * length,
        "x\x1f=é"[: length % 4] + "é" * length + "y",
        "a\n" + "x" * length,
    ):
        quoted = quote_value(text)
        lines = quoted.split(b"\r\n")
        assert max(map(len, lines)) <= 76
        assert len(lines[0]) <= QUOTED_VALUE
        assert len(lines[-1]) <= QUOTED_VALUE
        assert quopri.decodestring(quoted).replace(b"\r\n", b"\n") == text.encode()


@pytest.mark.parametrize(
    "pieces",
    [["é", ""], ["", ""], ["é", "", ""], ["x" * 70 + "é", "", ""]],
    ids=["one", "alone", "two", "long"],
)
@pytest.mark.parametrize("last", ["", "é" * 30, "x" * 80, "a\n" + "é" * 20, "\n"])
def test_no_body_ends_with_a_soft_line_break(pieces: list[str], last: str) -> None:
    values = ["é" * 40] * (len(pieces) - 2) + [last]
    skeleton = Skeleton(pieces, [*range(len(values))])
    body = skeleton.encode(values, BodyEncoder(b"=_mark"), eight_bit=False)
    assert body.encoding != b"quoted-printable" or not body.content.endswith((b"=", b"=\r\n"))
    assert decoded(body) == canonical(skeleton.fill(values))


def test_the_images_of_a_message_are_bounded_and_each_is_embedded_once(project: Project) -> None:
    for n in range(4):
        project.put(f"{n}.png", bytes(20_000))
    shown = "".join(f'<img src="{n}.png">' for n in range(4))
    once = project.compile(text="Hi", template='<img src="0.png">' * 50, max_message=60_000)
    assert len(once.render(person()).content) < 40_000
    with pytest.raises(RenderError, match="the images are larger than 60,000 bytes together"):
        project.compile(text="Hi", template=shown, max_message=60_000).render(person())
