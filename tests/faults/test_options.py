"""What the options of a run choose: whom it sends to, again, and what was in doubt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailer.campaign.load import load_campaign
from mailer.delivery.options import Ending
from mailer.delivery.plan import plan
from mailer.errors import InputError
from mailer.ledger import Ledger
from mailer.ledger.outcome import Status
from mailer.render.compile import compile_campaign
from mailer.report.summary import read_report
from tests.faults.harness import QUICK, Bench, Recorder
from tests.faults.scripts import number, rcpt
from tests.faults.server import Fault, FaultServer

ALL = ("sequential", "pipelined", "streamed")
STRATEGY = pytest.mark.parametrize("strategy", ALL)


def test_limit_counts_recipients_not_attempts(tmp_path):
    bench = Bench(tmp_path, 30)
    with FaultServer(script=rcpt(lambda _a, n: "450 4.2.1 busy" if n == 1 else None)) as server:
        assert bench.send(server, limit=7).ending is Ending.COMPLETE
        assert bench.statuses() == {Status.SENT: 7, Status.PENDING: 23}
        assert list(server.times()) != []
        assert {number(address) for address in server.times()} == set(range(7))
        assert bench.send(server).ending is Ending.COMPLETE
        bench.compare_with(server)
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
        bench.compare_with(server)
        assert result.ending is Ending.INCOMPLETE
        held = bench.statuses()[Status.IN_DOUBT]
        assert 1 <= held <= 4
        bench.send(server, replace(QUICK, in_doubt="hold"))
        assert server.duplicates == 0
        assert bench.statuses()[Status.IN_DOUBT] == held
        assert bench.send(server, in_doubt="resend").ending is Ending.COMPLETE
        bench.compare_with(server, max_duplicates=4)


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


class Refusal(KeyboardInterrupt):
    """The answer no, as the command line raises it."""


class Questioner(Recorder):
    """Notes what a person is asked, and answers no."""

    def on_start(self, total: int, already: int) -> None:
        self.asked = total - already
        raise Refusal


@pytest.mark.parametrize(
    ("decision", "asked"),
    [
        ({"in_doubt": "resend"}, 12),
        ({"in_doubt": "hold"}, 8),
        ({"in_doubt": "sent"}, 8),
        ({"in_doubt": "sent", "retry_failed": True}, 9),
        ({"retry_failed": True}, 9),
    ],
)
@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_a_decision_is_counted_for_the_question_and_a_no_changes_nothing(tmp_path, policy, decision, asked):
    bench = Bench(tmp_path, 14)
    campaign = load_campaign(bench.path)
    with Ledger.open(bench.ledger) as ledger:
        edition = ledger.ensure_edition(campaign.name)
        plan(ledger, campaign, compile_campaign(campaign), edition)
        with ledger.transaction() as store:
            for status, first, last in (("in_doubt", 1, 4), ("failed", 5, 5), ("sent", 6, 6)):
                given = {"status": status, "first": first, "last": last}
                store.execute(
                    "UPDATE messages SET status = :status, cause = CASE WHEN :status = 'failed' THEN 'refused' END,"
                    " doubts = :status = 'in_doubt' WHERE position BETWEEN :first AND :last",
                    given,
                )
    with FaultServer("streamed") as server:
        before = read_statuses(bench)
        bench.observer = Questioner()
        with pytest.raises(Refusal):
            bench.send(server, replace(QUICK, in_doubt=policy), **decision)
        assert bench.observer.asked == asked
        assert read_statuses(bench) == before
        bench.observer = Recorder()
        bench.send(server, replace(QUICK, in_doubt=policy), **decision)
        assert sum(server.times().values()) == asked


@pytest.mark.parametrize("decision", ["resend", "hold", "sent"])
def test_after_a_no_the_campaign_decides_about_what_was_in_flight(tmp_path, decision):
    bench = Bench(tmp_path, 6)
    campaign = load_campaign(bench.path)
    with Ledger.open(bench.ledger) as ledger:  # a run that died with three messages in flight
        edition = ledger.ensure_edition(campaign.name)
        plan(ledger, campaign, compile_campaign(campaign), edition)
        dead = ledger.start_run(edition, template="", now=0.0)
        ledger.claim(edition, 3, 0.0, run=dead)
        ledger.commit()
    bench.observer = Questioner()
    with FaultServer("streamed") as server:
        with pytest.raises(Refusal):
            bench.send(server, in_doubt=decision)
        assert bench.observer.asked == (6 if decision == "resend" else 3)
        bench.observer = Recorder()
        assert bench.send(server).ending is Ending.COMPLETE
        assert sum(server.times().values()) == 6


def read_statuses(bench: Bench) -> list[tuple[object, ...]]:
    with Ledger.open(bench.ledger) as ledger:
        return ledger.fetch_all(
            "SELECT key, status, cause, tries, attempts, doubts FROM messages ORDER BY id"
        )


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


def test_without_preflight_a_message_that_does_not_render_fails_alone(tmp_path):
    bench = Bench(tmp_path, 6)
    (tmp_path / "text.txt.j2").write_text("{% if n == '3' %}{{ nothing }}{% endif %}Hello {{ name }}\n")
    with FaultServer() as server:
        with pytest.raises(InputError):
            bench.send(server)
        assert server.sessions == 0
        result = bench.send(server, preflight=False)
        bench.compare_with(server)
    assert result.ending is Ending.INCOMPLETE
    failed = bench.outcomes()["r3@example.com"]
    assert failed.status is Status.FAILED
    assert "nothing" in failed.error


def test_suppressed_recipients_get_no_mail(tmp_path):
    bench = Bench(tmp_path, 4)
    with Ledger.open(bench.ledger_path) as ledger:
        ledger.suppress("r2@example.com", "asked to")
    with FaultServer() as server:
        assert bench.send(server).ending is Ending.COMPLETE
        assert "r2@example.com" not in server.times()
    assert bench.statuses() == {Status.SENT: 3, Status.SUPPRESSED: 1}


class Refuser(Recorder):
    """Answers the question before the first message with no."""

    def on_start(self, total, already):
        self.asked = (total, already)
        raise KeyboardInterrupt


@pytest.mark.parametrize("choice", [{"retry_failed": True}, {"again": True, "abandon": True}])
def test_an_answer_of_no_changes_no_recipient(tmp_path, choice):
    bench = Bench(tmp_path, 6)
    script = rcpt(lambda address, _n: "550 5.7.1 no" if number(address) < 2 else None)
    with FaultServer(script=script) as server:
        bench.send(server, limit=4)
        before = bench.outcomes()
        bench.observer = observer = Refuser()
        with pytest.raises(KeyboardInterrupt):
            bench.send(server, **choice)
        assert bench.outcomes() == before
        assert observer.asked == ((6, 2) if "retry_failed" in choice else (6, 0))
        server.script = lambda _step: None
        bench.observer = Recorder()
        assert bench.send(server, **choice).ending is Ending.COMPLETE
    assert bench.statuses() == {Status.SENT: 6}


def test_a_report_without_the_campaign_file_has_its_subject_and_sender(tmp_path):
    bench = Bench(tmp_path, 1)
    with FaultServer() as server:
        bench.send(server)
    with Ledger.open(bench.ledger_path) as ledger:
        report = read_report(ledger, "faults")
    assert (report.subject, report.sender) == ("Number {{ n }}", "News <news@example.com>")


def test_the_record_of_an_incomplete_run_says_why(tmp_path):
    bench = Bench(tmp_path, 6)
    with FaultServer(script=rcpt(lambda address, _n: "550 no" if number(address) < 2 else None)) as server:
        result = bench.send(server)
    assert (result.ending, result.run.reason) == (Ending.INCOMPLETE, "2 failed")
