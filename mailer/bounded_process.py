"""Work whose cost a stranger decides, in child processes that can be killed.

A list, a template or an expression can make one operation of C code take hours or gigabytes, and nothing inside a
process can stop that. So this work runs in a child process with limits. The kernel ends the child when it exceeds
them, and the parent waits where a signal can interrupt it.

    value = run_bounded(lambda: parse(content))                # one call
    rows = iterate_bounded(lambda: iter(source))               # items, as the child produces them
    with ProcessPool(render, processes=4) as pool:             # many calls, in processes that stay alive
        for item, outcome in pool.map(recipients): ...

How a limit acts:
- Processor time. At `seconds` a timer (ITIMER_PROF) raises TimeLimitExceeded in the child's Python code, so that the
  traceback has the line of the template. C code does not see that; two seconds later RLIMIT_CPU ends the process.
- Memory. RLIMIT_AS makes an allocation fail. Python raises MemoryError then; some C code aborts the process.
After either, the child is not used again, and the next item gets a new one.

The child is a fork: it has the parent's objects, so nothing is compiled or read again, and it starts in milliseconds.
It closes every inherited descriptor except the standard ones and `keep_open`, so it holds no lock of the parent. It
executes no code of other threads. A lock that another thread held at the fork stays locked in the child, so the
functions that run here must not log, print or use what other threads use.
"""

from __future__ import annotations

import gc
import math
import mmap
import os
import pickle
import resource
import select
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from types import FrameType, TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")

GRACE = 2  # whole seconds (RLIMIT_CPU counts in those) between the timer and the end of the process
REPEAT = 0.25  # seconds of processor time after which the timer raises again, if code swallowed the exception
BATCH = 100  # items that a child gets at once
STREAM_SECONDS = 0.1  # after which an incomplete batch of a stream is sent
_LENGTH = struct.Struct("=Q")
_OUT_OF_MEMORY = 71  # exit status of a child


class LimitExceeded(Exception):
    """Work needs more than it may use: time, memory or size. `str()` says which."""


class TimeLimitExceeded(LimitExceeded):
    """Work took more processor time than its limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"stopped: it takes longer than {seconds:g} s of processor time")


class MemoryLimitExceeded(LimitExceeded):
    """Work needed more memory than its limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"stopped: it needs more than {limit >> 20} MB of memory")


class ProcessDied(LimitExceeded):
    """The process that did the work ended by itself: a crash of C code, or the kernel's out-of-memory killer."""

    def __init__(self, status: int) -> None:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        how = f"signal {signal.Signals(number).name}" if number else f"status {os.waitstatus_to_exitcode(status)}"
        super().__init__(f"stopped: its process ended ({how}); it may need too much memory")


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Limits of one item: processor time in seconds, and bytes of memory beyond what the parent has."""

    seconds: float = 10.0
    memory: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Value]):
    """What became of one item: a value, or the exception that the function raised.

    `is_limit_exceeded` says that a limit is the cause of the exception, even if that is of another type.
    """

    value: Value | None = None
    error: Exception | None = None
    is_limit_exceeded: bool = False

    def get(self) -> Value:
        """Return the value, or raise the exception."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # there is no error, so this is the function's value


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

    Each item must be picklable, and `limits` are those of one item; `first` are those until the first one. The child
    runs ahead of the caller by as much as a pipe holds. It is killed when the generator is closed. Raises the
    iterator's exception after the items before it, and LimitExceeded if the child exceeds its limits.
    """
    limits = limits or ProcessLimits()
    child = _Child(lambda child: child.serve_stream(create_iterator, limits, first or limits), limits, keep_open)
    try:
        while (frame := child.receive()) is not None:
            items, error = frame
            yield from items
            if error is not None:
                raise _rebuild_error(*error)
            if not items:
                return
        raise child.explain_end()
    finally:
        child.close()


class ProcessPool(Generic[Item, Value]):
    """Calls a function in child processes that stay alive between the items.

    Processes are started when there is work for them. To be used as a context manager; at its end they are killed.
    """

    def __init__(
        self,
        function: Callable[[Item], Value],
        *,
        limits: ProcessLimits | None = None,
        processes: int = 1,
        keep_open: Sequence[int] = (),
    ) -> None:
        """`limits` are those of one item; `processes` is the maximum; `keep_open` are descriptors that it needs."""
        self._function = function
        self._limits = limits or ProcessLimits()
        self._processes = processes
        self._keep_open = keep_open
        self._idle: list[_Child] = []
        self._busy: dict[int, tuple[_Child, _Batch[Item, Value]]] = {}  # by the descriptor of the child's results

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
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

    def map(self, items: Iterable[Item], *, batch: int = BATCH) -> Generator[tuple[Item, Outcome[Value]], None, None]:
        """Yield every item with its outcome, in order. `items` are taken as they are needed, `batch` at a time.

        To be used by one caller at a time. After an item that exceeded a limit, the following ones get a new process.
        Raises what `items` raises, after the outcomes of the items before.
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
        """Give work to every process that has none: what is waiting, then new items. Look ahead only so far."""
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

    def _start(self) -> _Child:
        return _Child(lambda child: child.serve_calls(self._function, self._limits), self._limits, self._keep_open)

    def _receive(self, waiting: list[_Batch[Item, Value]]) -> None:
        """Wait until one or more batches are finished, and put their outcomes into `waiting`."""
        poll = select.poll()
        for descriptor in self._busy:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll():
            child, finished = self._busy.pop(descriptor)
            try:
                position = waiting.index(finished)
                waiting[position : position + 1] = finished.split(child)
            finally:
                child.close() if child.has_ended else self._idle.append(child)

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
    """Items that one process works on, and their outcomes when they are known."""

    def __init__(self, items: list[Item], outcomes: list[Outcome[Value]] | None = None) -> None:
        self.items = items
        self.outcomes = outcomes
        self.is_assigned = outcomes is not None

    def split(self, child: _Child) -> list[_Batch[Item, Value]]:
        """Read the outcomes from `child`. The items that have none, because it ended, are batches of their own."""
        outcomes: list[Outcome[Value]] | None = child.receive_outcomes()
        if outcomes is not None:
            done = len(outcomes)
            parts = [_Batch(self.items[:done], outcomes), _Batch(self.items[done:])]
        else:  # it was ended while it worked on this item; the outcomes of those before it are lost
            number = child.progress
            ended: list[Outcome[Value]] = [Outcome(error=child.explain_end(), is_limit_exceeded=True)]
            parts = [
                _Batch(self.items[:number]),
                _Batch(self.items[number : number + 1], ended),
                _Batch(self.items[number + 1 :]),
            ]
        return [part for part in parts if part.items]


