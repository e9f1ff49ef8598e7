import time

import pytest

from mailer.errors import LedgerError
from mailer.ledger import Ledger, Recovered, Retry
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.planning import note_campaign_file
from mailer.ledger.recovery import abandon_rest, recover_claims, reopen_failed
from tests.delivery.lists import NOW
from tests.ledger.conftest import Started


def settle(started, status, count=1, **rest):
    for claim in started.claim(count):
        given = Outcome(claim.email, claim.key, status, claim.attempts + 1, **rest)
        started.ledger.record(claim, given)
    started.ledger.commit()


class TestEditions:
    def test_the_first_is_made_when_it_is_asked_for(self, ledger):
        assert ledger.find_edition("autumn") is None
        edition = ledger.ensure_edition("autumn")
        assert (edition.number, edition.planned, edition.complete) == (1, False, False)
        assert ledger.ensure_edition("autumn") == edition
        assert ledger.list_campaigns() == ["autumn"]

    def test_an_edition_is_complete_if_nothing_is_left_to_send(self, started):
        settle(started, Status.SENT, 2)
        assert not started.ledger.ensure_edition("autumn").complete
        settle(started, Status.FAILED)
        settle(started, Status.IN_DOUBT)
        started.ledger.suppress("e@example.com", "asked")
        assert started.keys() == []
        assert started.ledger.ensure_edition("autumn").complete

    def test_an_edition_with_deferred_messages_is_not_complete(self, started):
        settle(started, Status.SENT, 4)
        settle(started, Status.DEFERRED)
        assert not started.ledger.ensure_edition("autumn").complete

    def test_a_new_one_begins_anew_and_the_old_one_stays(self, ledger):
        first = Started(ledger)
        settle(first, Status.SENT, 5)
        second = ledger.add_edition("autumn")
        assert (second.number, second.planned) == (2, False)
        assert ledger.ensure_edition("autumn").number == 1
        assert ledger.add_edition("autumn") == second
        ledger.start_run(second, template="t", now=NOW)
        assert ledger.ensure_edition("autumn") == second
        again = Started(ledger)
        assert again.keys() == ["a", "b", "c", "d", "e"]
        assert ledger.count_by_status(ledger.find_edition("autumn", 1))[Status.SENT] == 5

    def test_an_edition_of_one_campaign_is_not_seen_in_another(self, ledger):
        autumn, spring = ledger.ensure_edition("autumn"), ledger.ensure_edition("spring")
        assert autumn.id != spring.id
        assert (autumn.number, spring.number) == (1, 1)


class TestRecover:
    """What a run that is gone left behind."""

    def test_in_flight_is_sent_again_first_of_all(self, started):
        b = started.claim(2)[1]
        started.ledger.record(b, Outcome("b@example.com", "b@example.com", Status.SENT, 1))
        assert recover_claims(started.ledger, started.edition, "resend", now=NOW) == Recovered(in_doubt=1)
        assert started.statuses()["a"] == "pending"
        claims = started.claim(2)
        assert [(c.key[0], c.in_doubt, c.attempts, c.tries, c.first) for c in claims] == [
            ("a", True, 1, 0, True),
            ("c", False, 0, 0, True),
        ]

    def test_messages_that_are_sent_again_are_counted(self, started):
        started.claim(2)
        recover_claims(started.ledger, started.edition, "resend", now=NOW)
        assert started.ledger.count_resent(started.edition) == 0
        settle(started, Status.SENT, 3)
        assert started.ledger.count_resent(started.edition) == 2

    def test_held_messages_are_not_sent_by_a_later_run(self, started):
        started.claim(1)
        assert recover_claims(started.ledger, started.edition, "hold", now=NOW).in_doubt == 1
        assert recover_claims(started.ledger, started.edition, "resend", now=NOW).in_doubt == 0
        assert started.keys() == ["b", "c", "d", "e"]
        assert started.statuses()["a"] == "in_doubt"

    def test_a_person_may_decide_on_held_messages(self, started):
        started.claim(2)
        recover_claims(started.ledger, started.edition, "hold", now=NOW)
        assert (
            recover_claims(started.ledger, started.edition, "resend", now=NOW, with_held=True).in_doubt == 2
        )
        assert [claim.in_doubt for claim in started.claim(2)] == [True, True]
        assert recover_claims(started.ledger, started.edition, "sent", now=NOW, with_held=True).in_doubt == 2
        first = next(started.ledger.read_outcomes(started.edition))
        assert (first.status, first.at, first.error) == (
            Status.SENT,
            "2027-01-15T08:00:00Z",
            "in doubt, and settled as sent by hand",
        )

    @pytest.mark.parametrize(("policy", "status"), [("resend", "pending"), ("sent", "sent")])
    def test_a_decision_on_one_message_leaves_the_others(self, started, policy, status):
        started.claim(2)
        recover_claims(started.ledger, started.edition, "hold", now=NOW)
        found = recover_claims(
            started.ledger, started.edition, policy, now=NOW, with_held=True, only="A@example.com"
        )
        assert found.in_doubt == 1
        assert (started.statuses()["a"], started.statuses()["b"]) == (status, "in_doubt")

    def test_deferred_and_waiting_get_their_attempts_anew_and_at_once(self, started):
        settle(started, Status.DEFERRED)
        waiting = started.claim(1)[0]
        started.ledger.record(waiting, Retry(NOW + 1000))
        assert recover_claims(started.ledger, started.edition, "resend", now=NOW) == Recovered(deferred=2)
        assert [(c.key[0], c.attempts, c.tries) for c in started.claim(2)] == [("a", 1, 0), ("b", 1, 0)]

    def test_recovery_without_former_runs_changes_nothing(self, started):
        assert recover_claims(started.ledger, started.edition, "resend", now=NOW) == Recovered()
        assert started.keys() == ["a", "b", "c", "d", "e"]


