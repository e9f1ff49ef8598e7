"""What a run makes of a server's answers, beyond the breaks: who is tried again, who is not, and when it ends."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from mailer.campaign.model import Backoff, Rate, StopAfter
from mailer.delivery.options import Ending
from mailer.delivery.signals import StopSignal
from mailer.errors import InputError
from mailer.ledger import Ledger
from mailer.ledger.outcome import Status
from mailer.secret import Secret
from tests.faults.harness import QUICK, Bench, FakeClock
from tests.faults.server import Fault, FaultServer, Step

ALL = ("sequential", "pipelined", "streamed")
STRATEGY = pytest.mark.parametrize("strategy", ALL)


def rcpt(answer):
    """A script that answers RCPT by `answer(address, how often it was asked before)`."""
    asked: Counter[str] = Counter()

    def script(step: Step) -> str | None:
        if step.name != "rcpt":
            return None
        asked[step.argument] += 1
        return answer(step.argument, asked[step.argument])

    return script


def number(address: str) -> int:
    return int(address.partition("@")[0].lstrip("r"))


@STRATEGY
def test_refusals_concern_their_message_alone(tmp_path, strategy):
    bench = Bench(tmp_path, 60)
    server = FaultServer(
        strategy, script=rcpt(lambda address, _n: "550 5.7.1 no" if number(address) % 3 == 1 else None)
    )
    with server:
        result = bench.send(server)
        bench.agree(server)
    assert result.ending is Ending.INCOMPLETE
    assert bench.statuses() == {Status.SENT: 40, Status.FAILED: 20}
    refused = bench.outcomes()["r1@example.com"]
    assert (refused.code, refused.enhanced, refused.reply, refused.attempts) == (550, "5.7.1", "5.7.1 no", 1)
    assert server.sessions == 1


def test_a_server_that_refuses_the_bdat_it_offers_is_reported_with_what_was_used_instead(tmp_path):
    bench = Bench(tmp_path, 6)
    server = FaultServer(
        "streamed",
        script=lambda step: "502 5.5.1 no BDAT" if step.name == "content" and step.count == 1 else None,
    )
    with server:
        result = bench.send(server)
        bench.agree(server)
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
        bench.agree(server)
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
        bench.agree(server)
    assert bench.outcomes()["r0@example.com"].attempts == 5


def test_a_message_that_waits_does_not_hold_up_the_others(tmp_path):
    bench, clock = Bench(tmp_path, 10), FakeClock()
    with FaultServer(script=rcpt(lambda a, _n: "450 4.2.1 busy" if number(a) == 0 else None)) as server:
        bench.send(server, replace(QUICK, backoff=Backoff(60, 300)), clock=clock)
    assert [outcome.email for outcome in bench.observer.outcomes][-1] == "r0@example.com"


# -- the run is given up


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
        bench.agree(server)
        assert result.ending is Ending.GIVEN_UP
        assert line.partition(" ")[2] in result.reason
        assert result.hint
        assert bench.statuses() == {Status.SENT: 5, Status.PENDING: 25}
        server.script = lambda _step: None
        assert bench.send(server).ending is Ending.COMPLETE
        bench.agree(server)


def test_unknown_users_are_offered_for_suppression_not_suppressed(tmp_path):
    bench = Bench(tmp_path, 3)
    with FaultServer(
        script=rcpt(lambda a, _n: "550 5.1.1 User unknown" if number(a) == 1 else None)
    ) as server:
        bench.send(server)
    assert bench.observer.unknown == ["r1@example.com"]
    with Ledger.open(bench.ledger_path) as ledger:
        assert not ledger.is_suppressed("r1@example.com")


# -- sessions


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
        bench.agree(server)
    assert result.ending is Ending.COMPLETE, result.reason
    assert bench.statuses() == {Status.SENT: 60}
    assert server.duplicates == 0
    if line != "DROP":  # a plain close does not say which of the window it took
        assert all(outcome.attempts == 1 for outcome in bench.outcomes().values())


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
        bench.agree(server)
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


@pytest.mark.parametrize("step", ["greeting", "auth"])
def test_a_server_that_never_lets_us_in_is_unreachable(tmp_path, step):
    bench = Bench(tmp_path, 5)
    line = "421 4.7.0 Try again later, closing connection"
    with FaultServer(script=lambda found: line if found.name == step else None) as server:
        result = bench.send(server, clock=FakeClock())
    assert result.ending is Ending.UNREACHABLE, result.reason
    assert server.sessions <= 10
    assert bench.statuses() == {Status.PENDING: 5}


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
        bench.agree(server)
    assert result.ending is Ending.COMPLETE
    assert server.logins <= 4


def test_several_connections_share_the_queue(tmp_path):
    bench = Bench(tmp_path, 100)
    with FaultServer(delay=0.002) as server:
        result = bench.send(server, replace(QUICK, connections=4, window=2))
        bench.agree(server)
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
        bench.agree(server)
    assert result.ending is Ending.COMPLETE
    assert result.run.sessions >= 2
    assert result.run.reconnects == result.run.sessions - 1


@STRATEGY
def test_no_progress_over_several_sessions_ends_the_run(tmp_path, strategy):
    bench = Bench(tmp_path, 30)
    with FaultServer(strategy, (Fault("mail", "drop", nth=10, times=10_000),)) as server:
        result = bench.send(server)
        bench.agree(server)
        assert result.ending is Ending.UNREACHABLE
        assert result.reason
        assert set(bench.statuses()) <= {Status.SENT, Status.PENDING, Status.IN_DOUBT}
        assert server.sessions < 20
        server.faults = ()
        bench.send(server, in_doubt="resend")
        bench.agree(server, most_duplicates=8)
    assert bench.statuses() == {Status.SENT: 30}


@STRATEGY
def test_a_message_that_kills_every_session_stops_no_other(tmp_path, strategy):
    bench = Bench(tmp_path, 20)

    def script(step: Step) -> str | None:
        return "DROP" if step.name == "rcpt" and step.argument == "r7@example.com" else None

    with FaultServer(strategy, script=script) as server:
        result = bench.send(server, replace(QUICK, attempts=3))
        bench.agree(server, most_duplicates=0)
        assert server.sessions < 20
    assert result.ending in (Ending.UNREACHABLE, Ending.INCOMPLETE), result.reason
    assert bench.statuses()[Status.SENT] == 19
    assert bench.outcomes()["r7@example.com"].status in (Status.PENDING, Status.IN_DOUBT)


# -- no session at all


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


def test_a_wrong_password_is_tried_once(tmp_path):
    bench = Bench(tmp_path, 3)
    with FaultServer(password="another") as server:
        result = bench.send(server)
    assert result.ending is Ending.UNREACHABLE
    assert server.refused_logins == 1
    assert bench.statuses() == {Status.PENDING: 3}


def test_a_login_refused_in_mid_run_ends_it(tmp_path):
    bench = Bench(tmp_path, 30)
    server = FaultServer("sequential", (Fault("mail", "drop", nth=10),))

    def script(step: Step) -> str | None:
        if step.name == "mail" and step.count == 9:
            server.password = "changed"
        return None

    server.script = script
    with server:
        result = bench.send(server)
        bench.agree(server)
    assert result.ending is Ending.UNREACHABLE
    assert server.refused_logins == 1
    assert bench.statuses()[Status.PENDING] >= 20


def test_too_many_logins_make_the_next_one_wait(tmp_path):
    bench, clock = Bench(tmp_path, 5), FakeClock()
    with FaultServer(
        script=lambda step: (
            "454 4.7.0 Too many login attempts" if step.name == "auth" and step.count < 3 else None
        )
    ) as server:
        result = bench.send(server, replace(QUICK, backoff=Backoff()), clock=clock)
    assert result.ending is Ending.COMPLETE
    assert sum(clock.slept) >= 30


def test_a_certificate_of_another_authority_ends_the_run_before_the_login(tmp_path):
    bench = Bench(tmp_path, 3)
    with FaultServer() as server, FaultServer() as other:
        mine, server.ca_file = server.ca_file, other.ca_file
        result = bench.send(server)
        server.ca_file = mine
    assert result.ending is Ending.UNREACHABLE
    assert result.hint
    assert server.logins == 0


# -- what is asked for


def test_limit_counts_recipients_not_attempts(tmp_path):
    bench = Bench(tmp_path, 30)
    with FaultServer(script=rcpt(lambda _a, n: "450 4.2.1 busy" if n == 1 else None)) as server:
        assert bench.send(server, limit=7).ending is Ending.COMPLETE
        assert bench.statuses() == {Status.SENT: 7, Status.PENDING: 23}
        assert list(server.times()) != []
        assert {number(address) for address in server.times()} == set(range(7))
        assert bench.send(server).ending is Ending.COMPLETE
        bench.agree(server)
    assert bench.statuses() == {Status.SENT: 30}


def test_only_sends_to_one_recipient(tmp_path):
    bench = Bench(tmp_path, 30)
    with FaultServer() as server:
        assert bench.send(server, only="R5@Example.com").ending is Ending.COMPLETE
        assert set(server.times()) == {"r5@example.com"}
        again = bench.send(server, only="r5@example.com")
        assert again.nothing_to_do
        with pytest.raises(InputError, match="not in the list"):
            bench.send(server, only="nobody@example.com")
    assert bench.statuses() == {Status.SENT: 1, Status.PENDING: 29}


def test_only_accepts_a_key_as_the_report_shows_it(tmp_path):
    bench = Bench(tmp_path, 5, 'key: "{{ email }}/INV-{{ n }}"\n')
    with FaultServer() as server:
        assert bench.send(server, only="r3@example.com/INV-3").ending is Ending.COMPLETE
        assert bench.send(server, only="r3@example.com/INV-3").nothing_to_do
        assert (
            bench.send(server, only="r2@example.com/INV-2", proof="me@example.org").ending is Ending.COMPLETE
        )
    assert [message.recipients for message in server.accepted] == [("r3@example.com",), ("me@example.org",)]
    assert bench.statuses() == {Status.SENT: 1, Status.PENDING: 4}


def test_only_ends_as_its_recipient_does(tmp_path):
    bench = Bench(tmp_path, 3)
    refused = {"r0@example.com"}
    script = lambda step: "550 5.7.1 no" if step.name == "rcpt" and step.argument in refused else None  # noqa: E731
    with FaultServer(script=script) as server:
        assert bench.send(server, limit=1).ending is Ending.INCOMPLETE
        assert bench.send(server, only="r1@example.com").ending is Ending.COMPLETE
        assert bench.send(server, only="r1@example.com").ending is Ending.COMPLETE
        assert bench.send(server, only="r0@example.com").ending is Ending.INCOMPLETE


def test_only_with_an_address_sends_all_its_messages(tmp_path):
    bench = Bench(tmp_path, 1, 'key: "{{ email }}/{{ n }}"\n')
    (tmp_path / "people.csv").write_text("email,name,n\nada@example.com,Ada,1\nada@example.com,Ada,2\n")
    refused = iter([None, "550 5.7.1 no"])
    with FaultServer(script=lambda step: next(refused) if step.name == "rcpt" else None) as server:
        assert bench.send(server, only="ada@example.com").ending is Ending.INCOMPLETE
        again = bench.send(server, only="ada@example.com")
    assert (again.ending, again.nothing_to_do) == (Ending.INCOMPLETE, True)
    assert again.reason == "ada@example.com: sent, failed already"


def test_a_proof_is_not_recorded(tmp_path):
    bench = Bench(tmp_path, 5, "cc: [boss@example.com]\n")
    with FaultServer() as server:
        assert bench.send(server, proof="me@example.org").ending is Ending.COMPLETE
        assert [message.recipients for message in server.accepted] == [("me@example.org",)]
        assert bench.send(server, proof="me@example.org", only="r3@example.com").ending is Ending.COMPLETE
        assert bench.send(server).ending is Ending.COMPLETE
    assert bench.statuses() == {Status.SENT: 5}
    assert len(server.accepted) == 7


def test_again_that_could_not_start_does_not_make_the_next_run_send_to_every_recipient(tmp_path):
    bench = Bench(tmp_path, 3)
    with FaultServer() as server:
        bench.send(server)
        with pytest.raises(InputError, match="not in the list"):
            bench.send(server, again=True, only="nobody@example.com")
        assert bench.statuses() == {Status.SENT: 3}
        assert bench.send(server).nothing_to_do
        assert bench.send(server, again=True, only="r1@example.com").edition == 2
        assert bench.statuses() == {Status.SENT: 1, Status.PENDING: 2}
        assert bench.send(server).edition == 2
    assert set(server.times().values()) == {2}


def test_a_complete_campaign_says_so_and_again_sends_it_again(tmp_path):
    bench = Bench(tmp_path, 5)
    with FaultServer() as server:
        bench.send(server)
        done = bench.send(server)
        assert done.nothing_to_do
        assert done.ending is Ending.COMPLETE
        assert server.sessions == 1
        again = bench.send(server, again=True)
        assert (again.ending, again.edition) == (Ending.COMPLETE, 2)
    assert set(server.times().values()) == {2}
    assert server.duplicates == 0  # another edition is another message


def test_again_is_refused_while_the_last_edition_is_not_finished_unless_its_rest_is_abandoned(tmp_path):
    bench = Bench(tmp_path, 5)
    with FaultServer() as server:
        bench.send(server, limit=2)
        with pytest.raises(InputError, match="not finished: 3 pending") as caught:
            bench.send(server, again=True)
        assert "--abandon" in str(caught.value.hint)
        assert bench.statuses() == {Status.SENT: 2, Status.PENDING: 3}
        again = bench.send(server, again=True, abandon=True)
    assert (again.ending, again.edition) == (Ending.COMPLETE, 2)
    assert sorted(server.times().values()) == [1, 1, 1, 2, 2]
    with Ledger.open(bench.ledger_path) as ledger:
        first = ledger.find_edition("faults", 1)
        assert first is not None
        assert ledger.count_by_status(first)[Status.FAILED] == 3


def test_retry_failed_sends_to_failed_recipients_again(tmp_path):
    bench = Bench(tmp_path, 5)
    with FaultServer(script=rcpt(lambda a, _n: "550 5.7.1 no" if number(a) == 2 else None)) as server:
        assert bench.send(server).ending is Ending.INCOMPLETE
        assert bench.send(server).ending is Ending.INCOMPLETE  # nothing to do, but not every recipient has it
        server.script = lambda _step: None
        assert bench.send(server, retry_failed=True).ending is Ending.COMPLETE
    assert bench.statuses() == {Status.SENT: 5}


@STRATEGY
def test_hold_never_sends_twice(tmp_path, strategy):
    bench = Bench(tmp_path, 20)
    with FaultServer(strategy, (Fault("accepted", "drop", "before", nth=8),)) as server:
        result = bench.send(server, replace(QUICK, in_doubt="hold", window=4))
        bench.agree(server)
        assert result.ending is Ending.INCOMPLETE
        held = bench.statuses()[Status.IN_DOUBT]
        assert 1 <= held <= 4
        bench.send(server, replace(QUICK, in_doubt="hold"))
        assert server.duplicates == 0
        assert bench.statuses()[Status.IN_DOUBT] == held
        assert bench.send(server, in_doubt="resend").ending is Ending.COMPLETE
        bench.agree(server, most_duplicates=4)


@pytest.mark.parametrize("said", ["sent", "resend"])
def test_in_doubt_decides_only_for_the_recipient_that_is_named(tmp_path, said):
    bench = Bench(tmp_path, 12)
    held = replace(QUICK, in_doubt="hold")
    with FaultServer("streamed", (Fault("accepted", "drop", "before", nth=4),)) as server:
        bench.send(server, held)
        doubtful = [email for email, found in bench.outcomes().items() if found.status is Status.IN_DOUBT]
        assert len(doubtful) > 1
        bench.send(server, held, in_doubt=said, only=doubtful[0])
        statuses = [bench.outcomes()[email].status for email in doubtful]
        assert statuses == [Status.SENT, *[Status.IN_DOUBT] * (len(doubtful) - 1)]
        bench.send(server, held)
        assert bench.statuses()[Status.IN_DOUBT] == len(doubtful) - 1


def test_in_doubt_sent_does_not_resend_messages_of_this_run(tmp_path):
    bench = Bench(tmp_path, 20)
    with FaultServer("streamed", (Fault("accepted", "drop", "before", nth=8),)) as server:
        bench.send(server, replace(QUICK, in_doubt="hold"), in_doubt="sent")
        assert server.duplicates == 0
        assert bench.statuses()[Status.IN_DOUBT] > 0


def test_a_message_in_doubt_is_resent_once(tmp_path):
    bench = Bench(tmp_path, 3)
    with FaultServer("sequential", (Fault("accepted", "drop", "before", nth=2, times=100),)) as server:
        bench.send(server)
    assert max(server.times().values()) <= 2


# -- copies


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


# -- time


def test_the_pace_is_that_of_all_connections_together(tmp_path):
    bench, clock = Bench(tmp_path, 30), FakeClock()
    with FaultServer() as server:
        bench.send(server, replace(QUICK, rate=Rate(30, 60), connections=3), clock=clock)
        bench.agree(server)
    assert clock.now() - 1_800_000_000 == pytest.approx(58, abs=3)


def test_a_session_that_a_quiet_server_closed_leaves_no_mark(tmp_path):
    bench = Bench(tmp_path, 4)

    class Slow(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            import asyncio

            await asyncio.sleep(0.25)

    with FaultServer(idle=0.1) as server:
        result = bench.send(server, replace(QUICK, rate=Rate(1, 60)), clock=Slow())
        bench.agree(server)
    assert result.ending is Ending.COMPLETE
    assert all(outcome.attempts == 1 for outcome in bench.outcomes().values())
    assert server.duplicates == 0


# -- recipients whose message cannot be sent


def test_without_preflight_a_message_that_does_not_render_fails_alone(tmp_path):
    bench = Bench(tmp_path, 6)
    (tmp_path / "text.txt.j2").write_text("{% if n == '3' %}{{ nothing }}{% endif %}Hello {{ name }}\n")
    with FaultServer() as server:
        with pytest.raises(InputError):
            bench.send(server)
        assert server.sessions == 0
        result = bench.send(server, preflight=False)
        bench.agree(server)
    assert result.ending is Ending.INCOMPLETE
    failed = bench.outcomes()["r3@example.com"]
    assert failed.status is Status.FAILED
    assert "nothing" in failed.error


def test_a_message_that_is_too_large_for_the_server_fails_alone(tmp_path):
    bench = Bench(tmp_path, 4)
    (tmp_path / "text.txt.j2").write_text("{% if n == '2' %}{{ 'x ' * 5000 }}{% endif %}Hello {{ name }}\n")
    with FaultServer(extensions=("SIZE 5000",)) as server:
        result = bench.send(server)
        bench.agree(server)
    assert result.ending is Ending.INCOMPLETE
    assert bench.statuses() == {Status.SENT: 3, Status.FAILED: 1}


def test_suppressed_recipients_get_no_mail(tmp_path):
    bench = Bench(tmp_path, 4)
    with Ledger.open(bench.ledger_path) as ledger:
        ledger.suppress("r2@example.com", "asked to")
    with FaultServer() as server:
        assert bench.send(server).ending is Ending.COMPLETE
        assert "r2@example.com" not in server.times()
    assert bench.statuses() == {Status.SENT: 3, Status.SUPPRESSED: 1}


# -- several connections


def test_a_wrong_password_is_tried_once_by_all_connections_together(tmp_path):
    bench = Bench(tmp_path, 20)
    with FaultServer(password="another") as server:
        result = bench.send(server, replace(QUICK, connections=4))
    assert result.ending is Ending.UNREACHABLE
    assert server.refused_logins == 1


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
        bench.agree(server)
    assert result.ending is Ending.COMPLETE, result.reason


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
        bench.agree(server)
    assert times[-1] - times[0] < 0.9


# -- who watches, and who waits


@STRATEGY
def test_an_observer_that_raises_changes_nothing(tmp_path, strategy, caplog):
    bench = Bench(tmp_path, 20)

    def fail(_outcome):
        raise ValueError("a mistake")

    bench.observer.on_settled = fail
    with FaultServer(strategy) as server:
        assert bench.send(server).ending is Ending.COMPLETE
        bench.agree(server)
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
        bench.agree(server, most_duplicates=4)
    assert bench.statuses() == {Status.SENT: 30}


# -- tokens


class Tokens:
    """A source that gives another token each time."""

    def __init__(self, *tokens):
        self.tokens, self.read_count = tokens, 0

    def read(self):
        self.read_count += 1
        return Secret(self.tokens[min(self.read_count, len(self.tokens)) - 1])


def send_with_tokens(bench, server, tokens):
    options = bench.options(server)
    where = replace(options.server, auth=("xoauth2",), password=tokens)
    return bench.send(server, server=where)


def test_a_token_is_asked_for_anew_at_each_login(tmp_path):
    bench, tokens = Bench(tmp_path, 20), Tokens("one", "two")
    server = FaultServer("sequential", (Fault("mail", "drop", nth=10),), mechanism="XOAUTH2", password="one")

    def script(step: Step) -> None:
        if step.name == "mail" and step.count == 9:
            server.password = "two"

    server.script = script
    with server:
        assert send_with_tokens(bench, server, tokens).ending is Ending.COMPLETE
        bench.agree(server)
    assert server.refused_logins == 0
    assert tokens.read_count == server.logins


def test_an_expired_token_is_asked_for_once_more(tmp_path):
    bench, tokens = Bench(tmp_path, 5), Tokens("expired", "fresh")
    with FaultServer(mechanism="XOAUTH2", password="fresh") as server:
        assert send_with_tokens(bench, server, tokens).ending is Ending.COMPLETE
    assert (tokens.read_count, server.refused_logins) == (2, 1)


def test_a_token_that_is_refused_twice_ends_the_run(tmp_path):
    bench, tokens = Bench(tmp_path, 5), Tokens("expired")
    with FaultServer(mechanism="XOAUTH2", password="fresh") as server:
        assert send_with_tokens(bench, server, tokens).ending is Ending.UNREACHABLE
    assert (tokens.read_count, server.refused_logins) == (2, 2)
    assert bench.statuses() == {Status.PENDING: 5}


def test_a_token_that_cannot_be_read_ends_the_run(tmp_path):
    bench = Bench(tmp_path, 5)

    class Broken(Tokens):
        def read(self):
            raise InputError("the password command failed with status 1")

    with FaultServer(mechanism="XOAUTH2") as server:
        result = send_with_tokens(bench, server, Broken())
    assert result.ending is Ending.UNREACHABLE
    assert "failed with status 1" in result.reason


# -- what is durable as intent


@pytest.mark.parametrize(("strategy", "window"), [("sequential", 1), ("pipelined", 2)])
@pytest.mark.parametrize(
    ("given", "is_fast"), [(None, False), (1, False), (2, False), (None, True), (2, True)]
)
def test_intent_is_only_for_what_is_on_its_way(tmp_path, monkeypatch, strategy, window, given, is_fast):
    """`is_fast`: a server that answers as fast as the disk writes gets two more messages for each commit."""
    monkeypatch.setattr("mailer.delivery.session.MAX_COMMITS_IN_MESSAGE", 1e9 if is_fast else 0.0)
    bench = Bench(tmp_path, 20)
    claimed: list[int] = []

    def script(step: Step) -> None:
        if step.name == "content":
            with closing(sqlite3.connect(bench.ledger_path)) as connection:
                claimed.append(
                    connection.execute("SELECT COUNT(*) FROM messages WHERE status = 'claimed'").fetchone()[0]
                )

    with FaultServer(strategy, script=script) as server:
        bench.send(server, replace(QUICK, window=given))
        bench.agree(server)
    assert len(claimed) == 20
    ahead = 2 if is_fast and given is None else 0
    assert max(claimed) == min(window, given or window) + ahead


@STRATEGY
def test_messages_that_were_claimed_ahead_are_given_back_when_the_run_ends(tmp_path, strategy):
    bench, stop = Bench(tmp_path, 300), StopSignal()
    bench.observer.on_settled = lambda _outcome: len(bench.observer.outcomes) == 200 and stop.request()
    with FaultServer(strategy) as server:
        assert bench.send(server, replace(QUICK, timeout=30), stop=stop).ending is Ending.INTERRUPTED
        statuses = bench.statuses()
        assert statuses[Status.SENT] == len(server.accepted)
        assert statuses[Status.PENDING] == 300 - statuses[Status.SENT]
        assert server.duplicates == 0


# -- replies that concern the session


@STRATEGY
@pytest.mark.parametrize("step", ["mail", "data", "content"])
@pytest.mark.parametrize("code", [500, 501, 502, 503, 504])
def test_no_recipient_fails_because_of_a_reply_that_concerns_the_session(tmp_path, strategy, step, code):
    bench = Bench(tmp_path, 12)
    line = f"{code} 5.5.1 bad sequence of commands"
    script = lambda found: line if found.name == step and found.count in (3, 7) else None  # noqa: E731
    with FaultServer(strategy, script=script) as server:
        result = bench.send(server)
        bench.agree(server)
    assert result.ending is Ending.COMPLETE, result.reason
    assert bench.statuses() == {Status.SENT: 12}
    assert all(outcome.attempts == 1 for outcome in bench.outcomes().values())


@STRATEGY
def test_a_recipient_that_the_server_cannot_parse_is_deferred_and_holds_up_no_other(tmp_path, strategy):
    bench = Bench(tmp_path, 12)
    line = "504 5.5.2 <r3>: Recipient address rejected: need fully-qualified address"
    with FaultServer(strategy, script=rcpt(lambda a, _n: line if number(a) == 3 else None)) as server:
        result = bench.send(server, replace(QUICK, attempts=2))
        bench.agree(server)
    assert result.ending is Ending.INCOMPLETE, result.reason
    assert bench.statuses() == {Status.SENT: 11, Status.DEFERRED: 1}


@pytest.mark.parametrize(
    "line", ["530 5.7.0 Authentication required", "530 5.7.0 Must issue a STARTTLS command first"]
)
def test_a_server_that_wants_a_login_or_tls_first_cannot_be_used(tmp_path, line):
    bench = Bench(tmp_path, 5)
    with FaultServer(script=lambda step: line if step.name == "mail" else None) as server:
        result = bench.send(server)
    assert result.ending is Ending.UNREACHABLE
    assert line.partition(" ")[2] in result.reason
    assert result.hint
    assert bench.statuses() == {Status.PENDING: 5}


@pytest.mark.parametrize("step", ["rcpt", "mail"])
def test_a_refused_ehlo_name_ends_the_run_with_a_hint(tmp_path, step):
    bench = Bench(tmp_path, 5)
    line = "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname"
    with FaultServer(script=lambda found: line if found.name == step else None) as server:
        result = bench.send(server)
    assert result.ending is Ending.GIVEN_UP
    assert "ehlo_name" in result.hint
    assert bench.statuses() == {Status.PENDING: 5}


# -- connections: auto


def many_at_once(most):
    """A server that takes so many sessions, and no more."""
    server = FaultServer("pipelined", delay=0.05)
    server.script = lambda step: (
        "421 Too many concurrent SMTP connections"
        if step.name == "greeting" and server.open_now > most
        else None
    )
    return server


def test_automatic_connections_grow_but_never_beyond_what_the_server_takes(tmp_path):
    bench = Bench(tmp_path, 300)
    with many_at_once(3) as server:
        result = bench.send(server, replace(QUICK, connections="auto"))
        bench.agree(server)
        assert result.ending is Ending.COMPLETE
        used = result.run.server["connections"]
        assert 1 <= used <= 3
        server.commands.clear()
        result = bench.send(server, replace(QUICK, connections="auto"), again=True)
        bench.agree(server)
        assert 1 <= result.run.server["connections"] <= 3


def test_automatic_connections_are_few_for_few_messages(tmp_path):
    bench = Bench(tmp_path, 12)
    with FaultServer("sequential", delay=0.02) as server:
        bench.send(server, replace(QUICK, connections="auto"))
        bench.agree(server)
    assert server.logins == 1
