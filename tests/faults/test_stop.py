"""Interruptions, a second sender, a full disk, a clock that goes back: the ledger stays right, the next run continues."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from threading import Timer

import pytest

from mailer.delivery.options import Ending
from mailer.delivery.signals import StopSignal
from mailer.errors import LedgerBusy, LedgerError, LedgerWriteError
from mailer.ledger import Edition, Ledger
from mailer.ledger.outcome import Status
from tests.faults.harness import QUICK, Bench, FakeClock
from tests.faults.kill import command
from tests.faults.server import PASSWORD, Fault, FaultServer

STRATEGY = pytest.mark.parametrize("strategy", ["sequential", "pipelined", "streamed"])


@STRATEGY
def test_after_a_request_to_stop_messages_in_flight_get_their_results(tmp_path, strategy):
    bench, stop = Bench(tmp_path, 60), StopSignal()
    bench.observer.outcome_callback = lambda _outcome: stop.requested or stop.request(signal.SIGTERM)
    with FaultServer(strategy, delay=0.01) as server:
        result = bench.send(server, replace(QUICK, window=8), stop=stop)
        bench.compare_with(server)
        assert result.ending is Ending.INTERRUPTED
        statuses = bench.statuses()
        assert statuses[Status.SENT] == len(server.accepted) <= 9
        assert statuses[Status.PENDING] == 60 - statuses[Status.SENT]
        assert server.duplicates == 0
        with Ledger.open(bench.ledger_path) as ledger:
            assert ledger.find_last_run(ledger.ensure_edition("faults")).ending == "interrupted"
        bench.observer.outcome_callback = lambda _outcome: None
        assert bench.send(server).ending is Ending.COMPLETE
        bench.compare_with(server)


@STRATEGY
def test_a_second_request_stops_at_once_and_loses_no_message(tmp_path, strategy):
    bench, stop = Bench(tmp_path, 60), StopSignal()

    def twice(_outcome: object) -> None:
        stop.request()
        stop.request()

    bench.observer.outcome_callback = twice
    with FaultServer(strategy, delay=0.05) as server:
        began = time.monotonic()
        result = bench.send(server, replace(QUICK, window=8, timeout=30), stop=stop)
        assert time.monotonic() - began < 20  # of the 30 that a reply may take
        assert result.ending is Ending.INTERRUPTED
        bench.observer.outcome_callback = lambda _outcome: None
        assert bench.send(server).ending is Ending.COMPLETE
        bench.compare_with(server, max_duplicates=8)


def test_a_silent_server_does_not_hold_up_an_interruption_for_longer_than_a_reply(tmp_path):
    bench, stop = Bench(tmp_path, 20), StopSignal()
    bench.observer.outcome_callback = lambda _outcome: stop.requested or stop.request()
    with FaultServer("streamed", (Fault("accepted", "silence", nth=3),)) as server:
        result = bench.send(server, replace(QUICK, timeout=0.3), stop=stop)
        assert result.ending is Ending.INTERRUPTED
        bench.observer.outcome_callback = lambda _outcome: None
        assert bench.send(server).ending is Ending.COMPLETE
        bench.compare_with(server, max_duplicates=8)


def test_a_waiting_run_can_be_stopped(tmp_path):
    bench, stop = Bench(tmp_path, 3), StopSignal()
    bench.observer.on_waiting = lambda _seconds, _why: stop.requested or stop.request()
    with FaultServer(script=lambda step: "450 4.2.1 busy" if step.name == "rcpt" else None) as server:
        began = time.monotonic()
        backoff = replace(QUICK.backoff, first=600.0, most=600.0)
        result = bench.send(server, replace(QUICK, backoff=backoff), stop=stop)
    assert result.ending is Ending.INTERRUPTED
    assert time.monotonic() - began < 60  # of the 300 or so that it would have waited
    assert bench.statuses() == {Status.PENDING: 3}


@pytest.mark.parametrize("said", ["hold", "sent"])
@pytest.mark.parametrize("settled_at", ["once", "the next run's end"])
def test_a_message_to_resend_is_not_sent_if_a_person_decides_otherwise(tmp_path, said, settled_at):
    """A run that resends is stopped before the message; after that, `hold` forbids to send it twice."""
    bench, stop = Bench(tmp_path, 3), StopSignal()
    bench.observer.on_waiting = lambda _seconds, _why: stop.request()
    with FaultServer(
        "sequential", (Fault("accepted", "drop"), Fault("greeting", "drop", nth=2, times=9))
    ) as server:
        assert bench.send(server, stop=stop).ending is Ending.INTERRUPTED
    assert len(server.accepted) == 1
    if settled_at != "once":  # another run that does not come to it
        stop = StopSignal()
        with FaultServer(faults=(Fault("greeting", "drop", times=9),)) as server:
            assert bench.send(server, stop=stop).ending is Ending.INTERRUPTED
    with FaultServer() as server:
        bench.send(server, in_doubt=said)
        assert sorted(server.times()) == ["r1@example.com", "r2@example.com"]
        assert bench.outcomes()["r0@example.com"].status is (
            Status.SENT if said == "sent" else Status.IN_DOUBT
        )
        bench.send(server, replace(QUICK, in_doubt="hold"))
        assert len(server.accepted) == 2
        bench.send(server, replace(QUICK, in_doubt="hold"), in_doubt="resend", only="r0@example.com")
        assert len(server.accepted) == (2 if said == "sent" else 3)


@pytest.mark.parametrize("step", ["greeting", "accepted"])
def test_a_proof_to_a_silent_server_is_interrupted_at_once(tmp_path, step):
    bench, stop = Bench(tmp_path, 3), StopSignal()
    with FaultServer(faults=(Fault(step, "silence"),)) as server:
        began = time.monotonic()
        Timer(0.5, stop.request).start()
        result = bench.send(server, replace(QUICK, timeout=30), stop=stop, proof="me@example.org")
    assert result.ending is Ending.INTERRUPTED
    assert time.monotonic() - began < 10


def test_a_run_that_is_stopped_before_it_starts_sends_nothing(tmp_path):
    bench, stop = Bench(tmp_path, 3), StopSignal()
    stop.request()
    with FaultServer() as server:
        result = bench.send(server, stop=stop)
    assert result.ending is Ending.INTERRUPTED
    assert server.sessions == 0


def test_a_second_sender_is_refused_and_told_who_holds_it(tmp_path):
    bench = Bench(tmp_path, 3)
    with FaultServer() as server, Ledger.open(bench.ledger_path) as ledger, ledger.hold_campaign("faults"):
        with pytest.raises(LedgerBusy, match=str(os.getpid())):
            bench.send(server)
        assert server.sessions == 0


def test_two_senders_at_once_send_each_message_once(tmp_path):
    bench = Bench(tmp_path, 100)
    with FaultServer(delay=0.005) as server:
        line = [sys.executable, "-m", "mailer", *command(bench, server, 1)]
        environment = os.environ | {"MAILER_PASSWORD": PASSWORD}
        both = [
            subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        ends = [process.communicate(timeout=60) for process in both]
        bench.compare_with(server)
    assert sorted(process.returncode for process in both) == [0, 2]
    assert any(b"is being sent by" in errors for _, errors in ends)
    assert set(server.times().values()) == {1}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_command_in_order(tmp_path, number, code):
    bench = Bench(tmp_path, 400)
    with FaultServer(delay=0.01) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "mailer", *command(bench, server, 1)],
            env=os.environ | {"MAILER_PASSWORD": PASSWORD},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while len(server.accepted) < 20:
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) == code
        bench.compare_with(server)
        statuses = bench.statuses()
        assert statuses[Status.SENT] == len(server.accepted)
        assert statuses[Status.PENDING] == 400 - len(server.accepted)
        assert server.duplicates == 0


def test_a_ledger_that_cannot_be_written_stops_at_once(tmp_path, monkeypatch):
    bench, commits = Bench(tmp_path, 60), 0
    commit = Ledger.commit

    def full(self: Ledger) -> None:
        nonlocal commits
        commits += bench.observer.sessions
        if commits > 5:
            raise LedgerWriteError("the disk is full")
        commit(self)

    with FaultServer("sequential") as server:
        monkeypatch.setattr(Ledger, "commit", full)
        result = bench.send(server)
        monkeypatch.undo()
        assert result.ending is Ending.LEDGER_FAILED
        assert "full" in result.reason
        taken = len(server.accepted)
        assert taken <= 4 + 4 * 2  # a window of 4 with the first commit, half of one with each of the others
        time.sleep(0.05)
        assert len(server.accepted) == taken  # no further message left
        assert bench.send(server).ending is Ending.COMPLETE
        bench.compare_with(server, max_duplicates=2)


def send_limited(bench, server, octets):
    """A file size limit, in a process of its own: what SQLite gets is a real error of the system's."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (octets, octets))

    line = [sys.executable, "-m", "mailer", *command(bench, server, 1)]
    environment = os.environ | {"MAILER_PASSWORD": PASSWORD}
    return subprocess.run(
        line, env=environment, preexec_fn=limited, capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "octets", [0, 8192, 40_000, 60_000, 90_000]
)  # the first three: not even an empty ledger
def test_a_disk_that_is_full_before_anything_was_sent(tmp_path, octets):
    bench = Bench(tmp_path, 600)
    with FaultServer("streamed") as server:
        process = send_limited(bench, server, octets)
        assert process.returncode == 2, process.stderr
        assert b"mailer: error: %s: the ledger cannot be " % os.fsencode(bench.ledger_path) in process.stderr
        assert server.sessions == 0
        assert bench.send(server).ending is Ending.COMPLETE
        bench.compare_with(server)


