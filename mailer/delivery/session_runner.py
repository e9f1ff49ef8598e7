"""Sessions one after the other: the next one when the last is lost or used up.

A run has as many session runners at once as it is to have `connections`. What a session learned for the next
one is in its SessionOutcome: `SessionRunner` decides by it whether there is a next one, and with which
SessionPlan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial

from mailer.campaign.model import AUTO
from mailer.delivery.kept_sessions import SessionKeeper
from mailer.delivery.message_queue import MessageQueue
from mailer.delivery.options import Ending, SendOptions
from mailer.delivery.race import race
from mailer.delivery.reconnect import ReconnectPolicy
from mailer.delivery.reply_rules import ReplyAction, find_reply_rule
from mailer.delivery.run_state import RunState
from mailer.delivery.server_access import ServerAccess
from mailer.delivery.session import Session, SessionOutcome, SessionPlan
from mailer.delivery.throttle import Throttle
from mailer.errors import (
    AuthenticationError,
    ConnectionLost,
    LedgerError,
    ServerError,
    SessionRefused,
    TlsError,
)
from mailer.ledger.store import CampaignLock
from mailer.smtp.connection import Connection, ServerFacts, connect
from mailer.smtp.protocol.values import Strategy

SessionFactory = Callable[[Connection, SessionPlan], Session]


class SessionRunner:
    """Opens and uses sessions, one after the other.

    `access` says where to connect and as whom. `make_session` is called with a connection and how it is to be
    used. `throttle` pauses or ends the run when a reply asks for that. `keeper` has the sessions of the run
    before, and keeps those that the end of this run leaves open. With `is_careful`, the first session sends
    messages in doubt before all others, one command at a time.
    """

    def __init__(
        self,
        access: ServerAccess,
        options: SendOptions,
        state: RunState,
        queue: MessageQueue,
        *,
        throttle: Throttle,
        make_session: SessionFactory,
        keeper: SessionKeeper | None = None,
        is_careful: bool = False,
    ) -> None:
        self._access, self._options, self._keeper = access, options, keeper
        self._state, self._queue, self._throttle = state, queue, throttle
        self._make_session = make_session
        self._reconnect = ReconnectPolicy(state, queue, options.delivery.backoff)
        self._plan = SessionPlan(is_careful)
        self._connection: Connection | None = None
        self._session: Session | None = None
        self._is_ending = False
        self._has_new_token = False  # one was asked for after a refusal, and there was no login since
        self._follows_failure = False  # the last session, so that the next one is a reconnect
        self._taken_before_loss = 0  # messages of the last session that was lost

    async def run(self) -> None:
        """Send until no message is left or the run is over. Raises LedgerWriteError."""
        try:
            while not self._is_ending and await self._queue.wait_for_message():
                try:
                    await self._reconnect.call_with_retries(self._run_session)
                except ServerError as error:
                    self._stop_trying(error)
        finally:
            self.abort()

    @property
    def is_ending(self) -> bool:
        """Whether the runner has ended, or ends after its messages in flight."""
        return self._is_ending

    def end(self) -> None:
        """End after the messages in flight: other runners continue."""
        if self._is_ending:
            return
        self._is_ending = True
        self._state.sessions.runners -= 1
        if self._session is not None:
            self._session.leave()
        self._state.wake_waiters()

    def abort(self) -> None:
        """Close the session at once; nothing more leaves."""
        if self._connection is not None:
            self._connection.abort()

    async def _run_session(self) -> None:
        """Open a session and use it. Raises ServerError if it could not be opened, or took no message."""
        if not await self._queue.wait_for_message():
            return
        kept = self._keeper.take() if self._keeper is not None and not self._plan.is_careful else None
        if kept is not None:
            connection, permit = kept
        else:
            connection, permit = None, await self._queue.coordinator.acquire_permit()
        is_kept = False
        try:
            if connection is None and self._queue.commit_and_find_wait() is None:
                return  # the messages were sent while this runner waited
            is_kept = await self._run_permitted_session(connection, permit)
        finally:
            if permit is not None and not is_kept:
                permit.release()

    async def _run_permitted_session(
        self, connection: Connection | None, permit: CampaignLock | None
    ) -> bool:
        """Use `connection`, or a new one if it is None. Returns whether it is kept, with its permit."""
        is_new = connection is None
        try:
            connection = connection or await self._open()
        except ServerError as error:
            self._follows_failure = True
            if not self._handle_opening_error(error):
                raise
            return False
        if connection is None or not await self._wait_for_use(connection):
            return False
        end = await self._use(connection, is_new=is_new)
        if end.is_open and self._keeper is not None:
            self._keeper.keep(connection, permit)
            return True
        self._prepare_next(end)
        if end.error is not None and not self._act_on_closing_reply(end.error) and not end.made_progress:
            raise end.error
        return False

    async def _open(self) -> Connection | None:
        """Return a session that is logged in; None if the run is over, or no message is left."""
        gate, may_log_in = self._state.login_gate, asyncio.Event()
        connection: Connection | None = None
        async with gate.slots:
            # While another session logs in, this one gets as far as its own login. But a server that refused
            # a session is not asked by all runners at once.
            opening = None if self._follows_failure else asyncio.ensure_future(self._connect(may_log_in))
            try:
                async with gate.enter():
                    connection = await self._finish_opening(opening, may_log_in)
            finally:
                if opening is not None and connection is None:
                    await _discard(opening)
        return connection

    async def _finish_opening(
        self, opening: asyncio.Future[Connection] | None, may_log_in: asyncio.Event
    ) -> Connection | None:
        """Return the session of `opening`. If that has failed, or is None, open one."""
        state = self._state
        if opening is not None and opening.done() and opening.exception() is not None:
            opening = None  # without a word: it was only ahead of its turn
        if state.is_over:
            return None
        may_log_in.set()
        connecting = opening or self._connect(may_log_in)
        connection = await race(connecting, state.wait_until_ended(), self._queue.wait_until_empty())
        if connection is not None:
            state.login_gate.open()
            self._has_new_token = False
        return connection

    async def _wait_for_login(self, hello: ServerFacts, may_log_in: asyncio.Event) -> None:
        """Keep the server's first `hello` for the run, and wait until this session may log in."""
        self._state.sessions.answered += 1
        if self._state.hello is None and not self._plan.is_careful:
            self._state.hello = hello
        await may_log_in.wait()

    async def _connect(self, may_log_in: asyncio.Event) -> Connection:
        delivery, is_careful = self._options.delivery, self._plan.is_careful
        strategy = None if delivery.strategy == AUTO else Strategy(delivery.strategy)
        return await connect(
            self._access.endpoint,
            await self._access.read_login(),
            timeout=delivery.timeout,
            window=1 if is_careful else delivery.window,
            strategy_at_most=Strategy.SEQUENTIAL if is_careful else strategy,
            traits=self._state.traits,
            trace=self._options.trace,
            on_notice=self._state.observer.on_warning,
            before_login=partial(self._wait_for_login, may_log_in=may_log_in),
        )

    async def _wait_for_use(self, connection: Connection) -> bool:
        """Wait until the session may be used.

        Return False, with the session closed, if the runner is ending.
        """
        state = self._state
        self._connection = connection
        while not (state.sessions.may_use_another or self._is_ending or state.is_over):
            if self._queue.commit_and_find_wait() is None:
                break  # the others have sent what there was
            await state.wait_for_change(None)
        if not self._is_ending:
            return True
        await connection.quit()
        return False

    async def _use(self, connection: Connection, *, is_new: bool) -> SessionOutcome:
        """Run a session on `connection`, and return how it ended.

        `is_new` is False if the run before opened it.
        """
        self._connection = connection
        self._state.record_session_opened(
            connection.details,
            is_new=is_new,
            is_reconnect=self._follows_failure,
            is_careful=self._plan.is_careful,
        )
        self._session = session = self._make_session(connection, self._plan)
        is_open = False
        try:
            end = await session.run()
            is_open = end.is_open
            return end
        except asyncio.CancelledError:  # the caller does not wait for replies: what is known is recorded
            with suppress(LedgerError):
                session.record_cancellation()
            raise
        finally:
            if not is_open:
                connection.abort()  # does nothing to a session that is closed
            self._connection = self._session = None
            self._state.record_session_closed(connection.details, session.traits)

    def _prepare_next(self, end: SessionOutcome) -> None:
        """Plan the next session by the `end` of the last one, or end this runner if the server asks for
        fewer.
        """
        limit = self._plan.message_limit
        if end.is_lost:
            # Some servers end a session without a word after so many messages: the same number twice is a
            # rule.
            if end.taken_count and end.taken_count == self._taken_before_loss:
                limit = end.taken_count
            self._taken_before_loss = end.taken_count
        self._follows_failure = end.is_lost
        self._plan = SessionPlan(end.needs_care, limit)
        if end.fewer_sessions_reply is not None and not self._end_unless_alone(
            "the server allows fewer connections at once"
        ):
            self._throttle.pause(
                "the server allows no connection beside another one", end.fewer_sessions_reply
            )

    def _handle_opening_error(self, error: ServerError) -> bool:
        """Do what a session that could not be opened asks for.

        Returns False if that is to try again after a wait.
        """
        if isinstance(error, AuthenticationError):
            if error.temporary:  # too many logins: the sessions that are open continue
                return self._end_unless_alone(str(error))
            if self._access.token_source is not None and not self._has_new_token:  # it may have just expired
                self._has_new_token = True
                return True
            # A wrong password is not tried twice: providers lock accounts for that.
        elif self._act_on_closing_reply(error):
            return True
        elif self._state.figures.sessions or not isinstance(error, (TlsError, SessionRefused)):
            return False
        self._state.end(Ending.UNREACHABLE, str(error), error.hint)
        return True

    def _act_on_closing_reply(self, error: ServerError) -> bool:
        """Do what the reply that ended a session asks for.

        Returns False if it says no more than that the session is over.
        """
        reply = error.reply if isinstance(error, (ConnectionLost, SessionRefused)) else None
        rule = find_reply_rule(reply) if reply is not None else None
        if rule is None or reply is None:
            return False
        if rule.action is ReplyAction.FEWER_SESSIONS:
            return self._end_unless_alone(rule.meaning)
        return self._throttle.apply_rule(rule, reply)

    def _end_unless_alone(self, why: str) -> bool:
        """End this runner if there is another one, because the server allows fewer sessions.

        `why` is for a person. Returns whether the runner ends.
        """
        sessions = self._state.sessions
        if sessions.runners > 1 and not self._is_ending:
            self.end()
            if not sessions.is_automatic:
                self._state.observer.on_warning(f"{why}: continuing with {_count_sessions(sessions.runners)}")
        return self._is_ending

    def _stop_trying(self, error: ServerError) -> None:
        """End this runner after the last try, whose `error` is given; end the run if no session is open."""
        sessions = self._state.sessions
        if self._is_ending:
            return
        if not sessions.open:
            self._state.end(Ending.UNREACHABLE, str(error), error.hint)
            return
        self.end()
        self._state.observer.on_warning(f"{error}: continuing with {_count_sessions(sessions.open)}")


