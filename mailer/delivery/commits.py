"""How the sessions of a run share claims and commits: each costs the disk's time once for all that need one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mailer.delivery.run_state import RunState
from mailer.ledger import Claim
from mailer.smtp.protocol.submission import MAX_WAITING

if TYPE_CHECKING:
    from mailer.delivery.message_queue import MessageQueue

# A commit happens while the replies to an envelope are awaited. If a message takes as long as so many of them, a
# commit for each message costs nothing.
MAX_COMMITS_IN_MESSAGE = 4.0
# Seconds that claims and outcomes wait for those of other sessions, so that they share a commit.
MAX_COMMIT_WAIT = 0.01


class _Request(NamedTuple):
    room: int
    claimed: asyncio.Future[Sequence[Claim]]


class GroupClaim:
    """One durable claim in a shared ledger for all sessions that ask at about the same time.

    Many sessions do not wait for one fsync each. While a claim waits for the disk, replies to other sessions
    come in, so the next group is larger.
    """

    def __init__(
        self, claim: Callable[[int], Sequence[Claim]], release: Callable[[Sequence[Claim]], None]
    ) -> None:
        """`claim` returns up to so many durable claims, or raises. `release` gives up those of a session that ends."""
        self._claim, self._release = claim, release
        self._requests: list[_Request] = []

    async def claim(self, room: int) -> Sequence[Claim]:
        """Return up to `room` durable claims. Raises what the claim raises."""
        loop = asyncio.get_running_loop()
        claimed: asyncio.Future[Sequence[Claim]] = loop.create_future()
        if not self._requests:
            loop.call_soon(self._serve)
        self._requests.append(_Request(room, claimed))
        try:
            return await claimed
        except asyncio.CancelledError:
            if claimed.done() and not claimed.cancelled() and claimed.exception() is None:
                self._release(claimed.result())
            raise

    def _serve(self) -> None:
        requests, self._requests = self._requests, []
        waiting = [request for request in requests if not request.claimed.done()]
        if not waiting:
            return
        try:
            claims = self._claim(sum(request.room for request in waiting))
        except Exception as error:  # raised in each task that waits
            for request in waiting:
                request.claimed.set_exception(error)
            return
        for room, claimed in waiting:
            claimed.set_result(claims[:room])
            claims = claims[room:]


class GroupCommit:
    """One commit for all sessions that need one at about the same time."""

    def __init__(self, commit: Callable[[], None]) -> None:
        """`commit` makes everything durable, or raises."""
        self._commit = commit
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None  # for the next commit

    async def wait(self, within: float) -> None:
        """Wait for a commit, which happens up to `within` seconds later. Raises what the commit raises."""
        loop = asyncio.get_running_loop()
        committed: asyncio.Future[None] = loop.create_future()
        if self._timer is None or self._timer.when() > loop.time() + within:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(within, self._serve)
        self._waiting.append(committed)
        try:
            await committed
        except asyncio.CancelledError:
            if committed.done() and not committed.cancelled():
                committed.exception()  # asyncio reports one that nothing has asked for
            raise

    def _serve(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, []
        error: Exception | None = None
        try:
            self._commit()
        except Exception as failure:  # raised in each task that waits
            error = failure
        for committed in waiting:
            if committed.done():
                continue
            if error is None:
                committed.set_result(None)
            else:
                committed.set_exception(error)


class CommitPolicy:
    """How the messages of a session without BDAT share commits: with each other, or with other sessions.

    It has learned how long the session's messages take.
    """

    def __init__(self, state: RunState, queue: MessageQueue) -> None:
        """`state` is the run's, and `queue` knows how long a commit takes."""
        self._state, self._queue = state, queue
        self._message_seconds = 1.0  # of late
        self._since = 0.0  # from when the next message's time counts

    def note_start(self) -> None:
        """Note that a message starts behind none in flight."""
        self._since = time.perf_counter()

    def note_results(self, count: int) -> None:
        """Note that `count` messages have their results."""
        now = time.perf_counter()
        self._message_seconds += ((now - self._since) / count - self._message_seconds) / 8
        self._since = now

    @property
    def waiting_count(self) -> int:
        """How many messages may wait behind those on their way, claimed durably.

        They share a commit with those. After a crash they are in doubt, as if the window were larger. So
        there are none, unless the session is alone and the server answers as fast as the disk writes, as one
        on this machine does; and none with a pace.
        """
        is_slow = self._message_seconds >= MAX_COMMITS_IN_MESSAGE * self._queue.commit_seconds
        return 0 if is_slow or self._is_paced or self._state.sessions.open > 1 else MAX_WAITING

    @property
    def reserved_count(self) -> int:
        """How many messages may be submitted, but not claimed, behind those on their way.

        The envelope of one leaves together with the content before it. If messages wait anyway, or start one
        by one, there are none; nor with a shared ledger, where nothing can be reserved.
        """
        return 0 if self.waiting_count or self._is_paced or self._queue.ledger.is_shared else 1

    @property
    def _is_paced(self) -> bool:
        return self._queue.pacer.interval > 0

    @property
    def seconds_to_wait(self) -> float:
        """How long a commit may wait for messages of other sessions."""
        return min(MAX_COMMIT_WAIT, self._message_seconds / 4)
