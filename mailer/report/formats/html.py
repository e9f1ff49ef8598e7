"""The HTML report: one file that needs nothing else, to look at and to search.

It loads nothing and runs only its own script (a Content-Security-Policy with their hashes says so to the
browser). All text goes through Jinja2's autoescape and `make_printable`. The table holds at most `ROWS`
recipients, problems first, so that the page of a campaign of 100,000 still opens.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TextIO

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from mailer._version import __version__
from mailer.ledger.outcome import Outcome, Status
from mailer.report import words
from mailer.report.chart import chart, share_bar
from mailer.report.groups import FailureGroups
from mailer.report.summary import Report
from mailer.report.timeline import Timeline
from mailer.text import count_noun, make_printable

ROWS = 5000
GROUPS = 50

_HERE = Path(__file__).parent
# Who needs a look first: those refused, then those nobody knows about, then those who are still to come.
_ORDER = (Status.FAILED, Status.IN_DOUBT, Status.DEFERRED, Status.PENDING, Status.SUPPRESSED, Status.SENT)


@dataclass(slots=True)
class _Survey:
    """One pass over the recipients: what the page shows of them, bounded whatever their number."""

    groups: FailureGroups = field(default_factory=FailureGroups)
    timeline: Timeline = field(default_factory=Timeline)
    kept: dict[Status, list[Outcome]] = field(default_factory=lambda: {status: [] for status in Status})

    def add(self, outcome: Outcome) -> None:
        self.groups.add(outcome)
        self.timeline.add(outcome)
        if len(rows := self.kept[outcome.status]) < ROWS:
            rows.append(outcome)

    def rows(self) -> list[Outcome]:
        return [outcome for status in _ORDER for outcome in self.kept[status]][:ROWS]


def write(report: Report, stream: TextIO) -> None:
    stream.writelines(_page(report))


def _page(report: Report) -> Iterator[str]:
    survey = _Survey()
    for outcome in report.outcomes():
        survey.add(outcome)
    style, script = _asset("page.css"), _asset("page.js")
    rows = survey.rows()
    return _template().generate(
        report=report,
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704  (our own file, no outside text)
        script=Markup(script),  # noqa: S704
        version=__version__,
        words=words,
        count_noun=count_noun,
        figures=report.counts.by_status(),
        share=share_bar(report.counts),
        chart=chart(survey.timeline.bars()),
        groups=survey.groups.list_largest(GROUPS),
        more_groups=max(0, len(survey.groups) - GROUPS),
        rows=rows,
        left_out=report.counts.total - len(rows),
        shown={status: sum(row.status is status for row in rows) for status in _ORDER},
    )


def _policy(style: str, script: str) -> str:
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, finalize=_harmless,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.j2")


def _harmless(value: object) -> object:
    return make_printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
