"""Which messages are sure to render is found out by processes that know what this one has learned."""

import os
import signal

import pytest

from mailer.delivery import screening
from mailer.delivery.screening import PART, Screening
from mailer.ledger.planning import UncheckedRow
from tests.delivery.lists import Compiled

ROWS = [UncheckedRow(n, f"{n}@example.com", f'{{"n":{n}}}', n + 1, 0, "people.csv") for n in range(PART * 40)]
PAGES = [ROWS[start : start + 500] for start in range(0, len(ROWS), 500)]


class Even(Compiled):
    """Knows that messages with an even number render."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_here: list[int] = []
        self.parent = os.getpid()

    def is_sure_to_render(self, recipient) -> bool:
        if os.getpid() == self.parent:
            self.looked_here.append(recipient.columns["n"])
        return recipient.columns["n"] % 2 == 0


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(screening, "count_cores", lambda: 2)


def screen(compiled, count=PART * 40) -> dict[int, bool]:
    """What is known of each row; this process looks at the others, as preflight does."""
    known: dict[int, bool] = {}
    with Screening(compiled, count) as screened:
        for row, is_sure in screened.screen(iter(PAGES)):
            known[row.id] = is_sure
            if not is_sure and compiled.is_sure_to_render(row.parse().recipient):
                screened.note_sure()
    return known


def test_every_row_comes_in_order_and_what_is_known_is_right():
    compiled = Even()
    known = screen(compiled)
    assert list(known) == [row.id for row in ROWS]
    assert not any(is_sure for number, is_sure in known.items() if number % 2)
    assert all(known[number] for number in range(2000, len(ROWS), 2))


def test_this_process_looks_only_at_what_no_other_knew():
    compiled = Even()
    screen(compiled)
    assert all(number % 2 for number in compiled.looked_here if number > 1000)


@pytest.mark.parametrize(("count", "cores"), [(1999, 2), (5000, 1)])
def test_few_messages_or_one_core_are_no_reason_for_processes(monkeypatch, count, cores):
    monkeypatch.setattr(screening, "count_cores", lambda: cores)
    assert not any(screen(Even(), count=count).values())


def test_processes_are_replaced_when_this_one_has_learned_more(monkeypatch):
    monkeypatch.setattr(screening, "PARTS_IN_ROUND", 8)

    class Learner(Even):
        known_up_to = 0

        def is_sure_to_render(self, recipient) -> bool:
            super().is_sure_to_render(recipient)
            number = recipient.columns["n"]
            if os.getpid() == self.parent and number >= 1500:  # a way that is met late, and learned then
                self.known_up_to = len(ROWS)
            return number < 1500 or number < self.known_up_to

    compiled = Learner()
    known = screen(compiled)
    assert not known[1600]
    assert all(known[number] for number in range(3000, len(ROWS)))


def test_if_a_process_is_killed_nothing_is_known_of_its_rows_and_all_of_the_others(monkeypatch):
    class Fatal(Even):
        def is_sure_to_render(self, recipient) -> bool:
            if os.getpid() != self.parent and recipient.columns["n"] == 3000:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().is_sure_to_render(recipient)

    known = screen(Fatal())
    assert list(known) == [row.id for row in ROWS]
    assert not known[3000]
    assert known[4900]


def test_a_row_that_cannot_be_read_is_not_known():
    damaged = [row._replace(columns="[") if row.id == 3000 else row for row in ROWS]
    known: dict[int, bool] = {}
    with Screening(Even(), len(ROWS)) as screened:
        for _ in range(screening.MIN_FOUND):
            screened.note_sure()
        for row, is_sure in screened.screen(iter([damaged])):
            known[row.id] = is_sure
    assert not known[3000]
    assert known[4900]
