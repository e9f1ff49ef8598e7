"""The summary for a person: a table at a terminal (rich), plain lines on a pipe or in a log.

Rich is imported only where a terminal is; it costs more than the whole send of a few messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from mailer.ledger.outcome import Status
from mailer.report.escape import printable
from mailer.report.groups import Group, Groups
from mailer.report.summary import Report
from mailer.report.words import WORDS, plural, server_line, times_line

GROUPS = 5  # kinds of failure shown; the reports have all of them
LONGEST = 160

STYLES = {
    Status.SENT: "green",
    Status.FAILED: "bold red",
    Status.DEFERRED: "yellow",
    Status.IN_DOUBT: "magenta",
    Status.SUPPRESSED: "dim",
    Status.PENDING: "cyan",
}


def show(report: Report, stream: TextIO, *, rich: bool) -> None:
    """Write the summary of `report`; with `rich` as a table in colours (NO_COLOR is heeded)."""
    groups = _groups(report)
    if rich:
        _table(report, groups, stream)
    else:
        stream.writelines(f"{line}\n" for line in lines(report, groups))


def lines(report: Report, groups: Groups) -> Iterator[str]:
    """The summary as plain lines: `sent  1,234`."""
    yield printable(_title(report))
    for status, count in _figures(report):
        yield f"  {WORDS[status]:<10} {count:>9,}"
    yield f"  {'total':<10} {report.counts.total:>9,}"
    yield from (f"  {printable(line)}" for line in _about(report))
    if len(groups):
        yield "  what went wrong:"
    for group in groups.most_common(GROUPS):
        yield f"  {group.count:>9,}  {WORDS[group.status]}: {_said(group)}"
    yield from (f"             {line}" for line in _more(groups))


def _table(report: Report, groups: Groups, stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    table = Table(title=Text(printable(_title(report)), "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("outcome")
    table.add_column("recipients", justify="right")
    table.add_column("", justify="right", style="dim")
    for status, count in _figures(report):
        share = f"{100 * count / report.counts.total:.1f} %" if report.counts.total else ""
        table.add_row(Text(WORDS[status], STYLES[status]), f"{count:,}", share)
    table.add_section()
    table.add_row("total", f"{report.counts.total:,}", "")
    console.print(table)
    for line in _about(report):
        console.print(Text(f"  {printable(line)}", "dim"))
    if len(groups):
        console.print(_failures(groups))
        for line in _more(groups):
            console.print(Text(f"  {line}", "dim"))


def _failures(groups: Groups) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title="What went wrong", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("recipients", justify="right")
    table.add_column("outcome")
    table.add_column("the server's reply", overflow="fold")
    for group in groups.most_common(GROUPS):
        table.add_row(f"{group.count:,}", Text(WORDS[group.status], STYLES[group.status]), Text(_said(group)))
    return table


def _groups(report: Report) -> Groups:
    # Reading everybody again is worth it only where something went wrong.
    counts = report.counts
    return Groups.of(report.outcomes()) if counts.failed or counts.deferred or counts.in_doubt else Groups()


def _title(report: Report) -> str:
    return report.campaign + (f" (edition {report.edition})" if report.edition > 1 else "")


def _figures(report: Report) -> list[tuple[Status, int]]:
    return [(status, count) for status, count in report.counts.by_status() if count or status is Status.SENT]


def _about(report: Report) -> Iterator[str]:
    yield times_line(report)
    if line := server_line(report):
        yield line
    if report.resent:
        yield f"{plural(report.resent, 'message')} sent again, as the server's answer never came"


def _said(group: Group) -> str:
    text = group.text if len(group.text) <= LONGEST else group.text[:LONGEST] + "…"
    who = f" ({printable(group.example)}{f' and {group.count - 1:,} more' if group.count > 1 else ''})"
    return " ".join(part for part in (group.label, text) if part) + who


def _more(groups: Groups) -> Iterator[str]:
    if len(groups) > GROUPS:
        yield f"and {plural(len(groups) - GROUPS, 'more kind')} of reply"
