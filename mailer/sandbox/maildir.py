"""Caught messages in a maildir: any mail program can open it, and the inbox page reads it.

Each file starts with the trace that a delivering server writes (RFC 5321, 4.4): `Return-Path`, a
`Delivered-To` for each recipient of the envelope, and `Received`, which is always the last of ours. The
message follows as it was sent, octet for octet.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from pathlib import Path

from mailer.dataclass import dataclass

REHEARSAL_PREFIX = "rehearsal-"
_LOCK = "lock"  # held as long as a rehearsal runs, so that another one does not remove its folder
_DIALOGUE = re.compile(r" with ESMTPSA id ([0-9A-Za-z-]{1,60});")


@dataclass(frozen=True, slots=True)
class CaughtMessage:
    """One message as it arrived.

    `at` is in seconds since 1970, `dialogue` the id of its session (or empty).
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    at: float
    path: Path
    dialogue: str = ""


class Maildir:
    """A maildir that is written by one process (`store`) and read by any (`list_names`, `read_message`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._serial = itertools.count(1)

    def create_folders(self) -> None:
        """Make the folders, private to this user, if they do not exist. OSError if they cannot be made."""
        for name in ("tmp", "new", "cur"):
            (self.path / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def store(
        self, sender: str, recipients: list[str], content: bytes, client: str, dialogue: str = ""
    ) -> str:
        """Write the message and return its name. It is in `new` only when it is whole.

        `client` is the name that the client gave in EHLO, `dialogue` the id of its session. Raises OSError if
        the message cannot be written.
        """
        now = time.time()
        # Names sort by arrival: time to the microsecond, then a serial number, wide enough for a long run.
        name = f"{now:.6f}.P{os.getpid()}Q{next(self._serial):08d}.sandbox"
        trace = [f"Return-Path: <{sender}>", *(f"Delivered-To: {address}" for address in recipients)]
        session = f" id {dialogue}" if dialogue else ""
        trace.append(f"Received: from {client} by sandbox.localhost with ESMTPSA{session}; {formatdate(now)}")
        head = "".join(f"{line}\r\n" for line in trace).encode("utf-8", "surrogateescape")
        unfinished = self.path / "tmp" / name
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb", buffering=0) as file:
            file.write(head + content)
        unfinished.rename(self.path / "new" / name)
        return name

    def list_names(self) -> list[str]:
        """Return the names of all messages, the oldest first."""
        found: list[str] = []
        for folder in ("new", "cur"):
            with os.scandir(self.path / folder) as entries:
                found.extend(entry.name for entry in entries if not entry.name.startswith("."))
        return sorted(found)

    def changed_at(self) -> float:
        """Return when a message was last added or removed, in seconds since 1970."""
        return max((self.path / folder).stat().st_mtime for folder in ("new", "cur"))

    def find_path(self, name: str) -> Path | None:
        """Return the file of a message, or None. A name with a slash or a dot in front is not found."""
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            return None
        return next(
            (path for folder in ("new", "cur") if (path := self.path / folder / name).is_file()), None
        )

    def delete(self, name: str) -> bool:
        """Remove a message. Return False if there is none of that name."""
        path = self.find_path(name)
        if path is None:
            return False
        path.unlink(missing_ok=True)
        return True

    def read_message(self, name: str) -> CaughtMessage | None:
        """Return the message of that name, or None."""
        path = self.find_path(name)
        return _parse_file(path) if path else None

    def __iter__(self) -> Iterator[CaughtMessage]:
        for name in self.list_names():
            if caught := self.read_message(name):
                yield caught


def _parse_file(path: Path) -> CaughtMessage:
    data = path.read_bytes()
    sender, recipients, start, dialogue = "", [], 0, ""
    while (end := data.find(b"\n", start)) > 0:
        header, _, value = data[start:end].decode("utf-8", "surrogateescape").strip().partition(": ")
        match header.lower():
            case "return-path":
                sender = value[1:-1]
            case "delivered-to":
                recipients.append(value)
            case "received":
                match = _DIALOGUE.search(value)
                dialogue = match[1] if match else ""
                start = end + 1
                break
            case _:
                break
        start = end + 1
    return CaughtMessage(sender, tuple(recipients), data[start:], path.stat().st_mtime, path, dialogue)


@contextmanager
def open_rehearsal_folder(parent: Path) -> Iterator[Path]:
    """Create a private folder in `parent` for one rehearsal, and remove those of earlier rehearsals.

    `parent` is created if it is missing. The folder stays when the block ends. Raises OSError if it cannot be
    created.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=REHEARSAL_PREFIX, dir=parent))  # mode 0700
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for other in parent.glob(f"{REHEARSAL_PREFIX}*"):
            if other != folder and not other.is_symlink() and not _is_running(other):
                shutil.rmtree(other, ignore_errors=True)
        yield folder
    finally:
        os.close(lock)


def _is_running(folder: Path) -> bool:
    """Whether a rehearsal holds the folder.

    One that was just made and is not locked yet is taken for running.
    """
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
