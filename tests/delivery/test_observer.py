"""An observer watches a run, and changes nothing."""

from __future__ import annotations

import inspect
import logging

import pytest

from mailer.delivery.observer import GuardedObserver, Observer

METHODS = [name for name in vars(Observer) if name.startswith("on_")]


def arguments(name: str) -> list[object]:
    return [None] * (len(inspect.signature(getattr(Observer, name)).parameters) - 1)


@pytest.mark.parametrize("name", METHODS)
def test_an_exception_is_logged_once_and_the_observer_is_not_called_again(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    def fail(*_arguments: object) -> None:
        calls.append(name)
        raise ValueError("a mistake in an observer")

    observer = Observer()
    setattr(observer, name, fail)
    guarded = GuardedObserver(observer)
    with caplog.at_level(logging.ERROR, "mailer"):
        for each in (name, name, *METHODS):
            getattr(guarded, each)(*arguments(each))
    assert calls == [name]
    assert "the observer raised an exception" in caplog.text


@pytest.mark.parametrize("name", METHODS)
def test_each_call_reaches_the_observer_and_an_interruption_passes(name: str) -> None:
    class Interrupting(Observer):
        pass

    def interrupt(self: Observer, *_arguments: object) -> None:
        raise KeyboardInterrupt

    setattr(Interrupting, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        getattr(GuardedObserver(Interrupting()), name)(*arguments(name))
