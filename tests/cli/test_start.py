"""What a command loads and starts before it works: its time, counted in modules and processes."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import Sandbox

PACKAGE = Path(__file__).parents[2] / "mailer"

# What a plain `send` of a list in CSV does not need. Each takes milliseconds to load, some of them hundreds.
HEAVY = (
    # extras and libraries of other commands and formats
    "aiosmtpd", "anyio", "asyncpg", "babel", "celery", "cryptography", "html5lib", "keyring", "kombu", "lxml",
    "markdown_it", "mrml", "openpyxl", "opentelemetry", "pg8000", "prometheus_client", "psycopg", "python_socks",
    "starlette", "uvicorn", "watchfiles",
    # the standard library's
    "argparse", "email.parser", "email.message", "http", "imaplib", "importlib.metadata", "mailbox",
    "multiprocessing", "smtplib", "unittest", "urllib.request", "webbrowser", "xml", "zipfile",
    # our own
    "mailer.bounces", "mailer.lint", "mailer.preview", "mailer.sandbox", "mailer.web", "mailer.workers",
    "mailer.campaign.sources.xlsx", "mailer.report.formats.html", "mailer.report.formats.junit",
)  # fmt: skip

# Runs a command, and writes what it loaded and started to the file of the first argument.
WATCH = """
import atexit, gc, json, os, sys, types
path, sys.argv = sys.argv[1], sys.argv[1:]
forks, collections, fork = [], [], os.fork
def count_fork():
    forks.append(1)
    return fork()
def note_collection(phase, info):
    if phase == "start" and sys.modules.get("mailer.cli"):
        collections.append(info["generation"])
def write():
    loaded = {"modules": sorted(sys.modules), "forks": len(forks), "collections": len(collections),
              "kept": gc.get_freeze_count()}
    with open(path, "w") as stream:
        json.dump(loaded, stream)
os.fork = count_fork
gc.callbacks.append(note_collection)
atexit.register(write)
from mailer.__main__ import main
main()
"""


def watch(folder: Path, *arguments: object, **env: str) -> dict[str, Any]:
    """Run a command in a process of its own, and return what it loaded and started. It must end with 0."""
    script, result = folder / "watch.py", folder / "loaded.json"
    script.write_text(WATCH)
    done = subprocess.run(
        [sys.executable, str(script), str(result), *map(str, arguments)],
        check=False, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads(result.read_text())
    return loaded


def find_loaded(loaded: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return which of `names` (modules or packages) were loaded."""
    return [
        name for name in names if any(one == name or one.startswith(f"{name}.") for one in loaded["modules"])
    ]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `mailer send` of the starter's campaign loaded and started. A sandbox takes the messages."""
    folder = tmp_path_factory.mktemp("start")
    assert (
        subprocess.run([sys.executable, "-m", "mailer", "init", "demo"], cwd=folder, check=False).returncode
        == 0
    )
    with Sandbox(maildir=folder / "caught") as sandbox:
        loaded = watch(
            folder, "send", "campaigns/demo.yaml", "--server", f"smtps://sandbox@127.0.0.1:{sandbox.port}",
            "--ca-file", sandbox.ca_file, MAILER_PASSWORD=sandbox.password,
        )  # fmt: skip
        assert len(sandbox.messages) == 3
    return loaded


def test_send_loads_no_library_that_it_does_not_need(sent: dict[str, Any]) -> None:
    assert find_loaded(sent, HEAVY) == []


def test_send_starts_one_process_each_for_templates_list_and_preflight(sent: dict[str, Any]) -> None:
    assert sent["forks"] == 3


def test_send_of_a_few_never_looks_for_garbage(sent: dict[str, Any]) -> None:
    """Neither while modules are loaded, nor when the process ends: 10 ms and 35 ms of one `send`."""
    assert sent["collections"] == 0
    assert sent["kept"] > 50_000


def test_help_loads_no_command(tmp_path: Path) -> None:
    loaded = watch(tmp_path, "send", "--help")
    assert (
        find_loaded(loaded, ("mailer.api", "mailer.delivery", "jinja2", "yaml", "asyncio", "ssl", "sqlite3"))
        == []
    )


def test_the_version_loads_nothing(tmp_path: Path) -> None:
    own = [name for name in watch(tmp_path, "--version")["modules"] if name.startswith("mailer")]
    assert own == ["mailer", "mailer.__main__", "mailer._version"]


def test_every_dataclass_is_one_that_is_made_quickly() -> None:
    slow = [
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
        if any(alias.name == "dataclass" for alias in node.names) and path.name != "dataclass.py"
    ]
    assert slow == []
