"""How many RSETs and NOOPs a session may have, as Exim counts."""

from __future__ import annotations

from mailer.smtp.protocol.transaction_queue import (
    MAX_COUNTED,
    MAX_WHILE_STREAMING,
    MIN_WORTH_STREAMING,
    CommandBudget,
)


def test_one_reset_a_message_is_free() -> None:
    budget = CommandBudget()
    for _ in range(100):
        budget.note_reset()
        budget.note_content()
    assert budget.counted == 0


def test_a_second_one_and_every_noop_are_counted() -> None:
    budget = CommandBudget()
    for _ in range(MAX_COUNTED):
        assert not budget.is_spent
        budget.note_noop()
    assert budget.is_spent
    budget = CommandBudget()
    budget.note_reset()
    budget.note_reset()
    assert budget.counted == 1


def test_what_it_affords_depends_on_how_many_are_refused() -> None:
    budget = CommandBudget()
    assert budget.affordable_messages >= MIN_WORTH_STREAMING, "a session begins in a stream"
    for _ in range(99):
        budget.note_result(is_refused=False)
    assert budget.affordable_messages > 1000
    budget.note_result(is_refused=True)
    budget.note_noop()
    assert 200 < budget.affordable_messages < 500
    for _ in range(50):
        budget.note_result(is_refused=True)
    assert budget.affordable_messages < 20
    budget.counted = MAX_WHILE_STREAMING
    assert budget.is_tight


def test_refusals_are_rare() -> None:
    budget = CommandBudget()
    budget.counted = 2
    for n in range(100):
        assert not budget.is_new_session_worthwhile, n
        budget.note_result(is_refused=False)
    assert budget.is_new_session_worthwhile