def test_a_ledger_that_cannot_be_read_at_the_end(tmp_path, monkeypatch):
    bench = Bench(tmp_path, 5)
    counts = Ledger.count_by_status

    def damaged(self: Ledger, edition: Edition, **more: str | None) -> dict[Status, int]:
        if bench.observer.sessions:
            raise LedgerError("the ledger is damaged")
        return counts(self, edition, **more)

    monkeypatch.setattr(Ledger, "count_by_status", damaged)
    with FaultServer() as server:
        assert bench.send(server).ending is Ending.LEDGER_FAILED
    assert len(server.accepted) == 5


def test_a_disk_that_fills_up_during_a_run_stops_it(tmp_path):
    bench = Bench(tmp_path, 600)
    with FaultServer("streamed") as server:
        process = send_limited(bench, server, 260_000)
        assert process.returncode in (2, 3), process.stderr
        assert b"Traceback" not in process.stderr
        if process.returncode == 3:
            assert 0 < len(server.accepted) < 600
        assert bench.send(server).ending is Ending.COMPLETE
        bench.compare_with(server, max_duplicates=8)


def test_a_clock_that_goes_back_between_runs(tmp_path):
    bench = Bench(tmp_path, 6)
    with FaultServer(
        script=lambda step: "450 4.2.1 busy" if step.name == "rcpt" and step.count < 4 else None
    ) as server:
        stop = StopSignal()
        bench.observer.on_waiting = lambda _seconds, _why: stop.requested or stop.request()
        backoff = replace(QUICK.backoff, first=60.0, most=300.0)
        bench.send(server, replace(QUICK, backoff=backoff), clock=FakeClock(2_000_000_000.0), stop=stop)
        bench.observer.on_waiting = lambda _seconds, _why: None
        clock = FakeClock(1_000_000_000.0)
        result = bench.send(server, replace(QUICK, backoff=backoff), clock=clock)
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE
    assert clock.now() - 1_000_000_000.0 < 4000


def test_a_run_without_anything_to_send_says_that_some_recipients_do_not_have_the_message(tmp_path):
    bench = Bench(tmp_path, 2)
    with FaultServer(script=lambda step: "550 5.7.1 no" if step.name == "rcpt" else None) as server:
        bench.send(server)
        result = bench.send(server)
    assert result.ending is Ending.INCOMPLETE
    assert (result.reason, result.hint) == (
        "every recipient has an outcome, but not all of them have the message",
        None,
    )
