from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mailer.bounded_process import (
    MemoryLimitExceeded,
    ProcessDied,
    ProcessLimits,
    ProcessPool,
    TimeLimitExceeded,
    is_limit_error,
    iterate_bounded,
    run_bounded,
)
from mailer.errors import InputError, Place, Problem, RenderError

SHORT = ProcessLimits(seconds=0.2)


def run_python_code_forever() -> None:
    while True:
        pass


def run_c_code_for_minutes() -> int:
    return ("a" * 12_000_000).rfind("ab" + "a" * 4_000_000)


def test_a_value_comes_back_from_another_process() -> None:
    assert run_bounded(lambda: ("x", [1, {"a": None}])) == ("x", [1, {"a": None}])
    assert run_bounded(os.getpid) != os.getpid()


@pytest.mark.slow
@pytest.mark.parametrize("work", [run_python_code_forever, run_c_code_for_minutes])
def test_work_that_takes_too_long_is_ended(work: Callable[[], object]) -> None:
    with pytest.raises(TimeLimitExceeded, match=r"^stopped: it takes longer than 0.2 s of processor time$"):
        run_bounded(work, SHORT)


@pytest.mark.slow  # the kernel counts whole seconds
def test_work_that_swallows_the_exception_is_ended() -> None:
    def swallow() -> None:
        while True:
            with suppress(TimeLimitExceeded):
                run_python_code_forever()

    with pytest.raises(TimeLimitExceeded):
        run_bounded(swallow, SHORT)


def test_work_that_needs_too_much_memory_is_ended() -> None:
    with pytest.raises(MemoryLimitExceeded, match=r"^stopped: it needs more than 64 MB of memory$"):
        run_bounded(lambda: bytearray(100_000_000), ProcessLimits(memory=64 * 1024 * 1024))


def test_a_process_that_dies_is_an_error() -> None:
    with pytest.raises(ProcessDied, match=r"^stopped: its process ended \(signal SIGABRT\)"):
        run_bounded(os.abort)
    with pytest.raises(ProcessDied, match=r"status 3"):
        run_bounded(lambda: os._exit(3))


def test_an_exception_keeps_what_it_says() -> None:
    def fail() -> None:
        raise InputError([Problem(Place("a.csv", 3), "wrong"), Problem(None, "and 2 more")], hint="look")

    with pytest.raises(InputError) as caught:
        run_bounded(fail)
    assert caught.value.problems == (Problem(Place("a.csv", 3), "wrong"), Problem(None, "and 2 more"))
    assert caught.value.hint == "look"


def test_an_exception_that_cannot_be_sent_keeps_its_text() -> None:
    class Local(Exception):
        pass

    def fail() -> None:
        raise Local("what happened")

    with pytest.raises(RuntimeError, match="Local: what happened"):
        run_bounded(fail)


def test_a_pool_keeps_the_order_and_its_processes() -> None:
    with ProcessPool(lambda number: (number, os.getpid()), processes=2) as pool:
        outcomes = [outcome.get() for _, outcome in pool.map(range(1000), batch=10)]
        again = pool.call(5)
    assert [number for number, _ in outcomes] == list(range(1000))
    assert 1 <= len({process for _, process in outcomes}) <= 2
    assert again[1] in {process for _, process in outcomes}


def test_a_pool_starts_no_more_processes_than_it_has_work_for() -> None:
    with ProcessPool(lambda _: os.getpid(), processes=8) as pool:
        assert len({outcome.get() for _, outcome in pool.map(range(10), batch=10)}) == 1


def test_only_the_item_that_exceeds_a_limit_is_lost() -> None:
    def work(number: int) -> int:
        if number == 3:
            os.abort()
        if number == 5:
            run_python_code_forever()
        if number == 7:
            raise KeyError(number)
        return number * 2

    with ProcessPool(work, limits=SHORT, processes=2) as pool:
        outcomes = dict(pool.map(range(20), batch=10))
    assert {number for number, outcome in outcomes.items() if outcome.is_limit_exceeded} == {3, 5}
    assert isinstance(outcomes[7].error, KeyError)
    assert all(outcomes[number].value == number * 2 for number in range(20) if number not in (3, 5, 7))


