"""Lists as sources: filters, fingerprints, standard input, and files that are none."""

from __future__ import annotations

import gc
import io
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from mailer.campaign import load_campaign
from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources import FileSource, RowRules, StandardInput, Where, check_encoding, list_format
from mailer.errors import InputError, Place

HERE = Place("x.yaml", 5, 20)
LIST = "email,plan\nada@example.com,pro\nbob@example.com,free\nbad,pro\nworse,free\nragged\n"


def rules(where: str) -> RowRules:
    return RowRules(where=Where.compile(where, HERE))


def source(folder: Path, content: str, **options: object) -> FileSource:
    (folder / "a.csv").write_text(content)
    return FileSource(NamedFile(folder / "a.csv", "a.csv"), "csv", **options)  # type: ignore[arg-type]


def test_where_selects_rows_and_keeps_unreadable_ones(rows) -> None:
    found = rows("a.csv", LIST, rules=rules("plan == 'pro'"))
    assert [(r.place.line, r.problem is None) for r in found] == [(2, True), (4, False), (6, False)]


def test_a_wrong_where_is_refused_at_its_place() -> None:
    with pytest.raises(InputError) as caught:
        rules("plan ==")
    assert str(caught.value).startswith("x.yaml:5:20: recipients.where: ")


def test_a_where_with_an_unknown_column_is_an_error(refusal) -> None:
    (line,) = refusal("a.csv", LIST, rules=rules("plam == 'pro'"))
    assert line == "x.yaml:5:20: recipients.where: 'plam' is undefined; did you mean 'plan'?"


@pytest.mark.parametrize("source", ["price > 1", "1.5 <= price"])
def test_a_where_that_compares_text_with_a_number_says_what_to_write(refusal, rows, source: str) -> None:
    content = "- {email: a@example.com, price: 1.10}\n- {email: b@example.com, price: 0.50}\n"
    (line,) = refusal("a.yaml", content, rules=rules(source))
    assert line.startswith("x.yaml:5:20: recipients.where: a text cannot be compared with a number;")
    found = rows("a.yaml", content, rules=rules("price|float > 1"))
    assert [r.email for r in found] == ["a@example.com"]


def test_a_where_that_matches_no_row_is_an_error(refusal) -> None:
    content = "email,plan\nada@example.com,pro\n"
    assert refusal("a.csv", content, rules=rules("plan == 'x'")) == [
        "a.csv: no recipient of the list matches 'where'"
    ]


def test_a_source_is_read_as_often_as_asked(folder: Path) -> None:
    people = source(folder, LIST)
    first, second = iter(people), iter(people)
    assert next(first).email == next(second).email == "ada@example.com"
    assert [r.email for r in people] == [r.email for r in people]


def test_a_fingerprint_depends_on_the_list_and_on_how_it_is_read(folder: Path) -> None:
    found = {
        source(folder, LIST).fingerprint(),
        source(folder, LIST, rules=rules("true")).fingerprint(),
        source(folder, LIST, encoding="latin-1").fingerprint(),
        source(folder, LIST + "c@example.com,x\n").fingerprint(),
    }
    assert len(found) == 4
    assert source(folder, LIST).fingerprint() in found


def test_stopping_early_closes_the_file(folder: Path) -> None:
    people = iter(source(folder, LIST))
    next(people)
    people.close()  # type: ignore[attr-defined]  # a generator
    gc.collect()  # an unclosed file would be a ResourceWarning, and so an error


def test_a_list_that_became_a_fifo_or_is_missing_is_an_error(folder: Path) -> None:
    people = source(folder, LIST)
    (folder / "a.csv").unlink()
    for _ in range(2):
        with pytest.raises(InputError, match=r"a\.csv: (there is no such file|it is a FIFO)"):
            list(people)
        if not (folder / "a.csv").exists():
            os.mkfifo(folder / "a.csv")


class _Stdin:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_standard_input_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(LIST.encode()))
    people = FileSource(StandardInput(), "csv")
    first, second = iter(people), iter(people)
    assert next(first).email == next(second).email
    assert [str(r.place) for r in people][:2] == ["<stdin>:2", "<stdin>:3"]
    fingerprint = people.fingerprint()
    monkeypatch.setattr(sys, "stdin", _Stdin(b""))
    assert people.fingerprint() == fingerprint


