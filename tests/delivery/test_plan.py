import subprocess
import sys
import textwrap
import time

import pytest

from mailer.bounded_process import TimeLimitExceeded
from mailer.campaign.model import Recipient
from mailer.delivery.plan import PlanResult, plan
from mailer.errors import InputError, Place, Problem, RenderError
from mailer.ledger import Ledger
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.recovery import recover_claims, reopen_failed
from tests.delivery.lists import NOW, Compiled, Many, People, campaign, progress


@pytest.fixture
def ledger(where):
    with Ledger.open(where) as ledger:
        yield ledger


class Planned:
    """A campaign whose list changes."""

    def __init__(self, ledger, key=None):
        self.ledger, self.key, self.edition = ledger, key, ledger.ensure_edition("autumn")

    def plan(self, *people, digest=True, **options) -> PlanResult:
        self.people = People(*people, digest=digest)
        made = campaign(self.people, key=self.key, **options)
        return plan(self.ledger, made, Compiled(key=self.key), self.edition)

    def send(self, count, status=Status.SENT):
        run = self.ledger.start_run(self.edition, template="t", now=NOW)
        for claim in self.ledger.claim(self.edition, count, NOW, run=run):
            outcome = Outcome(claim.email, claim.key, status, claim.attempts + 1)
            self.ledger.record(claim, outcome)
        self.ledger.commit()

    def statuses(self):
        return [
            (outcome.key.partition("@")[0], outcome.status.value)
            for outcome in self.ledger.read_outcomes(self.edition)
        ]

    def claimed(self):
        run = self.ledger.start_run(self.edition, template="t", now=NOW)
        claims = self.ledger.claim(self.edition, 100, NOW, run=run)
        self.ledger.commit()
        return claims


@pytest.fixture
def planned(ledger):
    return Planned(ledger)


def people(letters):
    return [f"{letter}@example.com" for letter in letters]


def letters(planned):
    return "".join(key for key, _ in planned.statuses())


class TestFirst:
    def test_every_recipient_once_in_the_order_of_the_list(self, planned):
        result = planned.plan(*people("cab"))
        assert result == PlanResult(total=3, new=3)
        assert planned.statuses() == [("c", "pending"), ("a", "pending"), ("b", "pending")]
        assert planned.ledger.ensure_edition("autumn").planned

    def test_a_claim_has_the_columns_and_the_place_of_its_row(self, planned):
        columns = {"name": 'Zoë "Z" O\'Hara', "n": 3, "list": [1, {"x": None}], "odd": "\ud800\x00"}
        planned.plan(("a@example.com", columns))
        recipient = planned.claimed()[0].parse_recipient()
        assert recipient.columns == {"email": "a@example.com", **columns}
        assert str(recipient.place) == "people.csv:2:1"

    def test_an_empty_list(self, planned):
        assert planned.plan() == PlanResult(total=0)
        assert planned.ledger.ensure_edition("autumn").complete

    def test_the_observer_sees_the_progress(self, ledger):
        seen = progress()
        plan(ledger, campaign(Many(2500)), Compiled(), ledger.ensure_edition("autumn"), observer=seen)
        assert seen.planned == [1000, 2000, 2500]

    def test_a_list_that_cannot_be_read_changes_nothing(self, planned):
        planned.plan(*people("ab"))

        class Broken(People):
            def __iter__(self):
                yield from super().__iter__()
                raise InputError("people.csv:9: not UTF-8")

        with pytest.raises(InputError):
            plan(planned.ledger, campaign(Broken("c@example.com")), Compiled(), planned.edition)
        assert letters(planned) == "ab"
        assert planned.plan(*people("abc")).new == 1

    def test_rows_that_were_wrong_before_the_error_are_reported_too(self, planned):
        class Broken(People):
            def __iter__(self):
                for line in range(2, 25):
                    place = Place("people.csv", line)
                    yield Recipient("x", {}, place, Problem(place, "'x' is not an address"))
                raise InputError("people.csv:25: not UTF-8")

        with pytest.raises(InputError) as caught:
            plan(planned.ledger, campaign(Broken()), Compiled(), planned.edition)
        said = str(caught.value).split("\n")
        assert said[0] == "people.csv:2: 'x' is not an address"
        assert said[19:] == [
            "people.csv:21: 'x' is not an address",
            "and 3 more before this",
            "people.csv:25: not UTF-8",
        ]

    def test_an_error_of_the_list_is_not_reported_as_a_damaged_ledger(self, planned):
        class Broken(People):
            def __iter__(self):
                yield from super().__iter__()
                b"\xff".decode()

        with pytest.raises(UnicodeDecodeError):
            plan(planned.ledger, campaign(Broken("c@example.com")), Compiled(), planned.edition)


