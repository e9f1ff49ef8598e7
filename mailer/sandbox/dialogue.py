"""The SMTP dialogue of each session, as the inbox page shows it. Bounded in lines; passwords are left out."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from dataclasses import field
from pathlib import Path

from mailer.dataclass import dataclass

MAX_SESSIONS = 100  # kept in memory and in files, the newest
MAX_LINES = 4_000  # of one session; what happens after them is counted
MAX_LINE = 500  # characters

_NAME = re.compile(r"[0-9A-Za-z-]{1,60}")


@dataclass(slots=True)
class Dialogue:
    """One session's lines, `C: ` from the client and `S: ` from the server."""

    id: str
    started: float
    lines: list[str] = field(default_factory=list)
    left_out: int = 0

    def add(self, line: str) -> None:
        """Record a line. Beyond MAX_LINES it is only counted."""
        if len(self.lines) < MAX_LINES:
            self.lines.append(line[:MAX_LINE])
        else:
            self.left_out += 1

    def text(self) -> str:
        """Return the dialogue as it is shown."""
        more = [f"({self.left_out:,} more lines)"] if self.left_out else []
        return "\n".join([*self.lines, *more]) + "\n"


class DialogueLog:
    """The dialogues of a sandbox. They are written into `folder` when their sessions end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Dialogue] = {}
        self._files: deque[str] = deque()
        self._lock = threading.Lock()
        self._count = 0

    def open(self) -> Dialogue:
        """Return a new session's dialogue."""
        with self._lock:
            self._count += 1
            dialogue = Dialogue(f"{int(time.time())}-{os.getpid()}-{self._count}", time.time())
            self._open[dialogue.id] = dialogue
        return dialogue

    def close(self, dialogue: Dialogue) -> None:
        """Write the dialogue of a session that has ended; remove the oldest file if there are too many."""
        with self._lock:
            if self._open.pop(dialogue.id, None) is None:
                return
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                path = self._folder / f"{dialogue.id}.txt"
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(dialogue.text())
                self._files.append(dialogue.id)
                if len(self._files) > MAX_SESSIONS:
                    (self._folder / f"{self._files.popleft()}.txt").unlink(missing_ok=True)
            except OSError:
                return  # the dialogue is a help for a person; the messages are what counts

    def find_open(self, name: str) -> str | None:
        """Return the text so far of a session that has not ended, or None."""
        with self._lock:
            dialogue = self._open.get(name)
            return dialogue.text() if dialogue else None


def read_dialogue(folder: Path, name: str) -> str | None:
    """Return the dialogue of a session that has ended, or None."""
    if not _NAME.fullmatch(name):
        return None
    try:
        return (folder / f"{name}.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