def test_retry_failed_reopens_refused_messages_and_not_suppressed_ones(started):
    settle(started, Status.FAILED, code=550, reply="no")
    started.ledger.suppress("b@example.com", "asked")
    settle(started, Status.SENT, 3)
    assert reopen_failed(started.ledger, started.edition) == 1
    assert started.statuses() == {"a": "pending", "b": "suppressed", "c": "sent", "d": "sent", "e": "sent"}
    assert [(c.key[0], c.attempts, c.tries) for c in started.claim()] == [("a", 1, 0)]


def test_retry_failed_of_one_leaves_the_others(started):
    settle(started, Status.FAILED, 2)
    assert reopen_failed(started.ledger, started.edition, only="b@example.com") == 1
    assert (started.statuses()["a"], started.statuses()["b"]) == ("failed", "pending")


class TestReports:
    def test_counts_have_every_status(self, started):
        settle(started, Status.SENT)
        assert started.ledger.count_by_status(started.edition) == {
            **dict.fromkeys(Status, 0),
            Status.SENT: 1,
            Status.PENDING: 4,
        }

    def test_in_flight_is_pending_while_its_run_lives_and_in_doubt_after(self, started):
        started.claim(1)
        assert started.statuses()["a"] == "in_doubt"
        with started.ledger.hold_campaign("autumn"):
            assert started.statuses()["a"] == "pending"
            assert started.ledger.count_by_status(started.edition)[Status.PENDING] == 5

    def test_outcomes_of_one_status(self, started):
        settle(started, Status.SENT)
        settle(started, Status.FAILED)
        settle(started, Status.SENT)
        assert [o.key[0] for o in started.ledger.read_outcomes(started.edition, Status.SENT)] == ["a", "c"]

    def test_outcomes_are_of_one_moment(self, started):
        outcomes = started.ledger.read_outcomes(started.edition)
        assert next(outcomes).status is Status.PENDING
        settle(started, Status.SENT, 5)
        assert [outcome.status for outcome in outcomes] == [Status.PENDING] * 4

    @pytest.mark.sqlite
    def test_no_query_sorts_or_scans_what_is_done(self, started):
        from mailer.ledger import sql

        given = {"edition": 1, "only": None, "key": None, "now": 0, "limit": 1, "horizon": 0, "start": 0}
        given["status"] = "sent"
        for name in (
            "OUTCOMES",
            "OUTCOMES_OF",
            "DUE",
            "DOUBTFUL",
            "FRESH",
            "ANY_PENDING",
            "NEXT_DUE",
            "LIMIT_WAITS",
            "UNFINISHED",
        ):
            found = started.ledger.store.fetch_all("EXPLAIN QUERY PLAN " + getattr(sql, name), given)
            steps = [step[3] for step in found]
            assert not any(
                ("SCAN" in step and "CONSTANT" not in step) or "TEMP B-TREE" in step for step in steps
            ), (
                name,
                steps,
            )
            assert any("messages_" in step for step in steps), name


class TestRuns:
    def test_the_figures_of_a_run_are_read_back(self, started):
        from dataclasses import replace

        record = replace(
            started.run, finished="2027-01-15T08:00:04Z", seconds=4.0, server={"host": "mx", "extensions": ["SIZE"]},
            messages=8, bytes=123, sessions=1, reconnects=2, ending="complete", reason="é",
        )  # fmt: skip
        started.ledger.finish_run(record)
        assert started.ledger.find_last_run(started.edition) == record
        assert record.messages_per_second == 2.0
        assert (record.started, len(record.run)) == ("2027-01-15T08:00:00Z", 26)

    def test_a_run_that_was_killed_has_no_end(self, started):
        assert started.ledger.find_last_run(started.edition) == started.run
        assert started.run.finished is None
        assert started.run.messages_per_second == 0.0

    def test_messages_sent_with_other_templates_are_counted(self, started):
        settle(started, Status.SENT, 2)
        assert started.ledger.count_sent_with_other_template(started.edition, "template") == 0
        assert started.ledger.count_sent_with_other_template(started.edition, "newer") == 2


