"""A command at a pseudo-terminal, and the options for the sandbox as its server."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mailer.sandbox import Sandbox

Command = Callable[..., Any]


def login(sandbox: Sandbox) -> list[str]:
    return ["--server", f"smtps://sandbox@127.0.0.1:{sandbox.port}", "--ca-file", str(sandbox.ca_file)]


class Terminal:
    """A process at a terminal: what it shows, what is typed."""

    def __init__(
        self, arguments: list[str], folder: Path, errors: Path | None = None, **environment: str
    ) -> None:
        ours, theirs = pty.openpty()
        variables = (
            {key: value for key, value in os.environ.items() if key != "CI"} | environment | {"TERM": "xterm"}
        )
        with errors.open("wb") if errors else nullcontext() as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mailer", *arguments], cwd=folder, env=variables,
                stdin=theirs, stdout=theirs, stderr=stream or theirs, start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - the controlling terminal
            )  # fmt: skip
        os.close(theirs)
        self._ours = ours
        self.shown = ""

    def until(self, text: str, seconds: float = 30) -> None:
        ends = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < ends, self.shown
            if select.select([self._ours], [], [], 0.1)[0] and not self._read():
                raise AssertionError(self.shown)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self, seconds: float = 30) -> int:
        """The exit code; `shown` is all that it wrote."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and (not select.select([self._ours], [], [], 0.1)[0] or self._read()):
            continue
        os.close(self._ours)
        return self.process.wait(seconds)

    def _read(self) -> bool:
        try:
            chunk = os.read(self._ours, 65536)
        except OSError:  # Linux: the other end is closed
            return False
        self.shown += chunk.decode(errors="replace")
        return bool(chunk)
