"""aiosmtpd's SMTP protocol, extended: PIPELINING (RFC 2920), CHUNKING (RFC 3030), ENHANCEDSTATUSCODES (RFC
2034).

It is a strict server, since a rehearsal should find what a strict server would refuse: bare CR or LF
(smuggling), NUL, lines over 998 octets.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session, syntax

from mailer.dataclass import dataclass
from mailer.sandbox.behavior import Behavior, FailurePlan
from mailer.sandbox.dialogue import DialogueLog

HOSTNAME = "sandbox.localhost"
SIZE_LIMIT = 35 * 1024 * 1024  # what large providers take: 25 MB of files, in base64
PIECE = 64 * 1024

# sender, recipients, content, client's name, the dialogue's id -> the name of the stored message
StoreMessage = Callable[[str, list[str], bytes, str, str], str]
RefuseRecipient = Callable[[str], str | None]  # a recipient's address -> a reply that refuses it, or None

# aiosmtpd logs each connection and every odd command; without a handler Python would print these to stderr.
logging.getLogger("mail.log").addHandler(logging.NullHandler())

# What aiosmtpd's own replies lack (RFC 3463).
ENHANCED = {
    b"250": b"2.0.0", b"221": b"2.0.0", b"252": b"2.0.0", b"500": b"5.5.2", b"501": b"5.5.4",
    b"502": b"5.5.1", b"503": b"5.5.1", b"504": b"5.5.4", b"552": b"5.3.4", b"553": b"5.1.3",
    b"554": b"5.5.0", b"555": b"5.5.4",
}  # fmt: skip
BARE_REPLY = re.compile(rb"([245]\d\d) (?!\d\.\d+\.\d+ )")
PATH = re.compile(r"<([^<>@\s\"\\]+@[^<>@\s\"\\]+)>(.*)", re.DOTALL)
CHUNK = re.compile(r"(\d{1,12})( LAST)?", re.IGNORECASE)


class CommandHandler:
    """aiosmtpd's hooks: they decide what is offered and accepted, and store messages."""

    def __init__(
        self,
        store_message: StoreMessage,
        refuse: RefuseRecipient | None,
        behavior: Behavior,
        plan: FailurePlan,
    ) -> None:
        self._store_message = store_message
        self._refuse = refuse
        self._behavior = behavior
        self._plan = plan

    async def handle_EHLO(
        self,
        server: SandboxProtocol,
        session: Session,
        _envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        if reply := self._plan.find_reply("ehlo"):
            return [reply]
        hidden = ("250 HELP",) if self._behavior.has_login else ("250 HELP", "250-AUTH")
        lines = [line for line in responses if not line.startswith(hidden)]
        lines += ["250-PIPELINING"] if self._behavior.has_pipelining else []
        lines += ["250-CHUNKING"] if self._behavior.has_chunking else []
        return [*lines, "250 ENHANCEDSTATUSCODES"]

    async def handle_MAIL(
        self,
        _server: SandboxProtocol,
        _session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if reply := self._plan.find_reply("mail", address):
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self,
        _server: SandboxProtocol,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if reply := (self._refuse and self._refuse(address)) or self._plan.find_reply("rcpt", address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    def accept_message(self, session: Session, envelope: Envelope, content: bytes, dialogue: str) -> str:
        """Store a whole message. The reply says under which name, or why it is refused."""
        if refusal := _find_fault(content) or self._plan.find_reply("data", envelope.rcpt_tos[0]):
            return refusal
        sender = "" if envelope.mail_from in (None, "<>") else str(envelope.mail_from)
        try:
            name = self._store_message(sender, envelope.rcpt_tos, content, str(session.host_name), dialogue)
        except OSError as error:
            return f"452 4.3.1 Not stored: {error.strerror}"
        return f"250 2.0.0 OK: caught as {name}"


def _find_fault(content: bytes) -> str | None:
    """Return what a strict server refuses in a message's bytes (RFC 5321 2.3.8 and 4.5.3.1.6)."""
    if not content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r"):
        return "550 5.6.0 Bare CR or LF in the message"
    if b"\0" in content:
        return "550 5.6.0 NUL in the message"
    if max(map(len, content.split(b"\r\n"))) > 998:
        return "550 5.6.0 A line is longer than 998 octets"
    return None


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What all sessions of a server share.

    `tls` is the context for STARTTLS, None if TLS is there from the start.
    """

    handler: CommandHandler
    behavior: Behavior
    plan: FailurePlan
    login: LoginPassword
    dialogues: DialogueLog
    tls: ssl.SSLContext | None


class SandboxProtocol(SMTP):
    """One session. `sessions` are those that are open; this one adds and removes itself."""

    # Set as long as a command runs; aiosmtpd calls each of them optional.
    session: Session
    envelope: Envelope
    transport: asyncio.Transport

    line_length_limit = PIECE  # the stream's buffer: aiosmtpd's 1001 octets would pause reading every 2 KB

    def __init__(
        self, settings: SessionSettings, sessions: set[SandboxProtocol], loop: asyncio.AbstractEventLoop
    ) -> None:
        behavior = settings.behavior
        super().__init__(
            settings.handler,
            data_size_limit=SIZE_LIMIT,
            enable_SMTPUTF8=True,
            hostname=HOSTNAME,
            ident="mailer sandbox (delivers no mail)",
            tls_context=settings.tls,
            require_starttls=settings.tls is not None,
            auth_required=behavior.has_login,
            authenticator=self._check_login,
            loop=loop,
        )
        self._auth_require_tls = (
            settings.tls is not None
        )  # aiosmtpd knows of STARTTLS only, not of TLS from the start
        self.command_size_limits = collections.defaultdict(lambda: 4096)  # RFC 4954: AUTH lines are long
        self._settings = settings
        self._sessions = sessions
        self._dialogue = settings.dialogues.open()
        self._smtp_methods = {
            name: self._record_command(name, method) for name, method in self._smtp_methods.items()
        }
        self._unsent = bytearray()
        self._has_plain_replies = False
        self._forget_chunks()

    def _check_login(
        self, _server: object, _session: object, _envelope: object, _mechanism: str, data: Any
    ) -> AuthResult:
        if reply := self._settings.plan.find_reply("auth"):
            return AuthResult(success=False, handled=False, message=reply)
        is_right = isinstance(data, LoginPassword) and data == self._settings.login
        return AuthResult(success=is_right, handled=False)

    def _record_command(
        self, name: str, method: Callable[[str], Awaitable[None]]
    ) -> Callable[[str], Awaitable[None]]:
        """Return `method` with the command first written into the dialogue, without the login's secret."""

        @wraps(method)
        async def run_command(argument: str | None) -> None:
            shown = argument or ""
            if name == "AUTH":
                mechanism, _, response = shown.partition(" ")
                shown = f"{mechanism} (hidden)" if response else mechanism
            self._dialogue.add(f"C: {name} {shown}".rstrip())
            await method(argument)  # type: ignore[arg-type]  # aiosmtpd passes None for no argument

        return run_command

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._sessions.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._sessions.discard(self)
        self._unsent.clear()  # no client reads it any more
        self._dialogue.add("(the connection has ended)")
        self._settings.dialogues.close(self._dialogue)
        super().connection_lost(error)

    # -- replies: those of one group of commands leave together (RFC 2920, 3.2) --

    async def push(self, status: str | bytes) -> None:
        line = status.encode("utf-8", "surrogateescape") if isinstance(status, str) else status
        if not self._has_plain_replies and (match := BARE_REPLY.match(line)) and match[1] in ENHANCED:
            line = match[1] + b" " + ENHANCED[match[1]] + line[3:]
        self._dialogue.add(f"S: {line.decode('utf-8', 'backslashreplace')}")
        if not self._unsent:
            if self._settings.behavior.delay:
                await asyncio.sleep(self._settings.behavior.delay)
            self.loop.call_soon(self._flush)  # runs when the next command has not arrived yet
        self._unsent += line + b"\r\n"
        if not line.startswith(b"250"):  # aiosmtpd may close right behind it
            self._flush()
        if line.startswith(b"421"):  # RFC 5321, 3.8: the server closes the session
            self.transport.close()
        await self._writer.drain()

    def _flush(self) -> None:
        if self._unsent and not self._writer.is_closing():
            self._writer.write(bytes(self._unsent))
        self._unsent.clear()

    async def smtp_EHLO(self, hostname: str) -> None:
        """RFC 5321, 4.1.1.1."""
        await self._omit_enhanced_codes(super().smtp_EHLO(hostname))

    async def smtp_HELO(self, hostname: str) -> None:
        await self._omit_enhanced_codes(super().smtp_HELO(hostname))

    async def _omit_enhanced_codes(self, command: Any) -> None:
        """RFC 2034, 4: neither the greeting nor the replies to EHLO and HELO carry an enhanced code."""
        self._has_plain_replies = True
        try:
            await command
        finally:
            self._has_plain_replies = False

    # -- addresses --

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """Read a plain path fast; quotes and routes need the library's parser, which is 100 times slower."""
        if match := PATH.fullmatch(arg.strip()):
            return match[1], match[2]
        address: tuple[str | None, str | None] = super()._getaddr(arg)
        return address

    # -- content --

    def _set_post_data_state(self) -> None:
        super()._set_post_data_state()  # type: ignore[no-untyped-call]  # aiosmtpd's has no annotations
        self._forget_chunks()

    def _forget_chunks(self) -> None:
        self._chunks = bytearray()
        self._chunking = False  # a BDAT of this transaction was seen
        self._chunk_fault: str | None = None

    @syntax("RCPT TO: <address>", extended=" [SP <mail-parameters>]")
    async def smtp_RCPT(self, arg: str | None) -> None:
        if self._chunking:
            await self.push("503 5.5.1 RCPT after BDAT")
        else:
            await super().smtp_RCPT(arg)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
        elif self._chunking:
            await self.push("503 5.5.1 DATA after BDAT")
        elif not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 DATA without a valid RCPT")
        else:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            content = await self._read_dotted()
            self._dialogue.add(f"C: ({len(content or b''):,} octets, .)")
            await self._finish_message(content)

    async def _read_dotted(self) -> bytes | None:
        """Return the message up to the lone dot, unstuffed (RFC 5321, 4.5.2); None if it is too large."""
        data = bytearray(b"\r\n")
        over = False
        while not data.endswith(b"\r\n.\r\n"):
            try:
                data += await self._reader.readuntil(b".\r\n")
            except asyncio.LimitOverrunError as long:
                data += await self._reader.read(long.consumed)
            if len(data) > SIZE_LIMIT:
                over = True
                del data[:-5]
        return None if over else bytes(data[:-3].replace(b"\r\n.", b"\r\n")[2:])

    @syntax("BDAT <octets> [LAST]")
    async def smtp_BDAT(self, arg: str | None) -> None:
        match = CHUNK.fullmatch(arg or "")
        if match is None:
            # The end of the chunk is not known, so nothing that follows can be understood.
            await self.push("501 5.5.4 Syntax: BDAT octets [LAST]")
            self.transport.close()
            return
        size, last = int(match[1]), bool(match[2])
        self._dialogue.add(f"C: ({size:,} octets)")
        if self._chunk_fault is None:
            self._chunk_fault = self._find_refusal(size)
        chunk = await self._read_chunk(size)
        self._chunking = True
        if self._chunk_fault:
            # RFC 3030, 2: chunks already under way are swallowed; as in Postfix, LAST ends the transaction.
            await self.push(self._chunk_fault)
            if last:
                self._set_post_data_state()
        elif last:
            await self._finish_message(bytes(self._chunks + chunk) if self._chunks else chunk)
        else:
            self._chunks += chunk
            await self.push(f"250 2.0.0 {size} octets")

    def _find_refusal(self, size: int) -> str | None:
        if self._settings.behavior.has_login and not self.session.authenticated:
            return "530 5.7.0 Authentication required"
        if not self.envelope.mail_from:
            return "503 5.5.1 BDAT without MAIL"
        if not self.envelope.rcpt_tos:
            return "503 5.5.1 BDAT without a valid RCPT"
        if len(self._chunks) + size > SIZE_LIMIT:
            return "552 5.3.4 Too much mail data"
        return None

    async def _read_chunk(self, size: int) -> bytes:
        """Read `size` octets from the stream. Return them, or nothing if the chunk is refused."""
        pieces = []
        while size:
            piece = await self._reader.read(min(size, PIECE))
            if not piece:
                raise ConnectionResetError("the client closed within a chunk")
            size -= len(piece)
            if not self._chunk_fault:
                pieces.append(piece)
        return b"".join(pieces)

    async def _finish_message(self, content: bytes | None) -> None:
        envelope = self.envelope
        self._set_post_data_state()
        if self.transport.is_closing():  # after a 421 nothing more is accepted
            return
        if content is None:
            await self.push("552 5.3.4 Too much mail data")
            return
        reply = self._settings.handler.accept_message(self.session, envelope, content, self._dialogue.id)
        if self._settings.plan.is_dropped():
            self._dialogue.add("(the connection is cut before the reply)")
            self._flush()
            self.transport.close()
        else:
            await self.push(reply)
