"""Sessions of a run: lost, refused, limited, and several at once."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from mailer.campaign.model import Backoff, Rate
from mailer.delivery.options import Ending
from mailer.delivery.signals import StopSignal
from mailer.errors import LedgerWriteError
from mailer.ledger.outcome import Status
from mailer.ledger.sqlite_store import SqliteStore
from mailer.smtp.protocol import slowdown
from tests.faults.harness import QUICK, Bench, FakeClock
from tests.faults.scripts import number
from tests.faults.server import Fault, FaultServer, Step

ALL = ("sequential", "pipelined", "streamed")
STRATEGY = pytest.mark.parametrize("strategy", ALL)


@STRATEGY
@pytest.mark.parametrize(
    "line", ["421 too many messages in this connection", "452 4.5.0 too many messages per session", "DROP"]
)
def test_a_limit_of_messages_in_a_session_leaves_no_mark(tmp_path, strategy, line):
    bench = Bench(tmp_path, 60)

    def script(step: Step) -> str | None:
        return line if step.name == "mail" and step.in_session >= 10 else None

    with FaultServer(strategy, script=script) as server:
        result = bench.send(server)
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE, result.reason
    assert bench.statuses() == {Status.SENT: 60}
    assert server.duplicates == 0
    if line != "DROP":  # a plain close does not say which of the window it took
        assert all(outcome.attempts == 1 for outcome in bench.outcomes().values())


@pytest.mark.parametrize("step", ["greeting", "auth"])
def test_a_server_that_never_lets_us_in_is_unreachable(tmp_path, step):
    bench = Bench(tmp_path, 5)
    line = "421 4.7.0 Try again later, closing connection"
    with FaultServer(script=lambda found: line if found.name == step else None) as server:
        result = bench.send(server, clock=FakeClock())
    assert result.ending is Ending.UNREACHABLE, result.reason
    assert server.sessions <= 10
    assert bench.statuses() == {Status.PENDING: 5}


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("greeting", "554 5.7.1 no SMTP service here"),
        ("greeting", "* OK IMAP4rev1 ready"),
        ("ehlo", "502 5.5.2 no EHLO, and no HELO"),
    ],
)
def test_a_server_that_will_never_let_us_in_is_asked_once(tmp_path, step, line):
    bench = Bench(tmp_path, 5)
    clock = FakeClock()
    with FaultServer(script=lambda found: line if found.name == step else None) as server:
        result = bench.send(server, replace(QUICK, connections=3), clock=clock)
    assert result.ending is Ending.UNREACHABLE, result.reason
    assert clock.slept == []
    assert bench.statuses() == {Status.PENDING: 5}


def test_a_server_that_let_us_in_before_is_asked_again_if_it_refuses_for_good(tmp_path):
    """It has shown that it can take messages, and may mean only this moment."""
    bench = Bench(tmp_path, 5)
    server = FaultServer("sequential", faults=(Fault("mail", "drop", nth=3),))
    server.script = lambda step: "554 no" if step.name == "greeting" and step.count in (2, 3) else None
    with server:
        result = bench.send(server)
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE, result.reason


def test_a_run_continues_with_fewer_connections_if_the_server_refuses_some(tmp_path):
    bench = Bench(tmp_path, 60)
    server = FaultServer(delay=0.005)
    server.script = lambda step: (
        "421 Too many concurrent SMTP connections"
        if step.name == "greeting" and server.open_now > 2
        else None
    )
    with server:
        result = bench.send(server, replace(QUICK, connections=5))
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE
    assert server.logins <= 4


@pytest.mark.timeout(20)
@pytest.mark.parametrize("fault", ["450 try again later", "SILENCE"])
def test_a_run_does_not_wait_for_a_session_that_it_no_longer_needs(tmp_path, monkeypatch, fault):
    monkeypatch.setattr("mailer.delivery.reconnect.random.uniform", lambda _least, most: most)
    bench = Bench(tmp_path, 40)
    faults = (Fault("greeting", "silence", nth=2),) if fault == "SILENCE" else ()
    with FaultServer("sequential", faults, delay=0.01) as server:
        if not faults:
            server.script = lambda step: fault if step.name == "greeting" and step.count > 1 else None
        patient = replace(QUICK, connections=2, timeout=60.0, backoff=Backoff(100.0, 100.0))
        result = bench.send(server, patient)
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE, result.reason
    assert server.logins == 1


def test_several_connections_share_the_queue(tmp_path):
    bench = Bench(tmp_path, 100)
    with FaultServer(delay=0.002) as server:
        result = bench.send(server, replace(QUICK, connections=4, window=2))
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE
    assert server.sessions == 4
    assert server.duplicates == 0
    assert len({message.session for message in server.accepted}) == 4


def test_a_lost_session_is_opened_again(tmp_path):
    bench = Bench(tmp_path, 30)
    with FaultServer(
        "pipelined", (Fault("mail", "drop", nth=10, times=1), Fault("greeting", "drop", nth=2, times=2))
    ) as server:
        result = bench.send(server)
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE
    assert result.run.sessions >= 2
    assert result.run.reconnects == result.run.sessions - 1


@STRATEGY
def test_no_progress_over_several_sessions_ends_the_run(tmp_path, strategy):
    bench = Bench(tmp_path, 30)
    with FaultServer(strategy, (Fault("mail", "drop", nth=10, times=10_000),)) as server:
        result = bench.send(server)
        bench.compare_with(server)
        assert result.ending is Ending.UNREACHABLE
        assert result.reason
        assert set(bench.statuses()) <= {Status.SENT, Status.PENDING, Status.IN_DOUBT}
        assert server.sessions < 20
        server.faults = ()
        bench.send(server, in_doubt="resend")
        bench.compare_with(server, max_duplicates=8)
    assert bench.statuses() == {Status.SENT: 30}


@STRATEGY
def test_a_message_that_kills_every_session_stops_no_other(tmp_path, strategy):
    bench = Bench(tmp_path, 20)

    def script(step: Step) -> str | None:
        return "DROP" if step.name == "rcpt" and step.argument == "r7@example.com" else None

    with FaultServer(strategy, script=script) as server:
        result = bench.send(server, replace(QUICK, attempts=3))
        bench.compare_with(server, max_duplicates=0)
        assert server.sessions < 20
    assert result.ending in (Ending.UNREACHABLE, Ending.INCOMPLETE), result.reason
    assert bench.statuses()[Status.SENT] == 19
    assert bench.outcomes()["r7@example.com"].status in (Status.PENDING, Status.IN_DOUBT)


def test_a_wrong_port_is_tried_for_ten_seconds(tmp_path):
    bench = Bench(tmp_path, 3)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = FaultServer()
    server.port = port
    clock = FakeClock()
    result = bench.send(server, replace(QUICK, backoff=Backoff()), clock=clock)
    server.discard()
    assert result.ending is Ending.UNREACHABLE
    assert str(port) in result.reason
    assert 10 <= sum(clock.slept) < 20
    assert bench.statuses() == {Status.PENDING: 3}


def test_the_pace_is_that_of_all_connections_together(tmp_path):
    bench, clock = Bench(tmp_path, 30), FakeClock()
    with FaultServer() as server:
        bench.send(server, replace(QUICK, rate=Rate(30, 60), connections=3), clock=clock)
        bench.compare_with(server)
    assert clock.now() - 1_800_000_000 == pytest.approx(58, abs=3)


def test_a_session_that_a_quiet_server_closed_leaves_no_mark(tmp_path):
    bench = Bench(tmp_path, 4)

    class Slow(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)

            await asyncio.sleep(0.25)

    with FaultServer(idle=0.1) as server:
        result = bench.send(server, replace(QUICK, rate=Rate(1, 60)), clock=Slow())
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE
    assert all(outcome.attempts == 1 for outcome in bench.outcomes().values())
    assert server.duplicates == 0


def test_a_server_that_ends_every_session_after_the_login_is_unreachable_in_the_end(tmp_path):
    bench = Bench(tmp_path, 5)
    with FaultServer(faults=(Fault("auth", "drop", "after", times=1000),)) as server:
        result = bench.send(server, clock=FakeClock())
    assert result.ending is Ending.UNREACHABLE
    assert server.logins <= 10
    assert bench.statuses() == {Status.PENDING: 5}


@STRATEGY
@pytest.mark.parametrize("step", ["mail", "rcpt", "content"])
def test_a_server_that_takes_no_message_in_any_session_is_unreachable_in_the_end(tmp_path, strategy, step):
    bench = Bench(tmp_path, 5)
    line = "452 4.5.3 Too many messages in this session"
    with FaultServer(strategy, script=lambda found: line if found.name == step else None) as server:
        result = bench.send(server)
    assert result.ending is Ending.UNREACHABLE
    assert line in (result.reason or "")
    assert server.logins <= 10
    assert bench.statuses() == {Status.PENDING: 5}


def test_one_connection_that_never_comes_does_not_end_the_run(tmp_path):
    bench = Bench(tmp_path, 60)
    with FaultServer(faults=(Fault("greeting", "drop", nth=2, times=1000),), delay=0.01) as server:
        result = bench.send(server, replace(QUICK, connections=2), clock=FakeClock())
        bench.compare_with(server)
    assert result.ending is Ending.COMPLETE, result.reason


class ClaimWatcher:
    """Looks into the ledger as another process does, while a server holds its reply."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.counts: list[int] = []  # of durable claims

    def look(self, recipient: str) -> None:
        """Count the claims. The message to `recipient`, whose content has arrived, must be among them."""
        with closing(sqlite3.connect(self._bench.ledger_path)) as connection:
            found = connection.execute("SELECT email FROM messages WHERE status = 'claimed'").fetchall()
        self.counts.append(len(found))
        assert (recipient,) in found


