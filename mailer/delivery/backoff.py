"""How long to wait before something is tried again.

Waits grow exponentially and have full jitter: uniform between 0 and the exponential bound, so that messages
that were refused together do not come back together. Thousands of messages wait in the ledger, not in a task
each, so this is plain arithmetic. The one loop that tries again in place is in `reconnect`.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from mailer.campaign.model import Backoff
from mailer.dataclass import dataclass

# RFC 6647 section 4.5: a greylisted message may have to wait for minutes. As multiples of the first backoff
# (1 s by default), before the last try but one and before the last one.
GREYLIST_WAITS = (60.0, 300.0)

MAX_PAUSES = 8  # the pause in a row, without an accepted message in between, that ends the run instead
PAUSE_FACTOR = 30  # the first pause, as a multiple of the first backoff

Draw = Callable[[float, float], float]  # a number between two


def exponential_bound(backoff: Backoff, attempt: int) -> float:
    """Return the longest wait in seconds of `backoff` after the `attempt`th failure (from 1)."""
    return min(backoff.most, backoff.first * 2.0 ** min(attempt - 1, 60))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a message that was refused temporarily is tried again.

    `attempts` is the maximum in one run, including the first. `draw` is a source of chance; tests give their
    own.
    """

    attempts: int
    backoff: Backoff
    draw: Draw = random.uniform

    def seconds_after(self, attempt: int, *, greylisted: bool = False) -> float | None:
        """Return the seconds to wait after the `attempt`th try failed (from 1); None if it was the last one.

        The last tries of a `greylisted` message are minutes apart, as such servers expect (RFC 6647).
        """
        if attempt >= self.attempts:
            return None
        seconds = self.draw(0.0, exponential_bound(self.backoff, attempt))
        return max(seconds, self._greylist_minimum(attempt)) if greylisted else seconds

    def _greylist_minimum(self, attempt: int) -> float:
        index = attempt - (self.attempts - len(GREYLIST_WAITS))
        if not 0 <= index < len(GREYLIST_WAITS):
            return 0.0
        return min(self.backoff.most, self.backoff.first * GREYLIST_WAITS[index])


def seconds_of_pause(backoff: Backoff, pauses: int, draw: Draw = random.uniform) -> float | None:
    """Return the length in seconds of the `pauses`th pause in a row (from 1) after a rate limit.

    Returns None if there were enough. The first one is at most 30 times the first wait of `backoff` (30 s by
    default), and the bound of each later one is twice as long. Jitter takes no pause below half of the first:
    a provider that counts by the minute is not asked again after a second. `draw` is a source of chance.
    """
    if pauses >= MAX_PAUSES:
        return None
    longest = min(
        backoff.most, PAUSE_FACTOR * exponential_bound(Backoff(backoff.first, float("inf")), pauses)
    )
    shortest = min(backoff.first * PAUSE_FACTOR / 2, backoff.most)
    return draw(min(shortest, longest), longest)
