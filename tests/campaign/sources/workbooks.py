"""Workbooks for tests: as openpyxl writes them, or with a part changed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")

SHEET = "xl/worksheets/sheet1.xml"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
WORKSHEET = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'


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


def styles(number_format: str) -> str:
    return (
        '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts count="1">'
        f'<numFmt numFmtId="164" formatCode="{number_format}"/></numFmts></styleSheet>'
    )


def shared_strings(text_of_a2: str) -> bytes:
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
    return altered(lambda _: WORKSHEET.format("".join(rows)).encode())


def text(cell: str, content: str) -> str:
    return f'<c r="{cell}" t="inlineStr"><is><t>{content}</t></is></c>'