@pytest.mark.parametrize(("strategy", "window"), [("sequential", 1), ("pipelined", 2)])
@pytest.mark.parametrize(
    ("given", "is_fast", "connections"),
    [(None, False, 1), (1, False, 1), (2, False, 1), (None, True, 1), (2, True, 1), (None, False, 3)],
)
def test_a_claim_is_only_for_what_is_on_its_way_and_precedes_its_content(
    tmp_path, monkeypatch, strategy, window, given, is_fast, connections
):
    """`is_fast`: behind those on their way, two more wait for a server that answers as fast as the disk writes."""
    monkeypatch.setattr("mailer.delivery.commits.MAX_COMMITS_IN_MESSAGE", 1e9 if is_fast else 0.0)
    bench = Bench(tmp_path, 40)
    watcher = ClaimWatcher(bench)

    def script(step: Step) -> None:
        if step.name == "content":
            watcher.look(step.argument)

    with FaultServer(strategy, script=script, delay=0.01 if connections > 1 else 0.0) as server:
        bench.send(server, replace(QUICK, window=given, connections=connections))
        bench.compare_with(server)
    assert len(watcher.counts) == 40
    waiting = 2 if is_fast else 0
    assert max(watcher.counts) <= min(window + waiting, given or window + waiting) * connections
    if connections == 1:
        assert max(watcher.counts) == min(window + waiting, given or window + waiting)


