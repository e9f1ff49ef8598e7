from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise

from markdown_it import MarkdownIt  # rich's own Markdown parser: installed wherever the tests run

from mailer.ledger.outcome import CopyRefused, Outcome
from mailer.report.escape import printable
from mailer.report.formats import markdown
from mailer.report.summary import Report

Make = Callable[..., Report]
Row = Callable[..., Outcome]


def written(report: Report) -> str:
    stream = io.StringIO()
    markdown.write(report, stream)
    return stream.getvalue()


def cells(text: str) -> list[str]:
    """What a reader sees in the tables' cells."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    found = []
    for before, token in pairwise(tokens):
        if before.type == "td_open":
            assert all(child.type in ("text", "text_special") for child in token.children or []), token
            found.append("".join(child.content for child in token.children or []))
    return found


def test_counts_and_failures(make_report: Make, sent: Row, failed: Row) -> None:
    text = written(make_report([sent(0), failed(1), failed(2)]))
    assert cells(text)[:6] == ["sent", "1", "failed", "2", "total", "3"]
    assert "550 5.1.1" in cells(text)
    assert "person2@example.com" in cells(text)


def test_nothing_wrong_is_short(make_report: Make, sent: Row) -> None:
    assert "went wrong" not in written(make_report([sent(0)]))


def test_hostile_text_is_text(hostile: Report, hostile_text: str) -> None:
    text = written(hostile)
    assert printable(hostile_text) in cells(text)
    assert "<script" not in text


def test_it_stays_within_what_a_ci_page_holds(make_report: Make, failed: Row) -> None:
    text = written(make_report([failed(n, reply="&" * 5000 + str(n)) for n in range(3000)]))
    assert len(text.encode()) < 1_000_000
    assert "and 2,800 more" in text


def test_refused_copies_are_told(make_report: Make, sent: Row) -> None:
    copy = CopyRefused("boss@example.com", 550, "5.1.1 no | such person")
    text = written(make_report([sent(0, copies_refused=(copy,)), sent(1)]))
    assert cells(text)[-4:] == ["person0@example.com", "boss@example.com", "550", "5.1.1 no | such person"]
