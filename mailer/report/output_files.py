"""A file that is there whole or not at all: written beside its place, synced, renamed into it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO


@contextmanager
def atomically(path: Path, *, newline: str = "\n") -> Iterator[TextIO]:
    """A text stream (UTF-8) that becomes `path` when the block ends well; see `atomically_in_bytes`."""
    with atomically_in_bytes(path) as binary:
        stream = TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline=newline)
        try:
            yield stream
            stream.flush()
        finally:
            stream.detach()


@contextmanager
def atomically_in_bytes(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A stream that becomes `path` when the block ends well. The mode is what the umask says.

    A symbolic link stays one: its target is replaced. Missing folders are made. `durable` syncs the file and its
    folder to the disk. Raises OSError; the file is then as it was.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    beside, descriptor = _create_beside(target)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(beside, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    if durable:
        _sync_folder(target.parent)


def try_folder(folder: Path) -> None:
    """Make `folder` if need be and see whether a file can be created in it. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    beside, descriptor = _create_beside(folder / "report")
    os.close(descriptor)
    os.unlink(beside)


def _create_beside(target: Path) -> tuple[Path, int]:
    # The name's own length may be at the file system's limit, so the temporary one does not build on it.
    beside = target.with_name(f".{secrets.token_hex(8)}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    return beside, os.open(beside, flags, 0o666)


def _sync_folder(folder: Path) -> None:
    # The rename itself is durable only with its folder; some file systems cannot sync one, and that is no failure.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