@pytest.mark.parametrize("connections", [1, 3])
@STRATEGY
def test_a_claim_that_cannot_be_written_lets_no_content_leave(tmp_path, monkeypatch, strategy, connections):
    """The disk is full at the third commit after a reply, and has room again at the next one."""
    bench = Bench(tmp_path, 600)
    commits = 0
    commit = SqliteStore.commit

    def fail_once(store: SqliteStore) -> None:
        nonlocal commits
        commits += bool(server.accepted)
        if commits == 3:
            raise LedgerWriteError("the disk is full")
        commit(store)

    monkeypatch.setattr(SqliteStore, "commit", fail_once)
    with FaultServer(strategy, delay=0.005) as server:
        result = bench.send(server, replace(QUICK, connections=connections))
        assert result.ending is Ending.LEDGER_FAILED
        with closing(sqlite3.connect(bench.ledger_path)) as connection:
            untouched = connection.execute("SELECT email FROM messages WHERE status = 'pending'").fetchall()
        assert untouched
        assert not {email for (email,) in untouched} & set(server.times())


@STRATEGY
def test_messages_that_were_claimed_ahead_are_given_back_when_the_run_ends(tmp_path, strategy):
    bench, stop = Bench(tmp_path, 300), StopSignal()
    bench.observer.outcome_callback = lambda _outcome: len(bench.observer.outcomes) == 200 and stop.request()
    with FaultServer(strategy) as server:
        assert bench.send(server, replace(QUICK, timeout=30), stop=stop).ending is Ending.INTERRUPTED
        statuses = bench.statuses()
        assert statuses[Status.SENT] == len(server.accepted)
        assert statuses[Status.PENDING] == 300 - statuses[Status.SENT]
        assert server.duplicates == 0


