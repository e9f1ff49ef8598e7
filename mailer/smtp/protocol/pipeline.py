"""What was written, and the replies that are owed for it, in order. The rest of a session is built on this.

A reply belongs to the oldest command that has none. SMTP has no other way to match them (RFC 2920, section
3.1), so one reply too many, or one that comes too late, makes every later one wrong, and ends the session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mailer.errors import ProtocolViolation
from mailer.smtp.protocol.reply import Reply

ReplyHandler = Callable[[Reply], None]
Trace = Callable[[str, str], None]  # direction ("C", "S" or "*"), a line without secrets


class Pipeline:
    """The output of a session, and the queue of the replies that it is to get.

    Offsets count the octets of the whole output, before TLS. `written_offset` is the end of everything that
    was written, and `sent_offset` the end of what may have left this machine: an upper bound.
    """

    def __init__(self, trace: Trace | None = None) -> None:
        """`trace` is called with a direction ("C", "S" or "*") and each line, secrets blanked."""
        self.written_offset = 0
        self.sent_offset = 0
        self.buffered = 0  # octets written and not yet taken by data_to_send()
        self.waiting_since = 0.0  # the time from which the wait for the oldest reply counts
        self._trace = trace
        self._expected: deque[tuple[ReplyHandler, int]] = deque()  # its handler, and the end of its command
        self._ignored_refusals = 0
        self._output: list[bytes] = []

    @property
    def is_waiting(self) -> bool:
        """A command has no reply yet."""
        return bool(self._expected)

    @property
    def may_get_reply(self) -> bool:
        """The oldest command without a reply may have left this machine."""
        return bool(self._expected) and self._expected[0][1] <= self.sent_offset

    # -- writing --

    def note(self, text: str) -> None:
        """Add `text` to the trace, as a line that is not SMTP."""
        if self._trace is not None:
            self._trace("*", text)

    def write_command(self, line: bytes, handler: ReplyHandler, *, shown: str | None = None) -> None:
        """Write `line`, a command with its CRLF. Its reply goes to `handler`.

        `shown` replaces the line in traces, if it has a secret.
        """
        if self._trace is not None:
            self._trace("C", shown or line[:-2].decode("utf-8", "replace"))
        self._write(line)
        self._expected.append((handler, self.written_offset))

    def write_commands(self, lines: list[bytes], handlers: list[ReplyHandler]) -> None:
        """Write several command `lines`, each with the one of `handlers` that gets its reply.

        It is as if `write_command` wrote each of them, and takes less time.
        """
        offset = self.written_offset
        for line, handler in zip(lines, handlers, strict=True):
            if self._trace is not None:
                self._trace("C", line[:-2].decode("utf-8", "replace"))
            offset += len(line)
            self._expected.append((handler, offset))
        self._output += lines
        self.buffered += offset - self.written_offset
        self.written_offset = offset

    def write_content(self, octets: bytes, handler: ReplyHandler | None = None) -> None:
        """Write the `octets` of content.

        With a `handler` the content gets a reply of its own (DATA). Without one, the reply to the command
        before it comes after the content (BDAT).
        """
        if self._trace is not None:
            self._trace("*", f"{len(octets)} octets of content")
        self._write(octets)
        if handler is None:
            handler, _ = self._expected.pop()
        self._expected.append((handler, self.written_offset))

    def _write(self, octets: bytes) -> None:
        self._output.append(octets)
        self.buffered += len(octets)
        self.written_offset += len(octets)

    def data_to_send(self, now: float) -> bytes:
        """Return everything that is to be sent, and forget it; b"" if there is nothing.

        `now` is the time in seconds.
        """
        if not self._output:
            return b""
        if self._expected[0][1] > self.written_offset - self.buffered:  # no older command waits for its reply
            self.waiting_since = now
        data = b"".join(self._output) if len(self._output) > 1 else self._output[0]
        self._output.clear()
        self.buffered = 0
        return data

    def bytes_sent(self, offset: int, now: float) -> None:
        """Note that the output up to `offset`, in octets, may have left by `now`, in seconds.

        The wait does not count while the command itself leaves.
        """
        if self._expected and self.sent_offset < self._expected[0][1]:
            self.waiting_since = now
        self.sent_offset = offset

    # -- replies --

    def expect_greeting(self, handler: ReplyHandler, now: float) -> None:
        """Expect the first reply of a session, to which no command belongs. It goes to `handler`.

        `now` is the time in seconds from which the wait for it counts.
        """
        self.waiting_since = now
        self._expected.append((handler, 0))

    def expect_again(self, handler: ReplyHandler) -> None:
        """Expect another reply in place of the one that was just given to `handler`."""
        self._expected.appendleft((handler, self.written_offset))

    def ignore_refusals(self, count: int) -> None:
        """Ignore as many more 5xx replies that no command asked for as `count` says."""
        self._ignored_refusals = count

    def ignore_refusal(self, reply: Reply) -> bool:
        """Ignore `reply` if it is 5xx and one more refusal may be ignored.

        Return False if it is not ignored.
        """
        if not self._ignored_refusals or not reply.is_permanent:
            return False
        self._ignored_refusals -= 1
        return True

    def handle_reply(self, reply: Reply, now: float) -> None:
        """Give a reply to the handler of its command. `now` is the time at which it was read, in seconds.

        Raises ProtocolViolation if no command waits for one. What has not left this machine can be refused,
        as when a server ends a long content early, but it cannot be accepted.
        """
        left_offset = self.written_offset - self.buffered if reply.code >= 400 else self.sent_offset
        if not self._expected or self._expected[0][1] > left_offset:
            if self.ignore_refusal(reply):
                return
            raise ProtocolViolation(f"the server sent a reply that nothing asked for: {reply}")
        handler, _ = self._expected.popleft()
        self.waiting_since = now
        handler(reply)

    def restart_clock(self, now: float) -> None:
        """Count the wait for the next reply from `now` on, in seconds."""
        self.waiting_since = now
