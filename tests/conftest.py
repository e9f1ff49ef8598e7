"""What every test shares: no setting of the developer's own machine reaches a test, and no test waits on a deadline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from mailer.sandbox import Sandbox

# The suite runs on all cores at once: how long one example takes says nothing.
settings.register_profile("mailer", deadline=None)
settings.load_profile("mailer")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MAILER_"):
            monkeypatch.delenv(name)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A running sandbox that keeps what it gets in `tmp_path/caught`."""
    sandbox = Sandbox(maildir=tmp_path / "caught")
    sandbox.start()
    yield sandbox
    sandbox.stop()
