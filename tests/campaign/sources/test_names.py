"""Column names: what exports call them, what templates call them, and what the campaign says instead."""

from __future__ import annotations

import pytest

from mailer.campaign.sources.names import RESERVED, variable_name
from mailer.campaign.sources.rows import RowRules

# Headers of the programs' exports, without columns that do not matter here.
GOOGLE = (
    "First Name,Middle Name,Last Name,Phonetic First Name,Name Prefix,Nickname,File As,Organization Name,"
    "Birthday,Notes,Labels,E-mail 1 - Label,E-mail 1 - Value,E-mail 2 - Label,E-mail 2 - Value,Phone 1 - Label"
)
OUTLOOK = (
    "First Name,Middle Name,Last Name,Company,Department,Job Title,Business Street,Business City,Home Phone,"
    "E-mail Address,E-mail Type,E-mail Display Name,E-mail 2 Address,E-mail 2 Type,Web Page"
)
OUTLOOK_GERMAN = "Anrede;Vorname;Weitere Vornamen;Nachname;Firma;E-Mail-Adresse;E-Mail-Typ;E-Mail 2: Adresse"
MAILCHIMP = (
    '"Email Address","First Name","Last Name",Address,"Phone Number",MEMBER_RATING,OPTIN_TIME,OPTIN_IP,TAGS'
)
HUBSPOT = '"Record ID","First Name","Last Name",Email,"Phone Number","Contact owner","Lead Status",Status'
THUNDERBIRD = (
    "First Name,Last Name,Display Name,Nickname,Primary Email,Secondary Email,Screen Name,Work Phone,Home Phone,"
    "Fax Number,Organization,Web Page 1,Birth Year,Custom 1,Notes,"
)
LIBREOFFICE = "Title,First Name,Last Name,Company Name,Address Line 1,City,State,ZIP,Country,Telephone private,E-mail Address"


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (GOOGLE, "E-mail 1 - Value"),
        (OUTLOOK, "E-mail Address"),
        (OUTLOOK_GERMAN, "E-Mail-Adresse"),
        (MAILCHIMP, "Email Address"),
        (HUBSPOT, "Email"),
        (THUNDERBIRD, "Primary Email"),
        (LIBREOFFICE, "E-mail Address"),
        ("Name,mail", "mail"),
        ("E-Mail\tName", "E-Mail"),
        ("EMAIL;Name", "EMAIL"),
    ],
)
def test_exports_are_read_without_columns(rows, header: str, address: str) -> None:
    delimiter = max(",;\t", key=header.count)
    names = [name.strip('"') for name in header.split(delimiter)]
    cells = ["ada@example.com" if name == address else f"<{name}>" for name in names if name]
    (row,) = rows("people.csv", f"{header}\n{delimiter.join(cells)}\n")
    assert (row.email, row.problem) == ("ada@example.com", None)
    for name in ("First Name", "Vorname"):
        if name in names:
            assert row.columns[variable_name(name)] == f"<{name}>"


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("name", "name"),
        ("First Name", "First_Name"),
        ("E-mail 1 - Value", "E_mail_1_Value"),
        ("Phone (home)", "Phone_home_"),
        ("Straße", "Straße"),
        ("名前", "名前"),
        ("2nd", "_2nd"),
        ("a_b c", "a_b_c"),
        ("%", "_"),
    ],
)
def test_a_column_name_becomes_a_variable_name(name: str, variable: str) -> None:
    assert variable_name(name) == variable
    assert variable_name(variable) == variable


def test_the_campaign_can_name_columns(rows) -> None:
    rules = RowRules(columns={"email": "Work address", "name": "first name", "n": "loop"})
    (row,) = rows("a.csv", "email,Work address,First Name,loop\nx,ada@example.com,Ada,1\n", rules=rules)
    assert row.email == "ada@example.com"
    assert row.columns == {
        "email": "ada@example.com",
        "Work_address": "ada@example.com",
        "name": "Ada",
        "First_Name": "Ada",
        "n": "1",
    }


def test_the_campaign_can_name_what_items_have(rows) -> None:
    rules = RowRules(columns={"email": "Work", "name": "First Name"})
    (row,) = rows("a.jsonl", '{"Work": "ada@example.com", "First Name": "Ada", "email": "x"}\n', rules=rules)
    assert (row.email, row.columns["name"]) == ("ada@example.com", "Ada")