class TestWhatIsLeftBehind:
    def test_abandoned_messages_are_not_sent_any_more(self, started):
        settle(started, Status.SENT)
        settle(started, Status.DEFERRED)
        assert abandon_rest(started.ledger, started.edition) == 4
        assert started.statuses() == {"a": "sent", **dict.fromkeys("bcde", "failed")}
        assert started.keys() == []
        assert reopen_failed(started.ledger, started.edition) == 0
        assert started.ledger.find_edition("autumn").complete

    def test_a_campaign_that_came_to_nothing_leaves_no_trace(self, ledger):
        with ledger.hold_campaign("empty"):
            ledger.ensure_edition("empty")
        assert ledger.list_campaigns() == []

    def test_another_file_with_the_campaigns_name_is_noticed(self, ledger, tmp_path):
        ledger.ensure_edition("autumn")
        assert note_campaign_file(ledger, "autumn", tmp_path / "autumn.yaml", tmp_path) is None
        assert note_campaign_file(ledger, "autumn", tmp_path / "autumn.yaml", tmp_path) is None
        other = note_campaign_file(ledger, "autumn", tmp_path / "other.yaml", tmp_path)
        assert other is not None
        assert (tmp_path / other) == tmp_path / "autumn.yaml"


class TestSuppressions:
    def test_the_report_has_the_reason(self, started):
        started.ledger.suppress("b@example.com", "asked by telephone")
        settle(started, Status.SENT, 4)
        assert [o.error for o in started.ledger.read_outcomes(started.edition)] == [
            None,
            "asked by telephone",
            *[None] * 3,
        ]
        assert [o.error for o in started.ledger.read_outcomes(started.edition, Status.SUPPRESSED)] == [
            "asked by telephone"
        ]

    def test_addresses_are_compared_folded_and_as_a_labels(self, ledger):
        assert ledger.suppress(" Ada@BÜCHER.example ", "bounced", source="bounce", now=NOW)
        assert not ledger.suppress("ada@xn--bcher-kva.example", "again")
        assert ledger.is_suppressed("ADA@bücher.EXAMPLE")
        found = ledger.find_suppression("ada@bücher.example")
        assert (found.reason, found.source, found.at) == ("bounced", "bounce", "2027-01-15T08:00:00Z")
        assert ledger.unsuppress("Ada@bücher.example")
        assert not ledger.unsuppress("ada@bücher.example")
        assert not ledger.is_suppressed("ada@bücher.example")

    def test_a_list_of_suppressions_is_added_whole_or_not_at_all(self, ledger):
        def read():
            yield "a@example.com", "asked"
            raise LedgerError("line 2")

        with pytest.raises(LedgerError, match="line 2"):
            ledger.suppress_all(read())
        assert list(ledger.read_suppressions()) == []
        assert (
            ledger.suppress_all([("b@example.com", "x"), ("a@example.com", "y"), ("B@example.com", "z")]) == 2
        )
        assert [entry.email for entry in ledger.read_suppressions()] == ["a@example.com", "b@example.com"]

    def test_a_long_list_is_read_in_pages(self, ledger):
        many = [f"{n:05}@example.com" for n in range(1203)]
        assert ledger.suppress_all((email, "x") for email in many) == 1203
        assert [entry.email for entry in ledger.read_suppressions()] == many

    def test_lone_surrogates_can_be_suppressed(self, ledger):
        assert ledger.suppress("\udce9@-é-", "\udce9")
        assert [entry.email for entry in ledger.read_suppressions()] == ["\\udce9@-é-"]


def test_a_temporary_ledger_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Ledger.open_temporary() as ledger, ledger.hold_campaign("autumn"):
        started = Started(ledger)
        assert started.keys() == ["a", "b", "c", "d", "e"]
        assert [outcome.status for outcome in ledger.read_outcomes(started.edition)] == [Status.IN_DOUBT] * 5
        assert not ledger.is_held("autumn")
        assert ledger.path is None
    assert list(tmp_path.iterdir()) == []


def test_ulids_sort_by_time():
    from mailer.ledger.ulid import ulid

    assert ulid(0)[:10] == "0" * 10
    assert ulid(1_469_918_176.385)[:10] == "01ARYZ6S41"  # the specification's example
    assert sorted([ulid(NOW), ulid(NOW - 1), ulid(NOW + 1)])[1][:10] == ulid(NOW)[:10]
    assert ulid(time.time()) != ulid(time.time())
