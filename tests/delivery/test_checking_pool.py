"""The processes of preflight render messages, and find those that need not be rendered."""

import os
import signal

import pytest

from mailer.delivery import checking_pool
from mailer.delivery.checking_pool import CheckingPool, RenderWork
from mailer.ledger.planning import UncheckedRow
from tests.delivery.lists import Compiled

ROWS = [UncheckedRow(n, f"{n}@example.com", f'{{"n":{n}}}', n + 1, 0, "people.csv") for n in range(2000)]
PARTS = [ROWS[start : start + 100] for start in range(0, len(ROWS), 100)]


class Even(Compiled):
    """Knows that messages with an even number render."""

    def is_sure_to_render(self, recipient) -> bool:
        return recipient.columns["n"] % 2 == 0


class Learner(Compiled):
    """A process that has rendered a message knows that all others render."""

    def __init__(self) -> None:
        super().__init__()
        self.rendered_in: set[int] = set()

    def is_sure_to_render(self, recipient) -> bool:
        return os.getpid() in self.rendered_in

    def render(self, recipient, **options):
        self.rendered_in.add(os.getpid())


@pytest.fixture(autouse=True, params=[1, 2])
def cores(request, monkeypatch):
    monkeypatch.setattr(checking_pool, "count_cores", lambda: request.param)
    return request.param


def find_unsure(compiled, parts=PARTS) -> list[int]:
    with CheckingPool(compiled) as pool:
        found = list(pool.find_unsure(iter(parts)))
    assert [rows for rows, _ in found] == parts
    return [row.id for _, unsure in found for row in unsure]


def make_works(count: int, *, is_compared: bool = True) -> list[RenderWork]:
    return [RenderWork(row.parse(), is_compared) for row in ROWS[:count]]


def test_every_part_comes_in_order_with_the_messages_that_are_not_known_to_render():
    assert find_unsure(Even()) == list(range(1, len(ROWS), 2))


def test_a_process_knows_what_it_has_learned_from_the_messages_that_it_rendered():
    with CheckingPool(Learner()) as pool:
        assert all(unsure for _, unsure in pool.find_unsure(PARTS[:4]))
        assert all(result.value.is_same for _, result in pool.render(make_works(100)))
        assert not any(unsure for _, unsure in pool.find_unsure(PARTS))


def test_messages_to_render_are_shared_among_all_processes_unless_they_are_few(cores):
    for count, processes in ((100, cores), (3, 1)):
        with CheckingPool(Located()) as pool:
            ended_in = {str(result.error) for _, result in pool.render(make_works(count))}
        assert len(ended_in) == processes


class Located(Compiled):
    def render(self, recipient, **options):
        raise RuntimeError(os.getpid())


def test_messages_are_compared_with_jinja2_alone_only_if_asked():
    class Differing(Compiled):
        def compare_with_jinja2(self, recipient):
            return False

    for is_compared in (True, False):
        with CheckingPool(Differing()) as pool:
            results = [result.value for _, result in pool.render(make_works(3, is_compared=is_compared))]
        assert [value.is_same for value in results] == [not is_compared] * 3


def test_no_message_to_render_is_no_result():
    with CheckingPool(Compiled()) as pool:
        assert list(pool.render([])) == []


def test_if_a_process_is_killed_none_of_its_part_is_known_and_all_of_the_others():
    class Fatal(Even):
        def is_sure_to_render(self, recipient) -> bool:
            if recipient.columns["n"] == 1050:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().is_sure_to_render(recipient)

    unsure = find_unsure(Fatal())
    assert {row for row in unsure if row % 2 == 0} == set(range(1000, 1100, 2))


def test_none_is_known_of_a_part_with_a_row_that_cannot_be_read():
    damaged = [[row._replace(columns="[") if row.id == 250 else row for row in part] for part in PARTS]
    unsure = find_unsure(Even(), damaged)
    assert {row for row in unsure if row % 2 == 0} == set(range(200, 300, 2))
