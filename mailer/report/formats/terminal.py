"""The summary for a person: a table at a terminal (rich), plain lines in a pipe or a log.

Rich is imported only for a terminal: the import costs more than sending a few messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from mailer.ledger.outcome import Status
from mailer.report.groups import CopyGroup, CopyGroups, FailureGroup, FailureGroups
from mailer.report.summary import Report
from mailer.report.words import (
    STATUS_WORDS,
    describe_ending,
    describe_server,
    describe_times,
    describe_workers,
    format_percent,
)
from mailer.text import count_noun, make_printable

MAX_GROUPS = 5  # kinds of failure that are shown; the report files have all of them

STYLES = {
    Status.SENT: "green",
    Status.FAILED: "bold red",
    Status.DEFERRED: "yellow",
    Status.IN_DOUBT: "magenta",
    Status.SUPPRESSED: "dim",
    Status.PENDING: "cyan",
}


def print_summary(report: Report, stream: TextIO, *, rich: bool) -> None:
    """Write the summary of `report` to `stream`, with `rich` as a table in colours (unless NO_COLOR)."""
    groups, copies = _read_groups(report)
    if rich:
        _print_table(report, groups, copies, stream)
    else:
        stream.writelines(f"{line}\n" for line in format_lines(report, groups, copies))


def format_lines(report: Report, groups: FailureGroups, copies: CopyGroups) -> Iterator[str]:
    """Yield the summary of `report` as plain lines, such as `sent  1,234`.

    `groups` are its failures, `copies` its refused copies.
    """
    yield make_printable(_format_title(report))
    for status, count in _list_figures(report):
        yield f"  {STATUS_WORDS[status]:<10} {count:>9,}"
    yield f"  {'total':<10} {report.counts.total:>9,}"
    yield from (f"  {make_printable(line)}" for line in _describe_run(report))
    if len(groups):
        yield "  what went wrong:"
    for group in groups.list_largest(MAX_GROUPS):
        yield f"  {group.count:>9,}  {STATUS_WORDS[group.status]}: {_describe_group(group)}"
    yield from (f"             {line}" for line in _describe_rest(groups))
    if len(copies):
        yield "  copies that were refused:"
    for copy in copies.list_largest(MAX_GROUPS):
        yield f"  {copy.count:>9,}  {_describe_copy(copy)}"
    yield from (f"             {line}" for line in _describe_rest(copies))


def _print_table(report: Report, groups: FailureGroups, copies: CopyGroups, stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    title = Text(make_printable(_format_title(report)), "bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("outcome")
    table.add_column("recipients", justify="right")
    table.add_column("", justify="right", style="dim")
    for status, count in _list_figures(report):
        share = format_percent(count, report.counts.total)
        table.add_row(Text(STATUS_WORDS[status], STYLES[status]), f"{count:,}", share)
    table.add_section()
    table.add_row("total", f"{report.counts.total:,}", "")
    console.print(table)
    for line in _describe_run(report):
        console.print(Text(f"  {make_printable(line)}", "dim"))
    if len(groups):
        console.print(_make_failure_table(groups))
        for line in _describe_rest(groups):
            console.print(Text(f"  {line}", "dim"))
    if len(copies):
        console.print(_make_copy_table(copies))
        for line in _describe_rest(copies):
            console.print(Text(f"  {line}", "dim"))


def _make_failure_table(groups: FailureGroups) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title="What went wrong", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("recipients", justify="right")
    table.add_column("outcome")
    table.add_column("the server's reply", overflow="fold")
    for group in groups.list_largest(MAX_GROUPS):
        outcome = Text(STATUS_WORDS[group.status], STYLES[group.status])
        table.add_row(f"{group.count:,}", outcome, Text(_describe_group(group)))
    return table


def _make_copy_table(copies: CopyGroups) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title="Copies that were refused", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    table.add_column("copies", justify="right")
    table.add_column("the server's reply", overflow="fold")
    for copy in copies.list_largest(MAX_GROUPS):
        table.add_row(f"{copy.count:,}", Text(_describe_copy(copy)))
    return table


def _read_groups(report: Report) -> tuple[FailureGroups, CopyGroups]:
    """Reading every recipient again is worth it only if something went wrong."""
    counts, groups, copies = report.counts, FailureGroups(), CopyGroups()
    if counts.failed or counts.deferred or counts.in_doubt or report.has_refused_copies:
        for outcome in report.outcomes():
            groups.add(outcome)
            copies.add(outcome)
    return groups, copies


def _format_title(report: Report) -> str:
    return report.campaign + (f" (edition {report.edition})" if report.edition > 1 else "")


def _list_figures(report: Report) -> list[tuple[Status, int]]:
    return [(status, count) for status, count in report.counts.by_status() if count or status is Status.SENT]


def _describe_run(report: Report) -> Iterator[str]:
    yield describe_times(report)
    if line := describe_server(report):
        yield line
    if workers := describe_workers(report):
        yield f"workers: {workers}"
    if report.started is not None:
        yield describe_ending(report)
    if report.resent:
        yield f"{count_noun(report.resent, 'message')} sent again because the server's reply never arrived"


def _describe_group(group: FailureGroup) -> str:
    more = f" and {group.count - 1:,} more" if group.count > 1 else ""
    said = " ".join(part for part in (group.label, group.text) if part)
    return f"{said} ({make_printable(group.example)}{more})"


def _describe_copy(copy: CopyGroup) -> str:
    more = f" and {copy.count - 1:,} more" if copy.count > 1 else ""
    return make_printable(f"{copy.email}: {copy.code} {copy.reply} (of the message to {copy.example}{more})")


def _describe_rest(groups: FailureGroups | CopyGroups) -> Iterator[str]:
    if len(groups) > MAX_GROUPS:
        yield f"and {count_noun(len(groups) - MAX_GROUPS, 'other kind')} of reply"
