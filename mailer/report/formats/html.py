"""The HTML report: one file that needs nothing else, to look at and to search.

It loads nothing and runs only its own script (a Content-Security-Policy with their hashes says so to the
browser). All text goes through Jinja2's autoescape and `make_printable`. The first rows are in the page as
they are, problems first; the page's script reads all of them from data in the page, and shows ROWS at a time.
The data is limited to MAX_DATA octets: of the recipients who have the message, the rest is left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TextIO

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from mailer._version import __version__
from mailer.ledger.outcome import Outcome, Status
from mailer.report import words
from mailer.report.escape import escape_json
from mailer.report.formats.chart import Timeline, draw_chart, draw_share_bar
from mailer.report.groups import FailureGroups
from mailer.report.summary import Report
from mailer.text import count_noun, make_printable

ROWS = 200
GROUPS = 50
MAX_DATA = 24_000_000  # octets; some 100,000 recipients

_HERE = Path(__file__).parent
# Who needs a look first: the refused, then those in doubt, then those who are still to come.
_ORDER = (Status.FAILED, Status.IN_DOUBT, Status.DEFERRED, Status.PENDING, Status.SUPPRESSED, Status.SENT)


@dataclass(slots=True)
class _ReportSurvey:
    """One pass over the recipients: what the page shows of them, bounded whatever their number."""

    groups: FailureGroups = field(default_factory=FailureGroups)
    timeline: Timeline = field(default_factory=Timeline)
    kept: dict[Status, list[Outcome]] = field(default_factory=lambda: {status: [] for status in Status})
    problem_size: int = 0  # octets of the data of those who do not have the message

    def add(self, outcome: Outcome) -> None:
        """Count an outcome, and keep it if it may be among the first rows."""
        self.groups.add(outcome)
        self.timeline.add(outcome)
        if len(rows := self.kept[outcome.status]) < ROWS:
            rows.append(outcome)
        if outcome.status is not Status.SENT:
            self.problem_size += len(_encode_row(outcome))

    def list_rows(self) -> list[Outcome]:
        """The first rows, problems first."""
        return [outcome for status in _ORDER for outcome in self.kept[status]][:ROWS]


def write(report: Report, stream: TextIO) -> None:
    """Write the page. The recipients are read twice: for the figures, and for the data."""
    stream.writelines(_generate_page(report))


def _generate_page(report: Report) -> Iterator[str]:
    survey = _ReportSurvey()
    for outcome in report.outcomes():
        survey.add(outcome)
    style, script = _read_asset("page.css"), _read_asset("page.js")
    return _load_template().generate(
        report=report,
        policy=_make_policy(style, script),
        style=Markup(style),  # noqa: S704  (our own file, no outside text)
        script=Markup(script),  # noqa: S704
        version=__version__,
        words=words,
        count_noun=count_noun,
        figures=report.counts.by_status(),
        share=draw_share_bar(report.counts),
        chart=draw_chart(survey.timeline.list_bars()),
        groups=survey.groups.list_largest(GROUPS),
        more_groups=max(0, len(survey.groups) - GROUPS),
        rows=survey.list_rows(),
        data=_generate_data(report, MAX_DATA - survey.problem_size),
        order=_ORDER,
        breakable=_breakable,
    )


def _generate_data(report: Report, room: int) -> Iterator[Markup]:
    """The rows as JSON, a line each.

    All who do not have the message, and of the others those for whom there is `room` (in octets).
    """
    separator = ""
    for outcome in report.outcomes():
        row = _encode_row(outcome)
        if outcome.status is Status.SENT:
            room -= len(row)
            if room < 0:
                continue
        yield Markup(separator + row)  # noqa: S704 - escaped by _encode_row
        separator = ",\n"


def _encode_row(outcome: Outcome) -> str:
    """A row as the script reads it. No text in it can end the element that it is in."""
    label = " ".join(str(part) for part in (outcome.code, outcome.enhanced) if part)
    said = [label, outcome.reply or "", outcome.error or "", outcome.message_id or ""]
    copies = (f"copy to {copy.email} refused: {copy.code} {copy.reply}" for copy in outcome.copies_refused)
    shown = [
        make_printable(outcome.email), make_printable(outcome.key) if outcome.key != outcome.email else "",
        _ORDER.index(outcome.status), *map(make_printable, said), outcome.attempts, outcome.size or 0,
        (outcome.at or "")[:19].replace("T", " "), "\n".join(map(make_printable, copies)),
    ]  # fmt: skip
    text = escape_json(json.dumps(shown, ensure_ascii=False, separators=(",", ":")))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _breakable(address: str) -> Markup:
    """An address that breaks before its `@` and its dots, rather than anywhere."""
    text = str(escape(make_printable(address)))
    return Markup(text.replace("@", "<wbr>@").replace(".", "<wbr>."))  # noqa: S704 - escaped above


def _make_policy(style: str, script: str) -> str:
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, finalize=_finalize,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.j2")


def _finalize(value: object) -> object:
    return make_printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _read_asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
