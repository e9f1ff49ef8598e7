from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def dom(tmp_path: Path) -> Callable[[str], str]:
    """`dom(url)` is the page's document after its scripts have run, as Chromium has it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        reason = "needs Chromium (apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    def dom(url: str) -> str:
        command = [
            browser,
            *QUIET,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=4000",
            "--dump-dom",
            url,
        ]
        return subprocess.run(command, capture_output=True, check=True, timeout=90).stdout.decode()

    return dom
