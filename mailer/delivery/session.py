"""One session's part of a run: keep its window full until the queue is empty or the session ends.

A `Session` is made for one connection and used once. Its loop has no task, future or callback for a single
message: reserve, render, submit, claim durably, permit the content, wait for results, record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from mailer.dataclass import dataclass
from mailer.delivery.commits import CommitPolicy
from mailer.delivery.dispositions import SessionAction
from mailer.delivery.message_queue import MessageQueue
from mailer.delivery.options import Ending
from mailer.delivery.race import race
from mailer.delivery.recorder import ResultRecorder, get_claimed_message
from mailer.delivery.renderers import Renderer
from mailer.delivery.run_state import RunState
from mailer.delivery.signals import Interrupted
from mailer.errors import ConnectionLost, RenderError, ServerError
from mailer.ledger import Claim, Release
from mailer.render.message import Message
from mailer.smtp.connection import BATCH, Connection
from mailer.smtp.protocol.reply import Reply
from mailer.smtp.protocol.submission import ON_THEIR_WAY
from mailer.smtp.protocol.values import ServerTraits, Strategy, Transaction, TransactionResult

# Servers close a session that says nothing, some after 30 s (Postfix under stress: 10 s). RFC 5321 4.5.3.2.7
# asks them for 5 minutes; asking before a message is cheaper than losing the session with one.
MAX_QUIET_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """How a session is to be used.

    `is_careful`: it sends only messages in doubt, one command at a time, because the server may fail at one
    of them. `message_limit` is the maximum number of messages, if the server showed that it counts them.
    """

    is_careful: bool = False
    message_limit: int | None = None


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """How a session ended.

    `error` says why it was useless, or how it was lost (`is_lost`); it is None if the session was
    of use and we ended it. `taken_count`
    is the number of messages that the server took or refused. `made_progress` says that the server judged a
    message. `needs_care` says that the next session has to be careful. `fewer_sessions_reply` is a reply that
    allows fewer sessions at once. `is_open` says that the connection is open, for the next run.
    """

    error: ServerError | None
    is_lost: bool
    taken_count: int
    made_progress: bool
    needs_care: bool
    fewer_sessions_reply: Reply | None
    is_open: bool = False


class Session:
    """The messages of one connection, from the login to QUIT.

    `plan` says how the connection is to be used. `renderer` makes the messages of the claims that `queue`
    gives, and `recorder` records their results. `state` is the run's. With `may_stay_open`, the connection
    may outlive the run.
    """

    def __init__(
        self,
        connection: Connection,
        plan: SessionPlan,
        *,
        renderer: Renderer,
        state: RunState,
        queue: MessageQueue,
        recorder: ResultRecorder,
        may_stay_open: bool = False,
    ) -> None:
        self._connection, self._plan, self._may_stay_open = connection, plan, may_stay_open
        self._renderer, self._state, self._queue, self._recorder = renderer, state, queue, recorder
        self._in_flight = 0
        self._held: list[Transaction] = []  # of those in flight: submitted, and not claimed yet
        self._found_messages = False  # by the last claim
        self._commits = CommitPolicy(state, queue)
        self._taken_count = 0  # messages that the server took or refused
        self._made_progress = False  # the server judged a message
        self._last_used = state.clock.now()
        self._must_leave = False  # no more messages are to be started
        self._leave_action: SessionAction | None = None  # what the server last asked for, and how
        self._leave_reply: Reply | None = None
        self._doubts_are_done = False  # a claim had a message that is not in doubt

    async def run(self) -> SessionOutcome:
        """Send until the session is lost, takes no more messages, or nothing is left. Returns how it ended.

        Raises LedgerWriteError.
        """
        error: ServerError | None = None
        is_lost = is_open = False
        try:
            await self._send_messages()
            error = self._find_why_useless()
            is_open = self._stays_open()
            if not is_open:
                await self._connection.quit()
            needs_care = self._plan.is_careful and not self._doubts_are_done
        except ServerError as lost:
            error, is_lost = lost, True
            needs_care = self._record_unfinished(str(lost))
        return SessionOutcome(
            error,
            is_lost,
            self._taken_count,
            self._made_progress,
            needs_care,
            self._find_fewer_sessions_reply(),
            is_open,
        )

    def _stays_open(self) -> bool:
        """Whether the next run may use the connection: nothing ended but this run's share."""
        state = self._state
        is_unwanted = self._must_leave or self._plan.is_careful or state.stop.requested
        is_share_over = state.ending is Ending.INCOMPLETE and not is_unwanted
        return self._may_stay_open and is_share_over and self._connection.room > 0

    def leave(self) -> None:
        """Start no more messages, and end the session when those in flight have their results."""
        self._must_leave = True
        self._state.wake_waiters()

    def record_cancellation(self) -> None:
        """Record what is in flight, after `run` was cancelled: it is in doubt, unless its last byte did not
        leave.
        """
        self._connection.abort()
        self._record_unfinished("the run was cancelled before the reply came")

    def _find_why_useless(self) -> ServerError | None:
        """Return an error if the server wanted no message in this session; None if the session was of use."""
        if self._taken_count or self._state.is_over:
            return None
        if not self._connection.is_exhausted and self._leave_reply is None:
            return None
        said = f" ({self._leave_reply})" if self._leave_reply else ""
        return ConnectionLost(f"the server ended the session before it took a message{said}")

    @property
    def traits(self) -> ServerTraits:
        """What this session learned about the server, for the next one."""
        traits = self._connection.traits
        if self._leave_action is not SessionAction.SIMPLIFY or traits.strategy_at_most is not None:
            return traits
        used = list(Strategy).index(self._connection.details.strategy)
        return replace(traits, strategy_at_most=list(Strategy)[max(used - 1, 0)])

    def _find_fewer_sessions_reply(self) -> Reply | None:
        return self._leave_reply if self._leave_action is SessionAction.USE_FEWER else None

    def _record_unfinished(self, error: str) -> bool:
        """Put what was in flight back into the queue, or in doubt, durably. `error` says how the session
        ended.

        Returns whether the next session has to be careful.
        """
        unfinished = self._connection.list_unfinished()
        for transaction in unfinished.in_doubt:
            self._recorder.record_unanswered(get_claimed_message(transaction), error)
        is_fruitless = not self._made_progress and not unfinished.in_doubt
        for index, transaction in enumerate(unfinished.unsent):
            is_head = is_fruitless and index == 0
            self._recorder.record_unsent(get_claimed_message(transaction), error, is_fruitless_head=is_head)
        self._in_flight = 0
        self._queue.commit()
        return bool(unfinished.in_doubt) and not self._recorder.holds_doubts

    async def _send_messages(self) -> None:
        """Claim, render, submit, record. Returns when nothing is in flight and no message is to be started.

        That is so when the session is to be left, when it has ended, or when no message is left.
        """
        while True:
            is_leaving = self._decide_to_leave()
            if not self._in_flight and (is_leaving or not await self._wait_until_ready()):
                return
            room = 0 if is_leaving else self._count_room()
            may_claim = self._may_claim(room)
            count = await self._start_messages(room) if may_claim else 0
            if self._held:
                await self._permit_contents()
            if may_claim and not count and self._is_last_use():
                self._connection.finish()
            if self._in_flight:
                # With a pace, a message may be due before the next reply comes.
                is_due_next = may_claim and (self._is_paced or not count)
                await self._take_results(until_due=is_due_next)
            else:
                # Other sessions claimed what there was: they and the signals have their turn.
                await asyncio.sleep(0)

    def _is_last_use(self) -> bool:
        """Whether the connection is not needed behind the messages in flight."""
        is_wanted = self._may_stay_open or self._plan.is_careful or not self._taken_count
        return self._in_flight > 0 and not is_wanted and self._queue.is_drained()

    def _decide_to_leave(self) -> bool:
        """Return whether the session starts no more messages."""
        self._must_leave = self._must_leave or self._queue.coordinator.choose_session_to_leave()
        return self._must_leave or self._connection.is_exhausted

    @property
    def _is_paced(self) -> bool:
        """Messages start one by one, and none waits for the reply to another."""
        return self._queue.pacer.interval > 0

    def _may_claim(self, room: int) -> bool:
        """Return whether to claim now, with room for `room` messages.

        A claim ends with a commit, which is an fsync: wait for half of the window, or a batch, rather than
        pay one for each reply.
        """
        if self._is_streamed:
            return room >= min(self._in_flight, BATCH) and room > 0
        return room > self._commits.waiting_count or (room > 0 and self._in_flight <= 1)

    @property
    def _is_streamed(self) -> bool:
        return self._connection.strategy is Strategy.STREAMED

    async def _start_messages(self, room: int) -> int:
        """Submit up to `room` messages. Returns how many there were.

        Without BDAT their contents are held: see `_permit_contents`. With BDAT each content follows its envelope
        at once, so that the claims are durable before.
        """
        queue, is_held = self._queue, not self._is_streamed
        claims = await (queue.reserve(room) if is_held else queue.claim_durably(room))
        if self._plan.is_careful and not all(claim.in_doubt for claim in claims):
            # Messages in doubt come before those that were not tried yet.
            self._must_leave = self._doubts_are_done = True
        self._found_messages = bool(claims)
        if claims:
            self._submit_each(claims, is_held=is_held)
        return len(claims)

    async def _permit_contents(self) -> None:
        """Let the contents of messages leave that are on their way now, when their claims are durable.

        Their envelopes leave before, since an envelope alone cannot deliver anything: the commit and the replies
        to them take their time together.
        """
        self._connection.write()
        count = self._count_permissible() - (self._in_flight - len(self._held))
        if not self._held or count <= 0:
            return
        permitted, self._held = self._held[:count], self._held[count:]
        self._queue.claim([get_claimed_message(transaction).claim for transaction in permitted])
        await self._queue.make_durable(within=self._commits.seconds_to_wait)
        self._connection.permit_contents(permitted)

    def _count_permissible(self) -> int:
        """Return how many messages may be claimed, without BDAT."""
        return ON_THEIR_WAY.get(self._connection.strategy, 0) + self._commits.waiting_count

    def _submit_each(self, claims: Sequence[Claim], *, is_held: bool) -> None:
        """Render and submit the messages of `claims`. `is_held`: their contents are to be permitted later."""
        room = self._count_room()  # the server may have ended the session meanwhile
        rendered = self._renderer.render_each(claims, eight_bit=self._connection.extensions.eight_bit_mime)
        with closing(rendered):
            for index, claim in enumerate(claims):
                transaction = self._make_transaction(claim, rendered)
                if transaction is not None and index < room:
                    self._submit(transaction, is_held=is_held)
                elif transaction is not None:
                    self._queue.record(claim, Release())

    def _count_room(self) -> int:
        room, limit = self._connection.room, self._plan.message_limit
        if not self._is_streamed:
            room = min(room, self._count_permissible() + self._commits.reserved_count - self._in_flight)
        if limit is not None:
            room = min(room, limit - self._taken_count - self._in_flight)
        return max(0, room)

    async def _take_results(self, *, until_due: bool) -> None:
        """Wait for results and record them. With `until_due`, wait only until another message may start."""
        seconds = self._queue.commit_and_find_wait() if until_due else None
        results = await self._next_results(seconds)
        if results:
            self._commits.note_results(len(results))
        for result in results:
            self._in_flight -= 1
            if result.transaction in self._held:  # refused before its content
                self._held.remove(result.transaction)
            disposition = self._recorder.record_result(result)
            self._made_progress = self._made_progress or disposition.is_progress
            if disposition.session is SessionAction.CONTINUE:
                self._taken_count += 1
            else:
                self._leave(disposition.session, result.reply)
        self._last_used = self._state.clock.now()
        limit = self._plan.message_limit
        self._must_leave = self._must_leave or (limit is not None and self._taken_count >= limit)

    def _leave(self, action: SessionAction, reply: Reply | None) -> None:
        """Start no more messages, because `reply` asks for `action`."""
        self._must_leave = True
        if action is SessionAction.USE_FEWER:
            self._taken_count += 1
        self._leave_action, self._leave_reply = action, reply

    async def _next_results(self, seconds: float | None) -> Sequence[TransactionResult]:
        """Return at least one result, or none if `seconds` passed before, or the queue changed."""
        if seconds is None:
            return await self._connection.next_results()
        # Nothing is lost if the wait is cancelled: the next call returns the results that came meanwhile.
        return await race(self._connection.next_results(), self._state.wait_for_change(seconds)) or ()

    def _submit(self, transaction: Transaction, *, is_held: bool) -> None:
        if not self._in_flight:
            self._commits.note_start()
        if is_held:
            self._held.append(transaction)
        self._connection.submit(transaction, is_held=is_held)
        self._in_flight += 1

    def _make_transaction(
        self, claim: Claim, rendered: Iterator[Message | RenderError]
    ) -> Transaction | None:
        """Make the transaction of the next message that is rendered.

        If there is none, record that the claim failed, or is released, and return None.
        """
        try:
            message = next(rendered)
        except (Interrupted, StopIteration):
            self._queue.record(claim, Release())
            return None
        if isinstance(message, RenderError):
            self._recorder.record_unrendered(claim, message.summary)
            return None
        recipients = message.recipients
        if claim.copies_taken:  # not sent twice
            recipients = (
                recipients[0],
                *(email for email in recipients[1:] if email not in claim.copies_taken),
            )
        return Transaction(
            message.sender,
            recipients,
            message.content,
            message.utf8,
            message.eight_bit,
            context=self._recorder.make_claimed_message(claim, message),
            clean=True,  # as Message promises
        )

    async def _wait_until_ready(self) -> bool:
        """Wait until there is a message to send. Return False if there is none, or the session has ended.

        If the last claim found messages, there may be more: the next claim shows it, and its commit is also
        that of the records so far.
        """
        if self._found_messages and not self._is_quiet and not self._state.is_over:
            return True
        self._queue.commit()
        if not await self._queue.wait_for_message():
            return False
        if self._is_quiet:
            try:
                await self._connection.check_alive()
            except ConnectionLost:  # nothing was in flight, so nothing is lost: connect again, without a mark
                return False
            self._last_used = self._state.clock.now()
        return not self._state.is_over

    @property
    def _is_quiet(self) -> bool:
        """Nothing was said for so long that the server may have closed the session."""
        return self._state.clock.now() - self._last_used > MAX_QUIET_SECONDS
