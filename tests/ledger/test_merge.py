"""A long list is merged in slices: others write meanwhile, and a process that dies in between does no harm."""

import os
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise

import pytest

from mailer.delivery.plan import plan
from mailer.ledger import Ledger, planning, sql
from mailer.ledger.outcome import Outcome, Status
from tests.delivery.lists import NOW, Compiled, People, campaign

OLD = [f"old{number}@example.com" for number in range(60)]
NEW = [f"new{number}@example.com" for number in range(40)]


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    monkeypatch.setattr(planning, "SLICE", 7)


def plan_list(ledger, *people, name="autumn"):
    edition = ledger.ensure_edition(name)
    plan(ledger, campaign(People(*people)), Compiled(), edition)
    return edition


def read_rows(ledger, edition):
    query = """SELECT key, position, email, columns, status, error FROM messages WHERE edition_id = :edition
        ORDER BY position, key"""
    return ledger.fetch_all(query, edition=edition.id)


def prepare(ledger):
    """The old list, of which the first ten are sent and the eleventh was refused."""
    edition = plan_list(ledger, *OLD)
    run = ledger.start_run(edition, template="t", now=NOW)
    for claim in ledger.claim(edition, 11, NOW, run=run):
        status = Status.FAILED if claim.email.startswith("old10@") else Status.SENT
        ledger.record(claim, Outcome(claim.email, claim.key, status, 1))
    ledger.commit()
    return edition


@pytest.fixture
def expected(tmp_path):
    """What a merge in one piece gives."""
    with Ledger.open(tmp_path / "whole" / "ledger.sqlite3") as ledger:
        prepare(ledger)
        return read_rows(ledger, plan_list(ledger, *OLD[5:30], *NEW))


def test_another_campaign_is_planned_between_the_slices(ledger, where, monkeypatch):
    """Both have all their rows, and each row an id of its own."""
    merge_slice = planning.fetch_value
    others = []

    def plan_other(store, query, **given):
        if query == sql.LAST_ID and len(others) < 3 and store is ledger.store:
            others.append(None)
            store.commit()
            with Ledger.open(where) as other:
                plan_list(other, *NEW, name=f"other{len(others)}")
            store.begin()
        return merge_slice(store, query, **given)

    monkeypatch.setattr(planning, "fetch_value", plan_other)
    edition = plan_list(ledger, *OLD)
    assert planning.count_messages(ledger, edition) == len(OLD)
    for number in range(1, 4):
        assert planning.count_messages(ledger, ledger.ensure_edition(f"other{number}")) == len(NEW)


def test_no_transaction_is_longer_than_a_slice(path, ledger):
    """`total_changes` of the connection, at each commit."""
    prepare(ledger)
    connection = ledger.store.connection
    counts = [connection.total_changes]
    connection.set_trace_callback(
        lambda text: counts.append(connection.total_changes) if text == "BEGIN IMMEDIATE" else None
    )
    plan_list(ledger, *OLD[5:30], *NEW)
    connection.set_trace_callback(None)
    staged = len(OLD[5:30]) + len(NEW)
    in_one = [after - before for before, after in pairwise(counts)]
    assert len(in_one) > len(OLD + NEW) / 7
    assert sorted(in_one)[-2] <= 2 * 7  # a row may be changed by two statements
    assert max(in_one) <= staged + 1  # the stage, which locks nothing


KILLED = """
    import os, signal, sys
    from mailer.ledger import Ledger, planning
    from tests.ledger.test_merge import NEW, OLD, plan_list
    planning.SLICE = 7
    left = int(sys.argv[2])
    with Ledger.open(sys.argv[1]) as ledger:
        transaction = ledger.store.transaction
        def count(*args):
            global left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return transaction(*args)
        ledger.store.transaction = count
        plan_list(ledger, *OLD[5:30], *NEW)
"""


@pytest.mark.slow
@pytest.mark.parametrize("transaction", [1, 2, 5, 11, 14, 17, 20])
def test_a_merge_that_is_killed_is_done_by_the_next_plan(where, expected, transaction):
    with Ledger.open(where) as ledger:
        prepare(ledger)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(where), str(transaction)]
    assert subprocess.run(command, check=False, env=os.environ).returncode == -signal.SIGKILL
    with Ledger.open(where) as ledger:
        assert read_rows(ledger, plan_list(ledger, *OLD[5:30], *NEW)) == expected


def test_after_a_merge_that_was_killed_the_old_list_is_merged_again(where):
    """Its digest is the one before, but the rows are not."""
    with Ledger.open(where) as ledger:
        before = read_rows(ledger, prepare(ledger))
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(where), "14"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with Ledger.open(where) as ledger:
        assert not ledger.ensure_edition("autumn").planned
        after = read_rows(ledger, plan_list(ledger, *OLD))
    unchanged = {row[0]: row for row in after}
    assert all(unchanged[row[0]][4] == row[4] for row in before)
