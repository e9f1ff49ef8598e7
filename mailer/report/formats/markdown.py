"""A Markdown report for a CI job's page (GitHub's holds 1 MiB): counts, failures grouped, the first
recipients.

It is readable as source, too. What comes from outside is in code spans, which hold any text: there, nothing
is markup, nothing becomes a link, and no person is mentioned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TextIO

from mailer.ledger.outcome import Outcome, Status
from mailer.report.groups import PROBLEMS, FailureGroups
from mailer.report.summary import Report
from mailer.report.words import (
    STATUS_ADVICE,
    STATUS_WORDS,
    describe_ending,
    describe_server,
    describe_times,
    describe_verdict,
    describe_workers,
    format_percent,
)
from mailer.text import count_noun, make_printable, shorten

MAX_ROWS = 200
MAX_GROUPS = 20
MAX_CELL = 1000  # characters
MAX_PADDING = 80  # columns of the source are aligned up to this width

_BACKTICKS = re.compile("`+")


def write(report: Report, stream: TextIO) -> None:
    """Write the figures of `report`, its failures, and the recipients that need attention to `stream`."""
    groups, rows, copies = FailureGroups(), list[Outcome](), list[list[str]]()
    for outcome in report.outcomes():
        groups.add(outcome)
        if outcome.status in PROBLEMS and len(rows) < MAX_ROWS:
            rows.append(outcome)
        if len(copies) < MAX_ROWS:
            copies += [
                [_quote(outcome.email), _quote(copy.email), _quote(f"{copy.code} {copy.reply}")]
                for copy in outcome.copies_refused
            ]
    edition = f", edition {report.edition}" if report.edition > 1 else ""
    stream.write(f"## {_quote(report.campaign)}{edition}\n\n")
    stream.write(f"{describe_verdict(report)}\n\n")
    stream.write(f"The run: {_describe_run(report)}\n\n")
    _write_counts(report, stream)
    stream.write("".join(f"- {line}\n" for line in _describe_lines(report)) + "\n")
    _write_groups(groups, stream)
    _write_rows(rows, report, stream)
    if copies:
        stream.write("### Copies that were refused\n\n")
        _write_table(stream, ["recipient", "copy to", "reply"], copies)


def _describe_run(report: Report) -> str:
    """How it ended; a reason may hold a server's reply."""
    words = describe_ending(report)
    if not report.reason:
        return words
    return words.removesuffix(report.reason) + _quote(report.reason, None)


def _describe_lines(report: Report) -> list[str]:
    lines = [describe_times(report)]
    if report.subject is not None:
        lines.append(f"subject: {_quote(report.subject)}")
    if report.sender is not None:
        lines.append(f"from: {_quote(report.sender)}")
    if server := describe_server(report):
        lines.append(_quote(server))
    if workers := describe_workers(report):
        lines.append(f"workers: {_quote(workers)}")
    if report.resent:
        lines.append(
            f"{count_noun(report.resent, 'message')} sent again because the server's reply never arrived"
        )
    return lines


def _write_counts(report: Report, stream: TextIO) -> None:
    counts = report.counts
    rows = [
        [STATUS_WORDS[status], f"{count:,}", format_percent(count, counts.total), STATUS_ADVICE[status]]
        for status, count in counts.by_status()
        if count or status is Status.SENT
    ]
    _write_table(
        stream, ["", "recipients", "share", "what to do"], [*rows, ["total", f"{counts.total:,}", "", ""]]
    )


def _write_groups(groups: FailureGroups, stream: TextIO) -> None:
    if not len(groups):
        return
    stream.write("### What went wrong\n\n")
    rows = [
        [f"{group.count:,}", STATUS_WORDS[group.status], _quote(f"{group.label} {group.text}".strip())]
        for group in groups.list_largest(MAX_GROUPS)
    ]
    _write_table(stream, ["recipients", "outcome", "reply"], rows)
    if (more := len(groups) - MAX_GROUPS) > 0:
        stream.write(f"and {count_noun(more, 'other kind')} of reply\n\n")


def _write_rows(rows: list[Outcome], report: Report, stream: TextIO) -> None:
    if not rows:
        return
    stream.write("### Recipients without the message\n\n")
    cells = [
        [_quote(row.email), STATUS_WORDS[row.status], f"{row.attempts:,}", _quote(_describe_reply(row))]
        for row in rows
    ]
    _write_table(stream, ["recipient", "outcome", "attempts", "reply"], cells)
    counts = report.counts
    if (more := counts.failed + counts.deferred + counts.in_doubt - len(rows)) > 0:
        stream.write(f"and {more:,} more\n")


def _describe_reply(row: Outcome) -> str:
    return " ".join(str(part) for part in (row.code, row.answer) if part)


def _quote(text: str, length: int | None = MAX_CELL) -> str:
    """Return `text` as a code span (CommonMark 6.1): its fence is longer than each run of backticks in the
    text.
    """
    text = make_printable(text).strip()
    if length is not None:
        text = shorten(text, length)
    if not text:
        return ""
    fence = "`" * (max((len(run) for run in _BACKTICKS.findall(text)), default=0) + 1)
    blank = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def _write_table(stream: TextIO, header: list[str], rows: Sequence[list[str]]) -> None:
    """Write a table of GitHub Flavored Markdown, where a pipe is escaped even in a code span."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [
        max(3, min(MAX_PADDING, max(len(row[column]) for row in [header, *cells])))
        for column in range(len(header))
    ]
    stream.write(_format_row(header, widths))
    stream.write(_format_row(["-" * width for width in widths], widths))
    for row in cells:
        stream.write(_format_row(row, widths))
    stream.write("\n")


def _format_row(row: Sequence[str], widths: Sequence[int]) -> str:
    return f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |\n"
