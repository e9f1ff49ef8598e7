"""JUnit XML, as CI systems read it: a campaign is a suite; the run itself and each recipient are test cases.

`failed` is a failure. `deferred` and `in_doubt` are errors, because nothing final is known, and so is a run
that ended early. `suppressed` and `pending` are skipped.
"""

from __future__ import annotations

from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

from mailer.ledger.outcome import Outcome, Status
from mailer.report.escape import escape_xml
from mailer.report.summary import Report
from mailer.report.words import EARLY_ENDINGS, STATUS_WORDS, describe_ending, describe_verdict
from mailer.text import count_noun

RUN_CASE = "the run"  # no key: a key is an address, or what the campaign's `key` gives

_ELEMENTS = {
    Status.FAILED: "failure",
    Status.DEFERRED: "error",
    Status.IN_DOUBT: "error",
    Status.SUPPRESSED: "skipped",
    Status.PENDING: "skipped",
}


def write(report: Report, stream: TextIO) -> None:
    """Write `report` to `stream` as one suite. Its time is that of the last run, in seconds."""
    counts = report.counts
    totals = {
        "name": report.campaign,
        "tests": counts.total + 1,
        "failures": counts.failed,
        "errors": counts.deferred + counts.in_doubt + (report.ending in EARLY_ENDINGS),
        "skipped": counts.suppressed + counts.pending,
        "time": f"{report.seconds:.3f}",
    }
    stream.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    stream.write(f"<testsuites {_format_attributes(totals)}>\n")
    suite = totals | ({"timestamp": report.started.removesuffix("Z")} if report.started else {})
    stream.write(f" <testsuite {_format_attributes(suite)}>\n")
    stream.write(_format_properties(report))
    stream.write(_format_run(report))
    for outcome in report.outcomes():
        inner = _format_problem(outcome) + _format_copies(outcome)
        stream.write(_format_case(report.campaign, outcome.key, "0", inner))
    stream.write(" </testsuite>\n</testsuites>\n")


def _format_properties(report: Report) -> str:
    """The workers, as properties of the suite."""
    values = [{"name": f"worker {worker.name}", "value": worker.messages} for worker in report.workers]
    lines = [f"   <property {_format_attributes(value)}/>\n" for value in values]
    return f"  <properties>\n{''.join(lines)}  </properties>\n" if lines else ""


def _format_run(report: Report) -> str:
    said = describe_ending(report)
    if report.ending in EARLY_ENDINGS:
        attributes = _format_attributes({"message": said, "type": str(report.ending)})
        inner = f"<error {attributes}>{_escape_body(describe_verdict(report))}</error>"
    else:
        inner = f"<system-out>{_escape_body(f'{said}. {describe_verdict(report)}')}</system-out>"
    return _format_case(report.campaign, RUN_CASE, f"{report.seconds:.3f}", inner)


def _format_case(campaign: str, name: str, time: str, inner: str) -> str:
    opening = f"  <testcase {_format_attributes({'classname': campaign, 'name': name, 'time': time})}"
    return f"{opening}>{inner}</testcase>\n" if inner else f"{opening}/>\n"


def _format_problem(outcome: Outcome) -> str:
    element = _ELEMENTS.get(outcome.status)
    if element is None:
        return ""
    words = STATUS_WORDS[outcome.status]
    said = " ".join(str(part) for part in (outcome.code, outcome.answer or words) if part)
    attributes = (
        {"message": said} if element == "skipped" else {"message": said, "type": outcome.status.value}
    )
    attempts = f" after {count_noun(outcome.attempts, 'attempt')}" if outcome.attempts else ""
    body = _escape_body(f"{outcome.email}: {words}{attempts}: {said}")
    return f"<{element} {_format_attributes(attributes)}>{body}</{element}>"


def _format_copies(outcome: Outcome) -> str:
    """A refused copy is not a failure of the message: it is in the case's output."""
    said = [
        f"the copy to {copy.email} was refused: {copy.code} {copy.reply}" for copy in outcome.copies_refused
    ]
    return f"<system-out>{_escape_body('; '.join(said))}</system-out>" if said else ""


def _escape_body(text: str) -> str:
    return escape(escape_xml(text))


def _format_attributes(values: dict[str, object] | dict[str, str]) -> str:
    return " ".join(f"{name}={quoteattr(escape_xml(str(value)))}" for name, value in values.items())
