"""Time and memory of a render, watched from outside.

`with bounded(seconds):` costs about a microsecond: it notes a deadline. One daemon thread looks at the notes some
twenty times a second while there are any, and raises OutOfBounds in a thread that is over its deadline, or whose
render has made the process grow too much (CPython's asynchronous exceptions; any thread, no signal needed).

An exception must not be raised in a thread that has left its block. So it is set, and the block is left, under one
lock; what is set but not yet raised when the block is left is taken there; and as an exception that arrives in
`__exit__` itself leaves the note standing, a second one is set only while a template is on that thread's stack.
Nor may it be raised where a thread has just taken a lock and is not yet in the `try` that gives it back: whoever is
in code that does so is looked at again later.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from contextlib import suppress
from time import monotonic

from mailer.templating.limits import LimitExceeded

TICK = 0.05  # seconds between two looks
IDLE_TICKS = 40  # looks without any block before the thread sleeps
MAX_GROWTH = 384 * 1024 * 1024  # bytes that the process may grow by during one render
LOCKING = frozenset({"threading", "importlib", "coverage"})  # a tracer runs on the thread that it traces

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

_lock = threading.Lock()
_watched: dict[int, bounded] = {}


class TimeLimitExceeded(LimitExceeded):
    """Made in the thread it is raised in, so that it can say how long that one had."""

    def __init__(self) -> None:
        watch = _watched.get(threading.get_ident())
        limit = f"{watch.seconds:g} s" if watch else "allowed"
        super().__init__(f"stopped: it takes longer than {limit}")


def is_time_limit_error(error: BaseException | None) -> bool:
    """Whether a render that took too long is what caused `error`."""
    while error is not None and not isinstance(error, TimeLimitExceeded):
        error = error.__cause__
    return error is not None


class MemoryLimitExceeded(LimitExceeded):
    def __init__(self) -> None:
        super().__init__(f"stopped: it needs more than {MAX_GROWTH >> 20} MB of memory")


class bounded:  # noqa: N801 - used as a function is: `with bounded(10):`
    """What is in the block takes at most `seconds` of wall-clock time, or OutOfBounds is raised in it."""

    __slots__ = ("deadline", "fired", "outer", "resident", "seconds", "thread")

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds

    def __enter__(self) -> bounded:
        self.thread = thread = threading.get_ident()
        self.fired = False
        self.resident = 0
        self.deadline = monotonic() + self.seconds
        self.outer = outer = _watched.get(thread)
        if outer is not None and outer.fired and not _in_template(thread):
            self.outer = outer = None  # left by an exception that arrived in its `__exit__`
        if outer is not None:
            self.deadline = min(self.deadline, outer.deadline)
        _watched[thread] = self
        if _dog.asleep:
            _dog.wake()
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            if self.outer is None:
                _watched.pop(self.thread, None)
            else:
                _watched[self.thread] = self.outer
        if self.fired:
            _drain(self.thread)


def _drain(thread: int) -> None:
    """Takes an exception that may be set but not yet raised. Taking it back (setting NULL) would leave CPython 3.11
    with its signal for one standing, which costs at every call, and is an endless loop under a tracer."""
    with suppress(LimitExceeded):
        while True:  # again, in case a callback (a garbage collector's) was given it, and swallowed it
            _raise_in(thread, TimeLimitExceeded)


class _Dog:
    """The thread that looks."""

    def __init__(self) -> None:
        self.asleep = True
        self._called = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        with _lock:
            self.asleep = False
            self._called.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mailer-watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        idle = 0
        pause = threading.Event()
        while True:
            pause.wait(TICK)
            idle = 0 if _watched else idle + 1
            if idle > IDLE_TICKS:
                self._sleep()
                idle = 0
            for thread, watch in list(_watched.items()):
                _look(thread, watch)

    def _sleep(self) -> None:
        self._called.clear()
        self.asleep = True
        if _watched:  # one came between the look and the flag
            self.asleep = False
            return
        self._called.wait()


def _look(thread: int, watch: bounded) -> None:
    resident = _resident()
    if not watch.resident:
        watch.resident = resident
    if resident - watch.resident > MAX_GROWTH:
        kind: type[LimitExceeded] = MemoryLimitExceeded
    elif monotonic() > watch.deadline:
        kind = TimeLimitExceeded
    else:
        return
    if watch.fired and not _in_template(thread):
        return
    with _lock:
        if _watched.get(thread) is watch and not _takes_a_lock(thread):
            watch.fired = True
            _raise_in(thread, kind)


def _takes_a_lock(thread: int) -> bool:
    """Whether what runs in `thread` at this instant, and so would be given the exception, may be about to."""
    frame = sys._current_frames().get(thread)
    return frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in LOCKING


def _in_template(thread: int) -> bool:
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if "__jinja_template__" in frame.f_globals:
            return True
        frame = frame.f_back
    return False


def _resident() -> int:
    """Bytes of memory that the process has; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


_dog = _Dog()


def _after_fork() -> None:
    """Threads do not survive a fork, and a lock might have been held."""
    global _dog, _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _dog = _Dog()
    _watched.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
