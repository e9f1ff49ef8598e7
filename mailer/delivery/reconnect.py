"""Whether and when a worker connects again after a session that could not be opened, or took no message.

The loop is tenacity's. This module says for how long it waits, and when it stops.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from mailer.campaign.model import Backoff
from mailer.delivery.backoff import MAX_PAUSES, exponential_bound, seconds_of_pause
from mailer.delivery.run_state import RunState
from mailer.errors import AuthenticationError, ServerError

MIN_SECONDS = 10.0  # of trying to open a session: a server that starts within them is found
MAX_TRIES = 6  # in a row, once the server has let us in
QUICK_TRIES = (
    2  # to open a session; the waits after them have a minimum, so that the server is not asked too often
)
MIN_WAIT, MAX_FIRST_WAIT = 1.5, 2.0  # seconds; the latter while the server has never let us in


class ReconnectPolicy:
    """Decides for one worker. Only tries in a row count; each call begins anew."""

    def __init__(self, state: RunState, backoff: Backoff) -> None:
        self._state, self._backoff = state, backoff
        self._started = 0.0
        self._sessions_before = 0

    async def call_with_retries(self, run_session: Callable[[], Awaitable[None]]) -> None:
        """Call `run_session`, and again after a wait as long as it raises ServerError and another try makes
        sense.

        Raises the last error if it does not.
        """
        self._started, self._sessions_before = self._state.clock.now(), self._state.figures.sessions
        await AsyncRetrying(
            retry=retry_if_exception_type(ServerError),
            stop=self._should_stop,
            wait=self._seconds_until_next_try,
            sleep=self._state.sleep,
            before_sleep=self._announce_wait,
            reraise=True,
        )(run_session)

    @property
    def _has_opened_sessions(self) -> bool:
        """Whether the server let us in during this series: it can be reached, but takes no message."""
        return self._state.figures.sessions > self._sessions_before

    def _should_stop(self, call: RetryCallState) -> bool:
        if isinstance(_error(call), AuthenticationError):
            return call.attempt_number >= MAX_PAUSES
        if not self._has_opened_sessions and self._state.clock.now() - self._started < MIN_SECONDS:
            return False
        return call.attempt_number >= MAX_TRIES or not self._state.figures.sessions

    def _seconds_until_next_try(self, call: RetryCallState) -> float:
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
