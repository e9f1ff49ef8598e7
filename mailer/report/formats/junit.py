"""JUnit XML, as CI systems read it: a campaign is a suite, a recipient a case.

`failed` is a failure; `deferred` and `in_doubt` are errors (nothing final is known); the others are skipped.
"""

from __future__ import annotations

from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

from mailer.ledger.outcome import Outcome, Status
from mailer.report.escape import xml_text
from mailer.report.summary import Report

_ELEMENT = {
    Status.FAILED: "failure",
    Status.DEFERRED: "error",
    Status.IN_DOUBT: "error",
    Status.SUPPRESSED: "skipped",
    Status.PENDING: "skipped",
}


def write(report: Report, stream: TextIO) -> None:
    counts = report.counts
    totals = {
        "name": report.campaign,
        "tests": counts.total,
        "failures": counts.failed,
        "errors": counts.deferred + counts.in_doubt,
        "skipped": counts.suppressed + counts.pending,
        "time": f"{report.seconds:.3f}",
    }
    stream.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    stream.write(f"<testsuites {_attributes(totals)}>\n")
    suite = totals | ({"timestamp": report.started.removesuffix("Z")} if report.started else {})
    stream.write(f" <testsuite {_attributes(suite)}>\n")
    for outcome in report.outcomes():
        stream.write(_case(report.campaign, outcome))
    stream.write(" </testsuite>\n</testsuites>\n")


def _case(campaign: str, outcome: Outcome) -> str:
    opening = f"  <testcase {_attributes({'classname': campaign, 'name': outcome.key, 'time': 0})}"
    inner = _problem(outcome) + _copies(outcome)
    return f"{opening}>{inner}</testcase>\n" if inner else f"{opening}/>\n"


def _problem(outcome: Outcome) -> str:
    element = _ELEMENT.get(outcome.status)
    if element is None:
        return ""
    said = outcome.reply or outcome.error or outcome.status.value
    code = f"{outcome.code} " if outcome.code else ""
    attributes = {"message": code + said} if element == "skipped" else {"message": code + said, "type": outcome.status}
    body = escape(xml_text(f"{outcome.email}: {outcome.status.value} after {outcome.attempts} attempts: {code}{said}"))
    return f"<{element} {_attributes(attributes)}>{body}</{element}>"


def _copies(outcome: Outcome) -> str:
    """A refused copy is no failure of the message: it stands in the case's output."""
    said = [f"the copy to {copy.email} was refused: {copy.code} {copy.reply}" for copy in outcome.copies_refused]
    return f"<system-out>{escape(xml_text('; '.join(said)))}</system-out>" if said else ""


def _attributes(values: dict[str, object] | dict[str, str]) -> str:
    return " ".join(f"{name}={quoteattr(xml_text(str(value)))}" for name, value in values.items())
