"""Work whose cost a stranger decides, in child processes that can be killed.

A list, a template or an expression can make one operation of C code take hours or gigabytes, and nothing
inside a process can stop that. So this work runs in a child process with limits. The kernel ends the child
when it exceeds them, and the parent waits where a signal can interrupt it.

    value = run_bounded(lambda: parse(content))                # one call
    rows = iterate_bounded(lambda: iter(source))               # items, as the child produces them
    with ProcessPool(render, processes=4) as pool:             # many calls, in processes that stay alive
        for item, outcome in pool.map(recipients): ...

How a limit acts:
- Processor time. At `seconds` a timer (ITIMER_PROF) raises TimeLimitExceeded in the child's Python code, so that the
  traceback has the line of the template. C code does not see that; two seconds later RLIMIT_CPU ends the process.
- Memory. RLIMIT_AS makes an allocation fail. Python raises MemoryError then; some C code aborts the process.
After either, the child is not used again, and the next item gets a new one.

The child is a fork: it has the parent's objects, so nothing is compiled or read again, and it starts in
milliseconds. It closes every inherited descriptor except the standard ones and `keep_open`, so it holds no
lock of the parent. It executes no code of other threads. A lock that another thread held at the fork stays
locked in the child, so the functions that run here must not log, print or use what other threads use.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Generic, Self, TypeVar

from mailer.bounded_process.child import BATCH, ChildProcess, rebuild_error
from mailer.bounded_process.limits import (
    BoundedResult,
    LimitExceeded,
    MemoryLimitExceeded,
    ProcessDied,
    ProcessLimits,
    TimeLimitExceeded,
    count_cores,
    is_limit_error,
)

__all__ = [
    "BoundedResult",
    "LimitExceeded",
    "MemoryLimitExceeded",
    "ProcessDied",
    "ProcessLimits",
    "ProcessPool",
    "TimeLimitExceeded",
    "count_cores",
    "is_limit_error",
    "iterate_bounded",
    "run_bounded",
]

Item = TypeVar("Item")
Value = TypeVar("Value")


def run_bounded(
    function: Callable[[], Value], limits: ProcessLimits | None = None, *, keep_open: Sequence[int] = ()
) -> Value:
    """Call `function` in a child process and return its value, or raise its exception.

    The value must be picklable. Raises LimitExceeded if the child exceeds `limits`.
    """
    pool: ProcessPool[None, Value] = ProcessPool(lambda _: function(), limits=limits, keep_open=keep_open)
    with pool:
        return pool.call(None)


def iterate_bounded(
    create_iterator: Callable[[], Iterator[Value]],
    limits: ProcessLimits | None = None,
    *,
    first: ProcessLimits | None = None,
    keep_open: Sequence[int] = (),
) -> Generator[Value, None, None]:
    """Yield the items of an iterator that is created and advanced in a child process.

    Each item must be picklable, and `limits` are those of one item; `first` are those until the first one.
    The child runs ahead of the caller by as much as a pipe holds. It is killed when the generator is closed.
    Raises the iterator's exception after the items before it, and LimitExceeded if the child exceeds its
    limits.
    """
    limits = limits or ProcessLimits()
    child = ChildProcess(
        lambda child: child.serve_stream(create_iterator, limits, first or limits), limits, keep_open
    )
    try:
        while (frame := child.receive()) is not None:
            items, error = frame
            yield from items
            if error is not None:
                raise rebuild_error(*error)
            if not items:
                return
        raise child.explain_end()
    finally:
        child.close()


class ProcessPool(Generic[Item, Value]):
    """Calls a function in child processes that stay alive between the items.

    Processes are started when there is work for them. To be used as a context manager; at its end they are
    killed.
    """

    def __init__(
        self,
        function: Callable[[Item], Value],
        *,
        limits: ProcessLimits | None = None,
        processes: int = 1,
        keep_open: Sequence[int] = (),
    ) -> None:
        """`limits` are those of one item; `processes` is the maximum; `keep_open` are descriptors that it
        needs.
        """
        self._function = function
        self._limits = limits or ProcessLimits()
        self._processes = processes
        self._keep_open = keep_open
        self._idle: list[ChildProcess] = []
        self._busy: dict[
            int, tuple[ChildProcess, _Batch[Item, Value]]
        ] = {}  # by the descriptor of the child's results

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the processes. The pool can be used again."""
        self._kill_busy()
        while self._idle:
            self._idle.pop().close()

    def call(self, item: Item) -> Value:
        """Return the function's value for `item`, or raise its exception, or LimitExceeded."""
        ((_, outcome),) = self.map([item])
        return outcome.get()

    def map(
        self, items: Iterable[Item], *, batch: int = BATCH
    ) -> Generator[tuple[Item, BoundedResult[Value]], None, None]:
        """Yield every item with its outcome, in order. `items` are taken as they are needed, `batch` at a
        time.

        To be used by one caller at a time. After an item that exceeded a limit, the following ones get a new
        process. Raises what `items` raises, after the outcomes of the items before.
        """
        errors: list[Exception] = []
        source = _until_error(items, errors)
        waiting: list[_Batch[Item, Value]] = []  # in order: those that were taken and not yet yielded
        try:
            while True:
                self._assign(source, waiting, batch)
                if not waiting:
                    if errors:
                        raise errors[0]
                    return
                while waiting and (outcomes := waiting[0].outcomes) is not None:
                    yield from zip(waiting.pop(0).items, outcomes, strict=True)
                if self._busy:
                    self._receive(waiting)
        finally:
            self._kill_busy()

    def _assign(self, source: Iterator[Item], waiting: list[_Batch[Item, Value]], size: int) -> None:
        """Give work to every process that has none: what is waiting, then new items.

        Look ahead only so far.
        """
        unassigned = [one for one in waiting if not one.is_assigned]
        while len(self._busy) < self._processes:
            if unassigned:
                following = unassigned.pop(0)
            elif len(waiting) < 4 * self._processes and (items := list(islice(source, size))):
                following = _Batch(items)
                waiting.append(following)
            else:
                return
            child = self._idle.pop() if self._idle else self._start()
            following.is_assigned = True
            child.send(following.items)
            self._busy[child.results] = child, following

    def _start(self) -> ChildProcess:
        return ChildProcess(
            lambda child: child.serve_calls(self._function, self._limits), self._limits, self._keep_open
        )

    def _receive(self, waiting: list[_Batch[Item, Value]]) -> None:
        """Wait until there are outcomes of one or more batches, and put them into `waiting`."""
        poll = select.poll()
        for descriptor in self._busy:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll():
            child, batch = self._busy.pop(descriptor)
            is_busy = False
            try:
                parts = batch.split(child)
                position = waiting.index(batch)
                waiting[position : position + 1] = parts
                if is_busy := parts[-1].is_assigned and parts[-1].outcomes is None:
                    self._busy[descriptor] = child, parts[-1]
            finally:
                if child.has_ended:
                    child.close()
                elif not is_busy:
                    self._idle.append(child)

    def _kill_busy(self) -> None:
        while self._busy:
            self._busy.popitem()[1][0].close()


