"""What can be said of the page without a browser; tests/browser opens it in one."""

from __future__ import annotations

import io
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from html.parser import HTMLParser

import pytest

from mailer.ledger.outcome import Outcome
from mailer.report.formats import html
from mailer.report.summary import Counts, Report

Make = Callable[..., Report]
Row = Callable[..., Outcome]


def written(report: Report) -> str:
    stream = io.StringIO()
    html.write(report, stream)
    return stream.getvalue()


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_problems_come_first(make_report: Make, sent: Row, failed: Row) -> None:
    text = written(make_report([sent(0), sent(1), failed(2)]))
    assert re.findall(r'<tr class="(\w+)"', text) == ["failed", "sent", "sent"]


def test_it_needs_nothing_from_elsewhere(hostile: Report) -> None:
    tags = Tags(written(hostile)).seen
    assert not [tag for tag, _ in tags if tag in ("link", "img", "iframe", "object", "a", "base", "form")]
    assert not [attributes for _, attributes in tags if {"src", "href", "style"} & attributes.keys()]
    assert [attributes.get("type") for tag, attributes in tags if tag == "script"] == [
        "application/json",
        None,
    ]
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


def test_hostile_text_stays_text(hostile: Report) -> None:
    text = written(hostile)
    assert "<script>alert" not in text
    assert not any(ord(character) < 32 and character != "\n" for character in text)


def test_the_policy_lets_nothing_in(make_report: Make) -> None:
    policy = next(a["content"] for t, a in Tags(written(make_report([]))).seen if a.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.slow
def test_many_recipients_still_open(make_report: Make, sent: Row, failed: Row) -> None:
    def outcomes() -> Iterator[Outcome]:
        yield from (sent(n) for n in range(20_000))
        yield failed(20_000)

    report = make_report([], outcomes=outcomes, counts=Counts(total=20_001, sent=20_000, failed=1))
    tracemalloc.start()
    try:
        text = written(report)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert text.count("<tr class=") == html.ROWS
    assert "the first 200 of 20,001" in text
    assert '<tr class="failed"' in text
    assert len(read_data(text)) == 20_001
    assert peak < 40_000_000


def read_data(text: str) -> list[list[object]]:
    found = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert found is not None
    rows: list[list[object]] = json.loads(found[1])
    return rows


def test_the_data_has_every_problem_and_as_many_others_as_there_is_room_for(
    make_report: Make, sent: Row, failed: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "MAX_DATA", 3_000)
    text = written(make_report([*(sent(n) for n in range(100)), *(failed(n) for n in range(10))]))
    statuses = [row[2] for row in read_data(text)]
    assert statuses.count(0) == 10
    assert 0 < statuses.count(5) < 20


def test_no_text_ends_the_data(hostile: Report) -> None:
    assert len(read_data(written(hostile))) == 2


def test_the_verdict_and_the_advice_of_each_outcome_are_shown(
    make_report: Make, sent: Row, failed: Row
) -> None:
    text = written(make_report([sent(0), failed(1)]))
    assert "1 not delivered." in text
    assert "50.0 %" in text
    assert '<code class="option">--retry-failed</code> tries them again' in text


def test_subject_and_sender_are_shown_if_they_are_known(make_report: Make, sent: Row) -> None:
    text = written(make_report([sent(0)], subject="Hello {{ name }} <3", sender="Ada <ada@example.com>"))
    assert "<b>Hello {{ name }} &lt;3</b> <span>from Ada &lt;ada@example.com&gt;</span>" in text
    assert 'class="mail"' not in written(make_report([sent(0)]))


def test_addresses_break_at_their_parts(make_report: Make, sent: Row) -> None:
    assert "person0<wbr>@example<wbr>.com" in written(make_report([sent(0)]))
