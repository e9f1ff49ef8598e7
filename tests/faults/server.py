"""An SMTPS server that breaks at the place it is given, and remembers exactly what it accepted.

It is a plain, strict server (RFC 5321, 2920, 3030) in a thread of its own, with one TLS certificate and one login.
`Fault` says at which occurrence of which step it breaks, and how; `script` may answer any step with a line of its
own. What it accepted is recorded at the instant where a real server would have put it on disk: before the reply.
"""

from __future__ import annotations

import asyncio
import base64
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


class Broken(Exception):
    """The session is over."""


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
            await _Session(self, reader, writer, self.sessions).run()
        except (
            Broken,
            OSError,
            asyncio.IncompleteReadError,
            asyncio.CancelledError,
            asyncio.LimitOverrunError,
        ):
            pass
        finally:
            self.open_now -= 1
            self._tasks.discard(task)
            writer.close()

    # -- what a test asks

    def times(self) -> Counter[str]:
        """How often each recipient's message was accepted."""
        return Counter(address for message in self.accepted for address in message.recipients)

    @property
    def duplicates(self) -> int:
        """Messages taken more often than once, counted once for each surplus copy (by Message-ID)."""
        ids = Counter(message.message_id for message in self.accepted)
        return sum(count - 1 for count in ids.values())


