"""`connections: auto`: opens more sessions as long as messages per second grow by them.

Without CHUNKING a session sends one message per round trip, so several sessions are the only way to fill a
long line. How many may pay is known from the first messages on: as long as this process is idle for most of
a message's time, more sessions can use that time. A server takes only so many of them. It says so by a
refusal (421), by asking to slow down (4.7.x), or by slower replies. The next run begins with what it took.

It takes several round trips to open a session. On a long line, the sessions of the next steps are therefore
opened while those before them are measured, each step once the server has answered EHLO in all sessions
before. They send nothing until then. If those before them bring too little, all these steps are taken back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import field
from math import log2

from mailer.campaign.providers import PROVIDERS
from mailer.dataclass import dataclass
from mailer.delivery.run_state import RunState
from mailer.smtp.protocol.values import Strategy

MIN_GROWTH = 1.15  # messages per second with twice as many sessions, as a multiple of those before
FIRST_STEP = 8  # sessions that are added to those a run begins with
MAX_STEP = 16  # sessions that are added at a time
MAX_AHEAD = FIRST_STEP + MAX_STEP  # sessions that are opened before those in use are measured
MAX_CONNECTIONS = 64  # more is never chosen automatically
MAX_FAILURES = (
    2  # steps that brought too little; the first may have met a slow moment, so a part of it is tried again
)
MESSAGES_TO_MEASURE = 2  # results for each session; fewer say little about the rate
MESSAGES_WITH_STEP_AHEAD = 1  # the same while other sessions wait: a rate that is too low is measured again
MESSAGES_TO_MEASURE_STREAMED = 500  # as long as it takes until a session's window has grown
MESSAGES_TO_GROW = 10  # that are left for each session; for fewer, another login costs more than it saves
LOOK_INTERVAL = 0.005  # seconds
MAX_OPENING_SECONDS = 4.0  # a server that leaves a session ungreeted for longer has no room for it
LONG_ROUND_TRIP = 0.008  # seconds; on a shorter line, measuring takes no time that could be saved


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

    `count` is the number that is wanted now, `maximum` is never exceeded. `steps_ahead` are the sessions of
    each step that was begun while others are measured. `is_settled` says that the number stays. `is_limited`
    says that the server objected to more.
    """

    count: int
    maximum: int
    steps_ahead: list[int] = field(default_factory=list)
    is_settled: bool = False
    is_limited: bool = False
    _learned: Mapping[str, object] | None = None  # by the last run
    _has_measured: bool = False
    _failures: int = 0
    _previous_count: int = 0
    _previous_rate: float = 0.0

    @classmethod
    def from_last_run(
        cls, learned: Mapping[str, object] | None, *, limit: int, messages: int
    ) -> ScalingPolicy:
        """Return the policy for a server of which the last run kept `learned` (see `make_record`).

        `limit` is the maximum that is known of the server, `messages` the number of messages to be sent. If
        the server objected to more sessions in the last run, only one more is tried.
        """
        start = (learned or {}).get("connections")
        if learned is None or not isinstance(start, int) or start < 1:
            return cls(1, limit)
        maximum = min(limit, start + 1) if learned.get("connections_limited") else limit
        kept = {name: learned.get(name) for name in ("connections", "connections_limited")}
        return cls(min(start, limit, messages), maximum, _learned=kept)

    def make_record(self, count: int) -> dict[str, object]:
        """Return what to keep with the run's record: `count` sessions, and whether the server objected to
        more.

        A run of too few messages to measure anything keeps what the last one learned.
        """
        if self._learned is not None and not self._has_measured and not self.is_limited:
            return dict(self._learned)
        return {"connections": max(1, count), "connections_limited": self.is_limited}

    @property
    def measured_count(self) -> int:
        """The number of sessions that are being measured."""
        return self.count - sum(self.steps_ahead)

    def step_ahead(self, left: int) -> int:
        """Return the number of sessions wanted while those that are open are measured.

        `left` is the number of messages that are still to be sent. After a number that was learned, or a step
        that brought too little, nothing is begun without a measurement.
        """
        is_allowed = self._learned is None and not self._failures
        step = self._next_count(left) - self.count
        if is_allowed and step > 0 and sum(self.steps_ahead) + step <= MAX_AHEAD:
            self.steps_ahead.append(step)
            self.count += step
        return self.count

    def is_too_little(self, rate: float) -> bool:
        """Return whether `rate`, in messages per second, says that the last step did not pay."""
        return bool(self._previous_count) and rate < self._required_rate()

    def choose(self, rate: float, left: int, busy: float = 0.0) -> int:
        """Return the number of sessions wanted after `rate` messages per second with those that were
        measured.

        `left` is the number of messages that are still to be sent. `busy` is the part of the time (0 to 1) in
        which this process worked: no more sessions are opened than the rest of it can serve.
        """
        self._has_measured = True
        if self.is_settled:
            return self.count
        if self.is_too_little(rate):
            self.count, self._previous_count = self._previous_count, 0
            self.steps_ahead.clear()
            self._failures += 1
            self.is_settled = self._failures >= MAX_FAILURES
            return self.count
        measured = self.measured_count
        servable = int(measured / busy) if busy > 0 else self.maximum
        if self.steps_ahead:
            # Most of the work was that of opening sessions: it says nothing about messages.
            self.steps_ahead.pop(0)
            self._previous_count, self._previous_rate = measured, rate
            return self.count
        wanted = min(self._next_count(left), servable)
        if wanted > measured:
            self._previous_count, self._previous_rate = measured, rate
        elif measured >= min(self.maximum, servable):
            self.is_settled = True
        self.count = max(measured, wanted)
        return self.count

    def _next_count(self, left: int) -> int:
        has_grown = self._learned is None and self.count > FIRST_STEP
        step: int = max(1, (MAX_STEP if has_grown else FIRST_STEP) // 4**self._failures)
        return min(self.count + step, self.maximum, left // MESSAGES_TO_GROW)

    def _required_rate(self) -> float:
        """The rate that the last step must have brought: 15 % more for each doubling, and at least 15 %."""
        doublings = log2(self.measured_count / self._previous_count)
        return self._previous_rate * float(MIN_GROWTH ** max(1.0, doublings))

    def limit_to(self, count: int) -> int:
        """The server objected: return `count`, at least one, and never exceed it again."""
        self.count = self.maximum = max(1, min(count, self.count))
        self.steps_ahead.clear()
        self.is_settled = self.is_limited = True
        return self.count


class ConnectionScaler:
    """Measures a run and changes its number of session runners.

    `add_runner` and `remove_runner` change it by one. `count_left` returns how many messages are still to be
    sent, and `count_pauses` how often the server asked to slow down. `read_cpu_seconds` returns the processor
    time of this process.
    """

    def __init__(
        self,
        state: RunState,
        policy: ScalingPolicy,
        *,
        add_runner: Callable[[], None],
        remove_runner: Callable[[], None],
        count_left: Callable[[], int],
        count_pauses: Callable[[], int],
        read_cpu_seconds: Callable[[], float] = time.process_time,
    ) -> None:
        self._state, self._policy = state, policy
        self._add_runner, self._remove_runner = add_runner, remove_runner
        self._count_left, self._count_pauses = count_left, count_pauses
        self._read_cpu_seconds = read_cpu_seconds

    async def run(self) -> None:
        """Measure and change until the number of sessions is settled, or the run ends."""
        self._state.sessions.is_automatic = True
        while not self._state.is_over and not self._state.sessions.open and self._state.hello is None:
            await self._state.clock.sleep(LOOK_INTERVAL)
        while not self._state.is_over and not self._policy.is_settled:
            measured = await self._measure()
            if measured is not None and self._policy.is_too_little(measured[0]):  # it may be a slow moment
                measured = await self._measure(is_second_look=True)
            if measured is not None:
                rate, busy = measured
                self._change_to(self._policy.choose(rate, self._count_left(), busy))
        self._use_at_most(None)
        while not self._state.is_over:  # the server may still object
            pauses = self._count_pauses()
            await self._state.clock.sleep(1.0)
            if self._count_pauses() > pauses:
                self._change_to(self._policy.limit_to(self._policy.count - 1))

    async def _measure(self, *, is_second_look: bool = False) -> tuple[float, float] | None:
        """Return the messages per second with all runners in a session, and how busy this process was.

        With `is_second_look`, no other step is begun. Returns None if the server objected meanwhile.
        """
        state, policy, pauses = self._state, self._policy, self._count_pauses()
        measured = policy.measured_count
        self._use_at_most(measured)
        expected: int | None = None  # messages at which measuring begins, once all sessions are open
        started: float | None = None
        waiting_since = state.clock.now()
        messages, cpu_seconds = 0, 0.0
        while not state.is_over:
            if self._may_step_ahead() and not is_second_look:
                self._change_to(policy.step_ahead(self._count_left()))
            await state.clock.sleep(LOOK_INTERVAL)
            # If it refused sessions, those that are left are what it takes.
            if state.sessions.runners < policy.count:
                policy.limit_to(state.sessions.runners)
                return None
            if self._count_pauses() > pauses:
                self._change_to(policy.limit_to(policy.count - 1))
                return None
            if expected is None:
                # A new session's first result comes late: it is not counted.
                if state.sessions.open >= measured:
                    expected = state.figures.messages + measured
                elif state.sessions.open and state.clock.now() - waiting_since > MAX_OPENING_SECONDS:
                    self._change_to(policy.limit_to(state.sessions.open))
                    return None
            elif started is None:
                if state.figures.messages >= expected:
                    started, messages = state.clock.now(), state.figures.messages
                    cpu_seconds = self._read_cpu_seconds()
            else:
                taken, seconds = state.figures.messages - messages, state.clock.now() - started
                if taken >= self._messages_to_measure(is_second_look) * measured and seconds > 0:
                    return taken / seconds, (self._read_cpu_seconds() - cpu_seconds) / seconds
        return None

    def _may_step_ahead(self) -> bool:
        """The line is long, and the server has answered EHLO in all sessions."""
        hello = self._state.hello
        return (
            hello is not None
            and hello.strategy is not Strategy.STREAMED
            and hello.round_trip >= LONG_ROUND_TRIP
            and self._state.sessions.answered >= self._policy.count
        )

    def _messages_to_measure(self, is_second_look: bool) -> int:
        """Return how many results for each session the rate is measured by."""
        server = self._state.server
        if server is not None and server.strategy is Strategy.STREAMED:
            return MESSAGES_TO_MEASURE_STREAMED
        is_quick = self._policy.steps_ahead and not is_second_look
        return MESSAGES_WITH_STEP_AHEAD if is_quick else MESSAGES_TO_MEASURE

    def _use_at_most(self, count: int | None) -> None:
        self._state.sessions.open_at_most = count
        self._state.wake_waiters()

    def _change_to(self, wanted: int) -> None:
        for _ in range(wanted - self._state.sessions.runners):
            self._add_runner()
        for _ in range(self._state.sessions.runners - wanted):
            self._remove_runner()