def _until_error(items: Iterable[Item], errors: list[Exception]) -> Iterator[Item]:
    """The items until the iterable raises; what it raised is added to `errors`."""
    try:
        yield from items
    except Exception as error:
        errors.append(error)


class _Batch(Generic[Item, Value]):
    """Items that one process works on, and their outcomes when they are known.

    `first` is the number of the first item among those that the process got at once.
    """

    def __init__(
        self, items: list[Item], outcomes: list[BoundedResult[Value]] | None = None, first: int = 0
    ) -> None:
        self.items = items
        self.outcomes = outcomes
        self.is_assigned = outcomes is not None
        self._first = first

    def split(self, child: ChildProcess) -> list[_Batch[Item, Value]]:
        """Read outcomes from `child`. The items that have none yet are batches of their own.

        If the child has not ended, the last of them is still the child's.
        """
        outcomes: list[BoundedResult[Value]] | None = child.receive_outcomes()
        if outcomes is not None:
            done = len(outcomes)
            rest = _Batch[Item, Value](self.items[done:], None, self._first + done)
            rest.is_assigned = not child.has_ended
            parts = [_Batch(self.items[:done], outcomes), rest]
        else:  # it was ended while it worked on this item; the outcomes of those before it are lost
            number = child.progress - self._first
            ended: list[BoundedResult[Value]] = [
                BoundedResult(error=child.explain_end(), is_limit_exceeded=True)
            ]
            parts = [
                _Batch(self.items[:number]),
                _Batch(self.items[number : number + 1], ended),
                _Batch(self.items[number + 1 :]),
            ]
        return [part for part in parts if part.items]