class _Session:
    def __init__(
        self, server: FaultServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.server, self.reader, self.writer, self.number = server, reader, writer, number
        self.in_session = 0
        self.due = 0.0  # when the last message was done, by the loop's clock
        self.logged_in = False
        self.secure = server.security == "tls"
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.chunks = b""

    async def run(self) -> None:
        await self.reply("greeting", "", "220 faults.example.com ESMTP")
        while True:
            line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), self.server.idle)
            text = line[:-2].decode("utf-8", "replace")
            self.server.commands.append(text)
            verb, _, argument = text.partition(" ")
            handler = getattr(self, f"do_{verb.lower()}", None)
            if handler is None:
                await self.send("502 5.5.1 what?")
            else:
                await handler(argument)

    # -- commands

    async def do_ehlo(self, _argument: str) -> None:
        lines = ["faults.example.com", *STRATEGIES[self.server.strategy], *self.server.extensions]
        if self.secure or self.server.security == "none":
            lines.append(f"AUTH {self.server.mechanism} LOGIN")
        elif self.server.security == "starttls":
            lines.append("STARTTLS")
        self.reset()
        await self.reply(
            "ehlo", "", "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])
        )

    async def do_starttls(self, _argument: str) -> None:
        await self.reply("starttls", "", "220 2.0.0 go ahead")
        await self.writer.start_tls(self.server.context)
        self.secure = True

    async def do_auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() != self.server.mechanism:
            await self.send(f"504 5.5.4 only {self.server.mechanism}")
            return
        if not initial:
            await self.send("334 ")
            initial = (await self.reader.readuntil(b"\r\n")).strip().decode()
        decoded = base64.b64decode(initial).decode()
        if mechanism.upper() == "XOAUTH2":
            user, password = re.fullmatch("user=(.*)\x01auth=Bearer (.*)\x01\x01", decoded).groups()  # type: ignore[union-attr]
        else:
            _, user, password = decoded.split("\0")
        self.server.logins += 1
        if (user, password) == (USERNAME, self.server.password):
            self.logged_in = True
            await self.reply("auth", user, "235 2.7.0 welcome")
        else:
            self.server.refused_logins += 1
            await self.send("535 5.7.8 wrong")

    async def do_mail(self, argument: str) -> None:
        if not self.logged_in:
            await self.send("530 5.7.0 log in first")
        elif self.sender is not None:
            await self.send("503 5.5.1 nested MAIL")
        elif await self.reply("mail", _address(argument), "250 2.1.0 ok"):
            self.sender = _address(argument)

    async def do_rcpt(self, argument: str) -> None:
        if self.sender is None:
            await self.send("503 5.5.1 MAIL first")
        elif await self.reply("rcpt", _address(argument), "250 2.1.5 ok"):
            self.recipients.append(_address(argument))

    async def do_data(self, _argument: str) -> None:
        if not self.recipients:
            await self.send(
                "503 5.5.1 RCPT first" if self.sender is None else "554 5.5.1 no valid recipients"
            )
            return
        if not await self.reply("data", "", "354 go on"):
            return
        fault = await self.content_fault()
        lines = []
        while (line := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
            if fault and fault.moment == "middle" and len(lines) > 5:
                await self.break_(fault)
        await self.take(b"".join(lines), fault)

    async def do_bdat(self, argument: str) -> None:
        size, _, last = argument.partition(" ")
        fault = await self.content_fault() if last else None
        if fault and fault.moment == "middle":
            await self.reader.readexactly(int(size) // 2)
            await self.break_(fault)
        content = await self.reader.readexactly(int(size))
        if not self.recipients:
            await self.send("503 5.5.1 RCPT first")
        elif last.upper() != "LAST":
            self.chunks += content
            await self.send("250 2.0.0 chunk")
        else:
            await self.take(self.chunks + content, fault)

    async def do_rset(self, _argument: str) -> None:
        self.reset()
        await self.send("250 2.0.0 reset")

    async def do_noop(self, _argument: str) -> None:
        await self.send("250 2.0.0 ok")

    async def do_quit(self, _argument: str) -> None:
        await self.reply("quit", "", "221 2.0.0 bye")
        raise Broken

    # -- the message

    async def content_fault(self) -> Fault | None:
        fault = self.fault("content")
        if fault and fault.moment == "before":
            await self.break_(fault)
        return fault

    async def take(self, content: bytes, fault: Fault | None) -> None:
        sender, recipients = self.sender or "", tuple(self.recipients)
        self.reset()
        await self.wait_for_delay()
        if fault and fault.moment == "after":
            if fault.kind == "4xx":
                await self.send("451 4.3.0 not now")
                return
            await self.break_(fault)
        if (line := self.scripted("content", recipients[0])) is not None:
            await self.send(line)
            return
        if self.fault_at("accepted", 1, "4xx"):
            self.server.counts["accepted"] += 1
            await self.send("451 4.3.0 not now")
            return
        found = re.search(rb"^Message-ID:\s*(\S+)", content, re.IGNORECASE | re.MULTILINE)
        self.server.accepted.append(
            Accepted(
                sender,
                recipients,
                hashlib.sha256(re.sub(rb"(?m)^Date:.*$", b"", content)).hexdigest(),
                found[1].decode() if found else "",
                self.number,
            )
        )
        self.in_session += 1
        await self.reply("accepted", "", f"250 2.0.0 Ok: queued as {len(self.server.accepted):X}")

    async def wait_for_delay(self) -> None:
        """Wait so that a busy session takes one message in each `delay`, whatever this process's own work takes."""
        delay = self.server.delay
        if delay:
            now = asyncio.get_running_loop().time()
            was_busy = now - self.due < delay
            self.due = max(self.due + delay, now) if was_busy else now + delay
            await asyncio.sleep(self.due - now)

    def reset(self) -> None:
        self.sender, self.recipients, self.chunks = None, [], b""

    # -- replies and breaks

    def fault_at(self, step: str, ahead: int = 0, kind: str | None = None) -> Fault | None:
        count = self.server.counts[step] + ahead
        for fault in self.server.faults:
            if (
                fault.step == step
                and fault.nth <= count < fault.nth + fault.times
                and kind in (None, fault.kind)
            ):
                return fault
        return None

    def fault(self, step: str) -> Fault | None:
        self.server.counts[step] += 1
        return self.fault_at(step)

    def scripted(self, name: str, argument: str) -> str | None:
        self.server.counts[f"script {name}"] += 1
        count = self.server.counts[f"script {name}"]
        return self.server.script(Step(name, argument, count, self.number, self.in_session))

    async def reply(self, step: str, argument: str, line: str) -> bool:
        """Answer a step, or break; True when the step was granted."""
        fault = self.fault(step)
        if fault and fault.kind == "4xx":
            await self.send("451 4.3.0 not now")
            return False
        if fault and fault.moment == "before":
            await self.break_(fault)
        if fault and fault.moment == "middle":
            self.writer.write(line[: len(line) // 2].encode())
            await self.writer.drain()
            await self.break_(fault)
        own = self.scripted(step, argument)
        await self.send(own or line)
        if fault:
            await self.break_(fault)
        return own is None or own[0] in "23"

    async def send(self, line: str) -> None:
        if line == "DROP":
            raise Broken
        self.writer.write(line.encode() + b"\r\n")
        await self.writer.drain()
        if line.startswith("421"):
            raise Broken

    async def break_(self, fault: Fault) -> None:
        if fault.kind == "silence":
            while await self.reader.read(1 << 16):
                pass
        elif fault.kind == "reset":
            transport = self.writer.transport
            plain = transport.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        elif fault.kind == "421":
            await self.send("421 4.3.2 faults.example.com shutting down")
        raise Broken


def _address(argument: str) -> str:
    found = re.search(r"<([^>]*)>", argument)
    return found[1] if found else argument
