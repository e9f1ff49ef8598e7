"""The table of a session's states."""

from __future__ import annotations

import ast
from itertools import product
from pathlib import Path

import pytest

import mailer.smtp
from mailer.smtp.protocol.states import TRANSITIONS, State, Step, next_state


def test_a_step_that_is_not_in_the_table_is_our_mistake() -> None:
    for state, step in product(State, Step):
        if (state, step) in TRANSITIONS:
            assert next_state(state, step) is TRANSITIONS[state, step]
        else:
            with pytest.raises(RuntimeError, match=step.name):
                next_state(state, step)


def test_every_state_is_reached_and_can_be_closed() -> None:
    reached = {State.GREETING}
    for _ in State:
        reached |= {TRANSITIONS[state, step] for state, step in TRANSITIONS if state in reached}
    assert reached == set(State)
    assert all(next_state(state, Step.CLOSE) is State.CLOSED for state in State)


def test_nothing_leads_out_of_closed() -> None:
    assert {step for state, step in TRANSITIONS if state is State.CLOSED} == {Step.CLOSE}


def test_no_login_and_no_mail_between_starttls_and_the_second_ehlo() -> None:
    for state in (State.STARTTLS, State.HANDSHAKE):
        assert {step for (at, step) in TRANSITIONS if at is state} <= {Step.GO_AHEAD, Step.HELLO, Step.CLOSE}


INSIDE = ("mailer.smtp.protocol", "mailer.smtp.sasl")
FORBIDDEN = {"socket", "ssl", "select", "selectors", "time", "threading", "asyncio", "os", "logging"}


@pytest.mark.parametrize(
    "path", sorted(Path(mailer.smtp.protocol.__path__[0]).rglob("*.py")), ids=lambda path: path.name
)
def test_the_protocol_does_no_input_or_output(path: Path) -> None:
    """The rest takes octets and the time, and gives octets: it can be tested without either."""
    tree = ast.parse(path.read_text())
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    froms = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported |= {module.split(".")[0] for module in froms}
    assert not imported & FORBIDDEN
    assert all(module.startswith(INSIDE) for module in froms if module.startswith("mailer.smtp"))
