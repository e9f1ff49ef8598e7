"""Campaigns that a program makes: the same values and the same refusals as in a campaign file."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailer.campaign import AUTO, Campaign, Rate
from mailer.campaign.addresses import constant_mailbox
from mailer.campaign.model import Attachment, Delivery, Pattern, RowView
from mailer.errors import InputError


def campaign(**values: object) -> Campaign:
    given: dict[str, object] = {
        "name": "invoices-2026-11",
        "sender": "Ada <ada@example.com>",
        "subject": "Invoice {{ number }}",
        "template": "invoice.html.j2",
        "recipients": [],
    }
    return Campaign(**{**given, **values})  # type: ignore[arg-type]


def refusal(**values: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        campaign(**values)
    return str(caught.value).splitlines()


def test_arguments_are_what_the_keys_of_a_campaign_file_are(folder: Path) -> None:
    made = campaign(
        reply_to="help@example.com",
        cc=["Boss <boss@example.com>", Pattern("{{ manager }}")],
        images={"logo": "logo.png"},
        headers={"X-Team": "growth"},
        attachments=[
            "terms.pdf",
            {"path": "a/{{ n }}.pdf", "filename": "A.pdf"},
            Attachment(Pattern("x.pdf")),
        ],
        unsubscribe={"url": "https://example.com/u/{{ t }}", "one_click": True},
        server={
            "host": "mail.example.com",
            "username": "me",
            "password": {"env": "SMTP_PASSWORD"},
            "auth": ["plain"],
        },
        delivery={"rate": "30/minute", "connections": "auto"},
        vars={"company": "Example", "price": 9.5},
    )
    assert (made.root, made.path.parent) == (folder, folder)
    mailbox = constant_mailbox(made.sender)
    assert mailbox is not None
    assert mailbox.name == "Ada"
    assert made.subject.source == "Invoice {{ number }}"
    assert [pattern.source for pattern in made.reply_to + made.cc] == [
        *("help@example.com", "Boss <boss@example.com>", "{{ manager }}")
    ]
    assert [attachment.path.source for attachment in made.attachments] == [
        "terms.pdf",
        "a/{{ n }}.pdf",
        "x.pdf",
    ]
    assert made.unsubscribe is not None
    assert made.unsubscribe.one_click
    assert made.server is not None
    assert (made.server.port, made.server.auth) == (465, ("plain",))
    assert (made.delivery.rate, made.delivery.connections) == (Rate(30, 60.0), AUTO)
    assert made.vars == {"company": "Example", "price": 9.5}
    assert campaign().delivery == Delivery()


def test_wrong_arguments_are_refused_together() -> None:
    assert refusal(
        name="Spring Sale",
        sender="nobody",
        subject="a\nb",
        template=None,
        recipients=5,
        headers={"Bcc": "x"},
        delivery={"rate": "fast"},
        server={"host": "a.example", "password": "hunter2"},
    ) == [
        "<campaign>: name: 'Spring Sale' is not a campaign name; expected lower-case letters, digits, '.', '_' and '-',"
        " at most 64, the first a letter or digit",
        "<campaign>: recipients: expected an iterable of mappings with 'email'",
        "<campaign>: sender: 'nobody' is not an address: an email address must have an @-sign",
        "<campaign>: subject: a control character or line end (U+000A) is not allowed here",
        "<campaign>: headers: the mailer writes the header Bcc itself; it cannot be set here",
        "<campaign>: server.password: a password does not belong in a campaign file; expected {env: NAME},"
        " {command: ...}, {file: PATH} or {keyring: SERVICE}",
        "<campaign>: delivery.rate: expected a rate such as 14/second, 30/minute or 500/hour",
        "<campaign>: expected 'template', 'text' or both",
    ]


def test_a_list_may_be_named_instead_of_given(folder: Path) -> None:
    (folder / "people.csv").write_text("email\nada@example.com\n")
    assert [r.email for r in campaign(recipients="people.csv").recipients] == ["ada@example.com"]
    assert refusal(recipients="nope.csv") == ["<campaign>: recipients: nope.csv: there is no such file"]


class Rows:
    """Rows that can be read once; counts how many were."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.given = 0

    def __iter__(self) -> Iterator[dict[str, object]]:
        for number in range(self.count):
            self.given += 1
            yield {"email": f"u{number}@example.com", "number": number}


