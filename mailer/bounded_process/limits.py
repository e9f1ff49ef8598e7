"""The limits of work in a child process, what exceeds them, and the result of one item."""

from __future__ import annotations

import os
import signal
from typing import Generic, TypeVar

from mailer.dataclass import dataclass

Value = TypeVar("Value")


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
        how = (
            f"signal {signal.Signals(number).name}"
            if number
            else f"status {os.waitstatus_to_exitcode(status)}"
        )
        super().__init__(f"stopped: its process ended ({how}); it may need too much memory")


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Limits of one item: processor time in seconds, and bytes of memory beyond what the parent has."""

    seconds: float = 10.0
    memory: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BoundedResult(Generic[Value]):
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


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_limit_error(error: BaseException | None) -> bool:
    """Return whether a limit of time, memory or size is `error`, or its cause."""
    while error is not None:
        if isinstance(error, (LimitExceeded, MemoryError)):
            return True
        error = error.__cause__ or error.__context__
    return False
