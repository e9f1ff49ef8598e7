"""One connection's part of a run: open a session, keep its window full, and again when it is lost.

The loop has no task, future or callback of its own for a message: claim, render, submit, settle, record.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mailer.campaign.model import ServerConfig
from mailer.delivery import backoff
from mailer.delivery.options import Ending
from mailer.delivery.reply_rules import Action, meaning
from mailer.delivery.run_state import Flight, Sending, unless
from mailer.errors import AuthenticationError, ConnectionLost, InputError, ServerError, TlsError
from mailer.ledger import Claim
from mailer.render.compiled import CompiledCampaign
from mailer.secret import Secret
from mailer.smtp.connection import BATCH, Connection, SessionDetails, connect
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.values import NOTHING_LEARNED, Endpoint, Login, Strategy, Transaction, TransactionResult

# Servers close a session that says nothing, some after 30 s (Postfix under stress: 10 s). RFC 5321 4.5.3.2.7 asks
# them for 5 minutes; asking before a message is cheaper than finding out with one.
QUIET = 30.0

# A wrong port or host name is told at once: a few tries within seconds, for a server that is just starting.
FIRST_TRIES = 3


@dataclass(frozen=True, slots=True)
class Access:
    """Where to connect and as whom."""

    endpoint: Endpoint
    login: Login | None


def access(server: ServerConfig, password: Secret | None) -> Access:
    """The campaign's words for a server in the client's."""
    endpoint = Endpoint(
        server.host, server.port, server.security, server.ca_file, server.allow_plaintext, ehlo_name=None
    )
    if server.username is None or password is None:
        return Access(endpoint, None)
    return Access(endpoint, Login(server.username, password, server.auth))


def described(details: SessionDetails) -> dict[str, object]:
    """A session as the report shows its server (contract section 3)."""
    return {
        "host": details.host,
        "port": details.port,
        "tls": details.tls,
        "cipher": details.cipher,
        "extensions": list(details.extensions),
        "strategy": details.strategy.value,
    }


class Worker:
    """A connection and its successors. `run` returns when nothing is left to do, or the run is over."""

    def __init__(self, sending: Sending, compiled: CompiledCampaign, access: Access, *, careful: bool = False) -> None:
        self._sending, self._compiled, self._access = sending, compiled, access
        chosen = sending.options.delivery.backoff
        self._first = backoff.Policy(FIRST_TRIES, backoff.exponential(chosen))
        self._again = backoff.connection_policy(chosen)
        self._logins = backoff.pause_policy(chosen)
        self._failures = 0  # sessions lost or not had since the last progress
        self._progress = 0  # the run's progress when the last one failed
        self._careful = careful  # what is in doubt goes one command at a time
        self._traits = NOTHING_LEARNED
        self._connection: Connection | None = None
        self._flying = 0
        self._used = 0.0
        self._heads: Counter[int] = Counter()  # messages that were first in line when a session was lost
        self._retired = False
        self._settled = 0  # messages of this session, but those that it turned away
        self._turned_away: Reply | None = None  # "not in this session", as the server last said it
        self._last_share = 0  # of the session that was lost before it
        self._share: int | None = None  # messages that a session may have, where the server showed that it counts

    async def run(self) -> None:
        try:
            while not self._sending.over and not self._retired and await self._something_to_do():
                if (connection := await self._opened()) is not None:
                    await self._use(connection)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once; nothing more leaves."""
        if self._connection is not None:
            self._connection.abort()

    async def _something_to_do(self) -> bool:
        """Wait until a message may start; False when none is left, here and in the other sessions."""
        sending = self._sending
        while not sending.over:
            seconds = sending.due()
            if seconds == 0:
                return True
            if seconds is None and not sending.flying:
                return False
            if seconds is not None and seconds >= 1 and not sending.flying:
                sending.observer.waiting(seconds, "until the next message may be sent")
            await sending.wait(seconds)
        return False

    # -- getting a session

    async def _opened(self) -> Connection | None:
        """A session that is logged in; None when the run is over, or this one is not needed any more."""
        sending = self._sending
        try:
            async with sending.login:  # one after the other: a wrong password is tried once, not by each connection
                connection = None if sending.over else await self._connected()
        except ServerError as error:
            await self._refused(error)
            return None
        if connection is not None:
            self._connection, self._flying, self._settled, self._turned_away = connection, 0, 0, None
            self._used = sending.clock.now()
            sending.opened(connection.details, usual=not self._careful)
        return connection

    async def _connected(self) -> Connection | None:
        """What `connect` gives, or None when the run is over first."""
        delivery = self._sending.options.delivery
        connecting = connect(
            self._access.endpoint,
            self._access.login,
            timeout=delivery.timeout,
            window=1 if self._careful else delivery.window,
            strategy_at_most=Strategy.SEQUENTIAL if self._careful else None,
            traits=self._traits,
            trace=self._sending.options.trace,
        )
        return await unless(self._sending.ended.wait(), connecting)

    async def _refused(self, error: ServerError) -> None:
        """No session: end the run, or wait for as long as it takes to try again."""
        sending = self._sending
        if isinstance(error, AuthenticationError):
            if not error.temporary:  # a wrong password is not tried twice: providers lock accounts for that
                sending.end(Ending.UNREACHABLE, str(error), error.hint)
                return
            if not self._one_fewer(str(error)):  # too many logins: the sessions that are open go on
                await self._wait_again(self._logins, error)
        elif isinstance(error, TlsError) and not sending.sessions:
            sending.end(Ending.UNREACHABLE, str(error), error.hint)
        elif not self._heeded(error):
            await self._wait_again(self._again if sending.sessions else self._first, error)

    def _heeded(self, error: ServerError) -> bool:
        """Act on the reply that ended a session, or kept it from opening, where it says more than "gone"."""
        sending = self._sending
        reply = error.reply if isinstance(error, ConnectionLost) else None
        rule = meaning(reply) if reply is not None else None
        if rule is None or reply is None:
            return False
        if rule.action is Action.FEWER:
            return self._one_fewer(rule.meaning)
        if rule.action is Action.NEW_SESSION:
            return False  # a new one follows anyway; without any progress it is one of those that are counted
        return sending.about_the_run(rule, reply)

    def _one_fewer(self, why: str) -> bool:
        """The server allows fewer sessions: this one is given up if there is another. True if so."""
        sending = self._sending
        if sending.active > 1:
            sending.active -= 1
            self._retired = True
            sending.observer.warning(f"{why}: going on with {sending.active}")
        return self._retired

    async def _wait_again(self, policy: backoff.Policy, error: ServerError) -> None:
        """Wait for the next try; when there is none left, the server is unreachable."""
        sending = self._sending
        self._failures = self._failures + 1 if self._progress == sending.progress else 1
        self._progress = sending.progress
        seconds = policy.after(self._failures)
        if seconds is None and sending.open:  # the other sessions do what this one cannot
            self._retired = True
            sending.active -= 1
            sending.observer.warning(f"{error}: going on with {sending.open}")
        elif seconds is None:
            tried = f" ({self._failures} sessions without progress)" if sending.sessions else ""
            sending.end(Ending.UNREACHABLE, f"{error}{tried}", error.hint)
        else:
            sending.observer.waiting(seconds, str(error))
            await sending.wait_until_over(seconds)

    # -- using it

    async def _use(self, connection: Connection) -> None:
        """Send in this session until it is lost, exhausted, or nothing is left."""
        sending, before = self._sending, self._sending.progress
        lost: ServerError | None = None
        try:
            await self._pump(connection)
            if (connection.is_exhausted or self._turned_away) and not sending.over and not self._settled:
                said = f" ({self._turned_away})" if self._turned_away else ""
                lost = ConnectionLost(f"the server ended the session before it took a message{said}")
            await connection.quit()
        except ServerError as error:
            lost = error
            self._lost(connection, error, progress=sending.progress != before)
        finally:
            connection.abort()  # of a session that is closed: nothing; after an error of ours: nothing more leaves
            self._connection = None
            # A server that refused what it offers went on one strategy down: the report says so.
            sending.closed(connection.details if connection.traits.strategy_at_most is not None else None)
        if lost is not None and not self._heeded(lost) and sending.progress == before:
            await self._wait_again(self._again, lost)

    def _lost(self, connection: Connection, error: ServerError, *, progress: bool) -> None:
        """What was in flight goes back to the queue, or is in doubt; the ledger knows before a new session opens."""
        sending = self._sending
        untouched, doubtful = connection.unfinished()
        self._traits = self._traits.merged_with(connection.traits)
        self._careful = bool(doubtful) and not sending.hold
        for transaction in doubtful:
            sending.doubtful(_flight(transaction), str(error))
        for n, transaction in enumerate(untouched):
            flight = _flight(transaction)
            if n == 0 and not doubtful and not progress and (times := self._headed(flight)) > 1:
                sending.put_aside(flight, str(error), times)
            else:
                sending.untouched(flight)
        self._flying = 0
        self._learn_share()
        sending.commit()

    def _headed(self, flight: Flight) -> int:
        """How many sessions were lost without any progress when this message was the first in line."""
        self._heads[flight.claim.id] += 1
        return self._heads[flight.claim.id]

    def _learn_share(self) -> None:
        """Some servers end a session without a word after so many messages: twice the same number is a rule."""
        if self._settled and self._settled == self._last_share:
            self._share = self._settled
        self._last_share = self._settled

    async def _pump(self, connection: Connection) -> None:
        """Claim, render, submit, settle. Returns when nothing is in flight and the session is to be left."""
        sending = self._sending
        leave = False
        while True:
            if not self._flying and (leave or connection.is_exhausted or not await self._ready(connection)):
                return
            room = 0 if leave else self._room(connection)
            claims: Sequence[Claim] = ()
            # A commit is an fsync: wait for half of the window, or a batch, rather than pay one for each reply. But
            # where there is a pace, messages start one by one, and none waits for the reply to another.
            paced = sending.pacer.interval > 0
            asked = room > 0 and (paced or room >= min(self._flying, BATCH))
            if asked:
                claims = sending.claim(room)
                for claim in claims:
                    self._start(connection, claim)
                leave = leave or (self._careful and self._doubts_are_over(claims))
            if self._flying:
                leave = await self._settle(connection, idle=asked and (paced or not claims)) or leave
            else:
                await asyncio.sleep(0)  # others took what there was: they and the signals have their turn

    def _room(self, connection: Connection) -> int:
        room = connection.room
        return room if self._share is None else max(0, min(room, self._share - self._settled - self._flying))

    def _doubts_are_over(self, claims: Sequence[Claim]) -> bool:
        """What is in doubt is claimed first: the first other message ends the careful session."""
        if all(claim.in_doubt for claim in claims):
            return False
        self._careful = False
        return True

    async def _settle(self, connection: Connection, *, idle: bool) -> bool:
        """Wait for replies (when `idle`, only until another message may start); True when the session is to be left."""
        sending, leave = self._sending, False
        for settled in await self._replies(connection, sending.due() if idle else None):
            self._flying -= 1
            action = sending.settled(settled)
            if action is Action.NEW_SESSION:
                leave, self._turned_away = True, settled.reply
                continue
            self._settled += 1
            if action is Action.FEWER:
                leave = True
                if not self._one_fewer("the server allows fewer connections at once"):
                    sending.pause("the server allows no connection beside another one", settled.reply)
        self._used = sending.clock.now()
        return leave or (self._share is not None and self._settled >= self._share)

    async def _replies(self, connection: Connection, seconds: float | None) -> Sequence[TransactionResult]:
        """What `next_results` gives; nothing when `seconds` went by first, or something changed in the queue."""
        if seconds is None:
            return await connection.next_results()
        settling = asyncio.ensure_future(connection.next_results())
        waiting = asyncio.ensure_future(self._sending.wait(seconds))
        await asyncio.wait([settling, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if settling.done():
            return settling.result()
        settling.cancel()  # nothing is lost by that: what settles meanwhile is there for the next call
        await asyncio.wait([settling])
        return () if settling.cancelled() else settling.result()

    def _start(self, connection: Connection, claim: Claim) -> None:
        """Render and hand over one message; a message that cannot be sent is settled here."""
        try:
            message = self._compiled.render(claim.recipient, eight_bit=connection.extensions.eight_bit_mime)
        except InputError as error:
            self._sending.failed(claim, str(error))
            return
        recipients = message.recipients
        if claim.copies_taken:  # not sent twice
            recipients = (recipients[0], *(email for email in recipients[1:] if email not in claim.copies_taken))
        connection.submit(
            Transaction(
                message.sender,
                recipients,
                message.content,
                message.utf8,
                message.eight_bit,
                context=Flight(claim, message),
                clean=True,  # as Message promises
            )
        )
        self._flying += 1

    async def _ready(self, connection: Connection) -> bool:
        """Before a message after a quiet time: is there one, and is the session still alive?"""
        sending = self._sending
        sending.commit()
        if not await self._something_to_do():
            return False
        if sending.clock.now() - self._used > QUIET:
            try:
                await connection.check_alive()
            except ConnectionLost:  # nothing was in flight, so that nothing is lost: connect anew, without a mark
                return False
            self._used = sending.clock.now()
        return not sending.over


def _flight(transaction: Transaction) -> Flight:
    flight: Flight = transaction.context  # type: ignore[assignment]  # smtp carries it and never looks
    return flight
