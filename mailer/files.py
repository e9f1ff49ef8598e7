"""Files of users and strangers: opened without a wait, read up to a limit, written whole or not at all.

A path may come from a column, and a folder may be changed by somebody else between a check and a read. So a
file that must lie inside a folder is opened by walking descriptors from that folder, and what was opened is
what is checked.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO

PRIVATE = 0o600  # what is about recipients: messages, reports, traces
PUBLIC = 0o666  # less the umask

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
# O_NONBLOCK: opening a FIFO does not wait for a writer. O_CLOEXEC: no child inherits the descriptor.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UnusableFile(Exception):
    """A file cannot be used; `str()` says why, as the end of a sentence that begins with the file's name."""


def open_regular_file(path: str | os.PathLike[str], *, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading; with `follow=False`, not through a symbolic link.

    Raises UnusableFile if it is missing, may not be read, or is something else (a folder, a FIFO, a device).
    """
    try:
        return _open_checked(os.fspath(path), None, _READ | (0 if follow else os.O_NOFOLLOW))
    except (OSError, ValueError) as error:
        raise UnusableFile(explain_error(error)) from None


def open_beneath(
    root: str | os.PathLike[str], path: str | os.PathLike[str], *, follow: bool = True
) -> BinaryIO:
    """Open a regular file that lies inside the folder `root` once its symbolic links are resolved.

    Each folder on the way is opened from the one above it and never through a link, so that a folder that is
    swapped meanwhile gives an error and no outside file. With `follow=False`, no link is resolved either: a
    path that was resolved and checked is opened as it was checked.

    Raises UnusableFile if the file lies outside `root`, is missing, may not be read, or is not regular.
    """
    base = os.path.realpath(root)
    try:
        joined = os.path.join(base, path)
        real = os.path.realpath(joined) if follow else os.path.normpath(joined)
        if not is_beneath(real, base):
            raise UnusableFile("lies outside the project's folder")
        parts = os.path.relpath(real, base).split(os.sep)
        folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                below = os.open(part, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = below
            return _open_checked(parts[-1], folder, _READ | os.O_NOFOLLOW)
        finally:
            os.close(folder)
    except (OSError, ValueError) as error:
        raise UnusableFile(explain_error(error)) from None


def is_beneath(real_path: str, real_root: str) -> bool:
    """Return whether a resolved path is the folder `real_root` or lies in it. Nothing is looked up."""
    return real_path == real_root or real_path.startswith(real_root.rstrip(os.sep) + os.sep)


def read_limited(stream: BinaryIO, limit: int) -> bytes:
    """Return what `stream` holds, at most `limit` octets. Raises UnusableFile if it holds more."""
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise UnusableFile(f"is larger than the limit of {format_binary_size(limit)}")
    return content


def explain_error(error: OSError | ValueError) -> str:
    """Return why a file could not be read, as the end of a sentence: `there is no such file`."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "it may not be read (permission denied)"
    if isinstance(error, OSError):
        return f"it cannot be read ({os.strerror(error.errno) if error.errno else error})"
    return "it is not a valid path"  # a NUL in it


def describe_kind(mode: int) -> str | None:
    """Return what a file is by its `st_mode` (`a folder`, `a FIFO`), or None for a regular file."""
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "not a file")


def format_binary_size(octets: int) -> str:
    """Return a file's size as people say it: `812 bytes`, `25.0 MB`; a megabyte has 1,048,576 octets."""
    return f"{octets / 1024 / 1024:.1f} MB" if octets >= 1024 * 1024 else f"{octets:,} bytes"


def show_path(path: str | os.PathLike[str]) -> str:
    """Return a path as a person would type it here: relative if it lies below the working directory."""
    path = os.fspath(path)
    try:
        here = os.getcwd()
    except FileNotFoundError:  # it was removed
        return path
    return os.path.relpath(path, here) if path.startswith(here + os.sep) else path


# -- writing


@contextmanager
def replace_text_file(path: Path, *, mode: int = PUBLIC, newline: str = "\n") -> Iterator[TextIO]:
    """Give a text stream (UTF-8) that becomes the file `path` if the block ends well; see `replace_file`."""
    with replace_file(path, mode=mode) as binary:
        stream = TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline=newline)
        try:
            yield stream
            stream.flush()
        finally:
            stream.detach()


@contextmanager
def replace_file(path: Path, *, mode: int = PUBLIC, durable: bool = True) -> Iterator[BinaryIO]:
    """Give a binary stream that becomes the file `path` if the block ends well.

    `mode` is PRIVATE for what is about recipients, or PUBLIC; the umask applies to it. A symbolic link is
    replaced and never followed. Missing folders are made. With `durable`, the file and its folder are synced
    to the disk. Raises OSError; the file is then as it was. A device, a pipe and a socket are never replaced.
    """
    target = Path(os.path.realpath(path.parent)) / path.name
    _check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, descriptor = _create_temporary(target.parent, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _keep_owner(target, descriptor)
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        sync_folder(target.parent)


def _check_replaceable(target: Path) -> None:
    """Raise OSError for what is no file: root could replace /dev/null, and /dev/stdout, which is a link."""
    try:
        is_kernels = target.is_symlink() and os.readlink(target).startswith("/proc/")
        mode = target.stat().st_mode
    except FileNotFoundError:
        return  # a link to nothing, too
    if is_kernels or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder, os.replace says so
        raise OSError(errno.EINVAL, "it is not a regular file", str(target))


def _keep_owner(target: Path, descriptor: int) -> None:
    """Give the new file the owner of the one that it replaces, if root writes into that owner's folder.

    A CI job in a container writes, as root, a summary that another user's program reads.
    """
    if os.geteuid() != 0:
        return
    with suppress(OSError):
        former = target.lstat()
        if stat.S_ISREG(former.st_mode) and former.st_uid == target.parent.stat().st_uid:
            os.fchown(descriptor, former.st_uid, former.st_gid)


def check_folder(folder: Path) -> None:
    """Make `folder` if it is missing, and create a file in it to see whether that works. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary, descriptor = _create_temporary(folder, PRIVATE)
    os.close(descriptor)
    os.unlink(temporary)


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file in `folder` durable.

    A file system that cannot sync a folder is not an error.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _open_checked(name: str, folder: int | None, flags: int) -> BinaryIO:
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        if kind := describe_kind(os.fstat(descriptor).st_mode):
            raise UnusableFile(f"it is {kind}; expected a regular file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _create_temporary(folder: Path, mode: int) -> tuple[Path, int]:
    # The file's own name may be as long as the file system allows, so the temporary name does not contain it.
    temporary = folder / f".{secrets.token_hex(8)}.part"
    return temporary, os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode
    )
