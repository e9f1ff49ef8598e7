"""The folder in which a rehearsal's messages are kept: only those of the last one, and of those that still run."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "rehearsal-"
_LOCK = "lock"  # held as long as the rehearsal runs, so that another one does not remove its folder


@contextmanager
def open_rehearsal_folder(parent: Path) -> Iterator[Path]:
    """A new private folder in `parent` (made if it is missing); the folders of earlier rehearsals are removed.

    It stays when the block ends. OSError: it cannot be made.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # mode 0700
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for other in parent.glob(f"{PREFIX}*"):
            if other != folder and not other.is_symlink() and not _is_running(other):
                shutil.rmtree(other, ignore_errors=True)
        yield folder
    finally:
        os.close(lock)


def _is_running(folder: Path) -> bool:
    """Whether a rehearsal holds the folder. One that was just made and is not locked yet is taken for running."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        with suppress(OSError):
            os.close(lock)
    return False
