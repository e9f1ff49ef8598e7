"""How the messages of a session without BDAT share commits of the ledger: with each other, or with other sessions."""

from __future__ import annotations

import time

from mailer.delivery.message_queue import MessageQueue
from mailer.delivery.run_state import RunState
from mailer.smtp.protocol.submission import MAX_WAITING

# A commit happens while the replies to an envelope are awaited. If a message takes as long as so many of them, a
# commit for each message costs nothing.
MAX_COMMITS_IN_MESSAGE = 4.0
# Seconds that claims and outcomes wait for those of other sessions, so that they share a commit.
MAX_COMMIT_WAIT = 0.01


class CommitPolicy:
    """What one session has learned of the time that its messages take."""

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

        They share a commit with those. After a crash they are in doubt, as if the window were larger. So there are
        none, unless the session is alone and the server answers as fast as the disk writes, as one on this
        machine does; and none with a pace.
        """
        is_slow = self._message_seconds >= MAX_COMMITS_IN_MESSAGE * self._queue.commit_seconds
        return 0 if is_slow or self._is_paced or self._state.sessions.open > 1 else MAX_WAITING

    @property
    def reserved_count(self) -> int:
        """How many messages may be submitted, but not claimed, behind those on their way.

        The envelope of one leaves together with the content before it. If messages wait anyway, or start one by
        one, there are none; nor with a shared ledger, where nothing can be reserved.
        """
        return 0 if self.waiting_count or self._is_paced or self._queue.ledger.is_shared else 1

    @property
    def _is_paced(self) -> bool:
        return self._queue.pacer.interval > 0

    @property
    def seconds_to_wait(self) -> float:
        """How long a commit may wait for messages of other sessions."""
        return min(MAX_COMMIT_WAIT, self._message_seconds / 4)
