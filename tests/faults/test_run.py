"""What a run makes of a server's answers, beyond the breaks: who is tried again, who is not, and when it ends."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from mailer.campaign.model import Backoff, Rate, StopAfter
from mailer.delivery import renderers
from mailer.delivery.options import Ending
from mailer.ledger import Ledger
from mailer.ledger.outcome import Status
from mailer.render.compiled import CompiledCampaign
from tests.faults.harness import QUICK, Bench, FakeClock
from tests.faults.scripts import number, rcpt
from tests.faults.server import FaultServer, Step

ALL = ("sequential", "pipelined", "streamed")
STRATEGY = pytest.mark.parametrize("strategy", ALL)


@STRATEGY
def test_refusals_concern_their_message_alone(tmp_path, strategy):
    bench = Bench(tmp_path, 60)
    server = FaultServer(
        strategy, script=rcpt(lambda address, _n: "550 5.7.1 no" if number(address) % 3 == 1 else None)
    )
    with server:
        result = bench.send(server)
        bench.compare_with(server)
    assert result.ending is Ending.INCOMPLETE
    assert bench.statuses() == {Status.SENT: 40, Status.FAILED: 20}
    refused = bench.outcomes()["r1@example.com"]
    assert (refused.code, refused.enhanced, refused.reply, refused.attempts) == (550, "5.7.1", "5.7.1 no", 1)
    assert server.sessions == 1


@STRATEGY
def test_what_a_second_process_renders_ahead_is_sent_once_to_each_recipient(tmp_path, strategy, monkeypatch):
    monkeypatch.setattr(renderers, "MIN_MESSAGES_AHEAD", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    rendered_here = []
    render = CompiledCampaign.render
    bench = Bench(tmp_path, 300)
    server = FaultServer(
        strategy,
        script=rcpt(lambda address, n: "451 4.7.1 later" if number(address) % 7 == 3 and n == 1 else None),
    )
    with server:
        monkeypatch.setattr(
            CompiledCampaign,
            "render",
            lambda self, recipient, **how: rendered_here.append(recipient) or render(self, recipient, **how),
        )
        result = bench.send(server)
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE
    # Preflight renders a few in this process, and those that were deferred have lost their place in the list.
    assert len(rendered_here) < 200
    assert bench.statuses() == {Status.SENT: 300}


def test_a_server_that_refuses_the_bdat_it_offers_is_reported_with_what_was_used_instead(tmp_path):
    bench = Bench(tmp_path, 6)
    server = FaultServer(
        "streamed",
        script=lambda step: "502 5.5.1 no BDAT" if step.name == "content" and step.count == 1 else None,
    )
    with server:
        result = bench.send(server)
        bench.compare_with(server)
    assert bench.statuses() == {Status.SENT: 6}
    assert server.sessions == 1
    assert result.run.server["strategy"] == "pipelined"
    assert "CHUNKING" in result.run.server["extensions"]


@STRATEGY
def test_greylisting_works_within_one_run(tmp_path, strategy):
    bench, clock = Bench(tmp_path, 30), FakeClock()
    first: dict[str, float] = {}

    def answer(address: str, _n: int) -> str | None:
        came = first.setdefault(address, clock.now())
        return None if clock.now() - came >= 300 else "451 4.7.1 Greylisted, come back later"

    with FaultServer(strategy, script=rcpt(answer)) as server:
        result = bench.send(server, replace(QUICK, backoff=Backoff()), clock=clock)
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE
    assert all(outcome.attempts > 1 for outcome in bench.outcomes().values())
    assert server.sessions == 1 or clock.slept


@STRATEGY
def test_a_message_is_deferred_when_its_attempts_are_used_up(tmp_path, strategy):
    bench = Bench(tmp_path, 30)
    with FaultServer(
        strategy, script=rcpt(lambda a, _n: "450 4.2.1 busy" if number(a) < 3 else None)
    ) as server:
        result = bench.send(server, replace(QUICK, attempts=4))
        assert result.ending is Ending.INCOMPLETE
        assert bench.statuses() == {Status.SENT: 27, Status.DEFERRED: 3}
        assert bench.outcomes()["r0@example.com"].attempts == 4
        server.script = lambda _step: None
        assert bench.send(server).ending is Ending.COMPLETE  # the next run tries them again
        bench.compare_with(server)
    assert bench.outcomes()["r0@example.com"].attempts == 5


def test_a_message_that_waits_does_not_hold_up_the_others(tmp_path):
    bench, clock = Bench(tmp_path, 10), FakeClock()
    with FaultServer(script=rcpt(lambda a, _n: "450 4.2.1 busy" if number(a) == 0 else None)) as server:
        bench.send(server, replace(QUICK, backoff=Backoff(60, 300)), clock=clock)
    assert [outcome.email for outcome in bench.observer.outcomes][-1] == "r0@example.com"


def test_so_many_failures_in_a_row_end_the_run(tmp_path):
    bench = Bench(tmp_path, 200)
    with FaultServer("sequential", script=rcpt(lambda _a, _n: "550 5.7.1 no")) as server:
        result = bench.send(server, replace(QUICK, stop_after=StopAfter(in_a_row=10)))
    assert result.ending is Ending.GIVEN_UP
    assert "10 recipients in a row" in result.reason
    assert 10 <= bench.statuses()[Status.FAILED] <= 14  # what was in flight is settled


def test_a_share_of_failures_ends_the_run(tmp_path):
    bench = Bench(tmp_path, 200)
    with FaultServer(
        "sequential", script=rcpt(lambda a, _n: "550 5.7.1 no" if number(a) % 5 == 0 else None)
    ) as server:
        result = bench.send(server, replace(QUICK, stop_after=StopAfter(share=0.1)))
    assert result.ending is Ending.GIVEN_UP
    assert bench.statuses()[Status.PENDING] >= 140


@STRATEGY
@pytest.mark.parametrize(
    "line",
    [
        "550 5.7.26 unauthenticated",
        "550 5.4.5 Daily user sending limit exceeded",
        "454 Throttling failure: Daily message quota exceeded.",
    ],
)
def test_replies_that_end_the_run_leave_the_recipients_pending(tmp_path, strategy, line):
    bench = Bench(tmp_path, 30)
    with FaultServer(
        strategy, script=lambda step: line if step.name == "content" and step.count > 5 else None
    ) as server:
        result = bench.send(server)
        bench.compare_with(server)
        assert result.ending is Ending.GIVEN_UP
        assert line.partition(" ")[2] in result.reason
        assert result.hint
        assert bench.statuses() == {Status.SENT: 5, Status.PENDING: 25}
        server.script = lambda _step: None
        assert bench.send(server).ending is Ending.COMPLETE
        bench.compare_with(server)


def test_unknown_users_are_offered_for_suppression_not_suppressed(tmp_path):
    bench = Bench(tmp_path, 3)
    with FaultServer(
        script=rcpt(lambda a, _n: "550 5.1.1 User unknown" if number(a) == 1 else None)
    ) as server:
        bench.send(server)
    assert bench.observer.unknown == ["r1@example.com"]
    with Ledger.open(bench.ledger_path) as ledger:
        assert not ledger.is_suppressed("r1@example.com")


@STRATEGY
def test_throttling_pauses_the_run_which_continues_slowly(tmp_path, strategy):
    bench, clock = Bench(tmp_path, 40), FakeClock()
    blocked_until = 0.0

    def script(step: Step) -> str | None:
        nonlocal blocked_until
        if step.name == "mail" and step.count == 12:
            blocked_until = clock.now() + 20
        return "421 4.7.28 unusual rate" if step.name == "mail" and clock.now() < blocked_until else None

    with FaultServer(strategy, script=script) as server:
        result = bench.send(server, replace(QUICK, backoff=Backoff()), clock=clock)
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE
    assert any("too much mail" in why for _seconds, why in bench.observer.waits)
    assert clock.now() - 1_800_000_000 > 15


def test_throttling_without_end_ends_the_run(tmp_path):
    bench, clock = Bench(tmp_path, 40), FakeClock()
    with FaultServer(script=lambda step: "450 4.7.28 slow down" if step.name == "mail" else None) as server:
        result = bench.send(server, replace(QUICK, backoff=Backoff()), clock=clock)
    assert result.ending is Ending.GIVEN_UP
    assert "slow down" in result.reason
    assert bench.statuses() == {Status.PENDING: 40}
    assert all(outcome.attempts == 0 for outcome in bench.outcomes().values())


@STRATEGY
def test_a_refused_copy_does_not_stop_the_message(tmp_path, strategy):
    bench = Bench(tmp_path, 6, "cc: [boss@example.com]\nbcc: [archive@example.com]\n")
    with FaultServer(
        strategy, script=rcpt(lambda a, _n: "550 5.7.1 no" if a == "boss@example.com" else None)
    ) as server:
        assert bench.send(server).ending is Ending.COMPLETE
    assert server.times()["archive@example.com"] == 6
    refused = bench.outcomes()["r3@example.com"].copies_refused
    assert [(copy.email, copy.code) for copy in refused] == [("boss@example.com", 550)]


@STRATEGY
def test_copies_that_were_taken_are_not_sent_again(tmp_path, strategy):
    bench = Bench(tmp_path, 6, "cc: [boss@example.com]\n")
    with FaultServer(
        strategy, script=rcpt(lambda a, n: "450 4.2.1 busy" if a[0] == "r" and n < 3 else None)
    ) as server:
        assert bench.send(server).ending is Ending.COMPLETE
    assert server.times()["boss@example.com"] == 6
    assert {server.times()[f"r{n}@example.com"] for n in range(6)} == {1}


def test_a_message_that_is_too_large_for_the_server_fails_alone(tmp_path):
    bench = Bench(tmp_path, 4)
    (tmp_path / "text.txt.j2").write_text("{% if n == '2' %}{{ 'x ' * 5000 }}{% endif %}Hello {{ name }}\n")
    with FaultServer(extensions=("SIZE 5000",)) as server:
        result = bench.send(server)
        bench.compare_with(server)
    assert result.ending is Ending.INCOMPLETE
    assert bench.statuses() == {Status.SENT: 3, Status.FAILED: 1}


def test_a_pace_quicker_than_the_round_trip_is_kept(tmp_path):
    bench = Bench(tmp_path, 12)
    with FaultServer("streamed") as server:
        times: list[float] = []

        def script(step: Step) -> None:
            if step.name == "mail":
                times.append(time.monotonic())
            if step.name == "content" and step.count == 3:
                time.sleep(0.3)  # one that takes as long as six others

        server.script = script
        bench.send(server, replace(QUICK, rate=Rate(20, 1)))
        bench.compare_with(server)
    assert times[-1] - times[0] < 0.9


@STRATEGY
def test_an_observer_that_raises_changes_nothing(tmp_path, strategy, caplog):
    bench = Bench(tmp_path, 20)

    def fail(_outcome):
        raise ValueError("a mistake")

    bench.observer.outcome_callback = fail
    with FaultServer(strategy) as server:
        assert bench.send(server).ending is Ending.COMPLETE
        bench.compare_with(server)
    assert bench.statuses() == {Status.SENT: 20}
    assert "the observer raised an exception" in caplog.text


@STRATEGY
def test_a_cancelled_run_records_what_is_known(tmp_path, strategy):
    bench = Bench(tmp_path, 30)
    with FaultServer(strategy, delay=0.01) as server:
        with pytest.raises(asyncio.CancelledError):
            bench.send(server, replace(QUICK, window=4), cancel_after=8)
        statuses = bench.statuses()
        assert statuses[Status.SENT] >= 8
        assert statuses[Status.SENT] + statuses.get(Status.IN_DOUBT, 0) + statuses[Status.PENDING] == 30
        with Ledger.open(bench.ledger_path) as ledger:
            record = ledger.find_last_run(ledger.ensure_edition("faults"))
            assert (record.ending, record.reason) == ("interrupted", "cancelled")
        assert bench.send(server).ending is Ending.COMPLETE
        bench.compare_with(server, max_duplicates=4)
    assert bench.statuses() == {Status.SENT: 30}


@STRATEGY
@pytest.mark.parametrize("step", ["mail", "data", "content"])
@pytest.mark.parametrize("code", [500, 501, 502, 503, 504])
def test_no_recipient_fails_because_of_a_reply_that_concerns_the_session(tmp_path, strategy, step, code):
    bench = Bench(tmp_path, 12)
    line = f"{code} 5.5.1 bad sequence of commands"
    script = lambda found: line if found.name == step and found.count in (3, 7) else None  # noqa: E731
    with FaultServer(strategy, script=script) as server:
        result = bench.send(server)
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE, result.reason
    assert bench.statuses() == {Status.SENT: 12}
    assert all(outcome.attempts == 1 for outcome in bench.outcomes().values())


@STRATEGY
def test_a_recipient_that_the_server_cannot_parse_is_deferred_and_holds_up_no_other(tmp_path, strategy):
    bench = Bench(tmp_path, 12)
    line = "504 5.5.2 <r3>: Recipient address rejected: need fully-qualified address"
    with FaultServer(strategy, script=rcpt(lambda a, _n: line if number(a) == 3 else None)) as server:
        result = bench.send(server, replace(QUICK, attempts=2))
        bench.compare_with(server)
    assert result.ending is Ending.INCOMPLETE, result.reason
    assert bench.statuses() == {Status.SENT: 11, Status.DEFERRED: 1}


@pytest.mark.parametrize("step", ["rcpt", "mail"])
def test_a_refused_ehlo_name_ends_the_run_with_a_hint(tmp_path, step):
    bench = Bench(tmp_path, 5)
    line = "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname"
    with FaultServer(script=lambda found: line if found.name == step else None) as server:
        result = bench.send(server)
    assert result.ending is Ending.GIVEN_UP
    assert "ehlo_name" in result.hint
    assert bench.statuses() == {Status.PENDING: 5}
