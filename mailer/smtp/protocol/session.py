"""An SMTP client session without I/O: octets in, octets out, time passed in (RFC 5321).

    protocol = Protocol(...)
    protocol.begin(now)
    while protocol.state is not State.CLOSED:
        write(protocol.take(now)); protocol.wrote(offset, now)
        protocol.receive(read(), now)                      or .eof(now), .fail(error)
        if protocol.state is State.HANDSHAKE: ...TLS...; protocol.secured(now)
        if now > protocol.deadline: protocol.overdue(now)

`receive` never raises for what a server does: that ends the session, and `failure` says why. What came before counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailer.errors import ConnectionLost, ProtocolViolation, ServerError, TlsError, Unreachable
from mailer.secret import make_blanker
from mailer.smtp.protocol import commands
from mailer.smtp.protocol.bdat_writer import Stream
from mailer.smtp.protocol.data_writer import Turns
from mailer.smtp.protocol.extensions import Extensions, read_extensions
from mailer.smtp.protocol.pipeline import Exchange, Handler, Trace
from mailer.smtp.protocol.reply import Reply, ReplyParser
from mailer.smtp.protocol.states import State, Step, after
from mailer.smtp.protocol.submission import Mailing
from mailer.smtp.protocol.values import Login, Strategy
from mailer.smtp.protocol.window import Window
from mailer.smtp.sasl import CANCEL, Channel, Dialogue, Mechanism, SaslError, candidates, refused

ENDING_SECONDS = 5.0  # for what a server still answers behind its 421
TURNS_WINDOW = 4  # messages at hand where only one or two are on their way


@dataclass(frozen=True, slots=True)
class Settings:
    """What the session is to be. `channel` says what carries it: a login needs TLS or loopback."""

    host: str
    ehlo_name: str
    starttls: bool = False
    channel: Channel = "tls"
    login: Login | None = None
    timeout: float = 60.0  # seconds for one whole reply
    window: int | None = None
    strategy_at_most: Strategy | None = None


class Protocol:
    def __init__(self, settings: Settings, *, trace: Trace | None = None) -> None:
        self.settings = settings
        self.state = State.GREETING
        self.failure: ServerError | None = None
        self.greeting = ""
        self.mechanism: str | None = None
        self.extensions = Extensions()
        self.mailing: Mailing | None = None  # from READY on
        self.noops_answered = 0
        self._noops = 0
        self._hello_line, self._old_hello_line = commands.ehlo(settings.ehlo_name), commands.helo(settings.ehlo_name)
        self._channel = settings.channel
        self._exchange = Exchange(trace)
        self._secrets = [settings.login.secret.reveal()] if settings.login else []
        self._parser = ReplyParser(seen=(lambda line: trace("S", line)) if trace else None)
        self._guard_secrets()
        self._mechanisms: list[Mechanism] = []

    # -- octets and time --

    def note(self, text: str) -> None:
        """Something for the trace that is not SMTP."""
        if self._exchange.trace is not None:
            self._exchange.trace("*", text)

    def begin(self, now: float) -> None:
        self._exchange.since = now
        self._expect(b"", self._on_greeting)

    @property
    def is_over(self) -> bool:
        return self.state is State.CLOSED

    def receive(self, data: bytes, now: float) -> None:
        if self.is_over:
            return
        if self.mailing is not None:
            self.mailing.now = now
        try:
            self._parser.feed(data)
            while not self.is_over and (reply := self._parser.next()) is not None:
                self._take_reply(reply, now)
        except ServerError as error:
            ending = self.mailing.ending if self.mailing is not None else None
            self.fail(self._ended(ending) if ending is not None else error)

    def eof(self) -> None:
        if self.state is State.QUITTING:
            self._close()
        elif self.state is State.ENDING and self.mailing is not None and self.mailing.ending is not None:
            self.fail(self._ended(self.mailing.ending))
        elif self.state is not State.CLOSED:
            self.fail(ConnectionLost(f"{self.settings.host} closed the connection"))

    def fail(self, error: ServerError) -> None:
        """The session is over."""
        if self.state is State.CLOSED:
            return
        self._close()
        self.failure = error
        if self.mailing is not None:
            violated = isinstance(error, ProtocolViolation)
            self.mailing.cap = self.mailing.cap or self.mailing.writer.cap_after_loss(violated=violated)
            self.mailing.give_up(violated=violated)

    def take(self, now: float) -> bytes:
        """What is to be written now."""
        if self.state is State.READY and self.mailing is not None:
            self.mailing.now = now
            self.mailing.writer.fill()
        elif self.state in (State.ENDING, State.CLOSED):
            return b""
        return self._exchange.take(now)

    def wrote(self, left: int, now: float) -> None:
        """Octets up to the offset `left`, counted over all that was taken, may have left the machine."""
        self._exchange.wrote(left, now)

    @property
    def taken(self) -> int:
        """The offset of the end of what was taken."""
        return self._exchange.end - self._exchange.pending

    @property
    def deadline(self) -> float | None:
        """When the reply that is due is late; None when none is due. A part of one does not extend it."""
        if self.state is State.ENDING:
            return self._exchange.since + min(ENDING_SECONDS, self.settings.timeout)
        if self.state is State.CLOSED or not self._exchange.expected:
            return None
        return self._exchange.since + self.settings.timeout

    def overdue(self) -> None:
        """The deadline has passed. A reply that came now would be taken for another one's: the session ends."""
        if self.state is State.ENDING and self.mailing is not None and self.mailing.ending is not None:
            # 421 says that the server closes (RFC 5321 3.8); behind another refusal of RSET it may yet take messages.
            self.mailing.goes_on = self.mailing.ending.code != 421
            self.eof()
        else:
            seconds = f"{self.settings.timeout:g}"
            self.fail(ConnectionLost(f"{self.settings.host} did not answer within {seconds} seconds"))

    # -- what a session is for --

    @property
    def strategy(self) -> Strategy:
        return self.mailing.writer.strategy if self.mailing is not None else Strategy.SEQUENTIAL

    @property
    def next_strategy(self) -> Strategy | None:
        return self.mailing.cap if self.mailing is not None else None

    def noop(self) -> int:
        """Write NOOP; when `noops_answered` has come to the number returned, it was answered."""
        self._expect(commands.NOOP, self._on_noop)
        self._noops += 1
        return self._noops

    def quit(self) -> None:
        self._step(Step.QUIT)
        self._expect(commands.QUIT, self._on_quit)

    # -- replies --

    def _take_reply(self, reply: Reply, now: float) -> None:
        if reply.code == 221 and self.state is not State.QUITTING:
            raise self._ended(reply)  # to QUIT only (RFC 5321 4.2.2): Postfix says so to lines that are no commands
        if reply.code == 421 and self.state is not State.QUITTING:
            self._announced(reply)
            if not self._exchange.expected or self.state is State.CLOSED:
                return
        self._exchange.answer(reply, now)
        if self.mailing is not None and self.mailing.ending is not None:
            self._still_to_come(self.mailing.ending)

    def _announced(self, reply: Reply) -> None:
        """421, to anything or to nothing (RFC 5321 3.8): the server closes."""
        if self.mailing is None:
            raise self._ended(reply)
        self.mailing.end(reply)
        if not self._exchange.expected:
            raise self._ended(reply)

    def _still_to_come(self, reply: Reply) -> None:
        """Behind the announced end the server may still answer what it has read. Nothing more is written."""
        if self.state is State.READY:
            self._step(Step.ANNOUNCED_END)
        expected = self._exchange.expected
        if not expected or expected[0][1] > self._exchange.left:
            raise self._ended(reply)

    def _ended(self, reply: Reply) -> ConnectionLost:
        lost = ConnectionLost(f"{self.settings.host} ended the session: {reply}")
        lost.reply = reply
        return lost

    def _on_greeting(self, reply: Reply) -> None:
        if not reply.is_success:
            raise self._refusal("refuses the session", reply)
        self.greeting = reply.text
        self._hello()

    def _hello(self) -> None:
        self._step(Step.HELLO)
        self._expect(self._hello_line, self._on_ehlo)

    def _on_ehlo(self, reply: Reply) -> None:
        if reply.is_success:
            self.extensions = read_extensions(reply)
            self._next()
        elif reply.is_permanent:  # RFC 5321 3.2: an old server
            self._step(Step.OLD_HELLO)
            self._expect(self._old_hello_line, self._on_helo)
        else:
            raise self._refusal("refuses EHLO", reply)

    def _on_helo(self, reply: Reply) -> None:
        if not reply.is_success:
            raise self._refusal("refuses EHLO and HELO", reply)
        self._next()

    def _next(self) -> None:
        """What comes after the hello: TLS, then the login, then messages."""
        if self.settings.starttls and self._channel != "tls":
            self._start_tls()
        elif self.settings.login is not None:
            login = self.settings.login
            self._mechanisms = candidates(
                login.username, login.secret, login.auth, self.extensions.auth, channel=self._channel
            )
            self._log_in()
        else:
            self._open()

    # -- STARTTLS (RFC 3207) --

    def _start_tls(self) -> None:
        if not self.extensions.starttls:
            raise TlsError(
                f"{self.settings.host} does not offer STARTTLS",
                hint="the port may be wrong (587 speaks STARTTLS, 465 TLS from the first byte), or something in "
                "between takes it away; there is no fallback to plaintext",
            )
        self._step(Step.SECURE)
        self._expect(commands.STARTTLS, self._on_starttls)

    def _on_starttls(self, reply: Reply) -> None:
        if not reply.is_success:
            raise TlsError(f"{self.settings.host} refuses STARTTLS: {reply}")
        if self._parser.buffered:
            # Somebody between us and the server could have put it there, to be read as if it came through TLS.
            raise TlsError(f"{self.settings.host} sent more behind its answer to STARTTLS, before TLS began")
        self._step(Step.GO_AHEAD)

    def secured(self, now: float) -> None:
        """The TLS handshake is done; everything the server said before is forgotten (RFC 3207, section 4.2)."""
        self._channel = "tls"
        self.extensions = Extensions()
        self._exchange.since = now
        self._hello()

    # -- the login (RFC 4954) --

    def _log_in(self) -> None:
        """The next mechanism; each has one try."""
        dialogue = Dialogue(self._mechanisms[0])
        self._step(Step.IDENTIFY)
        self._parser.keep_challenges = True
        line = dialogue.command()
        self._hide(line.split(b" ")[2:])
        bare = f"AUTH {dialogue.mechanism.name}"
        self._say(line, dialogue, shown=bare if line == bare.encode("ascii") else f"{bare} [secret]")

    def _say(self, line: bytes, dialogue: Dialogue, *, shown: str) -> None:
        try:
            octets = commands.line(line)
        except ValueError as error:
            raise SaslError(str(error)) from None
        self._expect(octets, lambda reply: self._on_auth(dialogue, reply), shown=shown)

    def _on_auth(self, dialogue: Dialogue, reply: Reply) -> None:
        if reply.code == 334:
            self._answer(dialogue, reply)
        elif reply.is_success:
            dialogue.finish()
            self.mechanism = dialogue.mechanism.name
            self._open()
        elif reply.is_intermediate:
            raise ProtocolViolation(f"the server answered AUTH with {reply}")
        elif reply.is_transient or len(self._mechanisms) == 1:
            raise refused(self.settings.host, dialogue.mechanism, reply)
        else:
            del self._mechanisms[0]
            self._log_in()

    def _answer(self, dialogue: Dialogue, reply: Reply) -> None:
        try:
            line = dialogue.answer(reply.text)
        except SaslError as error:
            self._cancel(error)
        else:
            self._hide([line])
            self._say(line, dialogue, shown="[secret]")

    def _cancel(self, error: SaslError) -> None:
        """RFC 4954, section 4: "*" ends the exchange, with 501. Nothing else is tried: see SaslError."""

        def give_up(_reply: Reply) -> None:
            raise error

        self._expect(CANCEL + b"\r\n", give_up)

    def _hide(self, encoded: list[bytes]) -> None:
        """Whatever we say in a login is to be blanked when the server repeats it."""
        self._secrets += [part.decode("ascii", "replace") for part in encoded if len(part) > 4]
        self._guard_secrets()

    def _guard_secrets(self) -> None:
        self._parser.clean = make_blanker(self._secrets) if self._secrets else None

    # -- open, and closed --

    def _open(self) -> None:
        self._step(Step.OPEN)
        self._parser.keep_challenges = False
        offered = Strategy.SEQUENTIAL
        if self.extensions.pipelining:
            offered = Strategy.STREAMED if self.extensions.chunking else Strategy.PIPELINED
        strategy = Strategy.SEQUENTIAL if self.settings.window == 1 else offered.at_most(self.settings.strategy_at_most)
        most = self.settings.window
        if strategy is not Strategy.STREAMED:
            most = TURNS_WINDOW if most is None else min(most, TURNS_WINDOW)
        self.mailing = mailing = Mailing(self._exchange, self.extensions, Window(most))
        if strategy is Strategy.STREAMED:
            mailing.writer = Stream(mailing)
        else:
            mailing.writer = Turns(mailing, grouped=strategy is Strategy.PIPELINED)

    def _on_noop(self, reply: Reply) -> None:
        if not reply.is_success:  # RFC 5321 4.1.1.9: it has no other reply; Exim's "too many nonmail commands"
            raise self._ended(reply)
        self.noops_answered += 1
        if self.mailing is not None:
            self.mailing.budget.noop()
            if self.mailing.budget.is_spent:
                self.mailing.exhaust()

    def _on_quit(self, _reply: Reply) -> None:
        self._close()

    def _close(self) -> None:
        self._step(Step.CLOSE)

    def _refusal(self, what: str, reply: Reply) -> ServerError:
        """Of the session as a whole: for good, or for now."""
        kind: Callable[[str], ServerError] = Unreachable if reply.is_permanent else ConnectionLost
        error = kind(f"{self.settings.host} {what}: {reply}")
        if isinstance(error, ConnectionLost):
            error.reply = reply
        return error

    def _expect(self, line: bytes, handler: Handler, *, shown: str | None = None) -> None:
        if line:
            self._exchange.command(line, handler, shown=shown)
        else:
            self._exchange.expected.append((handler, 0))

    def _step(self, step: Step) -> None:
        self.state = after(self.state, step)