def test_standard_input_with_an_encoding_and_utf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin("email,n\na@example.com,é\n".encode("utf-16")))
    assert [r.columns["n"] for r in FileSource(StandardInput(), "csv")] == ["é"]


def test_a_closed_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input, which is closed"):
        list(FileSource(StandardInput(), "csv"))


def test_memory_does_not_grow_with_the_list(folder: Path) -> None:
    def peak(count: int) -> int:
        people = source(folder, "email,name\n" + "".join(f"u{n}@example.com,N{n}\n" for n in range(count)))
        tracemalloc.start()
        assert sum(1 for _ in people) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(30_000) < peak(3_000) + 100_000


def test_the_suffix_decides_the_format() -> None:
    assert [
        list_format(name) for name in ("a.CSV", "b.tsv", "c.jsonl", "d.json", "e.yml", "f.yaml", "g.xlsx")
    ] == [*("csv", "tsv", "jsonl", "json", "yaml", "yaml", "xlsx")]
    for name in ("a", "a.txt", "a.csv.gz", "csv"):
        with pytest.raises(ValueError, match=r"expected \.csv"):
            list_format(name)


@pytest.mark.parametrize(
    "name", ["utf-8", "UTF-16", "windows-1252", "latin-1", "Shift_JIS", "cp932", "gb18030"]
)
def test_known_encodings_are_accepted(name: str) -> None:
    assert "x".encode(check_encoding(name))


@pytest.mark.parametrize(
    "name", ["", "utf-9", "rot13", "base64", "zip", "idna", "punycode", "unicode_escape", "undefined", "a\0b"]
)
def test_an_unknown_encoding_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a known encoding"):
        check_encoding(name)


def test_a_list_file_in_a_campaign_is_read(folder: Path) -> None:
    (folder / "people.csv").write_text(LIST)
    (folder / "x.yaml").write_text(
        "campaign: x\nfrom: a@example.com\nsubject: s\ntext: t\n"
        "recipients: {file: people.csv, where: plan == 'pro' and email != 'bad', encoding: UTF-8}\n"
    )
    assert [r.email for r in load_campaign("x.yaml").recipients if not r.problem] == ["ada@example.com"]


def test_standard_input_is_no_file_in_a_folder(folder: Path) -> None:
    (folder / "x.yaml").write_text(
        "campaign: x\nfrom: a@example.com\nsubject: s\ntext: t\nrecipients: sub/-\n"
    )
    with pytest.raises(InputError, match=r"^x.yaml:5:13: recipients: sub/-: there is no such file"):
        load_campaign("x.yaml")


def test_recipients_in_the_campaign_file_are_read(folder: Path) -> None:
    (folder / "x.yaml").write_text(
        "campaign: x\nfrom: a@example.com\nsubject: s\ntext: t\nrecipients:\n"
        "- &ada {email: Ada@Example.com, tags: [a]}\n- *ada\n- nobody\n- {name: x}\n"
    )
    campaign = load_campaign("x.yaml")
    found = list(campaign.recipients)
    assert [r.email for r in found] == ["Ada@example.com", "Ada@example.com", "nobody", ""]
    assert [str(r.problem) for r in found[2:]] == [
        "x.yaml:8:3: recipients: 'nobody' is not an address: an email address must have an @-sign",
        "x.yaml:9:3: recipients: there is no 'email'; the names are: name",
    ]
    assert campaign.recipients.fingerprint() == load_campaign("x.yaml").recipients.fingerprint()
    assert list(campaign.recipients) == found


def test_a_spreadsheet_of_another_format_says_what_to_save(refusal) -> None:
    for name in ("people.xls", "people.ODS", "people.numbers"):
        with pytest.raises(ValueError, match=r"save the list as \.xlsx or \.csv"):
            list_format(name)
    for name in ("people.csv", "people.json", "people.yaml"):
        assert refusal(name, b"PK\x03\x04" + bytes(100)) == [
            f"{name}: it is a zip, such as a spreadsheet, and not text; a spreadsheet's name ends with .xlsx"
        ]
        assert refusal(name, b"\x1f\x8b\x08" + bytes(100)) == [
            f"{name}: it is compressed (gzip) and not text; unpack it first"
        ]