def limit_sessions(maximum):
    """A server that takes so many sessions, and no more."""
    server = FaultServer("pipelined", delay=0.05)
    server.script = lambda step: (
        "421 Too many concurrent SMTP connections"
        if step.name == "greeting" and server.open_now > maximum
        else None
    )
    return server


def test_automatic_connections_grow_but_never_beyond_what_the_server_takes(tmp_path):
    bench = Bench(tmp_path, 300)
    with limit_sessions(3) as server:
        result = bench.send(server, replace(QUICK, connections="auto"))
        bench.compare_with(server)
        assert result.ending is Ending.COMPLETE
        used = result.run.server["connections"]
        assert 1 <= used <= 3
        server.commands.clear()
        result = bench.send(server, replace(QUICK, connections="auto"), again=True)
        bench.compare_with(server)
        assert 1 <= result.run.server["connections"] <= 3


def test_sessions_that_never_opened_are_not_what_the_next_run_begins_with(tmp_path):
    """The run ends before the server has greeted more than the first."""
    bench = Bench(tmp_path, 40)
    with FaultServer(
        "pipelined", faults=(Fault("greeting", "silence", nth=2, times=1000),), delay=0.02
    ) as server:
        result = bench.send(server, replace(QUICK, connections="auto"))
        bench.compare_with(server)
        assert server.sessions > 1
    assert result.ending is Ending.COMPLETE
    assert result.run.server["connections"] == 1


def test_automatic_connections_are_few_for_few_messages(tmp_path):
    bench = Bench(tmp_path, 12)
    with FaultServer("sequential", delay=0.02) as server:
        bench.send(server, replace(QUICK, connections="auto"))
        bench.compare_with(server)
    assert server.logins == 1


@STRATEGY
def test_a_server_that_answers_slower_after_errors_is_left_for_a_new_session(tmp_path, strategy, monkeypatch):
    """As Postfix does behind smtpd_soft_error_limit, with hundredths of a second in place of seconds."""
    monkeypatch.setattr(slowdown, "MIN_DELAY", 0.01)
    bench = Bench(tmp_path, 60)
    errors: Counter[int] = Counter()  # by session
    slow: Counter[int] = Counter()

    def script(step: Step) -> str | None:
        if step.name != "rcpt":
            return None
        if errors[step.session] >= 4:
            slow[step.session] += 1
            time.sleep(0.03)
        if number(step.argument) % 3 == 0:
            errors[step.session] += 1
            return "550 5.1.1 no such user"
        return None

    with FaultServer(strategy, script=script) as server:
        bench.send(server, replace(QUICK, stop_after=None))
        bench.compare_with(server)
    assert bench.statuses() == {Status.SENT: 40, Status.FAILED: 20}
    assert server.sessions > 1
    assert max(slow.values()) < 30, "with one session, half of the messages would be slow"
