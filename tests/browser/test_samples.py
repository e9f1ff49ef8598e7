"""The samples and the starters as a mail program shows them: on a phone, in light and in dark colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailer.campaign import load_campaign
from mailer.cli.init import create_campaign
from mailer.render.compile import compile_campaign
from mailer.web.message_view import MessageView
from tests.browser.accessibility import find_violations
from tests.browser.devtools import Page

ROOT = Path(__file__).parents[2]
SAMPLES = ["announcement", "digest", "invoices", "newsletter"]
FORMATS = ["html", "markdown", "mjml"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*SAMPLES, *(f"starter-{name}" for name in FORMATS)])
def test_a_sample_can_be_read_on_a_phone(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = ROOT / "campaigns" / f"{name}.yaml"
    if name.startswith("starter-"):
        create_campaign(name, name.removeprefix("starter-"))
        path = tmp_path / "campaigns" / f"{name}.yaml"
    campaign = load_campaign(path)
    message = compile_campaign(campaign).render(next(iter(campaign.recipients)))
    html = MessageView(message.content).make_html_document(images=False)
    assert html is not None
    (tmp_path / "mail.html").write_text(html)
    page.size(390, 844)
    page.prefer(scheme)
    page.open((tmp_path / "mail.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [found for found in find_violations(page) if found.startswith("color-contrast")] == []
    paper = page.evaluate("getComputedStyle(document.querySelector('div.page, body')).backgroundColor")
    brightness = sum(int(part) for part in paper[4:-1].split(",")) / 3
    assert (brightness < 100) == (scheme == "dark")
