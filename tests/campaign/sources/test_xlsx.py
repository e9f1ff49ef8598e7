"""XLSX lists: workbooks as openpyxl writes them, and malformed ones."""

from __future__ import annotations

import builtins
import contextlib
import datetime
import functools
import io
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.campaign.sources.xlsx import read_xlsx
from mailer.errors import InputError, MissingExtra

openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")

SHEET = "xl/worksheets/sheet1.xml"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_XML = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'


def workbook(*rows: list[Any], formats: dict[str, str] | None = None) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for cell, number_format in (formats or {}).items():
        book.active[cell].number_format = number_format
    book.create_sheet("Second").append(["email"])
    book["Second"].append(["second@example.com"])
    content = io.BytesIO()
    book.save(content)
    book.close()
    return content.getvalue()


def altered(change: Callable[[bytes], bytes], name: str = SHEET) -> bytes:
    """A small workbook with one of its parts changed."""
    content = io.BytesIO()
    original = io.BytesIO(workbook(["email"], ["a@example.com"]))
    with zipfile.ZipFile(original) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            data = old.read(item)
            new.writestr(item.filename, change(data) if item.filename == name else data)
    return content.getvalue()


def _styles(number_format: str) -> str:
    return (
        '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts count="1">'
        f'<numFmt numFmtId="164" formatCode="{number_format}"/></numFmts></styleSheet>'
    )


def _shared(text_of_a2: str) -> bytes:
    """A workbook whose texts are shared strings; the second cell's is given."""
    content = io.BytesIO()
    override = (
        b'<Override PartName="/xl/strings.xml" ContentType="application/vnd.openxmlformats-officedocument'
    )
    override += b'.spreadsheetml.sharedStrings+xml"/></Types>'
    cells = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>{n - 1}</v></c></row>' for n in (1, 2))
    with zipfile.ZipFile(io.BytesIO(sheet(cells))) as old, zipfile.ZipFile(content, "w") as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item).replace(b"</Types>", override))
        strings = f"<si><t>email</t></si><si>{text_of_a2}</si>"
        new.writestr("xl/strings.xml", f'<sst xmlns="{_MAIN}">{strings}</sst>')
    return content.getvalue()


def sheet(*rows: str) -> bytes:
    return altered(lambda _: _XML.format("".join(rows)).encode())


def text(cell: str, content: str) -> str:
    return f'<c r="{cell}" t="inlineStr"><is><t>{content}</t></is></c>'


def test_cells_as_a_person_sees_them(rows) -> None:
    content = workbook(
        [],
        [" Email ", "n", "zip", "price", "share", "day", "flag", "note"],
        ["Ada@Example.com", 42.0, 1067, 12.5, 0.5, datetime.date(2026, 11, 23), True, None],
        [],
        ["bob@example.com", 0.1 + 0.2, 1, 2, 3, datetime.datetime(2026, 11, 23, 9, 5), False, "Zoë ☃"],
        formats={"C3": "00000", "D3": "0.00", "E3": "0%"},
    )
    ada, bob = rows("a.xlsx", content)
    assert (ada.place.line, bob.place.line) == (3, 5)
    assert ada.columns == {
        "email": "Ada@example.com",
        "n": 42,
        "zip": "01067",
        "price": "12.50",
        "share": "50%",
        "day": "2026-11-23",
        "flag": True,
        "note": "",
    }
    assert (bob.columns["n"], bob.columns["day"], bob.columns["note"]) == (0.3, "2026-11-23 9:05:00", "Zoë ☃")


@pytest.mark.parametrize("error", ["#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NUM!", "#NULL!"])
def test_a_row_in_which_a_formula_failed_has_a_problem(rows, error: str) -> None:
    """No message may greet its recipient as #N/A."""
    cell = f'<c r="B2" t="e"><f>VLOOKUP(A2,X1:Y9,2,0)</f><v>{error}</v></c>'
    content = sheet(
        f'<row r="1">{text("A1", "email")}{text("B1", "First Name")}</row>',
        f'<row r="2">{text("A2", "a@example.com")}{cell}</row>',
        f'<row r="3">{text("A3", "b@example.com")}{text("B3", error)}</row>',
    )
    failed, written = rows("a.xlsx", content)
    assert str(failed.problem) == f"a.xlsx:2: First_Name: the cell has the error {error}, and no value"
    assert (written.problem, written.columns["First_Name"]) == (None, error)


def test_a_sheet_is_chosen_by_its_name(rows, refusal) -> None:
    assert [r.email for r in rows("a.xlsx", workbook(["x"]), sheet="Second")] == ["second@example.com"]
    expected = ["a.xlsx: there is no sheet 'Third'; the sheets are: 'Sheet', 'Second'"]
    assert refusal("a.xlsx", workbook(["x"]), sheet="Third") == expected


def test_a_wrong_row_of_xlsx_has_a_problem_and_the_others_are_read(rows) -> None:
    found = rows("a.xlsx", workbook(["email", "n"], ["a@example.com", 1, 2], [5, 1], ["b@example.com"]))
    assert [str(r.problem or "") for r in found] == [
        "a.xlsx:2: the row has 3 cells; the header has 2",
        "a.xlsx:3: email: '5' is not an address: an email address must have an @-sign",
        "",
    ]


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
            altered(lambda data: ("<!DOCTYPE x>" + _styles("0")).encode("utf-16"), "xl/styles.xml"),
            "a.xlsx: xl/styles.xml in it has a document type",
        ),
        (
            altered(lambda _: _styles("[" * 9_000_000).encode(), "xl/styles.xml"),
            "a.xlsx: xl/styles.xml in it has a tag or a comment of more than 524,288 octets",
        ),
        (
            altered(lambda _: _styles("[" * 256).encode(), "xl/styles.xml"),
            "a.xlsx: xl/styles.xml in it has a number format or another attribute longer than the format allows",
        ),
        (
            _shared("<t>" + "x" * 32_768 + "</t>"),
            "a.xlsx: xl/strings.xml in it has a cell of more than 32,767 characters",
        ),
        (
            _shared(("<r><t>" + "x" * 30_000 + "</t></r>") * 2),
            "a.xlsx: it is not an .xlsx file that can be read, or it is damaged (a cell of more than 32,767",
        ),
        (
            sheet(f'<row r="1">{text("A1", "email")}</row><row r="2">{text("A2", "x" * 40_000)}</row>'),
            "a.xlsx: xl/worksheets/sheet1.xml in it has a cell of more than 32,767 characters",
        ),
        (
            altered(lambda _: _XML.format("<a>" * 200 + "</a>" * 200).encode()),
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


def test_shared_strings_are_read(rows) -> None:
    assert [r.email for r in rows("a.xlsx", _shared("<r><t>ada@</t></r><r><t>example.com</t></r>"))] == [
        "ada@example.com"
    ]


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


def test_a_missing_extra_is_named_in_the_hint(rows, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("openpyxl"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra) as caught:
        rows("a.xlsx", b"")
    assert caught.value.hint == "pip install 'mailer[xlsx]'"
