from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.campaign import Recipient
from mailer.errors import InputError, Place, Problem
from mailer.preview.recipient_index import PAGE, RecipientIndex, write_index


class FixedList:
    """A list of recipients in memory; `error` ends it."""

    def __init__(self, recipients: list[Recipient], error: InputError | None = None) -> None:
        self._recipients, self._error = recipients, error

    def __iter__(self) -> Iterator[Recipient]:
        yield from self._recipients
        if self._error:
            raise self._error

    def fingerprint(self) -> str | None:
        return None


def person(number: int, **columns: object) -> Recipient:
    email = f"p{number}@example.com"
    return Recipient(email, {"email": email, **columns}, Place("people.csv", number + 2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list"


def index_of(path: Path, recipients: list[Recipient]) -> RecipientIndex:
    write_index(path, FixedList(recipients))
    return RecipientIndex(path)


def test_a_recipient_is_read_back_as_it_was(path: Path) -> None:
    problem = Problem(Place("people.csv", 2, 1), "no address")
    recipients = [
        Recipient(
            "nobody",
            {"email": "nobody", "tags": ["a", {"b": 1.5}], "x": "\ud800"},
            Place("people.csv", 2),
            problem,
        ),
        person(1, name="Zofia Żółć", active=True, nothing=None),
    ]
    index = index_of(path, recipients)
    assert [recipient for _, recipient in index.read_recipients(0, 10)] == recipients
    assert index.is_complete()
    assert index.count() == 2


def test_pages_are_read_forwards_and_backwards(path: Path) -> None:
    index = index_of(path, [person(n) for n in range(2 * PAGE + 50)])
    page = index.read_page("", PAGE)
    assert ([row[0] for row in page.rows], page.has_more) == (list(range(PAGE, 2 * PAGE)), True)
    page = index.read_page("", 2 * PAGE)
    assert (len(page.rows), page.has_more) == (50, False)
    page = index.read_page("", PAGE + 10, backwards=True)
    assert ([row[0] for row in page.rows], page.has_more) == (list(range(10, PAGE + 10)), True)


def test_search_looks_at_every_column_and_ignores_case(path: Path) -> None:
    index = index_of(path, [person(n, name="Żaneta" if n == 7 else "x", city=f"City {n}") for n in range(20)])
    assert [row[0] for row in index.read_page("ŻANETA", 0).rows] == [7]
    assert [row[0] for row in index.read_page("city 19", 0).rows] == [19]
    assert [row[0] for row in index.read_page("P3@", 0).rows] == [3]
    assert index.read_page("%", 0).rows == []


def test_the_longest_name_the_fewest_columns_and_errors_are_found(path: Path) -> None:
    rows = [person(0, name="Bo", city="x"), person(1, name="A much longer name"), person(2, name="", city="")]
    wrong = Recipient("x", {"name": "n", "a": "b", "c": "d"}, Place("people.csv", 5), Problem(None, "wrong"))
    index = index_of(path, [*rows, wrong])
    assert index.find_longest_name() == 1
    assert index.find_fewest_columns() == 2
    assert (index.find_problem(0), index.find_problem(4)) == (3, None)
    assert index.find_random(random.Random(1)) in range(4)


def test_a_list_that_ends_with_an_error_keeps_the_rows_before_it(path: Path) -> None:
    with pytest.raises(InputError, match="broken"):
        write_index(path, FixedList([person(n) for n in range(30)], InputError("broken")))
    index = RecipientIndex(path)
    assert (index.count(), index.is_complete()) == (20, False)


def test_before_there_is_a_list_it_is_empty(path: Path) -> None:
    index = RecipientIndex(path)
    assert (index.count(), index.is_complete(), index.read_page("", 0).rows) == (0, False, [])
    assert (index.find_longest_name(), index.find_random(random.Random(1))) == (None, None)
