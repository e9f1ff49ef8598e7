"""A folder that another process swaps for a link, again and again, while a test opens what is below it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def swap_repeatedly(folder: Path, target: Path | str) -> Iterator[None]:
    """Swap `folder` for a symbolic link to `target` and back, in a thread, until the block ends."""
    kept = folder.with_name("kept")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            folder.rename(kept)
            folder.symlink_to(target)
            folder.unlink()
            kept.rename(folder)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        yield
    finally:
        done.set()
        swapping.join()
