"""`mailer send` at a terminal: the question, the password, the colours, Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import Sandbox
from tests.cli.terminal import Terminal, login

Command = Callable[..., Any]

pytestmark = pytest.mark.slow  # each starts a process at a terminal


def test_at_a_terminal_it_asks_before_it_sends(campaign: Path, sandbox: Sandbox) -> None:
    arguments = ["send", str(campaign), *login(sandbox)]
    terminal = Terminal(arguments, campaign.parent, MAILER_PASSWORD=sandbox.password)
    terminal.until(f"Send spring to 3 recipients via 127.0.0.1:{sandbox.port} as sandbox? [y/N]")
    terminal.type("n\n")
    assert terminal.end() == 2
    assert "nothing was sent" in terminal.shown
    assert sandbox.messages == []
    terminal = Terminal(arguments, campaign.parent, MAILER_PASSWORD=sandbox.password)
    terminal.until("[y/N]")
    terminal.type("y\n")
    assert terminal.end() == 0, terminal.shown
    assert len(sandbox.messages) == 3


def test_the_question_says_what_goes_to_whom(campaign: Path, sandbox: Sandbox) -> None:
    arguments = ["send", str(campaign), *login(sandbox), "--limit", "1"]
    terminal = Terminal(arguments, campaign.parent, MAILER_PASSWORD=sandbox.password)
    terminal.until("[y/N]")
    for words in (
        "from        Ada <ada@example.com>", "subject     Hello Bob", "recipients  1",
        f"server      127.0.0.1:{sandbox.port} as sandbox", "ledger      .mailer/ledger.sqlite3 (new)",
    ):  # fmt: skip
        assert words in terminal.shown
    terminal.type("y\n")
    assert terminal.end() == 0
    terminal = Terminal(arguments, campaign.parent, MAILER_PASSWORD=sandbox.password)
    terminal.until("[y/N]")
    assert "recipients  1 (1 other already has an outcome)" in terminal.shown
    assert "(new)" not in terminal.shown
    terminal.type("\n")
    assert terminal.end() == 2


def test_it_asks_though_standard_error_is_a_file(campaign: Path, sandbox: Sandbox) -> None:
    errors = campaign.parent / "errors.txt"
    arguments = ["send", str(campaign), *login(sandbox)]
    terminal = Terminal(arguments, campaign.parent, errors, MAILER_PASSWORD=sandbox.password)
    terminal.until("Send spring to 3 recipients")
    terminal.type("no\n")
    assert terminal.end() == 2
    assert "nothing was sent" in errors.read_text()
    assert sandbox.messages == []


def test_it_asks_in_a_ci_job_that_has_a_terminal(campaign: Path, sandbox: Sandbox) -> None:
    terminal = Terminal(
        ["send", str(campaign), *login(sandbox)], campaign.parent, MAILER_PASSWORD=sandbox.password, CI="true"
    )
    terminal.until("Send spring to 3 recipients")
    terminal.type("n\n")
    assert terminal.end() == 2


def test_a_proof_is_asked_for_too(campaign: Path, sandbox: Sandbox) -> None:
    arguments = ["send", str(campaign), *login(sandbox), "--proof", "me@example.com"]
    terminal = Terminal(arguments, campaign.parent, MAILER_PASSWORD=sandbox.password)
    terminal.until("Send a proof of spring (bob@example.com) to me@example.com via")
    terminal.type("n\n")
    assert terminal.end() == 2
    assert sandbox.messages == []


def test_at_a_terminal_the_password_is_asked_for_and_not_echoed(campaign: Path, sandbox: Sandbox) -> None:
    terminal = Terminal(["send", str(campaign), *login(sandbox), "--yes"], campaign.parent)
    terminal.until("Password for sandbox at 127.0.0.1")
    time.sleep(0.2)  # getpass turns the echo off after its question
    terminal.type(sandbox.password + "\n")
    assert terminal.end() == 0, terminal.shown
    assert sandbox.password not in terminal.shown
    assert len(sandbox.messages) == 3


def test_ctrl_c_at_the_question(campaign: Path, sandbox: Sandbox) -> None:
    arguments = ["send", str(campaign), *login(sandbox)]
    terminal = Terminal(arguments, campaign.parent, MAILER_PASSWORD=sandbox.password)
    terminal.until("[y/N]")
    time.sleep(
        0.3
    )  # between the question and the reading there is an instant in which no program can be woken
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "interrupted before anything was sent" in terminal.shown
    assert sandbox.messages == []


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_errors_are_coloured_at_a_terminal_unless_no_color_is_set(
    tmp_path: Path, environment: dict[str, str], coloured: bool
) -> None:
    terminal = Terminal(["send", "nothing.yaml"], tmp_path, **environment)
    assert terminal.end() == 2
    assert ("mailer: \x1b[1;31merror:\x1b[0m " in terminal.shown) == coloured
    assert ("mailer: error: " in terminal.shown) != coloured
