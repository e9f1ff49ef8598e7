"""When a session runner tries again to open a session, and when it stops trying.

The loop is tenacity's. `ReconnectPolicy` says how long it waits, and when it stops.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from mailer.campaign.model import Backoff
from mailer.delivery.backoff import MAX_PAUSES, exponential_bound, seconds_of_pause
from mailer.delivery.message_queue import MessageQueue
from mailer.delivery.race import race
from mailer.delivery.run_state import RunState
from mailer.errors import AuthenticationError, ServerError

# Tries to open a session. A server that starts within MIN_CONNECT_SECONDS is found. Once the server has let
# us in, MAX_SESSION_TRIES in a row are enough. Waits are in seconds. After QUICK_TRIES they have a minimum,
# so that the server is not asked too often. They have a maximum as long as the server has never let us in.
MIN_CONNECT_SECONDS = 10.0
MAX_SESSION_TRIES = 6
QUICK_TRIES = 2
MIN_WAIT, MAX_FIRST_WAIT = 1.5, 2.0


class ReconnectPolicy:
    """Says for one session runner when it tries to connect again.

    Only tries in a row count; each call begins anew.
    """

    def __init__(self, state: RunState, queue: MessageQueue, backoff: Backoff) -> None:
        """`state` and `queue` are the run's; `backoff` says how long to wait between two tries."""
        self._state, self._queue, self._backoff = state, queue, backoff
        self._started = 0.0
        self._sessions_before = 0

    async def call_with_retries(self, run_session: Callable[[], Awaitable[None]]) -> None:
        """Call `run_session` until it raises no ServerError, with a wait before each further try.

        Raises the last error if another try makes no sense.
        """
        self._started, self._sessions_before = self._state.clock.now(), self._state.figures.sessions
        await AsyncRetrying(
            retry=retry_if_exception_type(ServerError),
            stop=self._should_stop,
            wait=self._choose_wait,
            sleep=self._sleep,
            before_sleep=self._announce_wait,
            reraise=True,
        )(run_session)

    async def _sleep(self, seconds: float) -> None:
        """Wait for `seconds`, or until another try has no purpose."""
        await race(self._state.sleep(seconds), self._queue.wait_until_empty())

    @property
    def _has_opened_sessions(self) -> bool:
        """Whether the server let us in during this series: it can be reached, but takes no message."""
        return self._state.figures.sessions > self._sessions_before

    def _should_stop(self, call: RetryCallState) -> bool:
        """Return whether no other try makes sense after `call`, which failed."""
        if isinstance(_error(call), AuthenticationError):
            return call.attempt_number >= MAX_PAUSES
        if not self._has_opened_sessions and self._state.clock.now() - self._started < MIN_CONNECT_SECONDS:
            return False
        return call.attempt_number >= MAX_SESSION_TRIES or not self._state.figures.sessions

    def _choose_wait(self, call: RetryCallState) -> float:
        """Return the seconds to wait after `call`, which failed."""
        if isinstance(_error(call), AuthenticationError):  # too many logins
            return seconds_of_pause(self._backoff, call.attempt_number) or 0.0
        seconds = random.uniform(0.0, exponential_bound(self._backoff, call.attempt_number))  # noqa: S311 - jitter
        if call.attempt_number > QUICK_TRIES and not self._has_opened_sessions:
            seconds = max(seconds, MIN_WAIT)
        return seconds if self._state.figures.sessions else min(seconds, MAX_FIRST_WAIT)

    def _announce_wait(self, call: RetryCallState) -> None:
        self._state.observer.on_waiting(call.upcoming_sleep, str(_error(call)))


def _error(call: RetryCallState) -> BaseException | None:
    return call.outcome.exception() if call.outcome is not None else None