class TestDuplicates:
    def test_the_first_row_counts_and_both_places_are_reported(self, planned):
        result = planned.plan(("a@example.com", {"n": 1}), "b@example.com", ("A@Example.com", {"n": 2}))
        assert (result.total, result.duplicate_count) == (2, 1)
        assert [str(problem) for problem in result.duplicates] == [
            "people.csv:4:1: a@example.com is there already, at people.csv:2:1; the first one counts"
        ]
        assert planned.claimed()[0].parse_recipient().columns["n"] == 1

    def test_the_first_twenty_problems_are_shown_and_all_are_counted(self, planned):
        result = planned.plan(*people("a" * 31))
        assert (result.total, len(result.duplicates), result.duplicate_count) == (1, 20, 30)
        assert result.duplicates[-1].place.line == 22

    def test_a_key_lets_one_address_get_several_messages(self, ledger):
        planned = Planned(ledger, key="{email}/{invoice}")
        result = planned.plan(*[("a@example.com", {"invoice": n}) for n in (1, 2, 1)])
        assert (result.total, result.duplicate_count) == (2, 1)
        assert [claim.key for claim in planned.claimed()] == ["a@example.com/1", "a@example.com/2"]


class TestInvalid:
    def test_invalid_rows_are_reported_and_recorded_as_failed(self, planned):
        result = planned.plan("a@example.com", ("b@@", {"problem": "no address"}))
        assert (result.total, result.invalid_count) == (2, 1)
        assert [str(problem) for problem in result.invalid] == ["people.csv:3:1: no address"]
        last = list(planned.ledger.read_outcomes(planned.edition))[-1]
        assert (last.email, last.status, last.error, last.attempts) == ("b@@", Status.FAILED, "no address", 0)

    def test_each_invalid_row_is_in_the_report(self, planned):
        result = planned.plan(("", {"problem": "no address"}), ("", {"problem": "no address"}))
        assert (result.total, result.invalid_count, result.duplicate_count) == (2, 2, 0)

    def test_several_invalid_rows_on_one_line_are_several_problems(self, ledger):
        class OneLine(People):
            def __iter__(self):
                for column in (2, 9):
                    place = Place("people.json", 1, column)
                    yield Recipient("", {}, place, Problem(place, "no address"))

        result = plan(ledger, campaign(OneLine()), Compiled(), ledger.ensure_edition("autumn"))
        assert [str(problem.place) for problem in result.invalid] == ["people.json:1:2", "people.json:1:9"]
        assert result.duplicate_count == 0

    def test_rows_of_a_query_keep_their_number(self, ledger):
        class Query(People):
            def __iter__(self):
                for number in (1, 2):
                    place = Place("autumn.yaml:5:3: row ", number)
                    yield Recipient("bad", {}, place, Problem(place, "no address"))

        result = plan(ledger, campaign(Query(digest=False)), Compiled(), ledger.ensure_edition("autumn"))
        assert [str(problem) for problem in result.invalid] == [
            "autumn.yaml:5:3: row 1: no address",
            "autumn.yaml:5:3: row 2: no address",
        ]

    def test_a_key_without_end_ends_the_planning(self, ledger):
        class Endless(Compiled):
            def make_key(self, recipient):
                raise RenderError(Problem(Place("autumn.yaml", 6, 6), "stopped")) from TimeLimitExceeded(10)

        with pytest.raises(RenderError, match=r"^autumn.yaml:6:6: stopped"):
            plan(ledger, campaign(People(*people("ab"))), Endless(), ledger.ensure_edition("autumn"))

    def test_the_place_of_a_wrong_key_pattern_is_reported(self, ledger):
        class Wrong(Compiled):
            def make_key(self, recipient):
                raise RenderError(Problem(Place("autumn.yaml", 6, 6), "'x' is undefined"))

        result = plan(ledger, campaign(People(*people("a"))), Wrong(), ledger.ensure_edition("autumn"))
        assert str(result.invalid[0]) == "people.csv:2:1: key at autumn.yaml:6:6: 'x' is undefined"

    def test_a_key_that_cannot_be_made_is_invalid_too(self, ledger):
        planned = Planned(ledger, key="{invoice}")
        result = planned.plan(("a@example.com", {"invoice": 1}), "b@example.com")
        assert [str(problem) for problem in result.invalid] == ["people.csv:3:1: no 'invoice'"]

    def test_the_first_twenty_problems_are_shown_and_all_are_counted(self, planned):
        result = planned.plan(*[(f"{n}@@", {"problem": "no address"}) for n in range(30)])
        assert (len(result.invalid), result.invalid_count) == (20, 30)

    def test_invalid_rows_are_reported_again_if_the_list_is_the_same(self, planned):
        first = planned.plan(("b@@", {"problem": "no address"}))
        again = planned.plan(("b@@", {"problem": "no address"}))
        assert again.unchanged
        assert again.invalid == first.invalid

    def test_retry_failed_does_not_open_invalid_rows(self, planned):
        planned.plan(("b@@", {"problem": "no address"}))
        assert reopen_failed(planned.ledger, planned.edition) == 0

    def test_a_row_that_the_list_corrects_is_pending(self, planned):
        planned.plan("a@example.com", ("b@@", {"problem": "no address"}))
        planned.send(1)
        result = planned.plan(*people("ab"))
        assert (result.total, result.new, result.removed, result.invalid_count) == (2, 1, 1, 0)
        assert planned.statuses() == [("a", "sent"), ("b", "pending")]

    def test_a_row_that_becomes_invalid_is_failed(self, planned):
        planned.plan(*people("ab"))
        result = planned.plan("a@example.com", ("b@example.com", {"problem": "no address"}))
        assert result.invalid_count == 1
        assert [status for _, status in planned.statuses()] == ["pending", "failed"]


