"""Workbooks that are damaged, or larger than a list: none of them is read, and none takes long."""

from __future__ import annotations

import contextlib
import datetime
import functools
import io
import zipfile
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.campaign.sources.xlsx import read_xlsx
from mailer.errors import InputError
from tests.campaign.sources.workbooks import (
    SHEET,
    WORKSHEET,
    altered,
    shared_strings,
    sheet,
    styles,
    text,
    workbook,
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "a.xlsx: it is not an .xlsx file (a zip of XML), or it is damaged"),
        (b"email\na@example.com\n", "a.xlsx: it is not an .xlsx file (a zip of XML), or it is damaged"),
        (
            bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600),
            "a.xlsx: it is an old .xls file, or it has a password; save it as .xlsx without one",
        ),
        (workbook(["email"])[:-300], "a.xlsx: it is not an .xlsx file (a zip of XML), or it is damaged"),
        (workbook(["post"]), "a.xlsx:1: there is no column 'email'; the columns are: post"),
        (workbook(["email"]), "a.xlsx: the list has no recipients"),
        (workbook(), "a.xlsx: the sheet is empty; expected a header row"),
        (workbook(["email", None, "email"]), "a.xlsx:1: column 2 has no name"),
        (
            altered(lambda data: data[:-100]),
            "a.xlsx: xl/worksheets/sheet1.xml in it is not the XML of a spreadsheet",
        ),
        (
            altered(lambda _: b"nonsense"),
            "a.xlsx: xl/worksheets/sheet1.xml in it is not the XML of a spreadsheet",
        ),
        (
            altered(lambda _: b"", "[Content_Types].xml"),
            "a.xlsx: [Content_Types].xml in it is not the XML of a",
        ),
        (altered(lambda data: data + b" " * 50_000_000), "a.xlsx: it would unpack to 50,"),
        (altered(lambda data: data + b" " * 50_000_000, "xl/styles.xml"), "a.xlsx: it would unpack to 50,"),
        (
            altered(lambda data: b'<!DOCTYPE x [<!ENTITY a "aaa"><!ENTITY b "&a;&a;">]>' + data),
            "a.xlsx: xl/worksheets/sheet1.xml in it has a document type",
        ),
        (
            altered(lambda data: b"<!--" + b"x" * 9000 + b'--><!DOCTYPE x [<!ENTITY a "aaa">]>' + data),
            "a.xlsx: xl/worksheets/sheet1.xml in it has a document type",
        ),
        (
            altered(lambda data: ("<!DOCTYPE x>" + styles("0")).encode("utf-16"), "xl/styles.xml"),
            "a.xlsx: xl/styles.xml in it has a document type",
        ),
        (
            altered(lambda _: styles("[" * 9_000_000).encode(), "xl/styles.xml"),
            "a.xlsx: xl/styles.xml in it has a tag or a comment of more than 524,288 octets",
        ),
        (
            altered(lambda _: styles("[" * 256).encode(), "xl/styles.xml"),
            "a.xlsx: xl/styles.xml in it has a number format or another attribute longer than the format allows",
        ),
        (
            shared_strings("<t>" + "x" * 32_768 + "</t>"),
            "a.xlsx: xl/strings.xml in it has a cell of more than 32,767 characters",
        ),
        (
            shared_strings(("<r><t>" + "x" * 30_000 + "</t></r>") * 2),
            "a.xlsx: it is not an .xlsx file that can be read, or it is damaged (a cell of more than 32,767",
        ),
        (
            sheet(f'<row r="1">{text("A1", "email")}</row><row r="2">{text("A2", "x" * 40_000)}</row>'),
            "a.xlsx: xl/worksheets/sheet1.xml in it has a cell of more than 32,767 characters",
        ),
        (
            altered(lambda _: WORKSHEET.format("<a>" * 200 + "</a>" * 200).encode()),
            "a.xlsx: xl/worksheets/sheet1.xml in it has more elements than a spreadsheet",
        ),
        (
            sheet(
                f'<row r="1">{text("A1", "email")}</row>',
                '<row r="4000000000"><c r="A4000000000"><v>1</v></c></row>',
            ),
            "a.xlsx: a row beyond the 1,048,576 that a sheet can have",
        ),
        (
            sheet(f'<row r="1">{text("A1", "email")}</row><row r="2"><c r="A2" t="s"><v>99999</v></c></row>'),
            "a.xlsx: it is not an .xlsx file that can be read, or it is damaged",
        ),
        (
            sheet(f'<row r="1">{text("A1", "email")}{text("XFD1", "x")}</row>'),
            "a.xlsx:1: column 2 has no name",
        ),
    ],
)
def test_a_workbook_that_cannot_be_read_is_refused(refusal, content: bytes, expected: str) -> None:
    assert refusal("a.xlsx", content)[0].startswith(expected)


