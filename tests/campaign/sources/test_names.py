"""Column names: what exports call them, what templates call them, and what the campaign says instead."""

from __future__ import annotations

import unicodedata

import pytest

from mailer.campaign.schema.compose import compose
from mailer.campaign.schema.nodes import Mapping, to_value
from mailer.campaign.sources.names import ADDRESS_NAMES, RESERVED, is_address_name, variable_name
from mailer.campaign.sources.rows import RowRules

# Header lines of exports, as importers' tests and tables in public repositories have them. A "…" in a comment
# says where columns that do not matter here are left out.
GOOGLE = (  # Google Contacts since 2024
    "First Name,Middle Name,Last Name,Phonetic First Name,Phonetic Middle Name,Phonetic Last Name,Name Prefix,"
    "Name Suffix,Nickname,File As,Organization Name,Organization Title,Organization Department,Birthday,Notes,Photo,"
    "Labels,E-mail 1 - Label,E-mail 1 - Value,E-mail 2 - Label,E-mail 2 - Value,Phone 1 - Label,Phone 1 - Value"
)
GOOGLE_OLD = (  # Google Contacts before 2024
    "Name,Given Name,Additional Name,Family Name,Yomi Name,Given Name Yomi,Additional Name Yomi,Family Name Yomi,"
    "Name Prefix,Name Suffix,Initials,Nickname,Short Name,Maiden Name,Birthday,Gender,Location,Billing Information,"
    "Directory Server,Mileage,Occupation,Hobby,Sensitivity,Priority,Subject,Notes,Language,Photo,Group Membership,"
    "E-mail 1 - Type,E-mail 1 - Value,E-mail 2 - Type,E-mail 2 - Value,Phone 1 - Type,Phone 1 - Value"
)
OUTLOOK = (  # Outlook for Windows; … after the phones
    '"Title","First Name","Middle Name","Last Name","Suffix","Company","Department","Job Title","Business Street",'
    '"Business City","Home Phone","Account","Anniversary","Birthday","Categories","E-mail Address","E-mail Type",'
    '"E-mail Display Name","E-mail 2 Address","E-mail 2 Type","E-mail 2 Display Name","Gender","Web Page"'
)
OUTLOOK_COM = (  # Outlook.com (Hotmail); … after the phones
    "First Name,Middle Name,Last Name,Title,Suffix,Initials,Web Page,Gender,Birthday,Anniversary,Location,Language,"
    "Internet Free Busy,Notes,E-mail Address,E-mail 2 Address,E-mail 3 Address,Primary Phone,Home Phone,Company"
)
# The names in other languages: Exchange's table for imports (OutlookCsvLanguageSelect in the namespace
# Microsoft.Exchange.Transport.Sync.Common.ImportContacts), and for French Open-Xchange's importer.
OUTLOOK_GERMAN = (
    "Anrede,Vorname,Weitere Vornamen,Nachname,Suffix,Firma,Abteilung,Position,Straße geschäftlich,Ort geschäftlich,"
    "Beruf,Büro,E-Mail-Adresse,E-Mail-Typ,E-Mail: Angezeigter Name,E-Mail 2: Adresse,E-Mail 2: Typ"
)
OUTLOOK_FRENCH = (
    "Titre,Prénom,Nom,Société,Rue (bureau),Ville (bureau),Adresse de messagerie,Type de messagerie"
)
OUTLOOK_SPANISH = (
    "Puesto,Nombre,Apellidos,Categorías,Dirección de correo electrónico,Dirección de correo electrónico 2"
)
OUTLOOK_ITALIAN = (
    "Nome,Cognome,Indirizzo posta elettronica,Tipo posta elettronica,Indirizzo posta elettronica 2"
)
OUTLOOK_DUTCH = "Voornaam,Achternaam,Categorien,E-mailadres,E-mailtype,E-mailadres 2,E-mailtype 2"
OUTLOOK_PORTUGUESE = "Primeiro nome,Apelido,Endereço de correio electrónico,Tipo de correio electrónico"
MAILCHIMP = (
    '"Email Address","First Name","Last Name",MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,LATITUDE,'
    "LONGITUDE,GMTOFF,DSTOFF,TIMEZONE,CC,REGION,LAST_CHANGED,LEID,EUID,NOTES"
)
HUBSPOT = "Record ID,First Name,Last Name,Email,Phone Number,Lead Status,Create Date,Contact owner"
THUNDERBIRD = (
    "First Name,Last Name,Display Name,Nickname,Primary Email,Secondary Email,Screen Name,Work Phone,Home Phone,"
    "Fax Number,Pager Number,Mobile Number,Home Address,Home Address 2,Home City,Home State,Home ZipCode,"
    "Home Country,Job Title,Department,Organization,Web Page 1,Birth Year,Custom 1,Notes,"
)
BREVO = "CONTACT ID,EMAIL,FIRSTNAME,LASTNAME,SMS,LANDLINE_NUMBER,WHATSAPP,INTERESTS"
SENDGRID = (
    "EMAIL,FIRST_NAME,LAST_NAME,ADDRESS_LINE_1,ADDRESS_LINE_2,CITY,STATE_PROVINCE_REGION,POSTAL_CODE,COUNTRY"
)
CONSTANT_CONTACT = "Email address,First name,Last name,Source Platform"
CONSTANT_CONTACT_OLD = "First name,Last name,Email address - other,Email status - other"
SHOPIFY = (
    "Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Default Address Company,Default Address Address1,"
    "Default Address City,Default Address Zip,Phone,Accepts SMS Marketing,Total Spent,Total Orders,Note,Tags"
)
EVENTBRITE = (
    "Order #,Order Date,First Name,Last Name,Email,Quantity,Price Tier,Ticket Type,Attendee #,Attendee Status"
)
STRIPE = (
    "id,Description,Email,Name,Created (UTC),Delinquent,Plan,Status,Total Spend,Payment Count,tag (metadata)"
)
STRIPE_PAYMENTS = (
    "id,Created date (UTC),Amount,Amount Refunded,Currency,Status,Customer Email,Customer Description"
)
LIBREOFFICE = "Title,First Name,Last Name,Company Name,Address Line 1,City,State,ZIP,Country,E-mail Address"


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (GOOGLE, "E-mail 1 - Value"),
        (GOOGLE_OLD, "E-mail 1 - Value"),
        (OUTLOOK, "E-mail Address"),
        (OUTLOOK_COM, "E-mail Address"),
        (OUTLOOK_GERMAN, "E-Mail-Adresse"),
        (OUTLOOK_GERMAN.replace(",", ";"), "E-Mail-Adresse"),
        (OUTLOOK_FRENCH, "Adresse de messagerie"),
        (OUTLOOK_SPANISH, "Dirección de correo electrónico"),
        (
            unicodedata.normalize("NFD", OUTLOOK_SPANISH),
            unicodedata.normalize("NFD", "Dirección de correo electrónico"),
        ),
        (OUTLOOK_ITALIAN, "Indirizzo posta elettronica"),
        (OUTLOOK_DUTCH, "E-mailadres"),
        (OUTLOOK_PORTUGUESE, "Endereço de correio electrónico"),
        (MAILCHIMP, "Email Address"),
        (HUBSPOT, "Email"),
        (THUNDERBIRD, "Primary Email"),
        (BREVO, "EMAIL"),
        (SENDGRID, "EMAIL"),
        (CONSTANT_CONTACT, "Email address"),
        (CONSTANT_CONTACT_OLD, "Email address - other"),
        (SHOPIFY, "Email"),
        (EVENTBRITE, "Email"),
        (STRIPE, "Email"),
        (STRIPE_PAYMENTS, "Customer Email"),
        (LIBREOFFICE, "E-mail Address"),
        ("User Login,User Email,First Name", "User Email"),
        ("Email 1,Email 2,First Name", "Email 1"),
        ("Vorname,Nachname,Primäre E-Mail-Adresse,Sekundäre E-Mail-Adresse", "Primäre E-Mail-Adresse"),
        ("Förnamn,E-postadress", "E-postadress"),
        ("名前,メールアドレス", "メールアドレス"),
        ("姓名,邮箱", "邮箱"),
        ("Name,mail", "mail"),
        ("Nom;Adresse e-mail", "Adresse e-mail"),
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


def test_the_advice_names_the_column_that_may_have_the_address(refusal) -> None:
    expected = 'say which has the address: columns: {email: "Backup mail"}'
    (line,) = refusal("a.csv", "Name,Backup mail\nAda,ada@example.com\n")
    assert line.endswith(expected)
    (line,) = refusal("a.csv", "Name,Contact\nAda,ada@example.com\n")
    assert line.endswith("columns: {email: …}")


def test_every_known_name_is_written_as_names_are_compared() -> None:
    assert all(is_address_name(name) for name in ADDRESS_NAMES)


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
    node, _ = compose(line.partition("give it one: ")[2], "hint")
    assert isinstance(node, Mapping)
    columns = to_value(node.entries["columns"])
    assert columns == {f"my_{name}": name}
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


def test_addresses_of_google_contacts_in_one_cell_are_split(rows) -> None:
    content = "Name,E-mail 1 - Value\nAda,ada@example.com ::: ada@example.org\n"
    (row,) = rows("a.csv", content)
    assert str(row.problem).endswith('recipients: {file: …, split: ":::"}')
    split = rows("a.csv", content, rules=RowRules(split=":::"))
    assert [(r.email, r.problem) for r in split] == [("ada@example.com", None), ("ada@example.org", None)]


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
