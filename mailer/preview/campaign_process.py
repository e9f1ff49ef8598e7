"""The preview's requests to the process that reads and renders the campaign (`campaign_service`), and the
values that it answers with.

A request has a time limit. A process that exceeds it is ended, and the next request starts a new one. So the
page answers, whatever a template does.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from mailer.campaign import Recipient
from mailer.dataclass import dataclass
from mailer.errors import Place, Problem

Answer = TypeVar("Answer")

SECONDS = 25.0  # of wall-clock time for one request; the process has less of processor time


@dataclass(frozen=True, slots=True)
class CampaignState:
    """A campaign after it was loaded. `problems` is empty if its messages can be rendered.

    `list_fingerprint` changes when the list does; None if that cannot be said (a query).
    """

    problems: Sequence[Problem] = ()
    name: str = ""
    root: Path | None = None
    list_file: Path | None = None
    list_fingerprint: str | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Rendering:
    """A message's octets and envelope, or the problems that keep it from being made."""

    content: bytes = b""
    sender: str = ""
    recipients: Sequence[str] = ()
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class SearchedRows:
    """A search for a message that cannot be made: `count` rows were rendered without an error.

    With `has_failed`, the next row has one; else the rows or the time were used up.
    """

    count: int
    has_failed: bool


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding of `mailer check`: where, which rule, what, and why it matters."""

    place: Place
    rule: str
    text: str
    reason: str


class ProcessStopped(Exception):
    """A request took too much time or memory, and its process was ended. `str()` says which."""


class CampaignProcess:
    """A process that reads, compiles and renders one campaign.

    Safe for several threads, which wait for each other.
    """

    def __init__(self, path: Path, variables: dict[str, str], *, seconds: float = SECONDS) -> None:
        self._path, self._variables = path, variables
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._is_loaded = False
        self._is_closed = False

    def start(self) -> None:
        """Start the process without waiting for it, so that the first request need not."""
        with self._lock:
            if self._connection is None:
                self._start()

    def load(self) -> CampaignState:
        """Read and compile the campaign as its files are now, and return its state."""
        with self._lock:
            try:
                return self._load()
            except ProcessStopped as error:
                return CampaignState(problems=[Problem(None, str(error))])

    def render(self, recipient: Recipient) -> Rendering:
        """Return the recipient's message, or the problems that keep it from being made."""
        try:
            return self._ask_loaded(Rendering, "render", recipient)
        except ProcessStopped as error:
            return Rendering(problems=[Problem(recipient.place, f"{error}, for {recipient.email}")])

    def find_failing(self, recipients: list[Recipient], seconds: float) -> SearchedRows:
        """Render `recipients` in turn for at most `seconds`, up to the first whose message cannot be made."""
        try:
            return self._ask_loaded(SearchedRows, "find_failing", recipients, seconds)
        except ProcessStopped:
            return SearchedRows(0, True)

    def lint(self, recipient: Recipient) -> list[ShownFinding]:
        """Return what `mailer check` says about the recipient's message."""
        try:
            return self._ask_loaded(list, "lint", recipient)
        except ProcessStopped:
            return []

    def write_index(self, database: Path) -> list[Problem]:
        """Read the whole list into `database`, without a time limit; `close` ends it.

        Return the problems that ended it; none if the list was read to its end.
        """
        with self._lock:
            try:
                return self._ask(list, "write_index", self._path, self._variables, database, seconds=None)
            except ProcessStopped as error:
                return [] if self._is_closed else [Problem(None, f"the list: {error}")]

    def interrupt(self) -> None:
        """End the process in the middle of a request, which fails. The next request starts a new process."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process, also in the middle of a request. A later request fails."""
        self._is_closed = True
        self.interrupt()
        with self._lock:
            self._stop()

    def _ask_loaded(self, kind: type[Answer], method: str, *arguments: object) -> Answer:
        with self._lock:
            if not self._is_loaded:
                self._load()
            return self._ask(kind, method, *arguments, seconds=self._seconds)

    def _load(self) -> CampaignState:
        self._is_loaded = False
        state = self._ask(CampaignState, "load", self._path, self._variables, seconds=self._seconds)
        self._is_loaded = True
        return state

    def _ask(self, kind: type[Answer], method: str, *arguments: object, seconds: float | None) -> Answer:
        connection = self._connection or self._start()
        try:
            connection.send((method, arguments))
            if not connection.poll(seconds):
                raise TimeoutError
            is_done, answer = connection.recv()
        except (EOFError, OSError) as error:
            self._stop()
            reason = (
                "it takes too long" if isinstance(error, TimeoutError) else "it takes too much time or memory"
            )
            raise ProcessStopped(f"stopped: {reason}") from None
        if not is_done:
            self._stop()
            raise ProcessStopped(str(answer))
        assert isinstance(answer, kind)  # noqa: S101 - both sides are our own
        return answer

    def _start(self) -> Connection:
        if self._is_closed:
            raise ProcessStopped("stopped: the preview has ended")
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "mailer.preview.campaign_service", str(theirs.fileno())]
            # A session of its own: a signal for the terminal's process group is for the parent alone.
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._connection = Connection(os.dup(ours.fileno()))
        ours.close()
        return self._connection

    def _stop(self) -> None:
        self._is_loaded = False
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
