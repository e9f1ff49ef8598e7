"""Several runs of one campaign on one ledger in PostgreSQL. Each `Sender` has a connection of its own."""

import os
import signal
import threading
import time

import pytest

from mailer.delivery.signals import Interrupted, StopSignal
from mailer.errors import LedgerBusy, LedgerError
from mailer.ledger import Ledger
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.recovery import recover_claims
from mailer.ledger.sharing import RunProgress, SharedRun
from tests.delivery.lists import NOW
from tests.ledger.conftest import Started, make_schema


@pytest.fixture
def url(postgres):
    return make_schema(postgres.url)


class Sender:
    def __init__(self, url, *people):
        self.url, self.ledger = url, Ledger.open(url)
        self.pid = self.ledger.fetch_value("SELECT pg_backend_pid()")
        self.held = self.ledger.hold_campaign("autumn")
        self.held.__enter__()
        self.started = Started(self.ledger, *people)
        self.shared_run = SharedRun(self.ledger, self.started.edition, self.started.run)
        self.shared_run.join(is_new=True)

    def die(self):
        """The connection ends without a word, as when the process is killed."""
        with Ledger.open(self.url) as other:
            other.fetch_one("SELECT pg_terminate_backend(:pid)", pid=self.pid)

    def close(self):
        self.held.__exit__(None, None, None)
        self.ledger.close()


@pytest.fixture
def senders(url):
    made = [Sender(url), Sender(url)]
    yield made
    for sender in made:
        sender.close()


def test_two_senders_claim_different_messages(senders):
    first, second = senders
    assert first.started.keys(3) == ["a", "b", "c"]
    assert second.started.keys(5) == ["d", "e"]


def test_a_claim_that_is_not_committed_is_passed_over_and_not_waited_for(senders):
    first, second = senders
    first.ledger.claim(first.started.edition, 2, NOW, run=first.started.run)
    assert second.started.keys(1) == ["c"]
    first.ledger.commit()


def test_on_sqlite_the_second_sender_is_refused(path):
    with (
        Ledger.open(path) as ledger,
        Ledger.open(path) as other,
        ledger.hold_campaign("autumn"),
        pytest.raises(LedgerBusy),
        other.hold_campaign("autumn"),
    ):
        pytest.fail("it was held twice")


class TestADeadSender:
    def test_claims_of_a_dead_run_are_recovered_and_those_of_live_runs_are_not(self, senders):
        first, second = senders
        first.started.claim(2)
        second.started.claim(1)
        assert second.shared_run.recover_dead_runs("resend", NOW) == 0
        first.die()
        assert wait_until(lambda: second.shared_run.recover_dead_runs("resend", NOW)) == 2
        claims = second.started.claim(2)
        assert [(claim.key[0], claim.in_doubt) for claim in claims] == [("a", True), ("b", True)]

    def test_with_hold_the_claims_of_a_dead_run_stay_in_doubt(self, senders):
        first, second = senders
        first.started.claim(2)
        first.die()
        assert wait_until(lambda: second.shared_run.recover_dead_runs("hold", NOW)) == 2
        assert second.started.keys() == ["c", "d", "e"]
        assert second.ledger.count_by_status(second.started.edition)[Status.IN_DOUBT] == 2

    def test_a_run_without_connection_cannot_record(self, senders):
        first, _second = senders
        (claim,) = first.started.claim(1)
        first.die()
        first.ledger.record(claim, Outcome(claim.email, claim.key, Status.SENT, 1))
        with pytest.raises(LedgerError, match="no connection"):
            first.ledger.commit()

    def test_a_new_sender_takes_its_claims_over_while_another_one_sends(self, senders, url):
        first, second = senders
        first.started.claim(2)
        second.started.claim(1)
        first.die()
        wait_until(lambda: len(second.ledger.store.list_live_runs()) == 1)
        with Ledger.open(url) as ledger:
            found = recover_claims(ledger, first.started.edition, "resend", now=NOW)
            assert (found.in_doubt, ledger.count_by_status(first.started.edition)[Status.PENDING]) == (2, 5)

    def test_a_lost_connection_is_reported_without_a_query(self, senders):
        import threading

        lost = threading.Event()
        senders[0].ledger.store.watch(lost.set)
        senders[0].die()
        assert lost.wait(10)


