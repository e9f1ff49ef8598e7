"""Files of a project: looked for in a few folders, inside the root, regular, and no larger than allowed.

A name may come from a column ("invoices/{{ invoice }}.pdf"), so that it is checked each time, after its symlinks.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path


class FileProblem(Exception):
    """Why a file cannot be used; `str()` is a sentence that begins with its name."""


def find(name: str, folders: Sequence[Path], root: Path) -> str:
    """The real path of the first `folder/name` that exists; FileProblem where none does, or it lies outside `root`."""
    if not name or "\0" in name:
        raise FileProblem(f"{name!r} is no file name")
    outside = False
    for folder in folders:
        path = os.path.realpath(folder / name)
        if not inside(path, root):
            outside = True
        elif os.path.lexists(path):
            return path
    if outside:  # whether it is there is not told
        raise FileProblem(f"{name}: lies outside the project's root {shown(root)}")
    looked = ", ".join(dict.fromkeys(shown(folder) for folder in folders))
    raise FileProblem(f"{name}: not found (looked in {looked})")


def inside(path: str, root: Path) -> bool:
    """Whether a real path lies in `root`."""
    base = os.path.realpath(root)
    return path == base or path.startswith(base.rstrip(os.sep) + os.sep)


def read(path: str, most: int, name: str | None = None) -> bytes:
    """The bytes of a regular file of at most `most` bytes. Opening never waits, as it would for a FIFO."""
    name = name or path
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        with open(handle, "rb") as file:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise FileProblem(f"{name}: is not a regular file")
            if state.st_size > most:
                raise FileProblem(f"{name}: is {megabytes(state.st_size)}, where {megabytes(most)} are the most")
            content = file.read(most + 1)
    except OSError as error:
        raise FileProblem(f"{name}: {(error.strerror or str(error)).lower()}") from error
    if len(content) > most:
        raise FileProblem(f"{name}: is over {megabytes(most)}, the most")
    return content


def megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MB" if size >= 1024 * 1024 else f"{size:,} bytes"


def shown(path: str | Path) -> str:
    """A path as a person would type it here: relative where it lies below the working directory."""
    here = os.getcwd()
    path = str(path)
    return os.path.relpath(path, here) if path.startswith(here + os.sep) else path
