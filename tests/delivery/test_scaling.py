"""`connections: auto`: how many sessions are wanted after what was measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending
from mailer.delivery.run_state import RunState
from mailer.delivery.scaling import MAX_CONNECTIONS, ConnectionScaler, ScalingPolicy, find_known_limit
from mailer.delivery.signals import StopSignal
from mailer.smtp.connection import ServerFacts
from mailer.smtp.protocol.values import Strategy

MANY = 1_000_000


def choose_all(policy: ScalingPolicy, rate_of: dict[int, float] | None = None) -> list[int]:
    """The numbers chosen one after the other for a server that takes 10 messages per second in each session."""
    counts = [policy.count]
    while not policy.is_settled and len(counts) < 50:
        rate = (rate_of or {}).get(policy.count, 10.0 * policy.count)
        counts.append(policy.choose(rate, MANY))
    return counts


def test_sessions_are_added_while_the_rate_grows_with_them() -> None:
    assert choose_all(ScalingPolicy(1, 20)) == [1, 9, 20, 20]


def test_a_step_that_brings_too_little_is_taken_back_and_a_part_of_it_tried_once_more() -> None:
    policy = ScalingPolicy(1, 64)
    assert choose_all(policy, {1: 10.0, 9: 90.0, 25: 95.0, 13: 95.0}) == [1, 9, 25, 9, 13, 9]
    assert policy.choose(1000.0, MANY) == 9
    policy = ScalingPolicy(4, 64)
    assert [policy.choose(rate, MANY) for rate in (40.0, 30.0, 40.0, 60.0)] == [12, 4, 6, 8]


def test_a_growth_of_15_percent_is_enough_for_twice_as_many_sessions() -> None:
    assert choose_all(ScalingPolicy(8, 16), {8: 100.0, 16: 115.0})[:2] == [8, 16]
    policy = ScalingPolicy(8, 64)
    policy.choose(100.0, MANY)
    assert policy.choose(114.9, MANY) == 8


def test_more_than_twice_as_many_sessions_need_15_percent_for_each_doubling() -> None:
    policy = ScalingPolicy(1, 64)
    assert [policy.choose(rate, MANY) for rate in (100.0, 150.0)] == [9, 1]
    policy = ScalingPolicy(1, 64)
    assert [policy.choose(rate, MANY) for rate in (100.0, 160.0)] == [9, 25]


@pytest.mark.parametrize(("busy", "wanted"), [(0.0, 9), (0.05, 9), (0.25, 4), (0.45, 2), (0.6, 1), (1.0, 1)])
def test_no_more_sessions_are_opened_than_this_process_can_serve(busy: float, wanted: int) -> None:
    assert ScalingPolicy(1, 64).choose(100.0, MANY, busy) == wanted


def test_slower_replies_are_a_step_back() -> None:
    policy = ScalingPolicy(4, 64)
    assert policy.choose(40.0, MANY) == 12
    assert policy.choose(20.0, MANY) == 4


def test_two_steps_are_begun_while_the_one_before_is_measured() -> None:
    policy = ScalingPolicy(1, 40)
    assert (policy.step_ahead(MANY), policy.measured_count) == (9, 1)
    assert (policy.step_ahead(MANY), policy.measured_count) == (25, 1)
    assert policy.step_ahead(MANY) == 25  # and no more
    # The work of opening sessions is not that of sending.
    assert policy.choose(10.0, MANY, busy=1.0) == 25
    assert policy.measured_count == 9
    assert policy.step_ahead(MANY) == 25  # the step behind it waits for a measurement
    assert policy.choose(90.0, MANY) == 25
    assert (policy.step_ahead(MANY), policy.measured_count) == (40, 25)
    assert policy.choose(100.0, MANY) == 9  # with the step ahead
    assert policy.step_ahead(MANY) == 9


@pytest.mark.parametrize("left", [10, 19])
def test_no_step_is_begun_ahead_for_a_few_messages(left: int) -> None:
    assert ScalingPolicy(1, 20).step_ahead(left) == 1


def test_nothing_is_begun_ahead_of_a_number_that_was_learned() -> None:
    policy = ScalingPolicy.from_last_run(ScalingPolicy(8, 64).make_record(8), limit=64, messages=MANY)
    assert policy.step_ahead(MANY) == 8
    assert policy.choose(100.0, MANY) == 16


def test_no_session_is_opened_for_a_few_messages() -> None:
    policy = ScalingPolicy(1, 64)
    assert policy.choose(10.0, 19) == 1
    assert policy.choose(10.0, 20) == 2


def test_an_objection_means_one_fewer_and_no_more_growth() -> None:
    policy = ScalingPolicy(8, 64)
    assert policy.limit_to(7) == 7
    assert (policy.maximum, policy.is_settled, policy.is_limited) == (7, True, True)
    assert policy.choose(1000.0, MANY) == 7
    assert policy.limit_to(0) == 1


@pytest.mark.parametrize(
    ("host", "limit"),
    [("smtp.office365.com", 3), ("smtp.example.com", MAX_CONNECTIONS), ("", MAX_CONNECTIONS)],
)
def test_the_limit_that_a_provider_documents(host: str, limit: int) -> None:
    assert find_known_limit(host) == limit


def test_the_next_run_begins_with_what_the_server_took() -> None:
    policy = ScalingPolicy(16, 64)
    kept = policy.make_record(16)
    again = ScalingPolicy.from_last_run(kept, limit=64, messages=MANY)
    assert (again.count, again.maximum) == (16, 64)
    again = ScalingPolicy.from_last_run(kept, limit=3, messages=MANY)
    assert (again.count, again.maximum) == (3, 3)
    few = ScalingPolicy.from_last_run(kept, limit=64, messages=5)
    assert (few.count, few.make_record(5)) == (5, kept)  # too few to learn anything
    few.choose(10.0, MANY)
    assert few.make_record(13)["connections"] == 13
    policy.limit_to(12)
    kept = policy.make_record(12)
    # The server may take more by now: one session more is tried.
    again = ScalingPolicy.from_last_run(kept, limit=64, messages=MANY)
    assert (again.count, again.maximum) == (12, 13)
    again = ScalingPolicy.from_last_run(kept, limit=12, messages=MANY)
    assert (again.count, again.maximum) == (12, 12)


@pytest.mark.parametrize("learned", [None, {}, {"connections": 0}, {"connections": "many"}])
def test_without_a_last_run_it_begins_with_one_session(learned: dict[str, object] | None) -> None:
    assert ScalingPolicy.from_last_run(learned, limit=64, messages=MANY) == ScalingPolicy(1, 64)


# -- the measuring


@dataclass
class Simulation:
    """A run whose messages per second depend on its sessions. The server takes `takes` of them."""

    rate_of: Callable[[int], float]
    takes: int = 1000
    greets: int = 1000  # it accepts more connections, and says nothing
    total: int = 100_000
    time: float = 0.0
    sent: float = 0.0
    cpu_seconds: float = 0.0
    pauses: int = 0
    pause_at: float | None = None
    cpu_share: float = 0.0  # of one session
    hello: ServerFacts | None = None
    opening_seconds: float = 0.0
    counts: list[int] = field(default_factory=list)
    wanted_at: list[tuple[float, int]] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        state, self.time = self.state, self.time + seconds
        state.sessions.runners = min(state.sessions.runners, self.takes)
        self.wanted_at.append((self.time, state.sessions.runners))
        ready = [wanted for time, wanted in self.wanted_at if time <= self.time - self.opening_seconds]
        answered = [
            wanted for time, wanted in self.wanted_at if time <= self.time - 0.75 * self.opening_seconds
        ]
        state.sessions.answered = min(self.greets, max([1, *answered]))
        limit = state.sessions.open_at_most or state.sessions.runners
        state.sessions.open = min([limit, self.greets, state.sessions.runners, *ready[-1:]] if ready else [0])
        self.sent += seconds * self.rate_of(state.sessions.open)
        self.cpu_seconds += seconds * self.cpu_share * state.sessions.open
        state.figures.messages = int(self.sent)
        if self.pause_at is not None and self.time >= self.pause_at:
            self.pauses, self.pause_at = self.pauses + 1, None
        if not self.counts or self.counts[-1] != state.sessions.runners:
            self.counts.append(state.sessions.runners)
        if self.sent >= self.total or self.time > 3600:
            state.end(Ending.COMPLETE)

    def time_of(self, count: int) -> float:
        """The time at which `count` sessions were wanted."""
        return next(time for time, wanted in self.wanted_at if wanted >= count)

    def run(self, start: int = 1, maximum: int = 64) -> list[int]:
        """The numbers of sessions over time."""
        self.state = RunState(observer=Observer(), clock=self, stop=StopSignal())
        self.state.hello = self.hello
        sessions = self.state.sessions
        sessions.runners, sessions.answered = start, start

        def change(by: int) -> None:
            sessions.runners += by

        self.policy = ScalingPolicy(start, maximum)
        scaler = ConnectionScaler(
            self.state,
            self.policy,
            add_runner=lambda: change(1),
            remove_runner=lambda: change(-1),
            count_left=lambda: self.total - int(self.sent),
            count_pauses=lambda: self.pauses,
            read_cpu_seconds=lambda: self.cpu_seconds,
        )
        asyncio.run(asyncio.wait_for(scaler.run(), 60))
        return self.counts


def test_a_long_line_is_filled_with_sessions_as_far_as_allowed() -> None:
    assert Simulation(lambda sessions: 10.0 * sessions).run(maximum=20) == [1, 9, 20]


def open_slowly(rate_of: Callable[[int], float], hello: ServerFacts, **more: int) -> Simulation:
    """A run in which it takes four round trips of 0.1 s to open a session."""
    return Simulation(rate_of, hello=hello, opening_seconds=0.4, **more)


FAR = ServerFacts(Strategy.PIPELINED, 0.1)
NEAR = ServerFacts(Strategy.PIPELINED, 0.001)
SLOW_MESSAGES = 30  # until then: with 9 sessions, 9 are not counted, and 9 are measured
STREAMS = ServerFacts(Strategy.STREAMED, 0.1)


def test_on_a_long_line_the_next_sessions_are_opened_before_those_before_are_measured() -> None:
    far = open_slowly(lambda sessions: 10.0 * sessions, FAR)
    assert far.run(maximum=20) == [9, 20]
    near = open_slowly(lambda sessions: 10.0 * sessions, NEAR)
    assert near.run(maximum=20) == [1, 9, 20]
    assert [simulation.time_of(20) for simulation in (far, near)] == [
        pytest.approx(0.3, abs=0.1),
        pytest.approx(1.4, abs=0.3),
    ]


def test_a_streamed_session_is_measured_before_another_is_opened() -> None:
    simulation = open_slowly(lambda sessions: 1000.0 * sessions, STREAMS)
    assert simulation.run(maximum=20)[0] == 1
    assert simulation.time_of(9) > 0.4


def test_steps_that_were_begun_ahead_are_taken_back() -> None:
    simulation = open_slowly(lambda sessions: min(10.0 * sessions, 30.0), FAR)
    assert simulation.run() == [9, 25, 41, 9, 13, 9]
    assert open_slowly(lambda _sessions: 10.0, FAR).run() == [9, 25, 1, 3, 1]


def test_sessions_that_the_server_leaves_ungreeted_are_given_up() -> None:
    simulation = open_slowly(lambda sessions: 10.0 * sessions, FAR, greets=12)
    assert simulation.run() == [9, 25, 12]
    assert simulation.policy.is_limited


def test_sessions_that_are_refused_ahead_are_not_asked_for_again() -> None:
    assert open_slowly(lambda sessions: 10.0 * sessions, FAR, takes=12).run() == [9, 12]


def test_a_rate_that_is_too_low_for_a_moment_is_measured_again() -> None:
    """For the messages by which 9 sessions are measured first, the server is as slow as with one of them."""
    simulation = open_slowly(lambda sessions: 10.0 * sessions, FAR)
    simulation.rate_of = lambda sessions: (
        10.0 if sessions == 9 and simulation.sent < SLOW_MESSAGES else 10.0 * sessions
    )
    assert 9 not in simulation.run(maximum=40)[2:]


def test_a_process_that_has_no_time_left_opens_no_more_sessions() -> None:
    assert Simulation(lambda sessions: 10.0 * sessions, cpu_share=0.19).run() == [1, 5]
    assert Simulation(lambda sessions: 10.0 * sessions, cpu_share=0.9).run() == [1]


def test_a_server_that_is_no_faster_with_more_sessions_gets_one() -> None:
    assert Simulation(lambda _sessions: 50.0).run() == [1, 9, 1, 3, 1]


def test_sessions_stop_where_the_server_is_the_limit() -> None:
    assert Simulation(lambda sessions: min(10.0 * sessions, 100.0)).run()[-1] == 9


def test_sessions_that_the_server_refuses_are_not_asked_for_again() -> None:
    assert Simulation(lambda sessions: 10.0 * sessions, takes=5).run() == [1, 5]


@pytest.mark.parametrize("pause_at", [0.2, 300.0])
def test_a_request_to_slow_down_means_one_session_fewer(pause_at: float) -> None:
    simulation = Simulation(lambda sessions: 10.0 * sessions, pause_at=pause_at)
    counts = simulation.run(start=4, maximum=4 if pause_at > 1 else 64)
    assert counts == [4, 3]
