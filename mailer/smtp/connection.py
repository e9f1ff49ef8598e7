"""A session over a socket: the shell around `protocol.py`, and the only one who knows of time, sockets and OSError."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from mailer.errors import ConnectionLost
from mailer.smtp.protocol.bdat_writer import CHUNK
from mailer.smtp.protocol.extensions import Extensions
from mailer.smtp.protocol.session import Protocol, Settings
from mailer.smtp.protocol.states import State
from mailer.smtp.protocol.submission import Mailing
from mailer.smtp.protocol.values import (
    NOTHING_LEARNED,
    Endpoint,
    Login,
    ServerTraits,
    Strategy,
    Transaction,
    TransactionResult,
    UnfinishedTransactions,
    lower_strategy,
)
from mailer.smtp.tcp import Reached, reach
from mailer.smtp.tls import CertificateSummary, borne_names, certificate_summary, client_context, explain
from mailer.smtp.transport import Channel

LINGER = 0.01  # seconds that next_results() waits for more company: a caller's fsync is then for several messages
BATCH = 128  # messages that are company enough, where half of the window is more
GOODBYE = 5.0  # seconds for the reply to QUIT
WRONG_NAME = frozenset({62, 64})  # OpenSSL's verify codes for host name and IP address


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


async def connect(
    endpoint: Endpoint,
    login: Login | None,
    *,
    timeout: float = 60.0,
    window: int | None = None,
    strategy_at_most: Strategy | None = None,
    traits: ServerTraits = NOTHING_LEARNED,
    trace: Callable[[str, str], None] | None = None,
) -> Connection:
    """Return a session that is ready for messages.

    `timeout` is the seconds for one complete reply, `window` the maximum of messages in flight, `strategy_at_most` the
    campaign's limit, and `traits` what earlier sessions learned about this server.

    Raises Unreachable, TlsError, AuthenticationError, ConnectionLost; InputError for an unusable `ca_file`.
    """
    context = client_context(endpoint.ca_file) if endpoint.security != "none" else None
    reached = await reach(endpoint, timeout)
    settings = Settings(
        host=endpoint.host,
        ehlo_name=endpoint.ehlo_name or reached.own_literal,
        starttls=endpoint.security == "starttls",
        channel="tls" if endpoint.security == "tls" else "loopback" if reached.is_loopback else "plaintext",
        login=login,
        timeout=timeout,
        window=window,
        strategy_at_most=lower_strategy(strategy_at_most, traits.strategy_at_most),
    )
    connection = Connection(endpoint, reached, Protocol(settings, trace=trace))
    try:
        await connection._open(context)
    except BaseException:
        connection.abort()
        raise
    return connection


class Connection:
    """Made by `connect`. Submit while there is room, settle, repeat; by one task at a time."""

    def __init__(self, endpoint: Endpoint, reached: Reached, protocol: Protocol) -> None:
        self._endpoint = endpoint
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._channel = Channel(reached.sock, self)
        self._tls_version: str | None = None
        self._cipher: str | None = None
        self._certificate: CertificateSummary | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._enough: Callable[[], bool] = bool  # what the waiter waits for
        self._timer: asyncio.TimerHandle | None = None
        self._unwritten = 0  # octets submitted since something was last written

    # -- for those who send --

    @property
    def details(self) -> SessionDetails:
        return SessionDetails(
            host=self._endpoint.host,
            port=self._endpoint.port,
            tls=self._tls_version,
            cipher=self._cipher,
            extensions=self.extensions.names,
            strategy=self._protocol.strategy,
            mechanism=self._protocol.mechanism,
            greeting=self._protocol.greeting,
            certificate=self._certificate,
        )

    @property
    def extensions(self) -> Extensions:
        return self._protocol.extensions

    @property
    def room(self) -> int:
        """How many messages may be submitted now; 0 when the window is full, or the session is exhausted."""
        return self._mailing.room if self._protocol.state is State.READY else 0

    @property
    def is_exhausted(self) -> bool:
        """The session takes no more messages: settle what is in flight, quit, and connect anew."""
        return self._protocol.state is not State.READY or self._mailing.is_exhausted

    @property
    def traits(self) -> ServerTraits:
        """What this session learned about the server, for the next `connect`."""
        return ServerTraits(strategy_at_most=self._protocol.next_strategy)

    def submit(self, transaction: Transaction) -> None:
        """Queue a message. It is written by `next_results` at the latest, or earlier if the socket takes more."""
        self._mailing.submit(transaction)
        self._unwritten += len(transaction.content)
        if self._unwritten >= CHUNK and not self._channel.is_full:  # the server works while the caller makes the next
            self._write()

    async def next_results(self) -> list[TransactionResult]:
        """Wait for the results of some messages, and return at least one; [] if no message is in flight.

        Raises ConnectionLost if the session is over; then `unfinished` returns what has no result.
        """
        mailing = self._mailing
        some = max(1, min(mailing.window.limit // 2, BATCH))
        self._write()
        if mailing.is_stuck:
            self._protocol.fail(ConnectionLost(f"{self._endpoint.host} takes no more messages in this session"))
            self._wake()
        await self._until(lambda: bool(mailing.settled) or mailing.is_idle)
        await self._until(lambda: len(mailing.settled) >= some or mailing.is_idle, at_most=LINGER)
        settled = mailing.take_settled()
        if not settled and not mailing.is_idle:
            raise self._protocol.failure or ConnectionLost(f"the session with {self._endpoint.host} is over")
        return settled

    def unfinished(self) -> UnfinishedTransactions:
        """Return the messages that have no result, after the session was lost."""
        return self._mailing.unfinished()

    async def check_alive(self) -> None:
        """Send NOOP and wait for its reply. Raises ConnectionLost if the server is gone."""
        protocol = self._protocol
        if protocol.state is State.READY:
            asked = protocol.noop()
            self._write()
            await self._until(lambda: protocol.noops_answered >= asked)
        if protocol.state is not State.READY:
            raise protocol.failure or ConnectionLost(f"the session with {self._endpoint.host} is over")

    async def quit(self) -> None:
        """Say goodbye, wait a little for the answer, close. Never raises for what the server does."""
        try:
            if self._protocol.state is State.READY and self._mailing.is_idle:
                self._protocol.quit()
                self._write()
                await self._until(lambda: False, at_most=GOODBYE)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._channel.close()
        self._protocol.fail(ConnectionLost(f"we closed the session with {self._endpoint.host}"))
        self._wake()

    @property
    def _mailing(self) -> Mailing:
        if self._protocol.mailing is None:
            raise RuntimeError("the session is not open")
        return self._protocol.mailing

    # -- opening --

    async def _open(self, context: ssl.SSLContext | None) -> None:
        protocol = self._protocol
        if context is not None and self._endpoint.security == "tls":
            await self._secure(context)
        protocol.begin(self._loop.time())
        if self._channel.tls is None:
            self._channel.start()
        self._write()
        await self._until(lambda: protocol.state in (State.READY, State.HANDSHAKE))
        if protocol.state is State.HANDSHAKE and context is not None:
            await self._secure(context)
            protocol.secured(self._loop.time())
            self._write()
            await self._until(lambda: protocol.state is State.READY)
        if protocol.failure is not None:
            raise protocol.failure

    async def _secure(self, context: ssl.SSLContext) -> None:
        endpoint = self._endpoint
        try:
            async with asyncio.timeout(self._protocol.settings.timeout):
                tls = await self._channel.handshake(context, endpoint.host)
        except OSError as error:
            names: tuple[str, ...] = ()
            if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in WRONG_NAME:
                names = await borne_names(endpoint.host, endpoint.port, endpoint.ca_file, security=endpoint.security)
            raise explain(error, endpoint.host, port=endpoint.port, security=endpoint.security, names=names) from None
        # Kept, since OpenSSL forgets them when the session is closed, and reports are written then.
        self._tls_version, self._certificate = tls.version(), certificate_summary(tls)
        self._cipher = cipher[0] if (cipher := tls.cipher()) else None
        self._protocol.note(f"{self._tls_version} {self._cipher}")

    # -- what the channel calls --

    def received(self, data: bytes) -> None:
        self._protocol.receive(data, self._loop.time())
        self._write()
        self._wake()

    def ended(self, error: OSError | None) -> None:
        if error is None or self._protocol.state in (State.QUITTING, State.ENDING):
            self._protocol.eof()
        else:
            reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            self._protocol.fail(ConnectionLost(f"the connection to {self._endpoint.host} broke: {reason or error}"))
        self._wake()

    def next_output(self) -> bytes:
        return self._protocol.take(self._loop.time())

    def left(self, octets: int) -> None:
        self._protocol.wrote(octets, self._loop.time())

    # -- waiting --

    def _write(self) -> None:
        self._unwritten = 0
        self._channel.write()
        if self._timer is None and (deadline := self._protocol.deadline) is not None:
            self._timer = self._loop.call_at(deadline, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        """One timer for all replies: it is set anew only when it fires, not for each of them."""
        self._timer = None
        deadline = self._protocol.deadline
        if deadline is not None and self._loop.time() >= deadline:
            self._protocol.overdue()
            self._wake()
        elif deadline is not None:
            self._timer = self._loop.call_at(deadline, self._look_at_the_clock)

    async def _until(self, enough: Callable[[], bool], *, at_most: float | None = None) -> None:
        """Until enough has happened, or the session is over, or `at_most` seconds have passed."""
        if enough() or self._protocol.state is State.CLOSED:
            return
        self._enough = enough
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(at_most, self._wake_anyway) if at_most is not None else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._protocol.is_over:
            self._channel.close()  # whatever came now would be taken for something else
        if self._waiter is not None and (self._enough() or self._protocol.state is State.CLOSED):
            self._wake_anyway()

    def _wake_anyway(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