class SessionRunnerPool:
    """The session runners of a run, as many as are wanted. `make_runner` makes one."""

    def __init__(self, state: RunState, make_runner: Callable[..., SessionRunner]) -> None:
        self._state, self._make_runner = state, make_runner
        self._runners: list[SessionRunner] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._group = asyncio.TaskGroup()

    async def run(
        self,
        count: int,
        *,
        is_careful: bool = False,
        beside: Callable[[], Coroutine[object, object, None]] | None = None,
    ) -> None:
        """Run `count` runners, and those that are added, until each has ended; `beside` runs meanwhile.

        With `is_careful`, the first session of each sends messages in doubt before all others, one command at
        a time. The first error ends all runners at once, and is raised: without a ledger no message may
        leave.
        """
        try:
            async with self._group as group:
                for _ in range(count):
                    self.add(is_careful=is_careful)
                if beside is not None:
                    companion = group.create_task(beside())
                    while any(not task.done() for task in self._tasks):
                        await asyncio.wait([task for task in self._tasks if not task.done()])
                    companion.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    def add(self, *, is_careful: bool = False) -> None:
        """Start one more runner; with `is_careful`, its first session sends messages in doubt alone."""
        runner = self._make_runner(is_careful=is_careful)
        self._runners.append(runner)
        self._state.sessions.runners += 1
        self._tasks.append(self._group.create_task(runner.run()))

    def remove_one(self) -> None:
        """Let one runner end after its messages in flight, if more than one is left."""
        active = [runner for runner in self._runners if not runner.is_ending]
        if len(active) > 1:
            active[-1].end()

    def abort(self) -> None:
        """Close all sessions at once."""
        for runner in self._runners:
            runner.abort()


async def _discard(opening: asyncio.Future[Connection]) -> None:
    """Give up a session that is being opened, or was.

    If that has failed, this does not wait: the session runner must end the run before another one may log in.
    """
    if not opening.done():
        opening.cancel()
        await asyncio.wait([opening])
    if not opening.cancelled() and opening.exception() is None:
        opening.result().abort()


def _count_sessions(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"
