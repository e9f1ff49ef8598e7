"""CSV and TSV lists: what spreadsheets write, and what each mistake gets."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.campaign.sources.csv import read_csv
from mailer.campaign.sources.rows import RowRules
from mailer.errors import InputError

LIST = "email,name\nada@example.com,Ada\nbob@example.com,Böb\n"


@pytest.mark.parametrize(
    "content",
    [
        LIST.encode(),
        LIST.encode("utf-8-sig"),
        LIST.encode("utf-16"),
        b"\xfe\xff" + LIST.encode("utf-16-be"),
        LIST.replace("\n", "\r\n").encode(),
        LIST.replace("\n", "\r").encode(),
        LIST.replace(",", ";").encode(),
        LIST.replace(",", "\t").encode(),
        LIST.replace("email,name", '"email","name"').encode(),
        LIST.replace("email,name", " Email , name ").encode(),
        LIST.removesuffix("\n").encode(),
    ],
)
def test_the_same_list_however_it_is_written(rows, content: bytes) -> None:
    found = [(r.place.line, r.email, dict(r.columns), r.problem) for r in rows("people.csv", content)]
    assert found == [
        (2, "ada@example.com", {"email": "ada@example.com", "name": "Ada"}, None),
        (3, "bob@example.com", {"email": "bob@example.com", "name": "Böb"}, None),
    ]


@pytest.mark.parametrize(
    ("header", "separator"),
    [("email,size (s;m;l)", ","), ("size, in cm, or m;Email", ";"), ('"email"\tsize, in cm, or m', "\t")],
)
def test_the_separator_is_the_one_that_gives_the_address(rows, header: str, separator: str) -> None:
    cells = ["ada@example.com" if "email" in name.lower() else "x" for name in header.split(separator)]
    (row,) = rows("a.csv", f"{header}\n{separator.join(cells)}\n")
    assert (row.email, row.problem) == ("ada@example.com", None)


def test_an_encoding_in_the_campaign_is_used(rows, refusal) -> None:
    content = "email,name\nzoe@example.com,Zoë\n".encode("windows-1252")
    assert rows("a.csv", content, encoding="windows-1252")[0].columns["name"] == "Zoë"
    (line,) = refusal("a.csv", content)
    assert line.startswith("a.csv:2:19: not UTF-8 (found 0xEB); save it as UTF-8, or name its encoding")
    (line,) = refusal("a.csv", LIST.encode("utf-16-le"), encoding="utf-16")
    assert "there is no byte order mark; say utf-16-le or utf-16-be" in line


def test_a_decoding_error_far_into_the_file_has_its_line(refusal) -> None:
    content = b"email\r\n" + b"ada@example.com\r\n" * 50_000 + b"\xff\r\n"
    (line,) = refusal("a.csv", content)
    assert line.startswith("a.csv:50002:1: not UTF-8 (found 0xFF)")


def test_a_row_has_the_line_on_which_it_starts(rows) -> None:
    content = '\nemail,name\r\n\r\nada@example.com,"A\r\nd\na"\r\n\r\n"bob@example.com","B"\r\n'
    found = [(r.place.line, r.columns["name"]) for r in rows("a.csv", content)]
    assert found == [(4, "A\r\nd\na"), (8, "B")]


def test_blank_rows_are_skipped(rows) -> None:
    content = "email,name\n,\n  , \t\n\nada@example.com,Ada\n , \n"
    assert [r.place.line for r in rows("a.csv", content)] == [5]


def test_the_delimiter_of_tsv_is_always_a_tab(rows) -> None:
    (row,) = rows("a.tsv", "email\ta,b,c\nada@example.com\t1,2\n")
    assert row.columns == {"email": "ada@example.com", "a_b_c": "1,2"}


def test_blanks_at_the_ends_of_cells_are_removed(rows) -> None:
    (row,) = rows("a.csv", "email,name,plan\n \u00a0Ada@EXAMPLE.com ,  Ada ,pro \n")
    assert row.email == "Ada@example.com"
    assert row.columns == {"email": "Ada@example.com", "name": "Ada", "plan": "pro"}


def test_a_blank_before_a_quoted_cell_is_not_part_of_it(rows) -> None:
    (row,) = rows("a.csv", 'email, name\na@example.com, "Bee, Ann"\n')
    assert row.columns["name"] == "Bee, Ann"


def test_blanks_stay_if_the_campaign_says_so(rows) -> None:
    (row,) = rows("a.csv", "email,name\n ada@example.com ,  Ada \n", rules=RowRules(trim=False))
    assert (row.email, row.columns["name"]) == ("ada@example.com", "  Ada ")


@pytest.mark.parametrize(
    ("title", "rules", "shown"),
    [
        ("email", RowRules(), "email"),
        ("E-mail 1 - Value", RowRules(), "E-mail 1 - Value"),
        ("Contact", RowRules(columns={"email": "Contact"}), "Contact"),
        ("An e-mail address that has a long name", RowRules(columns={"email": "an E-MAIL address that has a long name"}),
         "An e-mail address t…"),
        ("email", RowRules(split=";"), "email"),
    ],
)  # fmt: skip
def test_a_wrong_address_is_in_the_column_by_the_lists_own_name(
    rows, title: str, rules: RowRules, shown: str
) -> None:
    (found,) = rows("people.csv", f"{title},name\nnonsense,Ada\n", rules=rules)
    assert str(found.problem).startswith(f"people.csv:2: {shown}: 'nonsense' is not an address")
    (empty,) = rows("people.csv", f"{title},name\n,Ada\n", rules=rules)
    assert str(empty.problem) == (
        f"people.csv:2: {shown}: the address is empty"
        "; to leave such rows out: recipients: {file: …, where: email}"
    )


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ("ada@example.com", "the row has 1 cell; the header has 2"),
        ("ada@example.com,Ada,x", "the row has 3 cells; the header has 2"),
        (",Ada", "the address is empty"),
        ("ada,Ada", "'ada' is not an address: an email address must have an @-sign"),
        (
            '"ada@example.com\r\nRCPT TO:<x@example.com>",Ada',
            "a control character or line end is not allowed in it",
        ),
    ],
)
def test_a_wrong_row_of_csv_has_a_problem_and_the_others_are_read(rows, cells: str, problem: str) -> None:
    found = rows("a.csv", f"email,name\n{cells}\nbob@example.com,Bob\n")
    assert str(found[0].problem).startswith("a.csv:2: ")
    assert problem in str(found[0].problem)
    assert (found[1].email, found[1].problem) == ("bob@example.com", None)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ["a.csv: the file is empty; expected a header line with a column 'email'"]),
        ("\n \n", ["a.csv: the file is empty; expected a header line with a column 'email'"]),
        ("email,name\n", ["a.csv: the list has no recipients"]),
        (
            "post,name\nx,y\n",
            [
                "a.csv:1: there is no column 'email'; the columns are: post, name;"
                " say which has the address: columns: {email: …}"
            ],
        ),
        (
            "\nEmail,,name, name,image,campaign,unsubscribe_url\n",
            [
                "a.csv:2: column 2 has no name",
                "a.csv:2: the column 'name' is repeated",
                *(
                    f"a.csv:2: the column '{name}' needs another name, because templates have '{name}' already;"
                    f' give it one: columns: {{my_{name}: "{name}"}}'
                    for name in ("image", "campaign", "unsubscribe_url")
                ),
            ],
        ),
        (
            "email,EMAIL\n",
            [
                "a.csv:1: both columns 'email' and 'EMAIL' may have the address; say which: columns: {email: …}"
            ],
        ),
        (
            'email\nx@example.com\n"y@example.com\nz\n',
            ["a.csv:3: a quote is opened in this row and never closed"],
        ),
        (
            'email\n"x"y\n',
            ["a.csv:2: there is text after a closing quote; a quote inside a quoted cell is written twice"],
        ),
        ('"email\n', ["a.csv:1: a quote is opened in this row and never closed"]),
        (
            "email\nx\0y\n",
            [
                "a.csv:2:2: a NUL character; is it UTF-16 without a byte order mark (encoding: utf-16-le), or not text?"
            ],
        ),
        (
            "email\n" + "x" * 200_000,
            ["a.csv:2: a cell of more than 131,072 characters; is a quote not closed?"],
        ),
        ("email\n" + "x" * 5_000_000, ["a.csv:2: a line of more than 4,194,304 characters"]),
        (
            "email" + "," * 100 + "x",
            [*[f"a.csv:1: column {n} has no name" for n in range(2, 22)], "a.csv:1: and 79 more like these"],
        ),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_at_its_place(
    refusal, content: str, expected: list[str]
) -> None:
    assert refusal("a.csv", content) == expected


def test_an_open_quote_in_a_long_list_is_found_without_reading_on(refusal) -> None:
    content = 'email,name\nada@example.com,"Ada\n' + "bob@example.com,Bob\n" * 100_000
    assert refusal("a.csv", content) == [
        "a.csv:2: a cell of more than 131,072 characters; is a quote not closed?"
    ]


_CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=15)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(",;\t"),
)
def test_a_list_written_by_the_csv_module_is_read_back(
    cells: list[tuple[str, str]], end: str, delimiter: str
) -> None:
    if end == "\n":  # the writer leaves a CR unquoted then, which every reader takes for a line end
        cells = [(a.replace("\r", ""), b.replace("\r", "")) for a, b in cells]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, delimiter=delimiter)
    writer.writerow(["email", "a", "b"])
    writer.writerows(["ada@example.com", a, b] for a, b in cells)
    found = list(read_csv(io.BytesIO(text.getvalue().encode()), "a.csv", None, RowRules(trim=False)))
    assert [(r.columns["a"], r.columns["b"]) for r in found] == cells
    assert [r.problem for r in found] == [None] * len(cells)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=200)
    | st.text('email,;\t\n\r" @a.b\0\ufeff', max_size=80).map(lambda text: ("email\n" + text).encode())
)
def test_random_bytes_raise_only_input_errors(content: bytes) -> None:
    for encoding in (None, "utf-16", "shift_jis", "utf-7"):
        try:
            found = list(read_csv(io.BytesIO(content), "a.csv", encoding))
        except InputError:
            continue
        assert all(r.problem is not None or r.columns["email"] == r.email for r in found)


def test_a_list_without_column_names_is_refused_with_what_to_write(refusal) -> None:
    assert refusal("a.csv", "ada@example.com,Ada\nbob@example.com,Bob\n") == [
        "a.csv:1: the first line has an address; expected the names of the columns, such as: email,name"
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "shift_jis", "windows-1252"])
def test_an_octet_that_cannot_be_decoded_is_located_in_a_long_list(refusal, encoding: str) -> None:
    content = "email,name\r\n" + "a@example.com,Ada\n\r" * 20_000 + "b@example.com,"
    wrong = b"\x81\xff\x00\xd8\x00\x00" if encoding != "windows-1252" else b"\x81"
    (line,) = refusal("a.csv", content.encode(encoding) + wrong, encoding=encoding)
    assert line.startswith("a.csv:40002:"), line
    assert int(line.split(":")[2]) in (15, 16), line
