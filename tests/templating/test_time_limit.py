from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import cast

import pytest

from mailer.templating import LimitExceeded, bounded
from mailer.templating.time_limit import TICK


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_what_ends_in_time_is_left_alone() -> None:
    with bounded(1):
        spin(0.01)
    spin(TICK * 3)


def test_what_does_not_is_stopped_and_says_so() -> None:
    with pytest.raises(LimitExceeded, match=r"^stopped: it takes longer than 0.1 s$"), bounded(0.1):
        spin(5)


def test_a_thread_is_stopped_without_the_others() -> None:
    stopped: list[BaseException] = []

    def work() -> None:
        try:
            with bounded(0.1):
                spin(5)
        except LimitExceeded as error:
            stopped.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    with bounded(30):
        for thread in threads:
            thread.join()
    assert len(stopped) == 3


def short_then_long() -> None:
    with bounded(30):
        pass
    spin(5)


def test_the_stricter_of_two_nested_ones_holds() -> None:
    with pytest.raises(LimitExceeded), bounded(0.1), bounded(30):
        spin(5)
    with pytest.raises(LimitExceeded), bounded(0.1):
        short_then_long()
    with bounded(30):
        with pytest.raises(LimitExceeded), bounded(0.1):
            spin(5)
        spin(TICK * 2)


def test_it_never_strikes_after_the_block() -> None:
    """Blocks that end about when their time does: whether stopped or not, nothing comes later."""
    for n in range(21):
        try:
            with bounded(0.02):
                spin(0.02 + (n % 7) * 0.01)
        except LimitExceeded:
            pass
        spin(TICK * 1.2)


def test_an_exception_of_the_block_goes_out_as_it_is() -> None:
    with pytest.raises(KeyError), bounded(1):
        raise KeyError("x")


def test_one_that_swallows_it_is_stopped_again() -> None:
    from mailer.templating import create_environment

    calls: list[int] = []

    def swallow() -> str:
        calls.append(1)
        try:
            spin(5)
        except LimitExceeded:
            if len(calls) > 1:
                raise
        return ""

    template = create_environment().from_string("{% for i in range(9) %}{{ swallow() }}{% endfor %}")
    with pytest.raises(LimitExceeded), bounded(0.1):
        template.render(swallow=swallow)
    assert len(calls) == 2


def test_nobody_is_stopped_in_code_that_takes_locks() -> None:
    """A tracer, say: coverage's was once stopped with its lock taken, and waited for it at the next line, for ever."""
    tracer: dict[str, object] = {"__name__": "coverage.collector", "monotonic": time.monotonic, "finished": []}
    exec("def trace(end):\n    while monotonic() < end:\n        pass\n    finished.append(True)", tracer)
    trace = cast("Callable[[float], None]", tracer["trace"])

    def traced() -> None:
        trace(time.monotonic() + TICK * 6)
        spin(5)

    with pytest.raises(LimitExceeded), bounded(0.05):
        traced()
    assert tracer["finished"] == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # threads and fork: that is what is tested
def test_it_works_in_a_forked_process() -> None:
    with bounded(1):
        pass
    child = os.fork()
    if child == 0:
        try:
            with bounded(0.1):
                spin(5)
        except LimitExceeded:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
