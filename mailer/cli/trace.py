"""`--trace`: the SMTP dialogue as it crossed, secrets blanked, one line each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from mailer.cli import console
from mailer.errors import InputError

Trace = Callable[[str, str], None]


def check_trace(where: str | None, keep: Mapping[Path, str]) -> None:
    """InputError where the trace would replace a file of `keep` (file -> what it is)."""
    if where is None or where == "-":
        return
    kept = {os.path.realpath(path): what for path, what in keep.items()}
    if (what := kept.get(os.path.realpath(where))) is not None:
        raise InputError(f"trace {where}: this is the {what}, and the trace would replace it")


@contextmanager
def tracing(where: str | None) -> Iterator[Trace | None]:
    """A function that writes `C: EHLO …`, `S: 250 …` or `*: …` to a file, `-` being standard error; None for none.

    A file is made anew, readable by its owner alone: addresses and message texts stand in it.
    """
    if where is None:
        yield None
    elif where == "-":
        yield lambda direction, line: console.note(f"{direction}: {line}")
    else:
        with _create(where) as stream:
            yield lambda direction, line: _write(stream, direction, line)


def _create(where: str) -> TextIO:
    try:
        # O_NONBLOCK: a FIFO that nobody reads is an error instead of a wait without end.
        descriptor = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    except (OSError, ValueError) as error:
        raise InputError(f"trace {where}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def _write(stream: TextIO, direction: str, line: str) -> None:
    try:
        stream.write(f"{direction}: {console.clean(line)}\n")
    except OSError as error:
        # A full disk under the trace is no reason to stop a run; once it is said, no more is tried.
        print(f"mailer: warning: trace: {error.strerror}", file=sys.stderr)
        stream.close()
    except ValueError:
        return
