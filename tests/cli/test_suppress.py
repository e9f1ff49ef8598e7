from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailer.ledger.outcome import Status

Command = Callable[..., Any]


def listed(command: Command) -> list[tuple[str, str]]:
    ended = command("suppress", "list")
    assert ended.code == 0
    return [(row["email"], row["reason"]) for row in csv.DictReader(ended.out.splitlines())]


def test_add_list_remove(command: Command) -> None:
    ended = command("suppress", "add", "bob@example.com", "eve@example.com", "--reason", "asked us")
    said = ["bob@example.com: suppressed (asked us)", "eve@example.com: suppressed (asked us)"]
    assert (ended.code, ended.err.splitlines()[-2:]) == (0, said)
    ended = command("suppress", "add", "BOB@example.com")
    assert ended.err == "BOB@example.com: was suppressed already; its reason stays\n"
    assert listed(command) == [("bob@example.com", "asked us"), ("eve@example.com", "asked us")]
    ended = command("suppress", "remove", "Bob@example.com")
    assert (ended.code, ended.err) == (0, "Bob@example.com: not suppressed any more\n")
    assert listed(command) == [("eve@example.com", "asked us")]
    ended = command("suppress", "remove", "nobody@example.com")
    assert (ended.code, ended.err) == (2, "mailer: error: nobody@example.com is not suppressed\n")


def test_who_is_suppressed_gets_nothing_and_is_reported_so(command: Command, campaign: Path) -> None:
    environment = ["--ledger", "mail.sqlite3"]
    command("suppress", "add", "bob@example.com", *environment)
    command("suppress", "add", "chloe@example.com", *environment)
    command("suppress", "add", "dmitri@example.com", *environment)
    ended = command("send", campaign, "--server", "smtp://127.0.0.1:1", *environment, "--report", "r.json")
    assert ended.code == 0, ended.err
    assert json.loads(Path("r.json").read_text())["counts"]["suppressed"] == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gone.csv", "Email,reason\nbob@example.com,bounced\neve@example.com,\n"),
        ("gone.jsonl", '{"email": "bob@example.com", "reason": "bounced"}\n{"email": "eve@example.com"}\n'),
    ],
)
def test_import_of_a_list(command: Command, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    ended = command("suppress", "import", name)
    assert (ended.code, ended.err.splitlines()[-1]) == (0, "2 new addresses suppressed")
    assert "new ledger: .mailer/ledger.sqlite3" in ended.err
    assert listed(command) == [("bob@example.com", "bounced"), ("eve@example.com", "imported")]


def test_import_reads_the_hidden_rows_of_a_spreadsheet(command: Command) -> None:
    """A filter must not undo a suppression."""
    book = pytest.importorskip("openpyxl").Workbook()
    for row in (["email"], ["bob@example.com"], ["eve@example.com"]):
        book.active.append(row)
    book.active.row_dimensions[2].hidden = True
    book.save("gone.xlsx")
    assert command("suppress", "import", "gone.xlsx").code == 0
    assert [email for email, _ in listed(command)] == ["bob@example.com", "eve@example.com"]


def test_import_of_lines(command: Command, tmp_path: Path) -> None:
    (tmp_path / "gone.txt").write_text("# who left\nbob@example.com\n\n  eve@example.com  \n")
    assert command("suppress", "import", "gone.txt").code == 0
    assert [email for email, _ in listed(command)] == ["bob@example.com", "eve@example.com"]


def test_what_list_prints_import_reads(command: Command, tmp_path: Path) -> None:
    command("suppress", "add", "bob@example.com", "--reason", '=1+1, "quoted"')
    (tmp_path / "all.csv").write_text(command("suppress", "list").out)
    command("suppress", "import", "all.csv", "--ledger", "other.sqlite3")
    assert "bob@example.com" in command("suppress", "list", "--ledger", "other.sqlite3").out


def test_of_a_report_the_failed_recipients_are_suppressed(command: Command, tmp_path: Path) -> None:
    rows = [
        "email,key,status",
        *(f"{status}@example.com,x,{status}" for status in Status),
        "new@example.com,x,customer",
    ]
    (tmp_path / "report.csv").write_text("\n".join(rows))
    command("suppress", "import", "report.csv")
    assert [email for email, _ in listed(command)] == ["failed@example.com", "new@example.com"]


@pytest.mark.parametrize(
    "address", ["+33123@sms.example.com", "=a@example.com", "-b@example.com", "o'c@example.com"]
)
def test_an_address_that_looks_like_a_formula_is_the_same_after_list_and_import(
    command: Command, tmp_path: Path, address: str
) -> None:
    command("suppress", "add", "--reason", "=1+1", "--", address)
    (tmp_path / "all.csv").write_text(command("suppress", "list").out)
    assert command("suppress", "import", "all.csv", "--ledger", "other.sqlite3").code == 0
    assert command("suppress", "remove", "--ledger", "other.sqlite3", "--", address).code == 0
    command("suppress", "import", "all.csv", "--ledger", "other.sqlite3")
    assert command("suppress", "list", "--ledger", "other.sqlite3").out.count("'=1+1") == 1


@pytest.mark.parametrize("name", ["gone.csv", "gone.txt"])
def test_one_wrong_line_and_nothing_is_imported(command: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("email\nbob@example.com\nno address\n")
    ended = command("suppress", "import", name)
    assert ended.code == 2
    assert f"{name}:" in ended.err
    assert listed(command) == []


def test_a_wrong_address(command: Command) -> None:
    ended = command("suppress", "add", "bob@example.com", "not an address")
    assert ended.code == 2
    assert "not an address" in ended.err
    assert not Path(".mailer").exists()