class _Child:
    """One child process, as the parent and, after the fork, the child itself see it."""

    def __init__(self, serve: Callable[[_Child], None], limits: ProcessLimits, keep_open: Sequence[int]) -> None:
        self._limits = limits
        self._progress = mmap.mmap(-1, 8)  # shared: the number of the item that the child works on
        self.has_ended = False
        self._status = 0
        jobs, self._jobs = os.pipe()
        self.results, results = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 and later warn of threads; the module's docstring says why this fork may have them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            self._run(serve, jobs, results, keep_open)
        os.close(jobs)
        os.close(results)

    # -- in the parent

    def send(self, items: Sequence[object]) -> None:
        """Give the child work. It is waiting for that, so writing does not block for long."""
        with suppress(BrokenPipeError):  # it has died: `receive` says so
            _write_frame(self._jobs, items)

    def receive(self) -> Any:
        """Wait for a frame; None if the child has ended."""
        frame = _read_frame(self.results)
        if frame is None:
            self._reap()
        return frame

    def receive_outcomes(self) -> list[Outcome[Any]] | None:
        """Wait for outcomes. There are fewer than items if a limit was exceeded; None if the child was ended."""
        frame = self.receive()
        if frame is None:
            return None
        outcomes = [
            Outcome(value, None if error is None else _rebuild_error(*error), is_limit)
            for value, error, is_limit in frame
        ]
        self.has_ended = outcomes[-1].is_limit_exceeded
        return outcomes

    @property
    def progress(self) -> int:
        """The number of the item that the child works on, in its batch."""
        number: int = struct.unpack("=q", self._progress[:8])[0]
        return number

    def explain_end(self) -> LimitExceeded:
        """Why the child has ended, by its status."""
        if os.WIFSIGNALED(self._status) and os.WTERMSIG(self._status) == signal.SIGXCPU:
            return TimeLimitExceeded(self._limits.seconds)
        if os.WIFEXITED(self._status) and os.WEXITSTATUS(self._status) == _OUT_OF_MEMORY:
            return MemoryLimitExceeded(self._limits.memory)
        return ProcessDied(self._status)

    def close(self) -> None:
        """Kill the process and forget it."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._reap()
        for descriptor in (self._jobs, self.results):
            with suppress(OSError):
                os.close(descriptor)
        self._progress.close()

    def _reap(self) -> None:
        self.has_ended = True
        if self._pid:
            with suppress(ChildProcessError):
                _, self._status = os.waitpid(self._pid, 0)
            self._pid = 0

    # -- in the child

    def _run(self, serve: Callable[[_Child], None], jobs: int, results: int, keep_open: Sequence[int]) -> NoReturn:
        try:
            self._jobs, self.results = jobs, results
            _close_all_but({jobs, results, *keep_open})
            _reset_signals()
            _limit_memory(self._limits.memory)
            gc.freeze()  # the parent's objects stay: looking at them again and again would copy their memory
            sys.unraisablehook = lambda _: None  # an exception of the timer that a destructor swallowed
            serve(self)
        except MemoryError:  # outside of the work itself, for example while its result was written
            os._exit(_OUT_OF_MEMORY)
        except BaseException:
            if os.environ.get("MAILER_DEBUG"):
                traceback.print_exc()
            os._exit(70)
        os._exit(0)

    def serve_calls(self, function: Callable[[Any], Any], limits: ProcessLimits) -> None:
        """Answer batches of items until the parent closes the pipe, or a limit is exceeded."""
        timer = _Timer()
        while (items := _read_frame(self._jobs)) is not None:
            answers: list[tuple[object, _ErrorParts | None, bool]] = []
            for number, item in enumerate(items):
                self._progress[:8] = struct.pack("=q", number)
                answers.append(_call(function, item, timer, limits))
                if answers[-1][2]:
                    break
            timer.stop()
            _write_frame(self.results, answers)
            if answers[-1][2]:
                return

    def serve_stream(
        self, create_iterator: Callable[[], Iterator[Any]], limits: ProcessLimits, first: ProcessLimits
    ) -> None:
        """Send the iterator's items in batches, then an empty one; or the batch before an error, with the error."""
        timer = _Timer()
        items: list[object] = []
        sent = time.monotonic()
        try:
            timer.start(first.seconds)
            for item in create_iterator():
                items.append(item)
                if len(items) >= BATCH or time.monotonic() - sent > STREAM_SECONDS:
                    timer.stop()
                    _write_frame(self.results, (items, None))
                    items, sent = [], time.monotonic()
                timer.start(limits.seconds)
        except Exception as error:
            timer.stop()
            _write_frame(self.results, (items, _split_error(_name_limit(error, self._limits))))
            return
        timer.stop()
        if items:
            _write_frame(self.results, (items, None))
        _write_frame(self.results, ([], None))


