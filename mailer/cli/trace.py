"""`--trace`: the SMTP dialogue with secrets blanked, one line per command, reply or event."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from mailer.cli import console
from mailer.errors import InputError
from mailer.text import make_printable

Trace = Callable[[str, str], None]

# O_NONBLOCK: a FIFO without a reader is an error, instead of a wait without end.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
DESCRIPTOR = re.compile(r"/dev/(?:stdout|stderr|fd/[0-9]+)|/proc/self/fd/[0-9]+")  # links of the kernel's own


def check_output_path(name: str, path: str | Path | None, keep: Mapping[Path, str]) -> None:
    """Raise InputError if the output `name` ("trace") would replace a file of `keep` (file -> what it is).

    `path` is None if there is no such output, and `-` for a stream.
    """
    if path is None or str(path) == "-":
        return
    kept = {os.path.realpath(file): what for file, what in keep.items()}
    if (what := kept.get(os.path.realpath(path))) is not None:
        raise InputError(f"{name} {path}: this is the {what}, and the {name} would replace it")


@contextmanager
def open_trace(path: str | None) -> Iterator[Trace | None]:
    """Yield a function that writes `C: EHLO …`, `S: 250 …` or `*: …` to the file `path`, or None if `path` is
    None.

    `-` is standard error. The file is replaced and only its owner can read it, because it contains addresses
    and message texts. No symbolic link is followed, except those to the process's own descriptors.
    Raises InputError if it cannot be written.
    """
    if path is None:
        yield None
    elif path == "-":
        yield lambda direction, line: console.print_note(format_dialogue_line(direction, line))
    else:
        with _create_file(path) as stream:
            yield lambda direction, line: _write_line(stream, direction, line)


def format_dialogue_line(direction: str, line: str) -> str:
    """Return a line of the dialogue without secrets; `direction` is C (client), S (server) or * (an event)."""
    return f"{direction}: {make_printable(console.blank_foreign_text(line))}"


def _create_file(path: str) -> TextIO:
    try:
        descriptor = os.open(path, _FLAGS if DESCRIPTOR.fullmatch(path) else _FLAGS | os.O_NOFOLLOW, 0o600)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            reason = "it is a symbolic link, and none is followed"
        raise InputError(f"trace {path}: cannot be written: {reason}") from error
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        if found.st_uid != os.geteuid():
            os.close(descriptor)
            raise InputError(f"trace {path}: cannot be written: the file belongs to another user")
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1)


def _write_line(stream: TextIO, direction: str, line: str) -> None:
    try:
        stream.write(f"{format_dialogue_line(direction, line)}\n")
    except OSError as error:
        # A full disk does not stop the run. The trace ends, and the warning is printed once.
        console.print_warning(f"trace: it cannot be written, and ends here: {error.strerror}")
        with suppress(OSError):  # it writes once more what it could not write
            stream.close()
    except ValueError:
        return
