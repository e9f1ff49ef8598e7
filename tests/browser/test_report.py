"""The HTML report in a real browser: it needs nothing, runs nothing foreign, and its search finds."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.ledger.outcome import Outcome, Status
from mailer.report.summary import Counts, Report, ServerSummary, Throughput
from mailer.report.write import write_report
from tests.browser.accessibility import find_violations
from tests.browser.devtools import Page

HOSTILE = "</td><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\x1b[31m"


@pytest.fixture
def opened(page: Page, tmp_path: Path) -> Page:
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
                yield Outcome(
                    who, who, Status.FAILED, 1, 550, "5.1.1", reply, f"<{n}@example.com>", 30_000, at
                )
            elif n % 90 == 11:
                reply = f"4.7.1 Greylisted, come back in {100 + n} seconds"
                yield Outcome(
                    who, who, Status.DEFERRED, 5, 451, "4.7.1", reply, f"<{n}@example.com>", 30_000, at
                )
            elif n % 100 == 13:
                yield Outcome(who, who, Status.PENDING)
            else:
                reply = f"2.0.0 Ok: queued as 4F1A{n:05d}"
                yield Outcome(
                    who, who, Status.SENT, 1, 250, "2.0.0", reply, f"<{n}@example.com>", 30_000 + n, at
                )
        yield Outcome(
            HOSTILE, HOSTILE, Status.FAILED, 1, 554, "5.7.1", HOSTILE, HOSTILE, 1, "2026-11-23T09:07:00Z"
        )

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
    found: list[str] = page.evaluate(
        "Array.from(document.querySelectorAll('tbody tr')).map(row => row.className)"
    )
    return found


def text_of(page: Page, name: str) -> str:
    text: str = page.evaluate(f"document.getElementById({name!r}).textContent")
    return text


def click(page: Page, selector: str) -> None:
    page.evaluate(f"document.querySelector({selector!r}).click()")


def search(page: Page, text: str) -> None:
    page.evaluate(f"document.getElementById('search').value = {text!r}")
    page.evaluate("document.getElementById('search').dispatchEvent(new Event('input'))")


def test_no_complaints_no_requests_and_nothing_foreign_runs(opened: Page) -> None:
    assert opened.evaluate("document.title") == "autumn-2026 · mailer report"
    assert opened.complaints() == []
    assert [url for url in opened.requests() if not url.startswith("file:")] == []
    assert len([url for url in opened.requests() if url.startswith("file:")]) == 1
    assert opened.evaluate("document.querySelectorAll('script, img').length") == 2
    assert HOSTILE.replace("\x1b", "\\x1b") in opened.evaluate("document.querySelector('tbody').textContent")


def test_the_policy_stops_a_foreign_script(opened: Page) -> None:
    """The test above can fail: what the page did not bring along is refused by the browser, and seen here."""
    opened.evaluate(
        "(script => { script.textContent = 'document.title = `owned`'; document.body.append(script); })"
        "(document.createElement('script'))"
    )
    assert opened.evaluate("document.title") != "owned"
    opened.wait_for("true")
    assert any("Content Security Policy" in text for text in opened.complaints())


def test_problems_come_first_and_200_rows_are_shown_at_a_time(opened: Page) -> None:
    shown = visible(opened)
    assert len(shown) == 200
    assert shown == sorted(shown, key=["failed", "deferred", "pending", "sent"].index)
    assert text_of(opened, "shown") == "the first 200 of 401"
    click(opened, "#more")
    assert len(visible(opened)) == 400
    click(opened, "#more")
    assert len(visible(opened)) == 401
    assert opened.evaluate("document.getElementById('more').hidden")


def test_search_finds_by_address_reply_and_message_id(opened: Page) -> None:
    search(opened, "person47@")
    assert visible(opened) == ["failed"]
    search(opened, "user UNKNOWN")
    assert set(visible(opened)) == {"failed"}
    search(opened, "<399@example.com>")
    assert visible(opened) == ["sent"]
    assert text_of(opened, "shown") == "1 of 401"
    search(opened, "no such name")
    assert visible(opened) == []
    assert opened.evaluate("!document.getElementById('no-match').hidden")
    search(opened, "")
    assert text_of(opened, "shown") == "the first 200 of 401"


def test_filters_and_groups_choose_rows(opened: Page) -> None:
    click(opened, "button.deferred[data-filter]")
    assert set(visible(opened)) == {"deferred"}
    click(opened, '[data-filter=""]')
    assert text_of(opened, "shown") == "the first 200 of 401"
    count = int(opened.evaluate("document.querySelector('[data-group] b').textContent"))
    click(opened, "[data-group]")
    assert visible(opened) == ["failed"] * count
    for index in range(opened.evaluate("document.querySelectorAll('[data-group]').length")):
        opened.evaluate(f"document.querySelectorAll('[data-group]')[{index}].click()")
        expected = int(opened.evaluate(f"document.querySelectorAll('[data-group] b')[{index}].textContent"))
        assert len(visible(opened)) == expected


def test_a_column_head_sorts(opened: Page) -> None:
    addresses = "Array.from(document.querySelectorAll('tbody .who')).map(cell => cell.textContent)"
    click(opened, '[data-column="0"]')
    assert opened.evaluate("document.querySelector('th').getAttribute('aria-sort')") == "ascending"
    first = opened.evaluate(addresses)
    assert first == sorted(first)
    click(opened, '[data-column="0"]')
    last = opened.evaluate(addresses)
    assert last == sorted(last, reverse=True)
    assert first[-1] != last[0]


def test_what_is_filtered_can_be_copied_and_saved(opened: Page, tmp_path: Path) -> None:
    opened.evaluate(
        "window.copied = null; navigator.clipboard.writeText = async (text) => { window.copied = text; }"
    )
    search(opened, "user unknown")
    click(opened, "#copy")
    opened.wait_for("window.copied !== null")
    copied = opened.evaluate("window.copied").split("\n")
    assert len(copied) == 10
    assert copied[0] == "person7@example.com"
    opened.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    search(opened, "owned")
    click(opened, "#csv")
    ends = time.monotonic() + 30
    while not (tmp_path / "recipients.csv").exists() and time.monotonic() < ends:
        time.sleep(0.05)
    (row,) = csv.DictReader(io.StringIO((tmp_path / "recipients.csv").read_text()))
    assert (row["status"], row["code"], row["enhanced"]) == ("failed", "554", "5.7.1")
    assert row["email"] == HOSTILE.replace("\x1b", "\\x1b")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_it_fits_the_window_and_is_accessible(opened: Page, width: int, scheme: str) -> None:
    opened.size(width, 900)
    opened.prefer(scheme)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert find_violations(opened) == []


def test_light_and_dark_differ(opened: Page) -> None:
    paper = {}
    for scheme in ("light", "dark"):
        opened.prefer(scheme)
        paper[scheme] = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper["light"] != paper["dark"]


def test_a_hundred_thousand_still_open(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    write_report(report(100_000), path)
    page.open(path.as_uri())
    page.wait_for("!document.getElementById('search').disabled")
    assert page.evaluate("document.querySelectorAll('tbody tr').length") == 200
    search(page, "person99999@")
    assert visible(page) == ["sent"]
    search(page, "user unknown")
    assert text_of(page, "shown") == "2,500 of 100,001"
