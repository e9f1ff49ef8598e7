"""The figures as a person reads them; the same words at the terminal, in Markdown and in the browser."""

from __future__ import annotations

from mailer.ledger.outcome import Status
from mailer.report.summary import Report

WORDS = {
    Status.SENT: "sent",
    Status.FAILED: "failed",
    Status.DEFERRED: "deferred",
    Status.IN_DOUBT: "in doubt",
    Status.SUPPRESSED: "suppressed",
    Status.PENDING: "pending",
}

MEANING = {
    Status.SENT: "the server took the message",
    Status.FAILED: "refused for good",
    Status.DEFERRED: "refused for now; the next run tries again",
    Status.IN_DOUBT: "sent, but the server's answer never came",
    Status.SUPPRESSED: "on the list of those who never get mail",
    Status.PENDING: "not sent yet",
}


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    units = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)]
    parts: list[str] = []
    for name, size in units:
        count, whole = divmod(whole, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part) or "0 s"


def size(octets: float) -> str:
    """`812 B`, `30.2 kB`, `4.1 MB`: decimal, as mail servers' limits are."""
    for unit in ("B", "kB", "MB", "GB"):
        if octets < 1000 or unit == "GB":
            break
        octets /= 1000
    return f"{octets:.0f} B" if unit == "B" else f"{octets:.1f} {unit}"


def moment(at: str | None) -> str:
    """An ISO 8601 time in UTC for reading: `2026-11-23 09:00:04 UTC`."""
    return at[:19].replace("T", " ") + " UTC" if at else "never"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")


def times_line(report: Report) -> str:
    """When the last run was, how long, how fast."""
    if report.started is None:
        return "not run yet"
    ended = "" if report.finished else " · not finished"
    rate = (
        f" · {report.throughput.messages_per_second:,.1f} messages/s" if report.throughput.messages_per_second else ""
    )
    volume = f" · {size(report.throughput.bytes)}" if report.throughput.bytes else ""
    return f"{moment(report.started)} · {duration(report.seconds)}{rate}{volume}{ended}"


def server_line(report: Report) -> str:
    """The last run's server: `smtp.example.com:465 · TLSv1.3 · streamed · 1 session`; nothing where there was none."""
    server = report.server
    if server is None:
        return ""
    reconnects = plural(server.reconnects, "reconnect") if server.reconnects else None
    parts = [
        f"{server.host}:{server.port}",
        server.tls or "no TLS",
        server.strategy,
        plural(server.sessions, "session"),
    ]
    return " · ".join(part for part in [*parts, reconnects] if part)
