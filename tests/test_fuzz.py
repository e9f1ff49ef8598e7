"""The fuzz targets work: each tries a few hundred inputs here, and a minute of them in `make soak`."""

from __future__ import annotations

import pytest

from tests import fuzz


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