class TestUnchanged:
    def test_an_unchanged_list_is_not_read(self, planned):
        planned.plan(*people("abc"))
        planned.send(1)
        result = planned.plan(*people("abc"))
        assert (result.unchanged, result.total, result.new) == (True, 3, 0)
        assert planned.people.reads == 0

    def test_a_list_is_read_again_for_another_key(self, ledger):
        Planned(ledger).plan(*people("abc"))
        keyed = Planned(ledger, key="{email}/1")
        assert not keyed.plan(*people("abc")).unchanged
        assert [claim.key for claim in keyed.claimed()] == [f"{email}/1" for email in people("abc")]

    def test_a_list_is_read_again_for_other_vars_because_a_key_may_use_them(self, planned):
        planned.plan(*people("abc"), variables={"version": "1"})
        assert not planned.plan(*people("abc"), variables={"version": "2"}).unchanged
        assert planned.plan(*people("abc"), variables={"version": "2"}).unchanged

    def test_a_list_is_read_again_for_another_edition(self, planned):
        planned.plan(*people("abc"))
        planned.edition = planned.ledger.add_edition("autumn")
        assert planned.plan(*people("abc")).new == 3

    def test_a_list_without_a_digest_is_read_and_nothing_changes(self, planned):
        planned.plan(*people("abc"), digest=False)
        planned.send(1)
        result = planned.plan(*people("abc"), digest=False)
        assert (result.unchanged, result.new, result.changed, result.removed) == (False, 0, 0, 0)
        assert planned.people.reads == 1


