"""Scripted conversations with the sans-IO core: what each side says, to the octet, in order.

    C: a line that the client must write        S: a line that the server says
    T: the TLS handshake                        E: the server closes
    -: nothing more is written                  L: the deadline passes
    W: so many seconds pass

A block of C lines must be exactly what the client writes before the next S block is fed. `$N` stands for message N's
content, a whole line of it: its octets without another CRLF. Every script is run three ways: a block of replies whole,
octet by octet, and with the beginning of the next block attached.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mailer.errors import ServerError
from mailer.smtp.protocol.events import Event, NoopAnswered
from mailer.smtp.protocol.opening import ClientSettings
from mailer.smtp.protocol.session import SmtpSession
from mailer.smtp.protocol.states import State
from mailer.smtp.protocol.values import (
    NOTHING_LEARNED,
    Login,
    ServerTraits,
    Strategy,
    Transaction,
    TransactionResult,
)

FEEDINGS = ("whole", "octets", "trailing")
OPENING = """\
S: 220 server.example ESMTP
C: EHLO client.example
S: 250-server.example
"""
STREAMED = "S: 250-PIPELINING\nS: 250 CHUNKING\n"
PIPELINED = "S: 250 PIPELINING\n"
SEQUENTIAL = "S: 250 HELP\n"


def message(
    n: int, *, sender: str | None = None, recipients: Sequence[str] = (), content: bytes = b""
) -> Transaction:
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

    session: SmtpSession
    written: bytes = b""
    now: float = 100.0
    trace: list[tuple[str, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def failure(self) -> ServerError | None:
        """Why the session ended."""
        return self.session.end.error if self.session.end is not None else None

    @property
    def results(self) -> list[TransactionResult]:
        return [event for event in self.events if isinstance(event, TransactionResult)]

    @property
    def noops_answered(self) -> int:
        return sum(isinstance(event, NoopAnswered) for event in self.events)

    @property
    def outcomes(self) -> dict[object, tuple[str, int | None]]:
        """Message number -> (stage, code); each only once."""
        found = {r.transaction.context: (r.stage, r.reply.code if r.reply else None) for r in self.results}
        assert len(found) == len(self.results)
        return found

    @property
    def unfinished(self) -> tuple[list[object], list[object]]:
        unsent, in_doubt = self.session.list_unfinished()
        return [t.context for t in unsent], [t.context for t in in_doubt]

    def receive(self, data: bytes) -> None:
        self.events += self.session.receive(data, self.now)

    def submit(self, *messages: Transaction, is_held: bool = False) -> None:
        for transaction in messages:
            if (result := self.session.submit(transaction, is_held=is_held)) is not None:
                self.events.append(result)

    def submit_waiting(self, waiting: list[Transaction], *, is_held: bool) -> None:
        """As soon as the session is open."""
        while waiting and self.session.state is State.READY:
            self.submit(waiting.pop(0), is_held=is_held)

    def pump(self) -> bytes:
        """Everything that the client writes now."""
        found = b""
        while data := self.session.data_to_send(self.now):
            found += data
            self.written += data
            self.session.bytes_sent(len(self.written), self.now)
        return found


def converse(
    script: str,
    messages: Sequence[Transaction] = (),
    *,
    feeding: str = "whole",
    timeout: float = 10.0,
    starttls: bool = False,
    channel: str = "tls",
    login: Login | None = None,
    waits_to_log_in: bool = False,
    window: int | None = None,
    at_most: Strategy | None = None,
    traits: ServerTraits = NOTHING_LEARNED,
    trace: bool = False,
    is_held: bool = False,
    then: Callable[[Run], None] | None = None,
) -> Run:
    """Run a script. `messages` are submitted as soon as the session is open; `then` is called at a line `!:`.

    With `is_held`, their contents are to be permitted in `then`.
    """
    settings = ClientSettings(
        "server.example",
        "client.example",
        starttls=starttls,
        channel=channel,  # type: ignore[arg-type] # the scripts' word
        login=login,
        waits_to_log_in=waits_to_log_in,
        timeout=timeout,
        window=window,
        strategy_at_most=at_most,
        traits=traits,
    )
    log: list[tuple[str, str]] = []
    run = Run(
        SmtpSession(settings, trace=(lambda who, line: log.append((who, line))) if trace else None), trace=log
    )
    run.session.start(run.now)
    waiting = list(messages)
    blocks = parse(script, messages)
    held = b""  # of a block that is fed together with the one before
    for position, (who, octets) in enumerate(blocks):
        run.submit_waiting(waiting, is_held=is_held)
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
        elif who == "W":
            run.now += float(octets)
        elif who == "T":
            assert run.session.state is State.HANDSHAKE
            run.session.complete_handshake(run.now)
        elif who == "E":
            run.events += run.session.receive_eof(run.now)
        elif who == "!":
            assert then is not None
            then(run)
        else:
            assert run.session.deadline is not None
            run.now = run.session.deadline
            run.events += run.session.handle_timeout(run.now)
    run.submit_waiting(waiting, is_held=is_held)
    if not run.session.is_closed:
        written = run.pump()
        assert written == b"", f"at the end: wrote {written!r}"
    return run


def feed(run: Run, data: bytes, feeding: str) -> None:
    pieces = [data[n : n + 1] for n in range(len(data))] if feeding == "octets" else [data]
    for piece in pieces:
        run.receive(piece)


def parse(script: str, messages: Sequence[Transaction]) -> list[tuple[str, bytes]]:
    """Lines of one side that follow each other become a block."""
    contents = {f"${t.context}": t.content for t in (*map(message, range(1, 10)), *messages)}
    blocks: list[tuple[str, bytes]] = []
    for raw in textwrap.dedent(script).splitlines():
        if not raw.strip():
            continue
        who, text = raw[0], raw[3:]
        octets = contents.get(text, text.encode("utf-8") + b"\r\n") if who in "CS" else b""
        if who == "W":
            octets = text.encode()
        if who in "CS" and blocks and blocks[-1][0] == who:
            blocks[-1] = (who, blocks[-1][1] + octets)
        else:
            blocks.append((who, octets))
    return blocks
