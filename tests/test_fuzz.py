"""The fuzz targets work: each tries a few hundred inputs here, and a minute of them in `make soak`."""

from __future__ import annotations

import os

import pytest

from tests import fuzz, fuzz_cost


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_each_target_takes_what_it_is_given(name: str, pytestconfig: pytest.Config) -> None:
    for seed in range(10 if pytestconfig.getoption("--quick") else 150):
        fuzz.one(name, seed)


def test_a_find_names_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def target(dice: fuzz.Dice) -> None:
        raise KeyError("x")

    monkeypatch.setitem(fuzz.TARGETS, "yaml", target)
    with pytest.raises(AssertionError, match=r"python -m tests.fuzz yaml --seed 7: KeyError: 'x'"):
        fuzz.one("yaml", 7)
    with pytest.raises(AssertionError, match="--seed"):
        fuzz.run("yaml", 5.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzz_cost.TARGETS)
def test_each_target_with_cost_takes_what_it_is_given(name: str) -> None:
    for seed in range(3):
        fuzz_cost.try_one(name, seed)


def test_a_cost_that_grows_with_the_square_is_a_find(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare_all(text: str) -> None:
        for _ in range(0, len(text), 100):
            text.count("a" * 50 + "b")

    monkeypatch.setattr(fuzz_cost, "MIN_SECONDS", 0.0)
    monkeypatch.setitem(fuzz_cost.TARGETS, "wrong", fuzz_cost.Target(compare_all, ["a"]))
    with pytest.raises(AssertionError, match=r"python -m tests.fuzz_cost 'wrong' --seed 7: 'a+': .* s, then"):
        fuzz_cost.try_one("wrong", 7)


def test_an_input_that_kills_its_process_is_a_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzz_cost.TARGETS, "wrong", fuzz_cost.Target(lambda _: os.abort(), ["a"]))
    with pytest.raises(AssertionError, match="SIGABRT"):
        fuzz_cost.try_one("wrong", 7)
