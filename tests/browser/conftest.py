from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.browser.devtools import Page, browser


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser. Without one the tests are skipped, but not in CI."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        reason = "needs Chromium (apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def tab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab that the tests of a module share."""
    with browser(chromium, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def page(tab: Page) -> Page:
    """The tab as it was: light, wide, with nothing in its log."""
    tab.open("about:blank")
    tab.prefer("light")
    tab.size(1280, 900)
    tab.events.clear()
    return tab
