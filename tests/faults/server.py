"""An SMTPS server that breaks at the place it is given, and remembers exactly what it accepted.

It is the model server on sockets, in a thread of its own, with one TLS certificate and one login.
`Fault` says at which occurrence of which step it breaks, and how; `script` may answer any step with a line of its
own. What it accepted is recorded at the instant where a real server would have put it on disk: before the reply.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mailer.sandbox.server import create_server_context
from tests.smtp.model_server import Behaviour, Login, ModelServer, make_reply

USERNAME, PASSWORD = "faults", "s3cret-Pa55"

STRATEGIES = {"sequential": (), "pipelined": ("PIPELINING",), "streamed": ("PIPELINING", "CHUNKING")}
KINDS = ("drop", "reset", "silence", "421", "4xx")


@dataclass(frozen=True)
class Fault:
    """Break at occurrence `nth` (from 1) of `step`, `times` in a row.

    `moment`: "before" (instead of the reply), "middle" (after half of the reply, or of the content), "after".
    Step "accepted" is the final dot or BDAT LAST, when the message is already the server's: the dangerous one.
    """

    step: str  # greeting ehlo starttls auth mail rcpt data content accepted quit
    kind: str
    moment: str = "before"
    nth: int = 1
    times: int = 1


@dataclass(frozen=True)
class Accepted:
    sender: str
    recipients: tuple[str, ...]
    digest: str
    message_id: str
    session: int


@dataclass(frozen=True)
class Step:
    """What a script is asked about."""

    name: str
    argument: str  # the address, for mail and rcpt
    count: int  # how often this step came, in all sessions
    session: int  # which session, from 1
    in_session: int  # messages accepted in this session so far


@dataclass
class FaultServer:
    strategy: str = "streamed"
    faults: tuple[Fault, ...] = ()
    script: Callable[[Step], str | None] = lambda _step: None
    extensions: tuple[str, ...] = ("8BITMIME", "SIZE 30000000", "ENHANCEDSTATUSCODES")
    security: str = "tls"
    delay: float = 0.0  # seconds that each message of a session takes, from the reply to the one before
    idle: float | None = None  # a quiet server: closes a session after so many seconds without a command
    accepted: list[Accepted] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    logins: int = 0
    refused_logins: int = 0
    sessions: int = 0
    open_now: int = 0
    port: int = 0
    host: str = "127.0.0.1"  # the address it listens on
    password: str = PASSWORD
    mechanism: str = "PLAIN"  # or XOAUTH2, with the password as its token

    def __post_init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._folder = tempfile.TemporaryDirectory(prefix="faults-")
        self.context, self.ca_file = create_server_context(Path(self._folder.name))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life

    def __enter__(self) -> FaultServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self.discard()

    def discard(self) -> None:
        """Of a server that does not run."""
        self._loop.close()
        self._folder.cleanup()

    def refuse_connections(self) -> None:
        """From now on no connection is accepted; open ones stay."""
        self._loop.call_soon_threadsafe(self._server.close)

    async def _start(self) -> None:
        tls = self.context if self.security == "tls" else None
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=tls, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open_now += 1
        self.sessions += 1
        try:
            await self._converse(_Session(self, self.sessions), reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.open_now -= 1
            self._tasks.discard(task)
            writer.close()

    async def _converse(
        self, session: _Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            writer.write(session.take_out())
            await writer.drain()
            if session.closed:
                await _end_connection(session.end, reader, writer)
                return
            if session.pause is not None:
                await asyncio.sleep(session.pause)
                session.resume()
            elif session.wants_tls:
                await writer.start_tls(self.context)
                session.start_tls()
            elif data := await asyncio.wait_for(reader.read(1 << 16), self.idle):
                session.feed(data)
            else:
                return

    # -- what a test asks

    def times(self) -> Counter[str]:
        """How often each recipient's message was accepted."""
        return Counter(address for message in self.accepted for address in message.recipients)

    @property
    def duplicates(self) -> int:
        """Messages taken more often than once, counted once for each surplus copy (by Message-ID)."""
        ids = Counter(message.message_id for message in self.accepted)
        return sum(count - 1 for count in ids.values())


