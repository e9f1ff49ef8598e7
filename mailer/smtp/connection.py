"""A session over a socket: the shell around `protocol/`, which alone knows the time, sockets and OSError."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from mailer.dataclass import dataclass
from mailer.errors import ConnectionLost, ProtocolViolation, ServerError, SessionRefused
from mailer.smtp.certificate import CertificateSummary, summarize_certificate
from mailer.smtp.endpoint import Endpoint
from mailer.smtp.protocol.bdat_writer import WRITE_SIZE
from mailer.smtp.protocol.events import Event, NoopAnswered, SessionEnded
from mailer.smtp.protocol.extensions import Extensions
from mailer.smtp.protocol.opening import CHECK_PORT, ClientSettings
from mailer.smtp.protocol.session import SmtpSession
from mailer.smtp.protocol.states import State
from mailer.smtp.protocol.values import (
    NOTHING_LEARNED,
    Login,
    ServerTraits,
    Strategy,
    Transaction,
    TransactionResult,
    UnfinishedTransactions,
)
from mailer.smtp.sasl.mechanism import ChannelBinding
from mailer.smtp.tcp import TcpConnection, open_tcp
from mailer.smtp.tls import (
    WRONG_NAME,
    fetch_certificate_names,
    get_channel_binding,
    get_client_context,
    make_broken_error,
    make_silence_hint,
    make_tls_error,
)
from mailer.smtp.transport import Transport, find_refusal_before_tls

# Seconds that next_results() waits for more results: a caller's fsync is then for several messages.
LINGER = 0.01
BATCH = 128  # results that next_results() does not wait beyond, if half of the window is more
GOODBYE = 5.0  # seconds for the reply to QUIT
SILENCE = 5.0  # seconds without a greeting before the caller is told what that can mean


@dataclass(frozen=True, slots=True)
class SessionDetails:
    """What a session is like, for reports and `mailer probe`. `tls` and `cipher` are None in plaintext."""

    host: str
    port: int
    tls: str | None
    cipher: str | None
    extensions: tuple[str, ...]
    strategy: Strategy
    mechanism: str | None
    greeting: str
    certificate: CertificateSummary | None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known of a server before the login: the strategy it allows, and the seconds of a round trip."""

    strategy: Strategy
    round_trip: float


