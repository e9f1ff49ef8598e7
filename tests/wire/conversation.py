"""Scripted conversations with the sans-IO core: what each side says, to the octet, in order.

    C: a line that the client must write        S: a line that the server says
    T: the TLS handshake                        E: the server closes
    -: nothing more is written                  L: the deadline passes

A block of C lines must be exactly what the client writes before the next S block is fed. `$N` stands for message N's
content, a whole line of it: its octets without another CRLF. Every script is run three ways: a block of replies whole,
octet by octet, and with the beginning of the next block attached.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mailer.smtp.protocol.session import Protocol, Settings
from mailer.smtp.protocol.states import State
from mailer.smtp.protocol.values import Login, Strategy, Transaction, TransactionResult

FEEDINGS = ("whole", "octets", "trailing")
OPENING = """\
S: 220 server.example ESMTP
C: EHLO client.example
S: 250-server.example
"""
STREAMED = "S: 250-PIPELINING\nS: 250 CHUNKING\n"
PIPELINED = "S: 250 PIPELINING\n"
SEQUENTIAL = "S: 250 HELP\n"


def message(n: int, *, sender: str | None = None, recipients: Sequence[str] = (), content: bytes = b"") -> Transaction:
    """Message n: from s{n} to r{n}, two lines."""
    return Transaction(
        f"s{n}@example.com" if sender is None else sender,
        tuple(recipients) or (f"r{n}@example.com",),
        content or b"Subject: %d\r\n\r\nbody %d\r\n" % (n, n),
        context=n,
    )


@dataclass
class Run:
    """A conversation as it went."""

    protocol: Protocol
    written: bytes = b""
    now: float = 100.0
    trace: list[tuple[str, str]] = field(default_factory=list)

    @property
    def settled(self) -> list[TransactionResult]:
        return self.protocol.mailing.settled if self.protocol.mailing else []

    @property
    def outcomes(self) -> dict[object, tuple[str, int | None]]:
        """Message number -> (stage, code); each only once."""
        found = {s.transaction.context: (s.stage, s.reply.code if s.reply else None) for s in self.settled}
        assert len(found) == len(self.settled)
        return found

    @property
    def unsettled(self) -> tuple[list[object], list[object]]:
        assert self.protocol.mailing is not None
        untouched, doubtful = self.protocol.mailing.unfinished()
        return [t.context for t in untouched], [t.context for t in doubtful]

    def submit(self, waiting: list[Transaction]) -> None:
        """As soon as the session is open."""
        while waiting and self.protocol.state is State.READY and self.protocol.mailing is not None:
            self.protocol.mailing.submit(waiting.pop(0))

    def pump(self) -> bytes:
        """Everything that the client writes now."""
        found = b""
        while data := self.protocol.take(self.now):
            found += data
            self.written += data
            self.protocol.wrote(len(self.written), self.now)
        return found


def converse(
    script: str,
    messages: Sequence[Transaction] = (),
    *,
    feeding: str = "whole",
    starttls: bool = False,
    channel: str = "tls",
    login: Login | None = None,
    window: int | None = None,
    at_most: Strategy | None = None,
    trace: bool = False,
    then: Callable[[Run], None] | None = None,
) -> Run:
    """Run a script. `messages` are submitted as soon as the session is open; `then` is called at a line `!:`."""
    settings = Settings(
        "server.example",
        "client.example",
        starttls=starttls,
        channel=channel,  # type: ignore[arg-type] # the scripts' word
        login=login,
        timeout=10.0,
        window=window,
        strategy_at_most=at_most,
    )
    log: list[tuple[str, str]] = []
    run = Run(Protocol(settings, trace=(lambda who, line: log.append((who, line))) if trace else None), trace=log)
    run.protocol.begin(run.now)
    waiting = list(messages)
    blocks = parse(script, messages)
    held = b""  # of a block that is fed together with the one before
    for position, (who, octets) in enumerate(blocks):
        run.submit(waiting)
        written = run.pump()
        if who in "C-":
            assert written == octets, f"block {position}: wrote {written!r}, not {octets!r}"
            continue
        assert written == b"", f"block {position}: wrote {written!r} and nothing was expected"
        if who == "S":
            following = [data for kind, data in blocks[position + 1 :] if kind == "S"]
            ahead = following[0][:2] if feeding == "trailing" and following else b""
            feed(run, octets[len(held) :] + ahead, feeding)
            held = ahead
        elif who == "T":
            assert run.protocol.state is State.HANDSHAKE
            run.protocol.secured(run.now)
        elif who == "E":
            run.protocol.eof()
        elif who == "!":
            assert then is not None
            then(run)
        else:
            assert run.protocol.deadline is not None
            run.now = run.protocol.deadline
            run.protocol.overdue()
    run.submit(waiting)
    if not run.protocol.is_over:
        written = run.pump()
        assert written == b"", f"at the end: wrote {written!r}"
    return run


def feed(run: Run, data: bytes, feeding: str) -> None:
    pieces = [data[n : n + 1] for n in range(len(data))] if feeding == "octets" else [data]
    for piece in pieces:
        run.protocol.receive(piece, run.now)


def parse(script: str, messages: Sequence[Transaction]) -> list[tuple[str, bytes]]:
    """Lines of one side that follow each other become a block."""
    contents = {f"${t.context}": t.content for t in (*map(message, range(1, 10)), *messages)}
    blocks: list[tuple[str, bytes]] = []
    for raw in textwrap.dedent(script).splitlines():
        if not raw.strip():
            continue
        who, text = raw[0], raw[3:]
        octets = contents.get(text, text.encode("utf-8") + b"\r\n") if who in "CS" else b""
        if who in "CS" and blocks and blocks[-1][0] == who:
            blocks[-1] = (who, blocks[-1][1] + octets)
        else:
            blocks.append((who, octets))
    return blocks