class TestWhatHoldsForAll:
    def test_the_rate_is_one_for_all_senders(self, senders):
        first, second = senders
        assert first.shared_run.reserve(5, 100.0, 0.05) == (1, pytest.approx(100, abs=5))
        count, seconds = second.shared_run.reserve(5, 100.0, 0.05)
        assert (count, seconds) == (0, pytest.approx(100, abs=5))

    def test_the_sessions_are_counted_over_all_senders(self, senders):
        first, second = senders
        held = [
            first.shared_run.acquire_permit(3),
            second.shared_run.acquire_permit(3),
            second.shared_run.acquire_permit(3),
        ]
        assert all(held)
        assert first.shared_run.acquire_permit(3) is None
        held[1].release()
        assert first.shared_run.acquire_permit(3) is not None

    def test_the_sessions_of_a_dead_run_are_free(self, senders):
        first, second = senders
        assert first.shared_run.acquire_permit(1)
        assert second.shared_run.acquire_permit(1) is None
        first.die()
        assert wait_until(lambda: second.shared_run.acquire_permit(1))

    def test_failures_in_a_row_and_in_all(self, senders):
        first, second = senders
        first.shared_run.sync(RunProgress(total=3, failed=2, failed_in_a_row=2), NOW)
        second.shared_run.sync(RunProgress(total=4, failed=4, failed_in_a_row=4), NOW)
        state = first.shared_run.sync(RunProgress(), NOW)
        assert (state.total, state.failed, state.failed_in_a_row, state.live_runs) == (7, 6, 6, 2)
        state = second.shared_run.sync(RunProgress(total=5, failed=1, failed_in_a_row=1), NOW)
        assert (state.total, state.failed, state.failed_in_a_row) == (12, 7, 1)

    def test_the_longest_pause_holds_for_all_senders(self, senders):
        first, second = senders
        first.shared_run.pause(60, "too fast")
        first.shared_run.pause(5, "a shorter one changes nothing")
        state = second.shared_run.sync(RunProgress(), NOW)
        assert (state.pause_seconds, state.pause_reason) == (pytest.approx(60, abs=5), "too fast")

    def test_the_first_end_counts_until_a_new_sender_begins_alone(self, senders, url):
        first, second = senders
        first.shared_run.end("given_up", "the account is blocked", "ask them")
        second.shared_run.end("given_up", "later", None)
        state = second.shared_run.sync(RunProgress(), NOW)
        assert (state.ending, state.reason, state.hint) == ("given_up", "the account is blocked", "ask them")
        for sender in senders:
            sender.ledger.finish_run(sender.started.run)
        third = Sender(url)
        assert third.shared_run.sync(RunProgress(), NOW).ending is None
        third.close()


def test_the_clocks_of_the_machines_need_not_agree(senders):
    """A message that waits for a minute waits for a minute, also for a sender whose clock is an hour ahead."""
    from mailer.ledger import Retry

    first, second = senders
    second.shared_run.sync(RunProgress(), NOW + 3600)
    (claim,) = first.started.claim(1)
    first.ledger.record(claim, Retry(NOW + 60))
    first.ledger.commit()
    assert second.started.keys(5, now=NOW + 3600) == ["b", "c", "d", "e"]
    assert second.ledger.find_next_due(second.started.edition) == pytest.approx(NOW + 3660, abs=5)
    assert second.started.keys(5, now=NOW + 3666) == ["a"]


def test_a_second_sender_reopens_nothing_that_the_first_one_will_try_again(senders, url):
    from mailer.ledger import Retry

    first, _second = senders
    (claim,) = first.started.claim(1)
    first.ledger.record(claim, Retry(NOW + 60))
    first.ledger.commit()
    with Ledger.open(url) as ledger:
        assert recover_claims(ledger, first.started.edition, "hold", now=NOW).deferred == 0


def wait_until(look):
    """What `look` gives as soon as that is true. The database needs a moment to see that a connection ended."""
    import time

    for _ in range(500):
        if found := look():
            return found
        time.sleep(0.02)
    return None


def test_an_interrupted_statement_is_given_up_and_the_ledger_stays_of_use(senders):
    ledger = senders[0].ledger
    with StopSignal().handle_signals() as stop:
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(Interrupted), stop.raise_on_request(), ledger.transaction():
            ledger.fetch_one("SELECT pg_sleep(30)")
        started = time.monotonic()
        assert ledger.find_edition("autumn") is not None
        assert time.monotonic() - started < 10
