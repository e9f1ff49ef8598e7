"""The JSON report: one object, one recipient in each line, streamed. Names may be added, never changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TextIO

from mailer.ledger.outcome import Outcome
from mailer.report.escape import escape_json
from mailer.report.summary import Report


def write(report: Report, stream: TextIO) -> None:
    """Write the whole of `report` to `stream` as one JSON object."""
    stream.write("{" + ",\n ".join(f"{_dump(name)}: {_dump(value)}" for name, value in _head(report).items()))
    stream.write(',\n "recipients": [')
    separator = "\n  "
    for outcome in report.outcomes():
        stream.write(separator + _dump(recipient_object(outcome)))
        separator = ",\n  "
    stream.write("]}\n")


def recipient_object(outcome: Outcome) -> dict[str, object]:
    """Return the object of one recipient's `outcome`. It has `copies_refused` only if a copy was refused."""
    row: dict[str, object] = {
        "email": outcome.email,
        "key": outcome.key,
        "status": outcome.status.value,
        "attempts": outcome.attempts,
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "reply": outcome.reply,
        "message_id": outcome.message_id,
        "size": outcome.size,
        "at": outcome.at,
        "error": outcome.error,
    }
    if outcome.copies_refused:
        row["copies_refused"] = [
            {"email": copy.email, "code": copy.code, "reply": copy.reply} for copy in outcome.copies_refused
        ]
    return row


def _head(report: Report) -> dict[str, object]:
    return {
        "campaign": report.campaign,
        "edition": report.edition,
        "run": report.run,
        "started": report.started,
        "finished": report.finished,
        "seconds": round(report.seconds, 3),
        "ending": report.ending,
        "reason": report.reason,
        "counts": asdict(report.counts),
        "resent": report.resent,
        "server": asdict(report.server) if report.server else None,
        "throughput": {
            "messages_per_second": round(report.throughput.messages_per_second, 1),
            "bytes": report.throughput.bytes,
        },
        **({"workers": [asdict(worker) for worker in report.workers]} if report.workers else {}),
    }


def _dump(value: object) -> str:
    return escape_json(json.dumps(value, ensure_ascii=False))