class _Session(ModelServer):
    """One session: the model server with the faults, the script and the delay of its `server`.

    What the owner of the socket has to do is in `pause` (seconds to wait, then `resume`) and, once it is closed, in
    `end`: how the connection ends.
    """

    def __init__(self, server: FaultServer, number: int) -> None:
        self.server, self.number = server, number
        self.in_session = 0
        self.due = 0.0  # when the last message was done, by the loop's clock
        self.pause: float | None = None
        self.end = "drop"
        self.content_fault: Fault | None = None
        behaviour = Behaviour(
            pipelining="PIPELINING" in STRATEGIES[server.strategy],
            chunking="CHUNKING" in STRATEGIES[server.strategy],
            login=Login(server.mechanism, USERNAME, server.password),
        )
        super().__init__(behaviour)

    # -- the dialogue

    def list_offers(self) -> list[str]:
        offers = [*super().list_offers(), *self.server.extensions]
        if self.is_secure or self.server.security != "starttls":
            return [*offers, f"AUTH {self.server.mechanism} LOGIN"]
        return [*offers, "STARTTLS"]

    def check_login(self, is_right: bool) -> None:
        self.server.logins += 1
        self.server.refused_logins += not is_right
        super().check_login(is_right)

    def take_step(self) -> bool:
        if self.pause is not None:
            return False
        done = super().take_step()
        self.server.commands += [line.decode("utf-8", "replace") for line in self.lines]
        self.lines.clear()
        return done

    def begin_content(self) -> None:
        fault = self.content_fault = self._count("content")
        if fault and fault.moment == "before":
            self._break(fault)

    def read_data(self) -> bool:
        self._break_in_the_middle(self.buffer.count(b"\r\n") > 5)
        return not self.closed and super().read_data()

    def read_chunk(self) -> bool:
        self._break_in_the_middle(self.last and len(self.buffer) >= self.chunk // 2)
        return not self.closed and super().read_chunk()

    def _break_in_the_middle(self, is_there: bool) -> None:
        if is_there and self.content_fault and self.content_fault.moment == "middle":
            self._break(self.content_fault)

    # -- the message

    def decide(self, content: bytes) -> None:
        """Wait so that a busy session takes one message in each `delay`, whatever this process's own work takes."""
        delay = self.server.delay
        if not delay:
            self._take_message(content)
            return
        now = asyncio.get_running_loop().time()
        was_busy = now - self.due < delay
        self.due = max(self.due + delay, now) if was_busy else now + delay
        self.pause, self.content = self.due - now, content

    def resume(self) -> None:
        """The pause is over."""
        self.pause = None
        self._take_message(self.content or b"")
        self.feed(b"")

    def _take_message(self, content: bytes) -> None:
        sender, recipients = (
            (self.sender or b"").decode(),
            tuple(address.decode() for address in self.recipients),
        )
        self.forget()
        fault, self.content_fault = self.content_fault, None
        if fault and fault.kind == "4xx":
            self.say(451, "4.3.0 not now")
        elif fault:
            self._break(fault)
        elif (line := self._ask_script("content", recipients[0])) is not None:
            self._say_line(line)
        elif self._find_fault("accepted", 1, "4xx"):
            self.server.counts["accepted"] += 1
            self.say(451, "4.3.0 not now")
        else:
            self._accept(sender, recipients, content)

    def _accept(self, sender: str, recipients: tuple[str, ...], content: bytes) -> None:
        found = re.search(rb"^Message-ID:\s*(\S+)", content, re.IGNORECASE | re.MULTILINE)
        digest = hashlib.sha256(re.sub(rb"(?m)^Date:.*$", b"", content)).hexdigest()
        message_id = found[1].decode() if found else ""
        self.server.accepted.append(Accepted(sender, recipients, digest, message_id, self.number))
        self.in_session += 1
        self.answer("accepted", b"", make_reply(250, f"2.0.0 Ok: queued as {len(self.server.accepted):X}"))

    # -- replies and breaks

    def answer(self, step: str, argument: bytes, reply: bytes) -> bool:
        fault = self._count(step)
        if fault and fault.kind == "4xx":
            self.say(451, "4.3.0 not now")
            return False
        if fault and fault.moment == "middle":
            self.out += reply[: len(reply) // 2 - 1]
        if fault and fault.moment != "after":
            self._break(fault)
            return False
        own = self._ask_script(step, argument.decode())
        if own is None:
            self.out += reply
        else:
            self._say_line(own)
        if fault and not self.closed:
            self._break(fault)
        return not self.closed and (own is None or own[0] in "23")

    def _say_line(self, line: str) -> None:
        """Say what a script wants to be said, instead of a reply."""
        if line != "DROP":
            self.out += line.encode() + b"\r\n"
        if line == "DROP" or line.startswith("421"):
            self.closed = True

    def _break(self, fault: Fault) -> None:
        if fault.kind == "421":
            self.say(421, "4.3.2 faults.example.com shutting down")
        self.closed, self.end = True, fault.kind

    def _count(self, step: str) -> Fault | None:
        self.server.counts[step] += 1
        return self._find_fault(step)

    def _find_fault(self, step: str, ahead: int = 0, kind: str | None = None) -> Fault | None:
        count = self.server.counts[step] + ahead
        for fault in self.server.faults:
            is_due = fault.nth <= count < fault.nth + fault.times
            if fault.step == step and is_due and kind in (None, fault.kind):
                return fault
        return None

    def _ask_script(self, name: str, argument: str) -> str | None:
        self.server.counts[f"script {name}"] += 1
        count = self.server.counts[f"script {name}"]
        return self.server.script(Step(name, argument, count, self.number, self.in_session))


async def _end_connection(how: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if how == "silence":
        while await reader.read(1 << 16):
            pass
    elif how == "reset":
        plain = writer.transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
