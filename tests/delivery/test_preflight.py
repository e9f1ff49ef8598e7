import os

import pytest

from mailer.bounded_process import TimeLimitExceeded
from mailer.delivery.checking_pool import BATCH
from mailer.delivery.plan import plan
from mailer.delivery.preflight import COMPARED, preflight
from mailer.errors import Place, Problem, RenderError
from mailer.ledger import Ledger
from mailer.ledger.outcome import Outcome, Status
from tests.delivery.lists import NOW, Compiled, People, campaign, progress


@pytest.fixture
def ledger(where):
    with Ledger.open(where) as ledger:
        yield ledger


GOOD = [f"{letter}@example.com" for letter in "abc"]
BAD = ("d@example.com", {"bad": "'naem' is undefined"})


class Checked:
    def __init__(self, ledger, *people):
        self.ledger, self.edition = ledger, ledger.ensure_edition("autumn")
        self.plan(*people)

    def plan(self, *people):
        plan(self.ledger, campaign(People(*people)), Compiled(), self.edition)

    def check(self, fingerprint="template", **options):
        """Whom it rendered, and what it found."""
        compiled = Compiled(fingerprint)
        found = preflight(self.ledger, self.edition, compiled, **options).problems
        return "".join(email[0] for email in compiled.rendered), [str(problem) for problem in found]

    def statuses(self):
        return {outcome.key[0]: outcome.status.value for outcome in self.ledger.read_outcomes(self.edition)}

    def send(self, count, status=Status.SENT):
        run = self.ledger.start_run(self.edition, template="template", now=NOW)
        for claim in self.ledger.claim(self.edition, count, NOW, run=run):
            self.ledger.record(claim, Outcome(claim.email, claim.key, status, 1))
        self.ledger.commit()


def test_each_message_is_rendered_once(ledger):
    checked = Checked(ledger, *GOOD)
    assert checked.check() == ("abc", [])
    assert checked.check() == ("", [])


def test_only_messages_that_are_to_be_sent_are_rendered(ledger):
    ledger.suppress(GOOD[2], "asked")
    checked = Checked(ledger, *GOOD)
    checked.send(1)
    assert checked.check() == ("b", [])


def test_another_template_renders_all_messages_again(ledger):
    checked = Checked(ledger, *GOOD)
    checked.check()
    assert checked.check("newer") == ("abc", [])


def test_another_list_renders_only_what_is_new_or_changed(ledger):
    checked = Checked(ledger, *GOOD)
    checked.check()
    checked.plan("x@example.com", *GOOD)  # every other row has another place in the list
    assert checked.check() == ("x", [])
    assert checked.check() == ("", [])
    checked.plan(("x@example.com", {"name": "X"}), *GOOD)
    assert checked.check() == ("x", [])


def test_a_recipient_that_is_no_longer_suppressed_is_rendered(ledger):
    ledger.suppress(GOOD[2], "asked")
    checked = Checked(ledger, *GOOD)
    checked.check()
    ledger.unsuppress(GOOD[2])
    checked.plan(*GOOD)
    assert checked.check() == ("c", [])


def test_a_preflight_of_one_recipient_leaves_the_others_to_the_next(ledger):
    checked = Checked(ledger, *GOOD)
    checked.check()
    checked.plan(*GOOD, "x@example.com", "y@example.com")
    assert checked.check(only="x@example.com") == ("x", [])
    assert checked.check() == ("xy", [])


def test_messages_that_are_to_be_tried_again_are_rendered_and_stay_as_they_are(ledger):
    checked = Checked(ledger, *GOOD)
    checked.check()
    checked.send(1, Status.FAILED)
    assert checked.check(with_failed=True) == ("a", [])
    assert checked.statuses()["a"] == "failed"