def test_an_error_whose_cause_is_a_limit_says_so() -> None:
    def work(_: int) -> None:
        try:
            run_python_code_forever()
        except TimeLimitExceeded as error:
            raise RenderError(Problem(Place("a.html", 3), str(error))) from error

    with ProcessPool(work, limits=SHORT) as pool:
        ((_, outcome),) = pool.map([1])
    assert isinstance(outcome.error, RenderError)
    assert outcome.is_limit_exceeded
    assert not is_limit_error(RenderError("x"))


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    with ProcessPool(lambda number: number) as pool, closing(pool.map(items(), batch=10)) as outcomes:
        next(outcomes)
    assert len(taken) < 100


def test_a_stream_is_read_to_its_end_or_its_error() -> None:
    assert list(iterate_bounded(lambda: iter(range(1000)))) == list(range(1000))

    def fail() -> Iterator[int]:
        yield from range(150)
        raise InputError("row 151 is wrong")

    seen: list[int] = []
    with pytest.raises(InputError, match="row 151 is wrong"):
        seen.extend(iterate_bounded(fail))
    assert seen == list(range(150)) or not seen  # extend() may have taken none
    assert list(iterate_bounded(lambda: iter(()))) == []


@pytest.mark.slow  # the kernel counts whole seconds
def test_a_stream_that_gets_stuck_is_ended() -> None:
    def stuck() -> Iterator[int]:
        yield 1
        run_c_code_for_minutes()

    with pytest.raises(TimeLimitExceeded):
        list(iterate_bounded(stuck, SHORT))


def test_the_limit_of_a_stream_is_for_one_item() -> None:
    def slow() -> Iterator[int]:
        for number in range(6):
            end = time.process_time() + 0.1
            while time.process_time() < end:
                pass
            yield number

    assert list(iterate_bounded(slow, SHORT)) == list(range(6))


def test_a_child_holds_no_descriptor_of_the_parent() -> None:
    ours, other = os.pipe()
    try:

        def is_open(descriptor: int) -> bool:
            try:
                os.fstat(descriptor)
            except OSError:
                return False
            return True

        assert run_bounded(lambda: is_open(ours)) is False
        assert run_bounded(lambda: is_open(ours), keep_open=[ours]) is True
    finally:
        os.close(ours)
        os.close(other)


def list_children() -> list[str]:
    """The processes of this one, those of other tests included; one that was not waited for too."""
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()


def test_nothing_is_left_behind() -> None:
    before, children = os.listdir("/proc/self/fd"), list_children()
    for _ in range(5):
        run_bounded(lambda: 1)
        with pytest.raises(ProcessDied):
            run_bounded(os.abort)
        with closing(iterate_bounded(lambda: iter(range(10**9)))) as rows:
            next(rows)
    assert os.listdir("/proc/self/fd") == before
    assert list_children() == children


def test_it_works_beside_threads() -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert run_bounded(threading.active_count) == 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_within_a_second(number: signal.Signals) -> None:
    program = """
        import signal, sys
        from mailer.bounded_process import run_bounded

        def stop(number, frame):
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, stop)

        def work():
            print("started", flush=True)
            ("a" * 12_000_000).rfind("ab" + "a" * 4_000_000)

        try:
            run_bounded(work)
        except KeyboardInterrupt:
            sys.exit(7)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.send_signal(number)
        assert process.wait(timeout=1) == 7


def test_a_process_whose_standard_streams_are_closed_can_use_it() -> None:
    code = (
        "import os; [os.close(number) for number in range(3)]\n"
        "from mailer.bounded_process import run_bounded\n"
        "os._exit(run_bounded(lambda: 7))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 7


@pytest.mark.slow
def test_a_child_ends_with_its_parent() -> None:
    """Also if the parent is killed, and whatever the child is busy with."""
    code = (
        "import os, time\n"
        "from mailer.bounded_process import ProcessLimits, ProcessPool\n"
        "def work(number):\n"
        "    os.write(1, f'{os.getpid()}\\n'.encode())\n"
        "    while number: sum(range(10**6))\n"
        "pool = ProcessPool(work, limits=ProcessLimits(seconds=600.0), processes=2)\n"
        "list(pool.map([0])), list(pool.map([1]))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = {int(parent.stdout.readline()) for _ in range(2)}
        parent.kill()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