def test_a_part_is_scanned_whatever_its_name(refusal) -> None:
    """The workbook's relations say where a sheet is: it need not end with .xml."""
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook(["email"]))) as old, zipfile.ZipFile(content, "w") as new:
        for item in old.infolist():
            data = old.read(item).replace(b"/xl/worksheets/sheet1.xml", b"/xl/worksheets/sheet1.bin")
            name = item.filename.replace("sheet1.xml", "sheet1.bin")
            new.writestr(name, b"<!DOCTYPE x>" + data if name != item.filename else data)
    assert refusal("a.xlsx", content.getvalue())[0].startswith(
        "a.xlsx: xl/worksheets/sheet1.bin in it has a document"
    )


def test_a_part_is_read_no_further_than_its_declared_size(refusal) -> None:
    """A member that declares less than it unpacks to is read no further than declared."""
    content = bytearray(altered(lambda data: data + b" " * 20_000_000))
    position = content.rfind(b"PK\x01\x02")
    while position >= 0 and SHEET.encode() not in content[position : position + 100]:
        position = content.rfind(b"PK\x01\x02", 0, position)
    content[position + 24 : position + 28] = (400).to_bytes(4, "little")
    assert "it is damaged" in refusal("a.xlsx", bytes(content))[0]


def test_cells_far_beyond_the_header_are_ignored(refusal) -> None:
    body = "".join(f'<row r="{n}"><c r="ZZZ{n}"><v>1</v></c></row>' for n in range(2, 20_000))
    assert refusal("a.xlsx", sheet(f'<row r="1">{text("A1", "email")}</row>', body)) == [
        "a.xlsx: the list has no recipients"
    ]


_PIECES = [
    b"<",
    b">",
    b'"',
    b"-1",
    b"9" * 12,
    b"nan",
    b"s",
    b"d",
    b"A1",
    b"ZZZ9",
    b"&a;",
    b"1e999",
    b"\0",
    b"\xff",
    b"<v>",
]


@functools.cache
def _sound() -> bytes:
    """Made once: a workbook holds the time it was made at, and packs to another length a second later."""
    rows = (["email", "n", "d"], ["a@example.com", 1.5, datetime.date(2026, 1, 1)])
    return workbook(*rows, formats={"B2": "0.00"})


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_a_damaged_workbook_raises_only_input_errors(random: Random, packed: bool) -> None:
    """Bytes of the file, or pieces of one of its parts, replaced."""
    content = bytearray(_sound())
    if packed:
        for _ in range(random.randint(1, 6)):
            content[random.randrange(len(content))] = random.randrange(256)
    else:
        name = random.choice(zipfile.ZipFile(io.BytesIO(content)).namelist())
        content = bytearray(altered(lambda part: _disturbed(part, random), name))
    with contextlib.suppress(InputError):
        list(read_xlsx(io.BytesIO(content), "a.xlsx", None))


def _disturbed(part: bytes, random: Random) -> bytes:
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(part) + 1)
        part = part[:start] + random.choice(_PIECES) + part[start + random.randrange(8) :]
    return part
