"""The benchmark's list flatters no cache: recipients differ in what their messages show."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import render, workload
from mailer.campaign import load_campaign
from mailer.render.compile import compile_campaign

COUNT = 20_000


@pytest.mark.parametrize("column", ["email", "name", "token"])
def test_no_two_recipients_have_the_same_value(column: str) -> None:
    position = workload.COLUMNS.index(column)
    assert len({row[position] for row in workload.rows(COUNT)}) == COUNT


@pytest.mark.parametrize("name", ["bench", "foreign"])
def test_each_message_has_its_recipients_own_name_and_token(name: str, tmp_path: Path) -> None:
    workload.write(tmp_path, 30)
    campaign = load_campaign(tmp_path / f"{name}.yaml")
    people = render.make_people(30, is_sample=False)
    render.check_messages(compile_campaign(campaign), people)
    with pytest.raises(AssertionError, match="names and tokens must differ"):
        render.check_messages(compile_campaign(campaign), [*people, people[0]])


def test_a_message_with_another_recipients_name_is_found(tmp_path: Path) -> None:
    workload.write(tmp_path, 30)
    compiled = compile_campaign(load_campaign(tmp_path / "bench.yaml"))
    people = render.make_people(30, is_sample=False)
    always_first = compiled.render
    compiled.render = lambda _person, **options: always_first(people[0], **options)  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        render.check_messages(compiled, people)
