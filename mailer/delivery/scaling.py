"""`connections: auto`: opens another session as long as messages per second grow by it.

Without CHUNKING a session sends one message per round trip, so several sessions are the only way to fill a
long line. A server takes only so many of them. It says so by a refusal (421), by asking to slow down (4.7.x),
or by slower replies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailer.campaign.providers import PROVIDERS
from mailer.delivery.run_state import RunState

MIN_GROWTH = 1.15  # messages per second after a step, as a multiple of those before
MAX_STEP = 8  # sessions that are added at a time; fewer while there are fewer
MAX_CONNECTIONS = 64  # more is never chosen automatically
MAX_FAILURES = (
    2  # steps that brought too little; a first one may have met a slow moment, and half of it is tried again
)
MESSAGES_TO_MEASURE = 5  # results for each session; fewer say little about the rate
MESSAGES_TO_GROW = 10  # that are left for each session; for fewer, another login costs more than it saves
LOOK_INTERVAL = 0.05  # seconds


def find_known_limit(host: str) -> int:
    """Return the maximum number of sessions that the provider with the server `host` documents.

    Returns MAX_CONNECTIONS if none is known.
    """
    for provider in PROVIDERS.values():
        if provider.connections is not None and host in (provider.host, *provider.regions.values()):
            return provider.connections
    return MAX_CONNECTIONS


@dataclass(slots=True)
class ScalingPolicy:
    """Chooses the number of sessions from measurements. It has no clock and does no I/O.

    `count` is the number that is wanted now, `maximum` is never exceeded. `is_settled` says that it stays.
    """

    count: int
    maximum: int
    is_settled: bool = False
    _failures: int = 0
    _previous_count: int = 0
    _previous_rate: float = 0.0

    def choose(self, rate: float, left: int) -> int:
        """Return the number of sessions wanted after `rate` messages per second were measured with `count` of
        them.

        `left` is the number of messages that are still to be sent.
        """
        if self.is_settled:
            return self.count
        if self._previous_count and rate < MIN_GROWTH * self._previous_rate:
            self.count, self._previous_count = self._previous_count, 0
            self._failures += 1
            self.is_settled = self._failures >= MAX_FAILURES
            return self.count
        step = max(1, min(self.count, MAX_STEP) // (1 + self._failures))
        wanted = min(self.count + step, self.maximum, left // MESSAGES_TO_GROW)
        if wanted > self.count:
            self._previous_count, self._previous_rate, self.count = self.count, rate, wanted
        elif self.count >= self.maximum:
            self.is_settled = True
        return self.count

    def limit_to(self, count: int) -> int:
        """The server objected: return `count`, at least one, and never exceed it again."""
        self.count = self.maximum = max(1, min(count, self.count))
        self.is_settled = True
        return self.count


class ConnectionScaler:
    """Measures a run and changes its number of workers.

    `add_worker` and `retire_worker` change it by one. `count_left` returns how many messages are still to be
    sent, and `count_pauses` how often the server asked to slow down.
    """

    def __init__(
        self,
        state: RunState,
        policy: ScalingPolicy,
        *,
        add_worker: Callable[[], None],
        retire_worker: Callable[[], None],
        count_left: Callable[[], int],
        count_pauses: Callable[[], int],
    ) -> None:
        self._state, self._policy = state, policy
        self._add_worker, self._retire_worker = add_worker, retire_worker
        self._count_left, self._count_pauses = count_left, count_pauses

    async def run(self) -> None:
        """Measure and change until the number of sessions is settled, or the run ends."""
        while not self._state.is_over and not self._policy.is_settled:
            rate = await self._measure_rate()
            if rate is not None:
                self._change_to(self._policy.choose(rate, self._count_left()))
        while not self._state.is_over:  # the server may still object
            pauses = self._count_pauses()
            await self._state.clock.sleep(1.0)
            if self._count_pauses() > pauses:
                self._change_to(self._policy.limit_to(self._policy.count - 1))

    async def _measure_rate(self) -> float | None:
        """Return the messages per second with all workers in a session.

        Returns None if the server objected meanwhile.
        """
        state, wanted, pauses = self._state, self._policy.count, self._count_pauses()
        started: float | None = None
        messages = 0
        while not state.is_over:
            await state.clock.sleep(LOOK_INTERVAL)
            if state.sessions.workers < wanted:  # it refused sessions: those that are left are what it takes
                self._policy.limit_to(state.sessions.workers)
                return None
            if self._count_pauses() > pauses:
                self._change_to(self._policy.limit_to(wanted - 1))
                return None
            if started is None and state.sessions.open >= wanted:
                # A new session's first result comes late: it is not counted.
                started, messages = 0.0, state.figures.messages + wanted
            elif started == 0.0 and state.figures.messages >= messages:
                started, messages = state.clock.now(), state.figures.messages
            elif started:
                taken = state.figures.messages - messages
                seconds = state.clock.now() - started
                if taken >= MESSAGES_TO_MEASURE * wanted and seconds > 0:
                    return taken / seconds
        return None

    def _change_to(self, wanted: int) -> None:
        for _ in range(wanted - self._state.sessions.workers):
            self._add_worker()
        for _ in range(self._state.sessions.workers - wanted):
            self._retire_worker()
