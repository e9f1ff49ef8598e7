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


def test_each_outcome_is_what_ci_makes_of_it(make_report: Make, sent: Row, failed: Row) -> None:
    states = [Status.DEFERRED, Status.IN_DOUBT, Status.SUPPRESSED, Status.PENDING]
    found = suite(make_report([sent(0), failed(1), *(failed(n, status=s) for n, s in enumerate(states, 2))]))
    assert {name: found.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6", "failures": "1", "errors": "2", "skipped": "2",
    }  # fmt: skip
    inner = [[child.tag for child in case] for case in found.iter("testcase")]
    assert inner == [[], ["failure"], ["error"], ["error"], ["skipped"], ["skipped"]]


def test_the_reply_is_the_message(make_report: Make, failed: Row) -> None:
    failure = next(suite(make_report([failed(1)])).iter("failure"))
    assert failure.get("message") == "550 5.1.1 <person1@example.com>: User unknown"


def test_hostile_text_is_valid_xml(hostile: Report) -> None:
    failure = next(suite(hostile).iter("failure"))
    assert "<script>" in str(failure.get("message"))


def test_a_refused_copy_stands_in_the_output_of_a_case_that_passed(make_report: Make, sent: Row) -> None:
    copies = (CopyRefused("boss@example.com", 550, "5.1.1 <no> such person"), CopyRefused("b@example.com", 452, "full"))
    found = suite(make_report([sent(0, copies_refused=copies)]))
    assert found.findtext("testcase/system-out") == (
        "the copy to boss@example.com was refused: 550 5.1.1 <no> such person; "
        "the copy to b@example.com was refused: 452 full"
    )
    assert found.get("failures") == found.get("errors") == "0"
