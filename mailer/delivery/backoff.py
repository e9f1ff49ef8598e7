"""When something is tried again: tenacity's stop and wait policies, asked for one answer at a time.

tenacity's own loop would hold a task for each waiting message; here thousands wait in the ledger, so that only its
policies are used. Waits are exponential with full jitter (uniform between 0 and the exponential bound), so that
what was refused together does not come back together.
"""

from __future__ import annotations

from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_random_exponential
from tenacity.wait import wait_base

from mailer.campaign.model import Backoff

# RFC 6647 section 4.5: a greylisted message may have to wait for minutes. As multiples of the first backoff
# (1 s by default), before the last try but one and before the last one.
GREYLIST_WAITS = (60.0, 300.0)


class Policy:
    """How often something is tried, and how long after which try it is tried again."""

    def __init__(self, attempts: int, wait: wait_base) -> None:
        self._stop = stop_after_attempt(attempts)
        self._wait = wait
        self._state = RetryCallState(Retrying(), None, (), {})

    def after(self, attempt: int) -> float | None:
        """Seconds to wait after the `attempt`th try (from 1) failed; None when there is none left."""
        self._state.attempt_number = attempt
        return None if self._stop(self._state) else float(self._wait(self._state))


class wait_greylisted(wait_base):  # noqa: N801 - named as tenacity names its waits
    """As `wait`, but the last tries are as far apart as a greylisting server wants them."""

    def __init__(self, wait: wait_base, attempts: int, backoff: Backoff) -> None:
        self._wait = wait
        self._floors = {
            attempts - len(GREYLIST_WAITS) + n: min(backoff.most, backoff.first * factor)
            for n, factor in enumerate(GREYLIST_WAITS)
        }

    def __call__(self, retry_state: RetryCallState) -> float:
        return max(self._floors.get(retry_state.attempt_number, 0.0), self._wait(retry_state))


def exponential(backoff: Backoff) -> wait_base:
    return wait_random_exponential(multiplier=backoff.first, max=backoff.most)


def message_policy(attempts: int, backoff: Backoff) -> Policy:
    """For a message that was refused for now (4xx)."""
    return Policy(attempts, exponential(backoff))


def greylist_policy(attempts: int, backoff: Backoff) -> Policy:
    """For a message that was greylisted."""
    return Policy(attempts, wait_greylisted(exponential(backoff), attempts, backoff))


def connection_policy(backoff: Backoff, *, sessions: int = 6) -> Policy:
    """For sessions that end, or cannot be had, without any progress in between."""
    return Policy(sessions, exponential(backoff))


class wait_pause(wait_base):  # noqa: N801
    """Pauses after a rate limit: 30 times the first backoff (30 s by default), then twice as long each time.

    Half of it is jitter at most: a provider that counts by the minute is not asked again after a second.
    """

    def __init__(self, backoff: Backoff) -> None:
        self._wait = wait_random_exponential(
            multiplier=backoff.first * 30, max=backoff.most, min=min(backoff.first * 15, backoff.most)
        )

    def __call__(self, retry_state: RetryCallState) -> float:
        return self._wait(retry_state)


def pause_policy(backoff: Backoff, *, pauses: int = 8) -> Policy:
    """For a server that says "too fast"; used up when it said so so many times with nobody sent to in between."""
    return Policy(pauses, wait_pause(backoff))
