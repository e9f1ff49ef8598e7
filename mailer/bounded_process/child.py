"""One child process: the parent's side, and the code that runs in the child after the fork."""

from __future__ import annotations

import fcntl
import gc
import math
import mmap
import os
import pickle
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn, TypeVar

from mailer.bounded_process.limits import (
    BoundedResult,
    LimitExceeded,
    MemoryLimitExceeded,
    ProcessDied,
    ProcessLimits,
    TimeLimitExceeded,
    is_limit_error,
)

Item = TypeVar("Item")
Value = TypeVar("Value")

GRACE = 2  # whole seconds (RLIMIT_CPU counts in those) between the timer and the end of the process
REPEAT = (
    0.25  # seconds of processor time after which the timer looks again: code may have swallowed the exception
)
LOOK_SECONDS = 1.0  # of processor time after which a child first looks whether its parent is alive
TOLERANCE = 0.02  # seconds by which the timer may be early
BATCH = 100  # items that a child gets at once
PIPE_SIZE = 1024 * 1024  # bytes of answers by which a child may be ahead of its parent
PIPE_BUFFER = 4096  # octets of a buffer in a pipe: the last one of each write may be filled in part
SMALLEST_PIPE = 4096  # octets, if the system does not say how large a pipe is
FRAME_SIZE = 48 * 1024  # bytes of answers that are sent at once; malloc is slow with much larger pieces
STREAM_SECONDS = 0.1  # after which an incomplete batch of a stream is sent
# A stream's timer is started anew only so often: to start it takes as long as to read a row of CSV.
START_SECONDS = 0.02
_LENGTH = struct.Struct("=Q")
_OUT_OF_MEMORY = 71  # exit status of a child


