from __future__ import annotations

import io
from collections.abc import Callable
from xml.etree import ElementTree

from mailer.ledger.outcome import CopyRefused, Outcome, Status
from mailer.report.formats import junit
from mailer.report.summary import Report

Make = Callable[..., Report]
Row = Callable[..., Outcome]


def suite(report: Report) -> ElementTree.Element:
    stream = io.StringIO()
    junit.write(report, stream)
    root = ElementTree.fromstring(stream.getvalue().encode("utf-8"))
    found = root.find("testsuite")
    assert root.tag == "testsuites"
    assert found is not None
    return found


def test_each_outcome_is_a_case_that_ci_systems_understand(make_report: Make, sent: Row, failed: Row) -> None:
    states = [Status.DEFERRED, Status.IN_DOUBT, Status.SUPPRESSED, Status.PENDING]
    found = suite(make_report([sent(0), failed(1), *(failed(n, status=s) for n, s in enumerate(states, 2))]))
    assert {name: found.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "7", "failures": "1", "errors": "2", "skipped": "2",
    }  # fmt: skip
    inner = [[child.tag for child in case] for case in found.iter("testcase")]
    assert inner == [["system-out"], [], ["failure"], ["error"], ["error"], ["skipped"], ["skipped"]]


def test_the_run_is_a_case_of_its_own_that_says_how_it_ended(make_report: Make, sent: Row) -> None:
    found = suite(make_report([sent(0)], ending="complete"))
    run = found.find("testcase")
    assert run is not None
    assert (run.get("name"), run.get("time")) == ("the run", "4.100")
    assert run.findtext("system-out") == "complete. The one recipient has the message."


def test_a_run_that_ended_early_is_an_error_with_its_reason(
    make_report: Make, sent: Row, failed: Row
) -> None:
    rows = [sent(0), failed(1, status=Status.PENDING, attempts=0, code=None, reply=None)]
    found = suite(
        make_report(rows, ending="given_up", reason="the daily sending limit is reached (550 5.4.5 no)")
    )
    assert found.get("errors") == "1"
    error = found.find("testcase/error")
    assert error is not None
    assert error.get("message") == "ended early: the daily sending limit is reached (550 5.4.5 no)"
    assert error.text == "1 not delivered: the same command tries it again."


def test_a_suppressed_recipient_says_why(make_report: Make, sent: Row) -> None:
    row = sent(0, status=Status.SUPPRESSED, attempts=0, code=None, reply=None, error="asked by phone")
    skipped = next(suite(make_report([row])).iter("skipped"))
    assert (skipped.get("message"), skipped.text) == (
        "asked by phone",
        "person0@example.com: suppressed: asked by phone",
    )


def test_one_attempt_is_not_attempts(make_report: Make, failed: Row) -> None:
    failure = next(suite(make_report([failed(1)])).iter("failure"))
    assert "failed after 1 attempt:" in str(failure.text)


def test_the_reply_is_the_message(make_report: Make, failed: Row) -> None:
    failure = next(suite(make_report([failed(1)])).iter("failure"))
    assert failure.get("message") == "550 5.1.1 <person1@example.com>: User unknown"


def test_hostile_text_is_valid_xml(hostile: Report) -> None:
    failure = next(suite(hostile).iter("failure"))
    assert "<script>" in str(failure.get("message"))


def test_a_refused_copy_is_in_the_output_of_a_case_that_passed(make_report: Make, sent: Row) -> None:
    copies = (
        CopyRefused("boss@example.com", 550, "5.1.1 <no> such person"),
        CopyRefused("b@example.com", 452, "full"),
    )
    found = suite(make_report([sent(0, copies_refused=copies)]))
    assert found.findtext("testcase[2]/system-out") == (
        "the copy to boss@example.com was refused: 550 5.1.1 <no> such person; "
        "the copy to b@example.com was refused: 452 full"
    )
    assert found.get("failures") == found.get("errors") == "0"