def test_a_message_that_cannot_be_rendered_is_reported_and_failed(ledger):
    checked = Checked(ledger, *GOOD, BAD)
    assert checked.check() == ("abcd", ["people.csv:5:1: 'naem' is undefined"])
    failed = next(ledger.read_outcomes(checked.edition, Status.FAILED))
    assert (failed.key, failed.error, failed.attempts) == (
        "d@example.com",
        "people.csv:5:1: 'naem' is undefined",
        0,
    )


def test_only_failed_messages_are_checked_again(ledger):
    checked = Checked(ledger, *GOOD, BAD)
    checked.check()
    assert checked.check() == ("d", ["people.csv:5:1: 'naem' is undefined"])


def test_a_message_that_the_list_or_the_template_corrects_is_pending(ledger):
    checked = Checked(ledger, *GOOD, BAD)
    checked.check()
    checked.plan(*GOOD, BAD[0])
    assert checked.statuses()["d"] == "pending"
    checked.plan(*GOOD, BAD)
    checked.check()

    class Lenient(Compiled):
        def render(self, recipient, *, eight_bit=False):
            self.note(recipient)

    assert preflight(ledger, checked.edition, Lenient("newer")) == ([], 0, True)
    assert checked.statuses()["d"] == "pending"


def test_messages_that_the_server_refused_are_not_checked(ledger):
    checked = Checked(ledger, *GOOD)
    checked.send(1, Status.FAILED)
    assert checked.check() == ("bc", [])
    assert checked.statuses()["a"] == "failed"


def test_a_message_that_failed_to_render_during_a_run_is_checked_again(ledger):
    checked = Checked(ledger, *GOOD)
    run = ledger.start_run(checked.edition, template="template", now=NOW)
    (claim,) = ledger.claim(checked.edition, 1, NOW, run=run)
    failed = Outcome(claim.email, claim.key, Status.FAILED, 0, error="no")
    ledger.record(claim, failed, unrendered=True)
    ledger.commit()
    assert checked.check()[0][0] == "a"
    assert checked.statuses()["a"] == "pending"


def test_a_check_of_one_recipient_does_not_count_for_all(ledger):
    checked = Checked(ledger, *GOOD)
    assert checked.check(only="B@example.com") == ("b", [])
    assert checked.check() == ("abc", [])


def test_the_first_twenty_problems_and_the_number_of_the_others(ledger):
    checked = Checked(ledger, *[(f"{n}@example.com", {"bad": "no"}) for n in range(1234)])
    _, problems = checked.check()
    assert len(problems) == 21
    assert problems[0] == "people.csv:2:1: no"
    assert problems[-1] == "and 1,214 more"
    assert ledger.count_by_status(checked.edition)[Status.FAILED] == 1234


def test_a_problem_that_many_recipients_share_is_one_with_their_number(ledger):
    people = [
        (f"{n}@example.com", {"bad": f"'frist' is undefined, for {n}@example.com (people.csv:{n})"})
        for n in range(50)
    ]
    checked = Checked(ledger, *people, ("x@example.com", {"bad": "'nmae' is undefined, for x@example.com"}))

    class AtTheTemplate(Compiled):
        """Its problems are at a line of the template, not at the recipient's row."""

        def render(self, recipient, **options):
            try:
                return super().render(recipient, **options)
            except RenderError as error:
                raise RenderError(Problem(Place("news.html.j2", 3), error.problems[0].text)) from None

    problems, failed_count, _ = preflight(ledger, checked.edition, AtTheTemplate())
    assert [str(problem) for problem in problems] == [
        "news.html.j2:3: 'frist' is undefined, for 0@example.com (people.csv:0) and 49 more recipients",
        "news.html.j2:3: 'nmae' is undefined, for x@example.com",
    ]
    assert failed_count == 51


def test_an_interrupted_preflight_begins_again(ledger):
    checked = Checked(ledger, *GOOD)
    seen = progress()

    def interrupt(done, total):
        raise KeyboardInterrupt

    seen.on_preflight = interrupt
    with pytest.raises(KeyboardInterrupt):
        checked.check(observer=seen)
    assert checked.check() == ("abc", [])


