"""From the greeting to a session that takes messages: EHLO (RFC 5321), STARTTLS (RFC 3207), the login (RFC
4954).
"""

from __future__ import annotations

from mailer.dataclass import dataclass
from mailer.errors import ConnectionLost, ProtocolViolation, ServerError, SessionRefused, TlsError
from mailer.smtp.protocol import commands
from mailer.smtp.protocol.extensions import Extensions, parse_extensions
from mailer.smtp.protocol.pipeline import Pipeline
from mailer.smtp.protocol.reply import Reply, ReplyParser
from mailer.smtp.protocol.states import StateMachine, Step
from mailer.smtp.protocol.values import NOTHING_LEARNED, Login, ServerTraits, Strategy
from mailer.smtp.sasl.login import Channel, choose_mechanisms, list_fallbacks, make_login_error
from mailer.smtp.sasl.mechanism import CANCEL, ChannelBinding, Mechanism, SaslError, SaslExchange

CHECK_PORT = "check the host and the port; mail is taken at port 465, 587 or 25"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a session is to be.

    - `host`: the server's name, for errors and hints.
    - `ehlo_name`: what this client calls itself.
    - `starttls`: TLS begins behind STARTTLS, and nothing is sent without it.
    - `channel`: what carries the session before STARTTLS. No login is written in plaintext to another host.
    - `login`: user name and password; None opens the session without a login.
    - `timeout`: the seconds for one complete reply.
    - `window`: the maximum of messages in flight; None chooses it by how long messages take.
    - `strategy_at_most`: the campaign's limit; None is no limit.
    - `traits`: what earlier sessions learned about the server.
    - `waits_to_log_in`: AUTH is not written before `log_in` is called.
    """

    host: str
    ehlo_name: str
    starttls: bool = False
    channel: Channel = "tls"
    login: Login | None = None
    timeout: float = 60.0
    window: int | None = None
    strategy_at_most: Strategy | None = None
    traits: ServerTraits = NOTHING_LEARNED
    waits_to_log_in: bool = False


class Opening:
    """The dialogue that opens a session. When it is done, the state is READY.

    Its handlers raise ServerError if the session cannot be had.
    """

    def __init__(
        self,
        settings: ClientSettings,
        machine: StateMachine,
        pipeline: Pipeline,
        parser: ReplyParser,
    ) -> None:
        """`machine`, `pipeline` and `parser` are those of the session.

        Raises ValueError if the client's name cannot be written in EHLO.
        """
        self.greeting = ""
        self.extensions = Extensions()
        self.mechanism: str | None = None
        self.has_proof = False  # the server has shown that it knows the password
        self._settings = settings
        self._machine = machine
        self._pipeline = pipeline
        self._parser = parser
        self._channel = settings.channel
        self._ehlo_line = commands.encode_ehlo(settings.ehlo_name)
        self._helo_line = commands.encode_helo(settings.ehlo_name)
        self._mechanisms: list[Mechanism] = []
        self._binding: ChannelBinding | None = None
        self._secrets = [settings.login.secret.reveal()] if settings.login else []
        parser.blank_secrets(self._secrets)

    def start(self, now: float, binding: ChannelBinding | None) -> None:
        """Wait for the greeting from `now` on, in seconds.

        `binding` ties the login to TLS; None: it is not tied.
        """
        self._binding = binding
        self._pipeline.expect_greeting(self._handle_greeting, now)

    def complete_handshake(self, now: float, binding: ChannelBinding | None) -> None:
        """Say EHLO again, in TLS. What the server said before is forgotten (RFC 3207, section 4.2).

        `now` is the time in seconds, and `binding` ties the login to TLS; None: it is not tied.
        """
        self._channel, self._binding = "tls", binding
        self.extensions = Extensions()
        self._pipeline.restart_clock(now)
        self._say_hello()

    # -- EHLO --

    def _handle_greeting(self, reply: Reply) -> None:
        if not reply.is_success:
            raise self._make_refusal("refuses the session", reply)
        self.greeting = reply.text
        self._say_hello()

    def _say_hello(self) -> None:
        self._machine.advance(Step.HELLO)
        self._pipeline.write_command(self._ehlo_line, self._handle_ehlo_reply)

    def _handle_ehlo_reply(self, reply: Reply) -> None:
        if reply.is_success:
            self.extensions = parse_extensions(reply)
            self._continue()
        elif "LHLO" in reply.text.upper():
            raise self._make_refusal("refuses EHLO", reply)
        elif reply.is_permanent:  # RFC 5321 3.2: an old server
            self._machine.advance(Step.OLD_HELLO)
            self._pipeline.write_command(self._helo_line, self._handle_helo_reply)
        else:
            raise self._make_refusal("refuses EHLO", reply)

    def _handle_helo_reply(self, reply: Reply) -> None:
        if not reply.is_success:
            raise self._make_refusal("refuses EHLO and HELO", reply)
        self._continue()

    def _make_refusal(self, what: str, reply: Reply) -> ServerError:
        """Return the error for a refusal of the whole session: for good, or for now."""
        message = f"{self._settings.host} {what}: {reply}"
        if reply.is_permanent:
            return SessionRefused(message, hint=self._make_refusal_hint(reply), reply=reply)
        return ConnectionLost(message, reply=reply)

    def _make_refusal_hint(self, reply: Reply) -> str | None:
        """Return what it can mean that the server knows neither EHLO nor HELO; None for another refusal."""
        if reply.code not in (500, 502):
            return None
        if "LMTP" in self.greeting.upper() or "LHLO" in reply.text.upper():
            return (
                "it speaks LMTP, with which a mail server hands mail to mailboxes; give the port at which the mail "
                "server takes mail (465, 587 or 25)"
            )
        return f"it may be another service than SMTP (LMTP, FTP, …); {CHECK_PORT}"

    def _continue(self) -> None:
        """After EHLO: TLS, then the login, then messages."""
        login = self._settings.login
        if self._settings.starttls and self._channel != "tls":
            self._start_tls()
        elif login is not None:
            self._mechanisms = choose_mechanisms(
                login.username,
                login.secret,
                login.auth,
                self.extensions.auth,
                channel=self._channel,
                binding=self._binding,
                needs_proof=self._settings.traits.has_scram,
            )
            if self._settings.waits_to_log_in:
                self._machine.advance(Step.WAIT_FOR_TURN)
            else:
                self.log_in()
        else:
            self._open()

    def _open(self) -> None:
        self._machine.advance(Step.OPEN)
        self._parser.keep_challenges(False)

    # -- STARTTLS --

    def _start_tls(self) -> None:
        if not self.extensions.starttls:
            raise TlsError(
                f"{self._settings.host} does not offer STARTTLS",
                hint="the port may be wrong (587 speaks STARTTLS, 465 TLS from the first byte), or something "
                "in between takes it away; there is no fallback to plaintext",
            )
        self._machine.advance(Step.SECURE)
        self._pipeline.write_command(commands.STARTTLS, self._handle_starttls_reply)

    def _handle_starttls_reply(self, reply: Reply) -> None:
        if not reply.is_success:
            raise TlsError(f"{self._settings.host} refuses STARTTLS: {reply}")
        if self._parser.has_input:
            # An attacker between us and the server could have put it there, to be read as if it came through
            # TLS.
            raise TlsError(f"{self._settings.host} sent more behind its answer to STARTTLS, before TLS began")
        self._machine.advance(Step.GO_AHEAD)

    # -- the login --

    def log_in(self) -> None:
        """Write AUTH for the next mechanism; each is tried once. Raises SaslError if it cannot be written."""
        exchange = SaslExchange(self._mechanisms[0])
        self._machine.advance(Step.IDENTIFY)
        self._parser.keep_challenges(True)
        line = exchange.make_command()
        self._hide(line.split(b" ")[2:])
        bare = f"AUTH {exchange.mechanism.name}"
        self._write_line(line, exchange, shown=bare if line == bare.encode("ascii") else f"{bare} [secret]")

    def _write_line(self, line: bytes, exchange: SaslExchange, *, shown: str) -> None:
        try:
            octets = commands.encode_login_line(line)
        except ValueError as error:
            raise SaslError(str(error)) from None
        self._pipeline.write_command(
            octets, lambda reply: self._handle_auth_reply(exchange, reply), shown=shown
        )

    def _handle_auth_reply(self, exchange: SaslExchange, reply: Reply) -> None:
        if reply.code == 334:
            self._answer_challenge(exchange, reply)
        elif reply.is_success:
            exchange.finish()
            self.mechanism = exchange.mechanism.name
            self.has_proof = exchange.mechanism.proves_server
            self._open()
        elif reply.is_intermediate:
            raise ProtocolViolation(f"the server answered AUTH with {reply}")
        else:
            fallbacks = list_fallbacks(self._mechanisms)
            if not reply.concerns_session or not fallbacks:  # 535: a wrong password is tried once
                raise make_login_error(self._settings.host, exchange.mechanism, reply)
            self._mechanisms = fallbacks
            self.log_in()

    def _answer_challenge(self, exchange: SaslExchange, reply: Reply) -> None:
        try:
            line = exchange.answer(" ".join(reply.lines))
        except SaslError as error:
            self._cancel_login(error)
        else:
            self._hide([line])
            self._write_line(line, exchange, shown="[secret]")

    def _cancel_login(self, error: SaslError) -> None:
        """RFC 4954, section 4: "*" ends the exchange, with 501. Nothing else is tried: see SaslError."""

        def give_up(_reply: Reply) -> None:
            raise error

        self._pipeline.write_command(CANCEL + b"\r\n", give_up)

    def _hide(self, encoded: list[bytes]) -> None:
        """Blank what is said in a login when the server repeats it."""
        self._secrets += [part.decode("ascii", "replace") for part in encoded if len(part) > 4]
        self._parser.blank_secrets(self._secrets)
