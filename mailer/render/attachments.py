"""Files of a project: found in a few folders, inside the root, regular, and not larger than allowed.

A name may come from a column ("invoices/{{ invoice }}.pdf"). So each name is checked,
after its symbolic links are resolved.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path


class FileProblem(Exception):
    """Why a file cannot be used; `str()` is a sentence that begins with its name."""


def find_file(name: str, folders: Sequence[Path], root: Path) -> str:
    """Find a file by name.

    :param name: a path relative to one of the folders.
    :param folders: the folders to look in, in this order.
    :param root: the folder that the file must be in after symbolic links are resolved.
    :returns: the real path of the first `folder/name` that exists.
    :raises FileProblem: if there is no such file, or it is outside `root`.
    """
    if not name or "\0" in name:
        raise FileProblem(f"{name!r} is not a file name")
    is_outside = False
    for folder in folders:
        path = os.path.realpath(folder / name)
        if not is_inside(path, root):
            is_outside = True
        elif os.path.lexists(path):
            return path
    if is_outside:  # does not say whether the file exists
        raise FileProblem(f"{name}: is outside the project root {show_path(root)}")
    looked = ", ".join(dict.fromkeys(show_path(folder) for folder in folders))
    raise FileProblem(f"{name}: not found (looked in {looked})")


def is_inside(path: str, root: Path) -> bool:
    """Whether the real path `path` is in the folder `root`."""
    base = os.path.realpath(root)
    return path == base or path.startswith(base.rstrip(os.sep) + os.sep)


def read_file(path: str, max_size: int, name: str | None = None) -> bytes:
    """Read a regular file. Opening never blocks, not even if the file is a FIFO.

    :param path: the real path.
    :param max_size: the largest size that is allowed, in bytes.
    :param name: the name to show in errors; default: the path.
    :raises FileProblem: if it is not a regular file, is too large, or cannot be read.
    """
    name = name or path
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        with open(handle, "rb") as file:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise FileProblem(f"{name}: is not a regular file")
            if state.st_size > max_size:
                raise FileProblem(f"{name}: is {format_size(state.st_size)}; the limit is {format_size(max_size)}")
            content = file.read(max_size + 1)
    except OSError as error:
        raise FileProblem(f"{name}: {(error.strerror or str(error)).lower()}") from error
    if len(content) > max_size:
        raise FileProblem(f"{name}: is larger than the limit of {format_size(max_size)}")
    return content


def format_size(size: int) -> str:
    """`size` bytes as text for a person."""
    return f"{size / 1024 / 1024:.1f} MB" if size >= 1024 * 1024 else f"{size:,} bytes"


def show_path(path: str | Path) -> str:
    """A path as a person would type it here: relative if it is below the working directory."""
    here = os.getcwd()
    path = str(path)
    return os.path.relpath(path, here) if path.startswith(here + os.sep) else path