def test_a_column_that_the_campaign_names_must_be_there(refusal) -> None:
    rules = RowRules(columns={"email": "Mail address", "name": "Vorname"})
    assert refusal("a.csv", "email,Name\nada@example.com,Ada\n", rules=rules) == [
        "a.csv:1: columns.email: the list has no column 'Mail address'; the columns are: email, Name",
        "a.csv:1: columns.name: the list has no column 'Vorname'; the columns are: email, Name",
    ]


def test_two_columns_with_one_variable_name_are_an_error(refusal) -> None:
    assert refusal("a.csv", "email,First Name,First-Name\nada@example.com,A,B\n") == [
        "a.csv:1: the columns 'First Name' and 'First-Name' have the same name in templates (First_Name);"
        " rename one of them in the list"
    ]


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_names_that_have_a_meaning_in_templates_are_an_error(refusal, rows, name: str) -> None:
    (line,) = refusal("a.csv", f"email,{name}\nada@example.com,x\n")
    assert f"the column {name!r} needs another name, because templates have {name!r} already" in line
    (row,) = rows("a.csv", f"email,{name}\nada@example.com,x\n", rules=RowRules(columns={f"my_{name}": name}))
    assert row.columns == {"email": "ada@example.com", f"my_{name}": "x"}
    (item,) = rows("a.jsonl", f'{{"email": "ada@example.com", "{name}": 1}}\n')
    assert f"{name!r} needs another name" in str(item.problem)


def test_messages_quote_twenty_characters_of_a_value(refusal, rows) -> None:
    secret = "SMTP_PASSWORD=hunter2hunter2hunter2"
    (line,) = refusal("a.csv", f"{secret}\nx\n")
    assert "hunter2h" not in line
    (row,) = rows("a.csv", f"email\n{secret}\n")
    assert "hunter2h" not in str(row.problem)


def test_a_separator_line_and_a_delimiter_at_the_end_of_the_header(rows) -> None:
    (row,) = rows("a.csv", "sep=;\nemail;name;\nada@example.com;Ada;\n")
    assert (row.columns, row.place.line) == ({"email": "ada@example.com", "name": "Ada"}, 3)
    (row,) = rows("a.csv", '\n"sep=|"\n\nemail|name\nada@example.com|Ada\n')
    assert (row.columns["name"], row.place.line) == ("Ada", 5)


def test_several_addresses_in_a_cell(rows) -> None:
    content = (
        'email,team\n"ada@example.com; bob@example.com;",a\ncleo@example.com,b\n"x@example.com;nobody",c\n'
    )
    found = rows("a.csv", content)
    assert "one address is expected, found several" in str(found[0].problem)
    assert 'to send to each of them: recipients: {file: …, split: ";"}' in str(found[0].problem)
    split = rows("a.csv", content, rules=RowRules(split=";"))
    assert [(r.email, r.columns["team"], r.problem is None) for r in split] == [
        ("ada@example.com", "a", True),
        ("bob@example.com", "a", True),
        ("cleo@example.com", "b", True),
        ("x@example.com", "c", True),
        ("nobody", "c", False),
    ]


def test_null_is_empty_and_recorded(rows) -> None:
    (row,) = rows(
        "a.jsonl", '{"email": "ada@example.com", "name": null, "tags": [null, {"a": null}], "n": 0}\n'
    )
    assert row.columns == {"email": "ada@example.com", "name": "", "tags": ["", {"a": ""}], "n": 0}
    assert row.nulls == ("name",)
    (row,) = rows("a.yaml", "- {email: ada@example.com, name: ~, plan: }\n")
    assert (row.columns["name"], row.columns["plan"], row.nulls) == ("", "", ("name", "plan"))


def test_numbers_appear_as_they_are_written(rows) -> None:
    (row,) = rows(
        "a.yaml",
        "- {email: a@example.com, v: 1.10, i: 7, f: 9.5, e: 1e3, x: 0x1F, big: 12345678901234567890}\n",
    )
    assert row.columns == {
        "email": "a@example.com",
        "v": "1.10",
        "i": 7,
        "f": 9.5,
        "e": "1e3",
        "x": "0x1F",
        "big": 12345678901234567890,
    }
    (row,) = rows("a.jsonl", '{"email": "a@example.com", "v": 1.10, "f": 9.5, "z": 1.0, "e": 1E5}\n')
    assert row.columns == {"email": "a@example.com", "v": "1.10", "f": 9.5, "z": 1.0, "e": "1E5"}