class TestChanged:
    """The list was changed while the campaign is half done."""

    def test_added_recipients_are_appended(self, planned):
        planned.plan(*people("abc"))
        planned.send(2)
        result = planned.plan(*people("abcd"))
        assert (result.total, result.new, result.changed, result.removed) == (4, 1, 0, 0)
        assert planned.statuses() == [("a", "sent"), ("b", "sent"), ("c", "pending"), ("d", "pending")]

    def test_an_added_recipient_makes_a_complete_campaign_incomplete(self, planned):
        planned.plan(*people("a"))
        planned.send(1)
        assert planned.ledger.ensure_edition("autumn").complete
        planned.plan(*people("ab"))
        assert not planned.ledger.ensure_edition("autumn").complete

    def test_removed_recipients_disappear_unless_they_have_the_message(self, planned):
        planned.plan(*people("abcd"))
        planned.send(2)
        result = planned.plan(*people("ad"))
        assert (result.total, result.removed) == (3, 1)
        assert sorted(planned.statuses()) == [("a", "sent"), ("b", "sent"), ("d", "pending")]

    def test_a_removed_recipient_that_was_tried_stays_in_the_report_and_gets_no_mail(self, planned):
        planned.plan(*people("ab"))
        planned.send(1, Status.DEFERRED)
        planned.plan(*people("b"))
        recover_claims(planned.ledger, planned.edition, "resend", now=NOW)
        assert reopen_failed(planned.ledger, planned.edition) == 0
        assert [claim.key[0] for claim in planned.claimed()] == ["b"]
        a = next(
            outcome for outcome in planned.ledger.read_outcomes(planned.edition) if outcome.key[0] == "a"
        )
        assert (a.status, a.attempts, a.error) == (Status.FAILED, 1, "no longer in the list")
        planned.plan(*people("ab"))
        assert dict(planned.statuses())["a"] == "pending"

    def test_a_removed_recipient_in_doubt_is_not_sent_to_again(self, planned):
        planned.plan(*people("ab"))
        run = planned.ledger.start_run(planned.edition, template="t", now=NOW)
        planned.ledger.claim(planned.edition, 1, NOW, run=run)
        planned.ledger.commit()
        recover_claims(planned.ledger, planned.edition, "resend", now=NOW)
        planned.plan(*people("b"))
        assert dict(planned.statuses()) == {"a": "in_doubt", "b": "pending"}
        recover_claims(planned.ledger, planned.edition, "resend", now=NOW, with_held=True)
        assert [claim.key[0] for claim in planned.claimed()] == ["b"]

    def test_removed_recipients_that_failed_are_not_retried(self, planned):
        planned.plan(*people("ab"))
        planned.send(1, Status.FAILED)
        planned.plan(*people("b"))
        assert reopen_failed(planned.ledger, planned.edition) == 0
        planned.plan(*people("ab"))
        assert reopen_failed(planned.ledger, planned.edition) == 1
        assert [claim.email[0] for claim in planned.claimed()] == ["a", "b"]

    def test_a_new_order_applies_to_sent_recipients_too(self, planned):
        planned.plan(*people("abcd"))
        planned.send(1)
        assert planned.plan(*people("dcba")).changed == 4
        assert letters(planned) == "dcba"
        assert [claim.key[0] for claim in planned.claimed()] == ["d", "c", "b"]

    def test_changed_columns_apply_to_recipients_without_the_message(self, planned):
        planned.plan(*[(email, {"n": 1}) for email in people("abc")])
        planned.send(1)
        result = planned.plan(*[(email, {"n": 2}) for email in people("abc")])
        assert result.changed == 2
        assert [claim.parse_recipient().columns["n"] for claim in planned.claimed()] == [2, 2]
        (columns,) = planned.ledger.fetch_one("SELECT columns FROM messages WHERE status = 'sent'")
        assert columns is None

    def test_a_changed_address_reopens_a_refused_recipient(self, ledger):
        planned = Planned(ledger, key="{id}")
        planned.plan(("wrong@example.com", {"id": 1}))
        planned.send(1, Status.FAILED)
        assert planned.plan(("right@example.com", {"id": 1})).changed == 1
        assert [claim.email for claim in planned.claimed()] == ["right@example.com"]

    def test_a_sent_message_keeps_its_address(self, ledger):
        planned = Planned(ledger, key="{id}")
        planned.plan(("old@example.com", {"id": 1}))
        planned.send(1)
        planned.plan(("new@example.com", {"id": 1}))
        assert next(ledger.read_outcomes(planned.edition)).email == "old@example.com"

    def test_a_refused_recipient_stays_refused_if_only_columns_change(self, planned):
        planned.plan(("a@example.com", {"n": 1}))
        planned.send(1, Status.FAILED)
        planned.plan(("a@example.com", {"n": 2}))
        assert planned.statuses() == [("a", "failed")]

    def test_planning_does_not_change_other_campaigns(self, planned):
        planned.plan(*people("ab"))
        spring = planned.ledger.ensure_edition("spring")
        plan(planned.ledger, campaign(People("x@example.com")), Compiled(), spring)
        planned.plan(*people("a"))
        assert [outcome.key for outcome in planned.ledger.read_outcomes(spring)] == ["x@example.com"]


