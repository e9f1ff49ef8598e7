"""What was written, and the replies that are owed for it, in order. Everything else in a session rests on this.

A reply belongs to the oldest command that has none: that is all the matching SMTP has (RFC 2920, section 3.1), so a
reply too many or too late makes every later one wrong, and ends the session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol.reply import Reply

Handler = Callable[[Reply], None]
Trace = Callable[[str, str], None]  # direction ("C", "S" or "*"), a line without secrets


class Exchange:
    """Offsets count the octets written to the session, before TLS."""

    def __init__(self, trace: Trace | None = None) -> None:
        self.trace = trace
        self.expected: deque[tuple[Handler, int]] = deque()  # what takes the reply, and where its command ends
        self.end = 0  # of everything that was written
        self.left = 0  # what may have left this machine: an upper bound
        self.pending = 0  # octets that nobody took yet
        self.since = 0.0  # the moment from which the reply that is due may be waited for
        self.strays = 0  # refusals that nothing asked for and that are forgiven; see stream.py
        self._out: list[bytes] = []

    def command(self, line: bytes, handler: Handler, *, shown: str | None = None) -> None:
        """Write a command. `shown` stands for it in traces, where it has a secret."""
        if self.trace is not None:
            self.trace("C", shown or line[:-2].decode("utf-8", "replace"))
        self._write(line)
        self.expected.append((handler, self.end))

    def commands(self, lines: list[bytes], handlers: list[Handler]) -> None:
        """Write several; the content that may follow belongs to the last one."""
        for line, handler in zip(lines, handlers, strict=True):
            self.command(line, handler)

    def content(self, octets: bytes, handler: Handler | None = None) -> None:
        """Write content. With `handler` a reply is owed for it; without, it belongs to the command before (BDAT)."""
        if self.trace is not None:
            self.trace("*", f"{len(octets)} octets of content")
        self._write(octets)
        if handler is None:
            handler, _ = self.expected.pop()
        self.expected.append((handler, self.end))

    def _write(self, octets: bytes) -> None:
        self._out.append(octets)
        self.pending += len(octets)
        self.end += len(octets)

    def take(self, now: float) -> bytes:
        """Everything that is to be written."""
        if not self._out:
            return b""
        if self.expected[0][1] > self.end - self.pending:  # nothing older is waited for
            self.since = now
        data = b"".join(self._out) if len(self._out) > 1 else self._out[0]
        self._out.clear()
        self.pending = 0
        return data

    def wrote(self, left: int, now: float) -> None:
        """Octets up to `left` may have left. While the command that is due is leaving, its time does not run."""
        if self.expected and self.left < self.expected[0][1]:
            self.since = now
        self.left = left

    def answer(self, reply: Reply, now: float) -> None:
        """Give the reply to what it belongs to. ProtocolViolation when it belongs to nothing."""
        if not self.expected or self.expected[0][1] > self.end - self.pending:
            if self.strays and reply.is_permanent:
                self.strays -= 1
                return
            raise ProtocolViolation(f"the server sent a reply that nothing asked for: {reply}")
        handler, _ = self.expected.popleft()
        self.since = now
        handler(reply)

    def expect_again(self, handler: Handler) -> None:
        """The reply that was just given to `handler` was not the one to its command: that one is due next."""
        self.expected.appendleft((handler, self.end))
