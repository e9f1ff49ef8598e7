"""A Markdown report for a CI job's page (GitHub's holds 1 MiB): counts, failures grouped, the first rows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TextIO

from mailer.ledger.outcome import Outcome
from mailer.report.escape import printable
from mailer.report.groups import PROBLEMS, Groups
from mailer.report.summary import Report
from mailer.report.words import WORDS, server_line, times_line

ROWS = 200
GROUPS = 20
LONGEST = 300

# CommonMark 2.4: any ASCII punctuation may be escaped with a backslash, and is then text. `:` and `@` go along so that
# nothing turns into a link or calls a person; `&` and `<` are written as entities, which are never HTML.
_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$@:>'\"])")


def write(report: Report, stream: TextIO) -> None:
    groups, rows, copies = Groups(), list[Outcome](), list[list[str]]()
    for outcome in report.outcomes():
        groups.add(outcome)
        if outcome.status in PROBLEMS and len(rows) < ROWS:
            rows.append(outcome)
        if len(copies) < ROWS:
            copies += [[outcome.email, copy.email, str(copy.code), copy.reply] for copy in outcome.copies_refused]
    stream.write(f"## {escape(report.campaign)}\n\n{escape(times_line(report))}\n\n")
    _counts(report, stream)
    if line := server_line(report):
        stream.write(f"{escape(line)}\n\n")
    _groups(groups, stream)
    _rows(rows, report, stream)
    if copies:
        stream.write("### Copies that were refused\n\n")
        _table(stream, ["recipient", "copy to", "code", "reply"], copies)


def escape(text: str) -> str:
    """`text` as Markdown that shows just that, also in a table's cell."""
    text = printable(text)
    text = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    return _PUNCTUATION.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))


def _counts(report: Report, stream: TextIO) -> None:
    counts = report.counts
    figures = [(WORDS[status], count) for status, count in counts.by_status() if count]
    _table(stream, ["", "recipients"], [[name, f"{count:,}"] for name, count in [*figures, ("total", counts.total)]])


def _groups(groups: Groups, stream: TextIO) -> None:
    if not len(groups):
        return
    stream.write("### What went wrong\n\n")
    rows = [[f"{group.count:,}", WORDS[group.status], group.label, group.text] for group in groups.most_common(GROUPS)]
    _table(stream, ["recipients", "status", "code", "reply"], rows)
    if len(groups) > GROUPS:
        stream.write(f"and {len(groups) - GROUPS} more kinds of reply\n\n")


def _rows(rows: list[Outcome], report: Report, stream: TextIO) -> None:
    if not rows:
        return
    stream.write("### Who did not get it\n\n")
    cells = (
        [row.email, WORDS[row.status], str(row.code or ""), row.reply or row.error or "", str(row.attempts)]
        for row in rows
    )
    _table(stream, ["recipient", "status", "code", "reply", "attempts"], cells)
    counts = report.counts
    if (more := counts.failed + counts.deferred + counts.in_doubt - len(rows)) > 0:
        stream.write(f"and {more:,} more\n")


def _table(stream: TextIO, header: list[str], rows: Iterable[list[str]]) -> None:
    stream.write(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}\n")
    for row in rows:
        stream.write(f"| {' | '.join(map(escape, row))} |\n")
    stream.write("\n")