def test_the_observer_sees_the_progress(ledger):
    checked = Checked(ledger, *[f"{n}@example.com" for n in range(1200)])
    seen = progress()
    checked.check(observer=seen)
    assert seen.checked[0] == (COMPARED, 1200)
    assert seen.checked[-1] == (1200, 1200)
    assert len(seen.checked) > 2
    assert seen.checked == sorted(set(seen.checked))


def test_the_first_message_that_takes_too_long_ends_preflight_with_one_error(ledger):
    checked = Checked(ledger, *[f"{n:04}@example.com" for n in range(1000)])

    class Slow(Compiled):
        def render(self, recipient, *, eight_bit=False):
            self.note(recipient)
            if recipient.email == "0003@example.com":
                raise RenderError(Problem(recipient.place, "stopped")) from TimeLimitExceeded(10)

    slow = Slow()
    problems, _, is_complete = preflight(ledger, checked.edition, slow)
    assert [str(problem) for problem in problems] == [
        "people.csv:5:1: stopped",
        "the other recipients were not checked: each could take as long",
    ]
    assert not is_complete
    assert len(slow.rendered) < 10 * BATCH
    assert checked.check()[0].startswith("0")  # no message is known to be right: all are checked again


@pytest.mark.slow  # the kernel counts whole seconds
@pytest.mark.parametrize("recipient_number", [0, 7, 60])
def test_a_message_that_only_the_kernel_can_stop_ends_preflight_too(ledger, recipient_number):
    people = [f"{n:04}@example.com" for n in range(100)]
    checked = Checked(ledger, *people)

    class Stuck(Compiled):
        def render(self, recipient, *, eight_bit=False):
            if recipient.email == people[recipient_number]:
                ("a" * 12_000_000).rfind("ab" + "a" * 4_000_000)

    stuck = Stuck()
    stuck.limits.seconds = 0.1
    problems, _, is_complete = preflight(ledger, checked.edition, stuck)
    assert str(problems[0]) == (
        f"people.csv:{recipient_number + 2}:1: stopped: it takes longer than 0.1 s of processor time, "
        f"for {people[recipient_number]}"
    )
    assert (len(problems), is_complete) == (2, False)
    assert checked.statuses()[people[recipient_number][0]] is not None


def test_messages_are_rendered_in_other_processes(ledger):
    checked = Checked(ledger, *GOOD)

    class Located(Compiled):
        def render(self, recipient, *, eight_bit=False):
            assert os.getpid() != parent

    parent = os.getpid()
    assert preflight(ledger, checked.edition, Located()) == ([], 0, True)


@pytest.mark.parametrize("differing", [0, 99, 100])
def test_the_first_hundred_messages_are_compared_with_those_of_jinja2_alone(ledger, differing):
    people = [f"{n:04}@example.com" for n in range(150)]
    checked = Checked(ledger, *people)

    class Differing(Compiled):
        uses_jinja2_alone = False

        def compare_with_jinja2(self, recipient):
            return recipient.email != people[differing]

        def use_jinja2_alone(self):
            self.uses_jinja2_alone = True

    compiled = Differing()
    assert preflight(ledger, checked.edition, compiled) == ([], 0, True)
    assert compiled.uses_jinja2_alone == (differing < 100)


def test_a_message_that_is_sure_to_render_is_not_rendered(ledger):
    class Sure(Compiled):
        def is_sure_to_render(self, recipient):
            return recipient.columns["sure"]

        def compare_with_jinja2(self, recipient):
            return True

    people = [(f"{n:03}@example.com", {"sure": n % 2 == 0}) for n in range(COMPARED + 20)]
    checked, compiled, seen = Checked(ledger, *people), Sure(), progress()
    assert preflight(ledger, checked.edition, compiled, seen).problems == []
    unsure = [email for email, columns in people[COMPARED:] if not columns["sure"]]
    assert compiled.rendered == [email for email, _ in people[:COMPARED]] + unsure
    assert seen.checked[-1] == (len(people), len(people))
