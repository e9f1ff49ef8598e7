"""XLSX lists: workbooks as openpyxl and other programs write them."""

from __future__ import annotations

import builtins
import datetime
import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from mailer.campaign.sources.rows import RowRules, Where
from mailer.errors import MissingExtra, Place
from tests.campaign.sources.workbooks import altered, openpyxl, shared_strings, sheet, text, workbook


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


_HIDDEN = (
    "the row is hidden, by hand or by a filter; to leave hidden rows out: recipients: {file: …, hidden: skip}; "
    "to send to them too: hidden: include"
)


def _hide(change: Callable[[Any], None]) -> bytes:
    """A workbook of five people, after `change` of its sheet; the last row is blank and hidden."""
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["email", "plan"], *([f"{name}@example.com", "pro"] for name in "abcde")):
        sheet.append(row)
    change(sheet)
    sheet.row_dimensions[7].hidden = True
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _hide_by_hand(sheet: Any) -> None:
    sheet.row_dimensions[3].hidden = sheet.row_dimensions[5].hidden = True


def _filter_rows(sheet: Any) -> None:
    """As a spreadsheet program does: the criteria, and the rows that they hide."""
    sheet.auto_filter.ref = "A1:B6"
    sheet.auto_filter.add_filter_column(0, ["a@example.com", "c@example.com", "e@example.com"])
    _hide_by_hand(sheet)


def _collapse_groups(sheet: Any) -> None:
    for number in (3, 5):
        sheet.row_dimensions.group(number, number, hidden=True)


@pytest.mark.parametrize("hide", [_hide_by_hand, _filter_rows, _collapse_groups])
def test_a_hidden_row_has_a_problem_until_the_campaign_says_what_is_meant(rows, hide) -> None:
    content = _hide(hide)
    problems = [str(found.problem or "") for found in rows("a.xlsx", content)]
    assert problems == ["", f"a.xlsx:3: {_HIDDEN}", "", f"a.xlsx:5: {_HIDDEN}", ""]
    assert [found.email[0] for found in rows("a.xlsx", content, hidden="skip")] == ["a", "c", "e"]
    included = rows("a.xlsx", content, hidden="include")
    assert [(found.email[0], found.problem) for found in included] == [(name, None) for name in "abcde"]


def test_a_hidden_row_that_where_leaves_out_is_no_problem(rows) -> None:
    where = Where.compile("email != 'b@example.com'", Place("c.yaml"))
    found = rows("a.xlsx", _hide(_hide_by_hand), rules=RowRules(where=where))
    assert [(r.email[0], r.place.line, r.problem is None) for r in found] == [
        *(("a", 2, True), ("c", 4, True), ("d", 5, False), ("e", 6, True))
    ]


def test_a_hidden_column_is_read_as_any_other(rows) -> None:
    def hide(sheet: Any) -> None:
        sheet.column_dimensions["B"].hidden = True

    assert [found.columns["plan"] for found in rows("a.xlsx", _hide(hide))] == ["pro"] * 5


def test_the_first_sheet_is_the_first_that_is_not_hidden(rows) -> None:
    hidden = b'sheetId="1" state="hidden"'
    content = altered(lambda data: data.replace(b'sheetId="1" state="visible"', hidden), "xl/workbook.xml")
    assert hidden in zipfile.ZipFile(io.BytesIO(content)).read("xl/workbook.xml")
    assert [r.email for r in rows("a.xlsx", content)] == ["second@example.com"]
    assert [r.email for r in rows("a.xlsx", content, sheet="Sheet")] == ["a@example.com"]


def _recalculated(content: bytes, *, on_load: bool) -> bytes:
    """The workbook, as a program writes it that has its formulas computed on load, or has computed them."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            if not on_load:
                data = data.replace(b' fullCalcOnLoad="1"', b"")
            new.writestr(item.filename, data)
    return changed.getvalue()


@pytest.mark.parametrize(
    ("cell", "on_load", "is_missing"),
    [
        ('<c r="B2"><f>A2</f></c>', False, True),  # Apache POI, Excelize
        ('<c r="B2"><f>A2</f><v></v></c>', True, True),  # openpyxl
        ('<c r="B2"><f>A2</f><v/></c>', False, True),
        ('<c r="B2" t="b"><f>A2=""</f></c>', False, True),
        ('<c r="B2"><f t="shared" si="0"/></c>', False, True),
        ('<c r="B2"><f>A2</f><v>0</v></c>', True, True),  # XlsxWriter
        ('<c r="B2"><f>A2</f><v>0.0</v></c>', True, True),
        ('<c r="B2"><f>1-1</f><v>0</v></c>', False, False),  # Excel, LibreOffice
        ('<c r="B2" t="b"><f>A2=""</f><v>0</v></c>', True, False),
        ('<c r="B2" t="str"><f>C2</f><v></v></c>', True, False),
        ('<c r="B2" t="str"><f>C2</f><v>Ada</v></c>', True, False),
        ('<c r="B2"><f>1+1</f><v>2</v></c>', True, False),
        ('<c r="B2"><v>0</v></c>', True, False),
    ],
)
def test_a_formula_that_was_never_computed_is_a_problem_of_its_row(rows, cell, on_load, is_missing) -> None:
    """Its cell looks blank to a program, and has a value as soon as a person opens the file."""
    content = sheet(
        f'<row r="1">{text("A1", "email")}{text("B1", "First Name")}</row>',
        f'<row r="2">{text("A2", "a@example.com")}{cell}</row>',
        f'<row r="3">{text("A3", "b@example.com")}</row>',
    )
    found, blank = rows("a.xlsx", _recalculated(content, on_load=on_load))
    expected = (
        "a.xlsx:2: First_Name: the formula in B2 was never computed, so it has no value; "
        "open the file in a spreadsheet program and save it"
    )
    assert str(found.problem or "") == (expected if is_missing else "")
    assert (blank.problem, blank.columns["First_Name"]) == (None, "")


def test_a_formula_of_the_address_or_the_header_that_was_never_computed_is_named(rows, refusal) -> None:
    [found] = rows("a.xlsx", workbook(["email", "n"], ['=B2&"@example.com"', "ada"]))
    assert str(found.problem).startswith("a.xlsx:2: email: the formula in A2 was never computed")
    [line] = refusal("a.xlsx", workbook(["email", '="First"&" Name"'], ["a@example.com", "Ada"]))
    assert line.startswith("a.xlsx:1: the formula in B1 was never computed")


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


def test_shared_strings_are_read(rows) -> None:
    assert [
        r.email for r in rows("a.xlsx", shared_strings("<r><t>ada@</t></r><r><t>example.com</t></r>"))
    ] == ["ada@example.com"]


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