def test_recipients_are_read_once_and_when_they_are_needed() -> None:
    rows = Rows(5)
    people = campaign(recipients=rows).recipients
    assert rows.given == 0
    reader = iter(people)
    assert next(reader).email == "u0@example.com"
    assert rows.given == 1
    assert [r.columns["number"] for r in people] == [0, 1, 2, 3, 4]
    assert [r.email for r in reader] == [f"u{number}@example.com" for number in range(1, 5)]
    assert [r.email for r in people] == [f"u{number}@example.com" for number in range(5)]
    assert rows.given == 5
    assert people.fingerprint() is None


@pytest.mark.parametrize("value", [object(), print, [{"deep": lambda: 1}], (n for n in "x")])
def test_a_value_that_would_print_as_an_address_in_memory_is_refused(value: object) -> None:
    (row,) = campaign(recipients=[{"email": "ada@example.com", "number": value}]).recipients
    assert row.problem is not None
    assert str(row.problem).startswith("<campaign>: recipient 1: a value of the type ")
    assert "is neither text nor a number" in str(row.problem)


def test_values_of_a_program_become_what_a_template_can_show() -> None:
    (row,) = campaign(
        recipients=[
            {
                "email": "ada@example.com",
                "day": datetime.date(2026, 11, 23),
                "at": datetime.datetime(2026, 11, 23, 9, 30),
                "price": decimal.Decimal("9.50"),
                "ratio": float("nan"),
                "raw": b"x",
                "nothing": None,
                "tags": ("a", {"b": datetime.time(9, 5)}),
                "First Name": " Ada\nLovelace ",
            }
        ]
    ).recipients
    assert row.problem is None
    assert row.columns == {
        "email": "ada@example.com",
        "day": "2026-11-23",
        "at": "2026-11-23 09:30:00",
        "price": "9.50",
        "ratio": "nan",
        "raw": "x",
        "nothing": "",
        "tags": ["a", {"b": "09:05:00"}],
        "First_Name": "Ada\nLovelace",
    }
    assert row.nulls == ("nothing",)


def test_a_wrong_row_of_a_program_has_a_problem() -> None:
    rows: list[object] = [
        "bob@example.com",
        5,
        {"name": "x"},
        {"email": "a@example.com", "x": "\ud800"},
        ["a@b.c"],
    ]
    found = list(campaign(recipients=rows).recipients)
    assert [str(r.problem) if r.problem else "" for r in found] == [
        "",
        "<campaign>: recipient 2: expected an address or a mapping with 'email', found the number 5",
        "<campaign>: recipient 3: there is no 'email'; the names are: name",
        "<campaign>: recipient 4: half of a surrogate pair is not a character",
        "<campaign>: recipient 5: expected an address or a mapping with 'email', found a list",
    ]


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(InputError, match="the list has no recipients"):
        list(campaign(recipients=iter(())).recipients)


def test_row_has_the_values_by_the_names_of_the_list() -> None:
    row = RowView({"First_Name": "Ada", "email": "ada@example.com"})
    assert row["First Name"] == row["First_Name"] == "Ada"
    assert "Last Name" not in row
    with pytest.raises(KeyError):
        row["Last Name"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"path": ["x.yaml"]}, "<campaign>: path: expected a path, found list"),
        ({"root": 5}, "<campaign>: root: expected a path, found int"),
        (
            {"images": {1: "a.png", None: "b.png", "a b": "c.png"}},
            "<campaign>: images: 'a b' is not an image name;",
        ),
        ({"headers": {("X", "Y"): "a"}}, "<campaign>: headers: \"('X', 'Y')\" is not a header name;"),
    ],
)
def test_arguments_of_another_type_are_an_input_error(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        campaign(**arguments)
    assert str(caught.value).startswith(expected)
