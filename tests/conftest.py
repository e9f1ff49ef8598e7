"""What every test shares: no setting of the developer's own machine reaches a test, and no test waits on a deadline."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from mailer.sandbox import Sandbox

# The suite runs on all cores at once: how long one example takes says nothing.
settings.register_profile("mailer", deadline=None)
settings.load_profile("mailer")
QUICK_SHARE = 10  # with --quick a property test tries one example of so many


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="Leave out the tests marked slow; fewer examples of property tests.",
    )


def pytest_configure(config: pytest.Config) -> None:
    # What started the tests may ignore these (nohup, or `&` in a script), and every command that a test starts
    # would inherit it.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--quick"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]
    for item in items:
        test = getattr(item, "obj", None)
        if getattr(test, "is_hypothesis_test", False):
            # Where hypothesis keeps what `@settings` says; it overrides every profile.
            given = getattr(test, "_hypothesis_internal_use_settings", None) or settings()
            count = max(given.max_examples // QUICK_SHARE, 2)
            getattr(test, "__func__", test)._hypothesis_internal_use_settings = settings(
                given, max_examples=count
            )


def pytest_collection_finish() -> None:
    # Thousands of tests and their modules stay until the end. The collector would look at all of them again and again,
    # and in each forked process it would copy their memory.
    gc.collect()
    gc.freeze()


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