class ChildProcess:
    """One child process, as the parent and, after the fork, the child itself see it."""

    def __init__(
        self,
        serve: Callable[[ChildProcess], None],
        limits: ProcessLimits,
        keep_open: Sequence[int],
        *,
        jobs_size: int = 0,
    ) -> None:
        """Start the process. `serve` is called in it, and nothing after that.

        `limits` are those of one item. It keeps the descriptors `keep_open`. `jobs_size` is the number of
        octets of items that are to fit in the pipe to the child; by default as many as in any pipe.
        """
        self._limits = limits
        self._progress = mmap.mmap(-1, 8)  # shared: the number of the item that the child works on
        self.has_ended = False
        self._status = 0
        jobs, self._jobs = _open_pipe()
        self.results, results = _open_pipe()
        _set_pipe_size(self.results, PIPE_SIZE)
        if jobs_size:
            _set_pipe_size(jobs, jobs_size)
        self.jobs_size = _get_pipe_size(jobs)
        with warnings.catch_warnings():
            # Python 3.12 and later warn of threads; the module's docstring says why this fork may have them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            self._run(serve, jobs, results, keep_open)
        os.close(jobs)
        os.close(results)

    # -- in the parent

    def send(self, items: Sequence[object]) -> int:
        """Give the child work, and return at least as many octets as it takes in the pipe.

        If the child waits for work, writing does not block for long. Otherwise it must fit in the pipe,
        because the child may wait until its answers are read.
        """
        with suppress(BrokenPipeError):  # it has died: `receive` says so
            return _write_frame(self._jobs, items) + PIPE_BUFFER
        return 0

    def receive(self) -> Any:
        """Wait for a frame; None if the child has ended."""
        frame = _read_frame(self.results)
        if frame is None:
            self._reap()
        return frame

    def receive_outcomes(self) -> list[BoundedResult[Any]] | None:
        """Wait for the outcomes of the next items; None if the child was ended.

        The last one says whether it exceeded a limit; then no more follow.
        """
        frame = self.receive()
        if frame is None:
            return None
        outcomes = [
            BoundedResult(value, None if error is None else rebuild_error(*error), is_limit)
            for value, error, is_limit in map(pickle.loads, frame)
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

    def _run(
        self, serve: Callable[[ChildProcess], None], jobs: int, results: int, keep_open: Sequence[int]
    ) -> NoReturn:
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
            answers: list[bytes] = []
            size = 0
            for number, item in enumerate(items):
                self._progress[:8] = struct.pack("=q", number)
                answer, is_limit_exceeded = _call(function, item, timer, limits)
                answers.append(answer)
                size += len(answer)
                if is_limit_exceeded or size >= FRAME_SIZE or number == len(items) - 1:
                    timer.stop()
                    _write_frame(self.results, answers)
                    answers, size = [], 0
                if is_limit_exceeded:
                    return

    def serve_stream(
        self, create_iterator: Callable[[], Iterator[Any]], limits: ProcessLimits, first: ProcessLimits
    ) -> None:
        """Send the iterator's items in batches, then an empty one; or the batch before an error, with the
        error.
        """
        timer = _Timer()
        items: list[object] = []
        sent = started = time.monotonic()
        try:
            timer.start(first.seconds)
            for item in create_iterator():
                items.append(item)
                now = time.monotonic()
                if len(items) >= BATCH or now - sent > STREAM_SECONDS:
                    timer.stop()
                    _write_frame(self.results, (items, None))
                    items, sent = [], time.monotonic()
                elif len(items) > 1 and now - started < START_SECONDS:
                    continue  # the timer that runs has enough left for the next item
                timer.start(limits.seconds, before=START_SECONDS)
                started = now
        except Exception as error:
            timer.stop()
            _write_frame(self.results, (items, _split_error(_name_limit(error, self._limits))))
            return
        timer.stop()
        if items:
            _write_frame(self.results, (items, None))
        _write_frame(self.results, ([], None))


class _Timer:
    """Limits the processor time of one item, in the child; and ends the child if its parent has died."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._end = 0.0  # of the item, in processor time
        self._kernel_limit = -math.inf
        self._seconds = 0.0
        signal.signal(signal.SIGPROF, self._look)

    def start(self, seconds: float, *, before: float = 0.0) -> None:
        """Begin an item, which may take `seconds`. The items before it take at most `before` seconds."""
        self._seconds = seconds
        seconds += before
        self._end = wanted = time.process_time() + seconds
        if wanted > self._kernel_limit + 1 or wanted < self._kernel_limit - 1:
            self._kernel_limit = wanted
            _set_soft_limit(resource.RLIMIT_CPU, int(wanted) + 1 + GRACE)
        signal.setitimer(signal.ITIMER_PROF, min(seconds, LOOK_SECONDS), REPEAT)

    def stop(self) -> None:
        """No item is being worked on."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _number: int, _frame: FrameType | None) -> None:
        if os.getppid() != self._parent:
            os._exit(0)
        if time.process_time() > self._end - TOLERANCE:
            raise TimeLimitExceeded(self._seconds)


_ErrorParts = tuple[type[Exception], tuple[object, ...], dict[str, object]]


def _call(
    function: Callable[[Any], Any], item: object, timer: _Timer, limits: ProcessLimits
) -> tuple[bytes, bool]:
    """The pickled answer for one item, and whether it exceeded a limit."""
    try:
        timer.start(limits.seconds)
        return pickle.dumps((function(item), None, False), pickle.HIGHEST_PROTOCOL), False
    except Exception as error:
        parts, is_limit_exceeded = _split_error(_name_limit(error, limits)), is_limit_error(error)
        return pickle.dumps((None, parts, is_limit_exceeded), pickle.HIGHEST_PROTOCOL), is_limit_exceeded


def _name_limit(error: Exception, limits: ProcessLimits) -> Exception:
    return MemoryLimitExceeded(limits.memory) if isinstance(error, MemoryError) else error


def _split_error(error: Exception) -> _ErrorParts:
    """An exception in parts that can be pickled: its own way to be pickled calls its constructor, with
    `args`.
    """
    parts = type(error), error.args, dict(error.__dict__)
    try:
        pickle.loads(pickle.dumps(parts))  # noqa: S301 - our own bytes
    except Exception:
        return RuntimeError, (f"{type(error).__name__}: {error}",), {}
    return parts


def rebuild_error(kind: type[Exception], args: tuple[object, ...], state: dict[str, object]) -> Exception:
    """Return the exception that `_split_error` took apart: of type `kind`, with its `args` and attributes."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


def _open_pipe() -> tuple[int, int]:
    """A pipe with numbers above those of the standard streams, which a daemon may have closed."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) if end < 3 else end for end in ends)
    for end in {*ends} - {*moved}:
        os.close(end)
    return moved[0], moved[1]


def _set_pipe_size(descriptor: int, size: int) -> None:
    with suppress(OSError, AttributeError):  # a user who has too many pipes gets small ones; Linux only
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, size)


def _get_pipe_size(descriptor: int) -> int:
    with suppress(OSError, AttributeError):
        return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
    return SMALLEST_PIPE


def _write_frame(descriptor: int, value: object) -> int:
    """Write a value, and return the number of octets."""
    content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    view = memoryview(_LENGTH.pack(len(content)) + content)
    size = len(view)
    while view:
        view = view[os.write(descriptor, view) :]
    return size


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