async def connect(
    endpoint: Endpoint,
    login: Login | None,
    *,
    timeout: float = 60.0,
    window: int | None = None,
    strategy_at_most: Strategy | None = None,
    traits: ServerTraits = NOTHING_LEARNED,
    trace: Callable[[str, str], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
    before_login: Callable[[ServerFacts], Awaitable[None]] | None = None,
) -> Connection:
    """Return a session with `endpoint` that is ready for messages.

    - `login`: user name and password; None opens the session without a login.
    - `timeout`: the seconds for one complete reply, and for each attempt to connect.
    - `window`: the maximum of messages in flight; None chooses it by how long messages take.
    - `strategy_at_most`: the campaign's limit; None is no limit.
    - `traits`: what earlier sessions learned about this server.
    - `trace`: called with a direction ("C", "S" or "*") and each line, secrets blanked.
    - `on_notice`: called with a line that a person who waits may want to read.
    - `before_login`: awaited before AUTH is written; not if there is no login.

    Raises Unreachable, TlsError, AuthenticationError or ConnectionLost; InputError if a file or an address in
    `endpoint` is unusable; ValueError if `ehlo_name` is.
    """
    began_at = asyncio.get_running_loop().time()
    context = get_client_context(endpoint) if endpoint.security != "none" else None
    tcp = await open_tcp(endpoint, timeout, preferred=traits.address)
    settings = ClientSettings(
        host=endpoint.host,
        ehlo_name=endpoint.ehlo_name or tcp.own_literal,
        starttls=endpoint.security == "starttls",
        channel="tls" if endpoint.security == "tls" else "loopback" if tcp.is_loopback else "plaintext",
        login=login,
        timeout=timeout,
        window=window,
        strategy_at_most=strategy_at_most,
        traits=traits,
        waits_to_log_in=before_login is not None,
    )
    try:
        session = SmtpSession(settings, trace=trace)
    except BaseException:  # ValueError: `ehlo_name` is unusable
        tcp.sock.close()
        raise
    connection = Connection(endpoint, tcp, session)
    try:
        await connection._open(context, began_at, on_notice, before_login)
    except BaseException:
        connection.abort()
        raise
    return connection


class Connection:
    """An open session, made by `connect`: submit while there is room, take the results, repeat; one task at a
    time.
    """

    def __init__(self, endpoint: Endpoint, tcp: TcpConnection, session: SmtpSession) -> None:
        self._endpoint = endpoint
        self._address = tcp.address
        self._session = session
        self._loop = asyncio.get_running_loop()
        self.transport = Transport(tcp.sock, self)
        self._tls_version: str | None = None
        self._cipher: str | None = None
        self._certificate: CertificateSummary | None = None
        self._binding: ChannelBinding | None = None
        self._results: list[TransactionResult] = []
        self._noops_answered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_enough: Callable[[], bool] = bool  # what the waiter waits for
        self._timer: asyncio.TimerHandle | None = None
        self._unwritten = 0  # octets submitted since something was last written

    @property
    def details(self) -> SessionDetails:
        session = self._session
        return SessionDetails(
            host=self._endpoint.host,
            port=self._endpoint.port,
            tls=self._tls_version,
            cipher=self._cipher,
            extensions=session.extensions.names,
            strategy=session.strategy,
            mechanism=session.mechanism,
            greeting=session.greeting,
            certificate=self._certificate,
        )

    @property
    def extensions(self) -> Extensions:
        return self._session.extensions

    @property
    def strategy(self) -> Strategy:
        """How messages are written now."""
        return self._session.strategy

    @property
    def room(self) -> int:
        """How many messages may be submitted now; 0 if the window is full, or the session takes no more."""
        return self._session.room

    @property
    def is_exhausted(self) -> bool:
        """The session takes no more messages: take the results of those in flight, quit, and connect anew."""
        return self._session.is_exhausted

    @property
    def traits(self) -> ServerTraits:
        """What this session learned about the server, for the next `connect`."""
        return replace(self._session.traits, address=self._address)

    def submit(self, transaction: Transaction, *, is_held: bool = False) -> None:
        """Queue `transaction`. Check `room` first. With `is_held`, its content waits for `permit_contents`.

        It is written by `next_results` at the latest, or earlier, once 128 KiB wait and the socket takes more.
        If this server cannot be given the message, its result is among the next ones.
        """
        if (result := self._session.submit(transaction, is_held=is_held)) is not None:
            self._results.append(result)
        self._unwritten += len(transaction.content)
        if self._unwritten >= WRITE_SIZE and not self.transport.is_full:
            self._write()  # the server works while the caller makes the next

    def write(self) -> None:
        """Write what can be written now, without waiting for results."""
        self._write()

    def permit_contents(self, transactions: Collection[Transaction]) -> None:
        """Let the contents of `transactions` leave. `write` or `next_results` writes them."""
        self._session.permit_contents(transactions)

    def finish(self) -> None:
        """Take no more messages. QUIT leaves behind the last content, if the server is known to read it there."""
        self._session.finish()

    async def next_results(self) -> list[TransactionResult]:
        """Wait for the results of some messages, and return at least one; [] if no message is in flight.

        Raises ConnectionLost, or another ServerError, if the session is over. Results that came before are
        returned first; then `list_unfinished` has the messages without one.
        """
        session, results = self._session, self._results
        enough = min(session.worthwhile_results, BATCH)
        self._write()
        await self._wait_until(lambda: bool(results) or session.is_idle)
        await self._wait_until(lambda: len(results) >= enough or session.is_idle, at_most=LINGER)
        if not results and not session.is_idle:
            raise self._make_error()
        taken = results[:]
        results.clear()
        return taken

    def list_unfinished(self) -> UnfinishedTransactions:
        """Return the messages that have no result, after the session was lost."""
        return self._session.list_unfinished()

    async def check_alive(self) -> None:
        """Send NOOP and wait for its reply. Raises ConnectionLost if the server is gone."""
        if self._session.state is State.READY:
            answered = self._noops_answered
            self._session.send_noop()
            self._write()
            await self._wait_until(lambda: self._noops_answered > answered)
        if self._session.state is not State.READY:
            raise self._make_error()

    async def quit(self) -> None:
        """Send QUIT if no message is in flight, wait shortly for the reply, and close.

        Raises nothing, whatever the server does.
        """
        try:
            if self._session.state is State.READY and self._session.is_idle:
                self._session.send_quit()
                self._write()
                await self._wait_until(lambda: False, at_most=GOODBYE)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.transport.close()
        error = ConnectionLost(f"we closed the session with {self._endpoint.host}")
        self._handle_events(self._session.fail(error, self._loop.time()))

    def _make_error(self) -> ServerError:
        """Return the reason why the session is over."""
        end = self._session.end
        error = (end and end.error) or ConnectionLost(f"the session with {self._endpoint.host} is over")
        if end is None or self._session.greeting or error.hint is not None:
            return error
        if end.has_timed_out:
            return ConnectionLost(str(error), hint=self._make_silence_hint())
        if isinstance(error, ProtocolViolation):
            return SessionRefused(str(error), hint=f"it is not an SMTP server; {CHECK_PORT}")
        return error

    # -- opening --

    async def _open(
        self,
        context: ssl.SSLContext | None,
        began_at: float,
        on_notice: Callable[[str], None] | None,
        before_login: Callable[[ServerFacts], Awaitable[None]] | None,
    ) -> None:
        session = self._session
        if context is not None and self._endpoint.security == "tls":
            await self._start_tls(context)
        session.start(self._loop.time(), since=began_at, binding=self._binding)
        if self.transport.tls is None:
            self.transport.start()
        self._write()
        await self._wait_until(lambda: session.state is not State.GREETING, at_most=SILENCE)
        if session.state is State.GREETING and on_notice is not None:
            on_notice(self._describe_silence())
        await self._wait_until(lambda: session.state in (State.READY, State.HANDSHAKE, State.BEFORE_LOGIN))
        if session.state is State.HANDSHAKE and context is not None:
            await self._start_tls(context)
            session.complete_handshake(self._loop.time(), binding=self._binding)
            self._write()
            await self._wait_until(lambda: session.state in (State.READY, State.BEFORE_LOGIN))
        if session.state is State.BEFORE_LOGIN and before_login is not None:
            await before_login(ServerFacts(session.strategy, session.round_trip))
            self._handle_events(session.log_in(self._loop.time()))
            self._write()
            await self._wait_until(lambda: session.state is State.READY)
        if session.state is State.CLOSED:
            raise self._make_error()

    def _describe_silence(self) -> str:
        server = f"{self._endpoint.host}:{self._endpoint.port}"
        return f"{server} has not greeted within {SILENCE:g} seconds: {self._make_silence_hint()}"

    def _make_silence_hint(self) -> str:
        return make_silence_hint(self._endpoint.host, self._endpoint.port, self._endpoint.security)

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        endpoint = self._endpoint
        try:
            async with asyncio.timeout(self._session.settings.timeout):
                tls = await self.transport.start_tls(context, endpoint.host)
        except OSError as error:
            reply = find_refusal_before_tls(error, self.transport.first_octets)
            if reply is not None:
                message = f"{endpoint.host} refuses the session before TLS: {reply}"
                raise ConnectionLost(message, reply=reply) from None
            names: tuple[str, ...] | None = None
            is_wrong_name = (
                isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in WRONG_NAME
            )
            if is_wrong_name:
                names = await fetch_certificate_names(endpoint, preferred=self._address)
            raise make_tls_error(
                error, endpoint.host, port=endpoint.port, security=endpoint.security, names=names
            ) from None
        # Kept, since OpenSSL forgets them when the session is closed, and reports are written then.
        self._binding = get_channel_binding(tls)
        self._tls_version, self._certificate = tls.version(), summarize_certificate(tls)
        self._cipher = cipher[0] if (cipher := tls.cipher()) else None
        self._session.note(f"{self._tls_version} {self._cipher}")

    # -- what the transport calls --

    def receive_data(self, data: bytes) -> None:
        """Give the session `data`, the octets that came from the server, and write what it answers."""
        events = self._session.receive(data, self._loop.time())
        self._write()
        self._handle_events(events)

    def end_input(self, error: OSError | None) -> None:
        """End the session: the server closed (`error` is None), or the connection broke by `error`."""
        now, session = self._loop.time(), self._session
        if error is None or session.state in (State.QUITTING, State.ENDING):
            self._handle_events(session.receive_eof(now))
        else:
            broken = make_broken_error(error, self._endpoint, self.transport.last_octets)
            self._handle_events(session.fail(broken, now))

    def data_to_send(self) -> bytes:
        """Return what the session wants to write."""
        return self._session.data_to_send(self._loop.time())

    def note_sent(self, offset: int) -> None:
        """Tell the session that its output up to `offset`, in octets, may have left this machine."""
        self._session.bytes_sent(offset, self._loop.time())

    # -- events and waiting --

    def _write(self) -> None:
        self._unwritten = 0
        self.transport.write()
        deadline = self._session.deadline
        if deadline is None:
            return
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return  # it looks at the deadline when it fires
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        """One timer serves all replies: it is set anew only when it fires, not for each of them."""
        self._timer = None
        deadline, now = self._session.deadline, self._loop.time()
        if deadline is not None and now >= deadline:
            self._handle_events(self._session.handle_timeout(now))
        elif deadline is not None:
            self._timer = self._loop.call_at(deadline, self._check_deadline)

    def _handle_events(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, TransactionResult):
                self._results.append(event)
            elif isinstance(event, NoopAnswered):
                self._noops_answered += 1
            elif isinstance(event, SessionEnded):
                self.transport.close()  # what came now would be taken for something else
        if self._waiter is not None and (self._is_enough() or self._session.state is State.CLOSED):
            self._wake()

    async def _wait_until(self, is_enough: Callable[[], bool], *, at_most: float | None = None) -> None:
        """Wait until enough has happened, the session is over, or `at_most` seconds have passed."""
        if is_enough() or self._session.state is State.CLOSED:
            return
        self._is_enough = is_enough
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(at_most, self._wake) if at_most is not None else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
