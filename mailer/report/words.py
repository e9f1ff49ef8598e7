"""The figures as a person reads them: the same words at the terminal, in Markdown and in the browser."""

from __future__ import annotations

from mailer.ledger.outcome import Status
from mailer.report.summary import Report
from mailer.text import count_noun

MAX_WORKERS = 20  # that are named; the JSON report has all of them

STATUS_WORDS = {
    Status.SENT: "sent",
    Status.FAILED: "failed",
    Status.DEFERRED: "deferred",
    Status.IN_DOUBT: "in doubt",
    Status.SUPPRESSED: "suppressed",
    Status.PENDING: "pending",
}

STATUS_MEANINGS = {
    Status.SENT: "the server accepted the message",
    Status.FAILED: "refused permanently",
    Status.DEFERRED: "refused temporarily, and all attempts are used",
    Status.IN_DOUBT: "sent, but the server's reply never arrived",
    Status.SUPPRESSED: "on the suppression list, which never gets mail",
    Status.PENDING: "not sent yet",
}

# What each outcome asks of the reader.
STATUS_ADVICE = {
    Status.SENT: "",
    Status.FAILED: "when the cause is removed, --retry-failed tries them again",
    Status.DEFERRED: "the same command tries them again",
    Status.IN_DOUBT: "--in-doubt resend sends them again, --in-doubt sent records them as sent",
    Status.SUPPRESSED: "`mailer suppress remove ADDRESS` takes an address off the list",
    Status.PENDING: "the same command sends to them",
}

ENDING_WORDS = {
    "complete": "complete",
    "incomplete": "ended; not every recipient has the message",
    "given_up": "ended early",
    "unreachable": "ended: the server could not be used",
    "ledger_failed": "ended: the ledger could not be written",
    "interrupted": "interrupted",
}

EARLY_ENDINGS = frozenset({"given_up", "unreachable", "ledger_failed", "interrupted"})


def format_duration(seconds: float) -> str:
    """Return `seconds` as `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min` or `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    rest = round(seconds)
    parts: list[str] = []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def format_size(octets: float) -> str:
    """Return `octets` as `812 B`, `30.2 kB` or `4.1 MB`: decimal, as the limits of mail servers are."""
    for unit in ("B", "kB", "MB", "GB"):
        if octets < 1000 or unit == "GB":
            break
        octets /= 1000
    return f"{octets:.0f} B" if unit == "B" else f"{octets:.1f} {unit}"


def format_moment(at: str | None) -> str:
    """Return `at`, an ISO 8601 time in UTC, for a reader: `2026-11-23 09:00:04 UTC`. None is `never`."""
    return at[:19].replace("T", " ") + " UTC" if at else "never"


def format_percent(count: int, total: int) -> str:
    """Return `count` in percent of `total`: `12.5 %`; nothing if there is no total."""
    return f"{100 * count / total:.1f} %" if total else ""


def describe_times(report: Report) -> str:
    """Return when the last run of `report` was, how long it took, and how fast it was."""
    if report.started is None:
        return "not run yet"
    rate, volume = report.throughput.messages_per_second, report.throughput.bytes
    parts = [
        format_moment(report.started),
        format_duration(report.seconds) if report.finished else "",
        f"{rate:,.1f} messages/s" if rate else "",
        format_size(volume) if volume else "",
    ]
    return " · ".join(part for part in parts if part)


def describe_server(report: Report) -> str:
    """Return the server of the last run of `report`; nothing without one.

    Such as `smtp.example.com:465 · TLSv1.3 · streamed · 1 session`.
    """
    server = report.server
    if server is None:
        return ""
    parts = [
        f"{server.host}:{server.port}",
        server.tls or "no TLS",
        server.strategy,
        count_noun(server.sessions, "session"),
        count_noun(server.reconnects, "reconnect") if server.reconnects else None,
    ]
    return " · ".join(part for part in parts if part)


def describe_ending(report: Report) -> str:
    """Return how the last run of `report` ended and why.

    Such as `ended early: 50 recipients in a row failed permanently`.
    """
    if report.ending is None:
        return "not run yet" if report.started is None else "not finished: it is still sending, or was killed"
    words = ENDING_WORDS.get(report.ending, report.ending)
    return f"{words}: {report.reason}" if report.reason else words


def describe_verdict(report: Report) -> str:
    """Return one sentence: whether the recipients of `report` have the message, and what the next run
    does.
    """
    counts = report.counts
    missing = counts.failed + counts.deferred + counts.pending
    if not counts.total:
        return "The campaign has no recipients."
    if not missing and not counts.in_doubt:
        others = f" ({counts.suppressed:,} suppressed)" if counts.suppressed else ""
        return f"{_all_recipients(counts.total - counts.suppressed)} the message{others}."
    retried = counts.deferred + counts.pending
    doubt = f"{counts.in_doubt:,} in doubt: the server's reply never arrived." if counts.in_doubt else ""
    if not missing:
        return doubt
    again = f": the same command tries {_them(retried, missing)} again" if retried else ""
    return f"{missing:,} not delivered{again}. {doubt}".rstrip()


def _all_recipients(count: int) -> str:
    if not count:
        return "No recipient was to get"
    return "The one recipient has" if count == 1 else f"All {count:,} recipients have"


def _them(count: int, total: int) -> str:
    if count < total:
        return f"{count:,} of them"
    return "it" if count == 1 else "all of them"


def describe_workers(report: Report) -> str | None:
    """Return which workers sent, by `report`, and how many messages each; None if there were no workers."""
    if not report.workers:
        return None
    shown = [f"{worker.name} ({worker.messages:,})" for worker in report.workers[:MAX_WORKERS]]
    more = len(report.workers) - len(shown)
    return ", ".join(shown) + (f" and {count_noun(more, 'other worker')}" if more else "")
