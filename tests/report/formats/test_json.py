"""The JSON report's names and types are a contract: this test is its copy."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import islice

from mailer.ledger.outcome import CopyRefused, Outcome
from mailer.report.formats import json as json_report
from mailer.report.summary import Report

Make = Callable[..., Report]
Row = Callable[..., Outcome]

CONTRACT = {
    "campaign": str, "run": str, "started": str, "finished": str, "seconds": (int, float), "counts": dict,
    "server": dict, "throughput": dict, "recipients": list,
}  # fmt: skip
COUNTS = {"total", "sent", "failed", "deferred", "in_doubt", "suppressed", "pending"}
SERVER = {"host", "port", "tls", "cipher", "extensions", "strategy", "sessions", "reconnects"}
THROUGHPUT = {"messages_per_second", "bytes"}
RECIPIENT = [
    "email",
    "key",
    "status",
    "attempts",
    "code",
    "enhanced",
    "reply",
    "message_id",
    "size",
    "at",
    "error",
]


def written(report: Report) -> str:
    stream = io.StringIO()
    json_report.write(report, stream)
    return stream.getvalue()


def test_names_and_types_are_those_that_are_promised(make_report: Make, sent: Row, failed: Row) -> None:
    document = json.loads(written(make_report([sent(0), failed(1)])))
    for name, kind in CONTRACT.items():
        assert isinstance(document[name], kind), name
    assert set(document["counts"]) == COUNTS
    assert set(document["server"]) == SERVER
    assert set(document["throughput"]) == THROUGHPUT
    assert [list(row) for row in document["recipients"]] == [RECIPIENT, RECIPIENT]


def test_the_figures_are_those_of_the_report(make_report: Make, sent: Row, failed: Row) -> None:
    document = json.loads(written(make_report([sent(0), failed(1)])))
    assert document["counts"] == dict.fromkeys(COUNTS, 0) | {"total": 2, "sent": 1, "failed": 1}
    assert document["seconds"] == 4.1
    assert document["throughput"] == {"messages_per_second": 812.0, "bytes": 123456}
    assert document["server"]["extensions"] == ["PIPELINING", "CHUNKING"]
    assert document["recipients"][0] == {
        "email": "person0@example.com", "key": "person0@example.com", "status": "sent", "attempts": 1, "code": 250,
        "enhanced": "2.0.0", "reply": "2.0.0 Ok: queued as 4F1A0000", "message_id": "<0@example.com>", "size": 30211,
        "at": "2026-11-23T09:00:01Z", "error": None,
    }  # fmt: skip


def test_a_report_without_recipients_is_valid(make_report: Make) -> None:
    document = json.loads(written(make_report([], run=None, started=None, finished=None, server=None)))
    assert (document["recipients"], document["server"], document["run"]) == ([], None, None)


def test_a_refused_copy_is_named(make_report: Make, sent: Row) -> None:
    row = sent(copies_refused=(CopyRefused("boss@example.com", 550, "no"),))
    (recipient,) = json.loads(written(make_report([row])))["recipients"]
    assert recipient["copies_refused"] == [{"email": "boss@example.com", "code": 550, "reply": "no"}]


def test_hostile_text_comes_back_the_same_and_no_control_is_raw(hostile: Report, hostile_text: str) -> None:
    text = written(hostile)
    text.encode("utf-8")
    assert not any(ord(character) < 32 and character != "\n" for character in text)
    assert "\x9b" not in text
    assert json.loads(text)["recipients"][0]["reply"] == hostile_text


def test_the_report_is_streamed(make_report: Make, sent: Row) -> None:
    """No row waits until all rows were read."""
    seen: list[int] = []

    class Counting(io.StringIO):
        def write(self, text: str) -> int:
            seen.append(len(taken))
            return super().write(text)

    taken: list[Outcome] = []

    def outcomes() -> object:
        for number in range(1000):
            taken.append(sent(number))
            yield taken[-1]

    json_report.write(make_report([], outcomes=outcomes), Counting())
    assert list(islice((n for n in seen if n), 3)) == [1, 2, 3]