class _Timer:
    """Limits the processor time of one item, in the child."""

    def __init__(self) -> None:
        self._kernel_limit = -math.inf
        self._seconds = 0.0
        signal.signal(signal.SIGPROF, self._raise)

    def start(self, seconds: float) -> None:
        """Begin an item, which may take `seconds`."""
        self._seconds = seconds
        wanted = time.process_time() + seconds
        if wanted > self._kernel_limit + 1 or wanted < self._kernel_limit - 1:
            self._kernel_limit = wanted
            _set_soft_limit(resource.RLIMIT_CPU, int(wanted) + 1 + GRACE)
        signal.setitimer(signal.ITIMER_PROF, seconds, REPEAT)

    def stop(self) -> None:
        """No item is being worked on."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _raise(self, _number: int, _frame: FrameType | None) -> None:
        raise TimeLimitExceeded(self._seconds)


_ErrorParts = tuple[type[Exception], tuple[object, ...], dict[str, object]]


def _call(
    function: Callable[[Any], Any], item: object, timer: _Timer, limits: ProcessLimits
) -> tuple[object, _ErrorParts | None, bool]:
    try:
        timer.start(limits.seconds)
        return function(item), None, False
    except Exception as error:
        return None, _split_error(_name_limit(error, limits)), is_limit_error(error)


def _name_limit(error: Exception, limits: ProcessLimits) -> Exception:
    return MemoryLimitExceeded(limits.memory) if isinstance(error, MemoryError) else error


def is_limit_error(error: BaseException | None) -> bool:
    """Return whether a limit of time, memory or size is `error`, or its cause."""
    while error is not None:
        if isinstance(error, (LimitExceeded, MemoryError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _split_error(error: Exception) -> _ErrorParts:
    """An exception in parts that can be pickled: its own way to be pickled calls its constructor, with `args`."""
    parts = type(error), error.args, dict(error.__dict__)
    try:
        pickle.loads(pickle.dumps(parts))  # noqa: S301 - our own bytes
    except Exception:
        return RuntimeError, (f"{type(error).__name__}: {error}",), {}
    return parts


def _rebuild_error(kind: type[Exception], args: tuple[object, ...], state: dict[str, object]) -> Exception:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


def _write_frame(descriptor: int, value: object) -> None:
    content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    view = memoryview(_LENGTH.pack(len(content)) + content)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_frame(descriptor: int) -> Any:
    """The next value; None at the end of the pipe, even in the middle of a value."""
    head = _read_exactly(descriptor, _LENGTH.size)
    content = None if head is None else _read_exactly(descriptor, _LENGTH.unpack(head)[0])
    # Both ends are this program: nothing else can write to the pipe.
    return None if content is None else pickle.loads(content)  # noqa: S301


def _read_exactly(descriptor: int, size: int) -> bytes | None:
    pieces: list[bytes] = []
    while size:
        piece = os.read(descriptor, min(size, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _close_all_but(descriptors: set[int]) -> None:
    """Close what the parent has open, locks and sockets included."""
    start = 3
    for descriptor in sorted(descriptors):
        os.closerange(start, descriptor)
        start = max(start, descriptor + 1)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    os.closerange(start, min(limit, 65_536) if limit != resource.RLIM_INFINITY else 65_536)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)  # an event loop of the parent has it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child too; the parent decides
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)


def _limit_memory(extra: int) -> None:
    """Allow `extra` bytes beyond what the process has now."""
    _set_soft_limit(resource.RLIMIT_CORE, 0)
    with suppress(OSError):  # only Linux says how much there is
        with open("/proc/self/statm", "rb") as statm:
            pages = int(statm.read().split()[0])
        _set_soft_limit(resource.RLIMIT_AS, pages * resource.getpagesize() + extra)


def _set_soft_limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
