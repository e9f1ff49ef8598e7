from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt  # rich's own Markdown parser: installed wherever the tests run

from mailer.ledger.outcome import CopyRefused, Outcome, Status
from mailer.report.formats import markdown
from mailer.report.summary import Report
from mailer.text import make_printable

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
            assert all(child.type in ("text", "code_inline") for child in token.children or []), token
            found.append("".join(child.content for child in token.children or []))
    return found


def test_counts_and_failures_are_in_tables(make_report: Make, sent: Row, failed: Row) -> None:
    text = written(make_report([sent(0), failed(1), failed(2)]))
    assert cells(text)[:7] == ["sent", "1", "33.3 %", "", "failed", "2", "66.7 %"]
    assert "--retry-failed" in cells(text)[7]
    assert "550 5.1.1 <…>: User unknown" in cells(text)
    assert "person2@example.com" in cells(text)


def test_without_problems_there_is_no_section_about_them(make_report: Make, sent: Row) -> None:
    assert "went wrong" not in written(make_report([sent(0)]))


def test_hostile_text_stays_text(hostile: Report, hostile_text: str) -> None:
    text = written(hostile)
    assert make_printable(hostile_text) in [cell.removeprefix("550 ") for cell in cells(text)]
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html


@pytest.mark.slow
def test_it_stays_within_what_a_ci_page_holds(make_report: Make, failed: Row) -> None:
    text = written(make_report([failed(n, reply="&" * 5000 + str(n)) for n in range(3000)]))
    assert len(text.encode()) < 1_000_000
    assert "and 2,800 more" in text


def test_refused_copies_are_listed(make_report: Make, sent: Row) -> None:
    copy = CopyRefused("boss@example.com", 550, "5.1.1 no | such person")
    text = written(make_report([sent(0, copies_refused=(copy,)), sent(1)]))
    assert cells(text)[-3:] == ["person0@example.com", "boss@example.com", "550 5.1.1 no | such person"]


def test_the_source_is_readable(make_report: Make, sent: Row, failed: Row) -> None:
    text = written(make_report([sent(0), failed(1)], ending="incomplete"))
    assert "\\" not in text
    assert (
        "| `person1@example.com` | failed  | 1        | `550 5.1.1 <person1@example.com>: User unknown` |"
        in text
    )
    assert text.startswith(
        "## `autumn-2026`\n\n1 not delivered.\n\nThe run: ended; not every recipient has the message"
    )


def test_the_reason_is_whole(make_report: Make, sent: Row) -> None:
    reason = "the account is over its limit (550 see https://mail.example/help/" + "x" * 3000 + ".htm)"
    assert f"The run: ended early: `{reason}`\n" in written(
        make_report([sent(0)], ending="given_up", reason=reason)
    )


def test_subject_and_sender_are_shown_as_the_campaign_file_writes_them(make_report: Make, sent: Row) -> None:
    text = written(make_report([sent()], subject="News for {{ name }}", sender="Ada <ada@example.com>"))
    assert "- subject: `News for {{ name }}`\n- from: `Ada <ada@example.com>`\n" in text


def test_every_line_of_the_counts_is_as_wide_as_the_others(make_report: Make, sent: Row) -> None:
    rows = [sent(number, status=status) for number, status in enumerate(Status)]
    table = [line for line in written(make_report(rows)).splitlines() if line.startswith("|")]
    assert len({len(line) for line in table[:9]}) == 1
