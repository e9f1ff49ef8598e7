"""The HTML report in a real browser: it needs nothing, runs nothing foreign, and its search finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.ledger.outcome import Outcome, Status
from mailer.report.summary import Counts, Report, ServerSummary, Throughput
from mailer.report.write import write_report
from tests.browser.devtools import Page

HOSTILE = "</td><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\x1b[31m"


@pytest.fixture
def opened(page: Page, tmp_path: Path) -> Page:
    page.events.clear()
    path = tmp_path / "report.html"
    write_report(report(), path)
    page.open(path.as_uri())
    return page


def report(many: int = 400) -> Report:
    """A campaign of some minutes with each kind of outcome, and one recipient who means harm."""

    def outcomes() -> Iterator[Outcome]:
        for n in range(many):
            who, at = f"person{n}@example.com", f"2026-11-23T09:{n // 60 % 60:02d}:{n % 60:02d}Z"
            if n % 40 == 7:
                reply = f"5.1.1 <{who}>: Recipient address rejected: User unknown"
                yield Outcome(who, who, Status.FAILED, 1, 550, "5.1.1", reply, f"<{n}@example.com>", 30_000, at)
            elif n % 90 == 11:
                reply = f"4.7.1 Greylisted, come back in {100 + n} seconds"
                yield Outcome(who, who, Status.DEFERRED, 5, 451, "4.7.1", reply, f"<{n}@example.com>", 30_000, at)
            elif n % 100 == 13:
                yield Outcome(who, who, Status.PENDING)
            else:
                reply = f"2.0.0 Ok: queued as 4F1A{n:05d}"
                yield Outcome(who, who, Status.SENT, 1, 250, "2.0.0", reply, f"<{n}@example.com>", 30_000 + n, at)
        yield Outcome(HOSTILE, HOSTILE, Status.FAILED, 1, 554, "5.7.1", HOSTILE, HOSTILE, 1, "2026-11-23T09:07:00Z")

    counts = dict.fromkeys(Status, 0)
    for outcome in outcomes():
        counts[outcome.status] += 1
    server = ServerSummary(
        "smtp.example.com", 465, "TLSv1.3", "TLS_AES_256_GCM_SHA384", ("PIPELINING",), "streamed", 2, 1
    )
    start, end = "2026-11-23T09:00:00Z", "2026-11-23T09:06:40Z"
    return Report(
        "autumn-2026",
        "01JD0",
        start,
        end,
        400.0,
        Counts.from_statuses(counts),
        server,
        Throughput(1.0, 12_345_678),
        outcomes,
    )


def visible(page: Page) -> list[str]:
    """The outcome of each row that is shown."""
    script = "Array.from(document.querySelectorAll('tbody tr')).filter(r => !r.hidden).map(r => r.dataset.status)"
    found: list[str] = page.evaluate(script)
    return found


def search(page: Page, text: str) -> None:
    page.evaluate(
        f"(i => {{ i.value = {text!r}; i.dispatchEvent(new Event('input')); }})(document.getElementById('search'))"
    )


def test_no_complaints_no_requests_and_nothing_foreign_runs(opened: Page) -> None:
    assert opened.evaluate("document.title") == "autumn-2026 · mailer report"
    assert opened.complaints() == []
    assert [url for url in opened.requests() if not url.startswith("file:")] == []
    assert len([url for url in opened.requests() if url.startswith("file:")]) == 1
    assert opened.evaluate("document.querySelectorAll('script, img').length") == 1
    assert HOSTILE.replace("\x1b", "\\x1b") in opened.evaluate(
        "document.querySelector('.who').parentNode.parentNode.textContent"
    )


def test_the_policy_stops_a_foreign_script(opened: Page) -> None:
    """The test above can fail: what the page did not bring along is refused by the browser, and seen here."""
    opened.evaluate(
        "(script => { script.textContent = 'document.title = `owned`'; document.body.append(script); })"
        "(document.createElement('script'))"
    )
    assert opened.evaluate("document.title") != "owned"
    opened.wait_for("true")
    assert any("Content Security Policy" in text for text in opened.complaints())


def test_search_finds_by_address_reply_and_message_id(opened: Page) -> None:
    search(opened, "person47@")
    assert visible(opened) == ["failed"]
    search(opened, "user UNKNOWN")
    assert set(visible(opened)) == {"failed"}
    search(opened, "<399@example.com>")
    assert visible(opened) == ["sent"]
    assert opened.evaluate("document.getElementById('shown').textContent") == "1 of 401"
    search(opened, "nobody of that name")
    assert visible(opened) == []
    assert opened.evaluate("!document.getElementById('nobody').hidden")
    search(opened, "")
    assert len(visible(opened)) == 401


def test_filters_and_groups(opened: Page) -> None:
    opened.evaluate("document.querySelector('[data-filter=deferred]').click()")
    assert set(visible(opened)) == {"deferred"}
    opened.evaluate("document.querySelector('[data-filter=\"\"]').click()")
    assert len(visible(opened)) == 401
    count = int(opened.evaluate("document.querySelector('[data-group] b').textContent"))
    opened.evaluate("document.querySelector('[data-group]').click()")
    assert visible(opened) == ["failed"] * count
    for index in range(opened.evaluate("document.querySelectorAll('[data-group]').length")):
        opened.evaluate(f"document.querySelectorAll('[data-group]')[{index}].click()")
        expected = int(opened.evaluate(f"document.querySelectorAll('[data-group] b')[{index}].textContent"))
        assert len(visible(opened)) == expected


def test_columns_sort(opened: Page) -> None:
    head = "document.querySelectorAll('th')[4]"
    sizes = "Array.from(document.querySelectorAll('tbody tr')).map(r => Number(r.cells[4].dataset.value))"
    opened.evaluate(f"{head}.click()")
    assert opened.evaluate(sizes) == sorted(opened.evaluate(sizes))
    opened.evaluate(f"{head}.click()")
    assert opened.evaluate(sizes) == sorted(opened.evaluate(sizes), reverse=True)


def test_light_and_dark(opened: Page, tmp_path: Path) -> None:
    opened.size(1200, 1500)
    paper = {}
    for scheme in ("light", "dark"):
        opened.prefer(scheme)
        paper[scheme] = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        opened.screenshot(tmp_path / f"{scheme}.png")
        assert (tmp_path / f"{scheme}.png").stat().st_size > 20_000
    assert paper["light"] != paper["dark"]


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_window(opened: Page, width: int) -> None:
    opened.size(width, 900)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_a_hundred_thousand_still_open(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    write_report(report(100_000), path)
    assert path.stat().st_size < 4_000_000
    page.open(path.as_uri())
    assert page.evaluate("document.querySelectorAll('tbody tr').length") == 5000
    search(page, "user unknown")
    assert len(visible(page)) == 2500