class TestSuppressions:
    def test_suppressed_recipients_are_reported_and_return_when_the_suppression_ends(self, planned):
        planned.ledger.suppress("B@example.com", "asked")
        planned.plan(*people("abc"))
        assert planned.statuses() == [("a", "pending"), ("b", "suppressed"), ("c", "pending")]
        planned.ledger.unsuppress("b@example.com")
        assert planned.plan(*people("abc")).unchanged
        assert planned.statuses() == [("a", "pending"), ("b", "pending"), ("c", "pending")]

    def test_suppressions_apply_to_an_unchanged_list(self, planned):
        planned.plan(*people("abc"))
        planned.send(1)
        planned.ledger.suppress_all((email, "asked") for email in people("ab"))
        planned.plan(*people("abc"))
        assert planned.statuses() == [("a", "sent"), ("b", "suppressed"), ("c", "pending")]

    def test_a_suppressed_recipient_that_was_removed_disappears(self, planned):
        planned.ledger.suppress("b@example.com", "asked")
        planned.plan(*people("ab"))
        assert planned.plan(*people("a")).total == 1


def test_another_campaign_can_be_recorded_while_a_list_is_read(tmp_path):
    """The ledger is not locked for as long as a slow list takes."""
    path = tmp_path / "ledger.sqlite3"
    with Ledger.open(path) as ledger, Ledger.open(path) as other:
        spring = Planned(other)
        spring.edition = other.ensure_edition("spring")
        spring.plan(*people("ab"))
        other.store.execute("PRAGMA busy_timeout=0")

        class Slow(People):
            def __iter__(self):
                for person in super().__iter__():
                    spring.send(1)
                    yield person

        plan(ledger, campaign(Slow(*people("xyz"))), Compiled(), ledger.ensure_edition("autumn"))
        assert other.count_by_status(spring.edition)[Status.SENT] == 2
        assert ledger.count_by_status(ledger.ensure_edition("autumn"))[Status.PENDING] == 3


@pytest.mark.slow
def test_memory_does_not_grow_with_the_list(tmp_path):
    """Ten times the recipients, and no more than the caches' bound on top."""
    code = """
        import resource, sys
        from mailer.ledger import Ledger
        from mailer.delivery.plan import plan
        from tests.delivery.lists import Compiled, Many, campaign
        with Ledger.open(sys.argv[1]) as ledger:
            edition = ledger.ensure_edition("autumn")
            def peak(count):
                plan(ledger, campaign(Many(count)), Compiled(), edition)
                assert sum(1 for _ in ledger.read_outcomes(edition)) == count
                return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(peak(20_000), peak(200_000))
    """
    run = [sys.executable, "-c", textwrap.dedent(code), tmp_path / "ledger.sqlite3"]
    few, many = map(int, subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())
    assert many - few < 45


def test_planning_does_not_wait_for_a_reader(planned, where):
    """Another process may have the file open: a pager, a backup."""
    with Ledger.open(where) as reader, reader.read_consistently():
        assert reader.find_edition("autumn") == planned.edition
        began = time.monotonic()
        assert planned.plan(*people("abc")).new == 3
        assert time.monotonic() - began < 10
        assert not reader.find_edition("autumn").planned
