"""How many RSETs and NOOPs a session may have, as Exim counts."""

from __future__ import annotations

from mailer.smtp.protocol.budget import FEW, STREAMING, WHOLE, Budget


def test_one_reset_a_message_is_free() -> None:
    budget = Budget()
    for _ in range(100):
        budget.reset()
        budget.content()
    assert budget.counted == 0


def test_a_second_one_and_every_noop_are_counted() -> None:
    budget = Budget()
    for _ in range(WHOLE):
        assert not budget.is_spent
        budget.noop()
    assert budget.is_spent
    budget = Budget()
    budget.reset()
    budget.reset()
    assert budget.counted == 1


def test_what_it_affords_depends_on_how_many_are_refused() -> None:
    budget = Budget()
    assert budget.affords >= FEW, "a session begins in a stream"
    for _ in range(99):
        budget.settled(refused=False)
    assert budget.affords > 1000
    budget.settled(refused=True)
    budget.noop()
    assert 200 < budget.affords < 500
    for _ in range(50):
        budget.settled(refused=True)
    assert budget.affords < 20
    budget.counted = STREAMING
    assert budget.is_tight


def test_refusals_are_rare() -> None:
    budget = Budget()
    budget.counted = 2
    for n in range(100):
        assert not budget.refusals_are_rare, n
        budget.settled(refused=False)
    assert budget.refusals_are_rare
