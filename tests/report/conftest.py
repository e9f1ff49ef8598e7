"""Reports without a ledger: any outcomes, hostile ones included."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from mailer.ledger.outcome import CopyRefused, Outcome, Status
from mailer.report.summary import Counts, Report, ServerSummary, Throughput

HOSTILE = "\x1b[31m<script>alert('x')</script>\r\n=cmd|' /C calc'!A0 `rm` | & \"q\" \x00\x9b\u202e\u2028\ud800 @everyone"

Make = Callable[..., Report]


def _make_report(rows: Iterable[Outcome], /, **changes: object) -> Report:
    """A report of `rows`; `changes` replace fields."""
    rows = list(rows)
    counts: dict[Status, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    fields: dict[str, object] = {
        "campaign": "autumn-2026",
        "run": "01JDABCDEFGHJKMNPQRSTVWXYZ",
        "started": "2026-11-23T09:00:00Z",
        "finished": "2026-11-23T09:00:04Z",
        "seconds": 4.1,
        "counts": Counts.from_statuses(counts),
        "server": ServerSummary(
            "smtp.example.com", 465, "TLSv1.3", "TLS_AES", ("PIPELINING", "CHUNKING"), "streamed", 1, 0
        ),
        "throughput": Throughput(812.0, 123456),
        "outcomes": lambda: iter(rows),
        "has_refused_copies": any(row.copies_refused for row in rows),
    }
    return Report(**(fields | changes))  # type: ignore[arg-type]  # a test's shorthand


def _sent(number: int = 0, **changes: object) -> Outcome:
    """One that arrived."""
    email = f"person{number}@example.com"
    fields: dict[str, object] = {
        "email": email,
        "key": email,
        "status": Status.SENT,
        "attempts": 1,
        "code": 250,
        "enhanced": "2.0.0",
        "reply": f"2.0.0 Ok: queued as 4F1A{number:04d}",
        "message_id": f"<{number}@example.com>",
        "size": 30211,
        "at": "2026-11-23T09:00:01Z",
    }
    return Outcome(**(fields | changes))  # type: ignore[arg-type]  # a test's shorthand


def _failed(number: int = 0, **changes: object) -> Outcome:
    """One who does not exist."""
    reply = f"5.1.1 <person{number}@example.com>: User unknown"
    fields: dict[str, object] = {"status": Status.FAILED, "code": 550, "enhanced": "5.1.1", "reply": reply}
    return _sent(number, **(fields | changes))


@pytest.fixture
def hostile() -> Report:
    """Every text that comes from outside holds everything that could do harm."""
    row = _failed(
        1, email=HOSTILE, key=HOSTILE, reply=HOSTILE, error=HOSTILE, message_id=HOSTILE, enhanced="5.1.1",
        copies_refused=(CopyRefused(HOSTILE, 550, HOSTILE),),
    )  # fmt: skip
    server = ServerSummary(HOSTILE, 465, HOSTILE, HOSTILE, (HOSTILE,), "streamed", 1, 0)
    return _make_report([row, _sent(2)], server=server, reason=HOSTILE)


@pytest.fixture
def make_report() -> Make:
    return _make_report


@pytest.fixture
def sent() -> Callable[..., Outcome]:
    return _sent


@pytest.fixture
def failed() -> Callable[..., Outcome]:
    return _failed


@pytest.fixture
def hostile_text() -> str:
    return HOSTILE
