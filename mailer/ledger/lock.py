"""The lock on a campaign in a ledger in a file: only one process sends it.

It is a lock of the operating system (flock(2)) on a file beside the ledger. It ends with its process, however
that dies, so a dead holder needs no detection, and a process id that is used again misleads no one. The row
in `holders` only says who has the lock, and since when.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

PATIENCE = 10  # tries, with PAUSE between them: `is_locked` takes the lock for some microseconds
PAUSE = 0.02


class FileLock:
    """An exclusive lock that ends with `release` or with the process."""

    def __init__(self, path: Path, handle: int) -> None:
        """Keep the lock on the file `path`, which `handle` has open."""
        self._path = path
        self._handle: int | None = handle

    def release(self) -> None:
        if self._handle is None:
            return
        with suppress(OSError):
            os.unlink(self._path)  # still locked: a process that opened it meanwhile finds out in `acquire`
        os.close(self._handle)
        self._handle = None


def lock_path(ledger: Path, campaign: str) -> Path:
    """The file whose lock is that of `campaign`, beside the file `ledger`."""
    return ledger.with_name(f"{ledger.name}-{quote(campaign, safe='')}.lock")


def acquire(path: Path) -> FileLock | None:
    """The lock at `path`, or None if another process has it. Raises OSError if the file cannot be made."""
    for left in reversed(range(PATIENCE)):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if not _try_lock(handle, fcntl.LOCK_EX):
            os.close(handle)
            if left:
                time.sleep(PAUSE)
        elif _is_at(handle, path):
            return FileLock(path, handle)
        else:
            os.close(handle)  # its holder has just released and unlinked it: there is a new file, or none
    return None


def is_locked(path: Path) -> bool:
    """Whether a process has the lock at `path` now."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _try_lock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), there)
