"""`mailer send` that cannot start: the exit code, one line for each error, and nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import Sandbox
from tests.cli.terminal import login

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--report", "r.pdf"], "expected one of .json"),
        (["--report", "/proc/nowhere/r.json"], "cannot be written"),
        (["--report", "r.json", "--report", "./r.json"], "two reports"),
        (["--trace", "/proc/nowhere/t"], "trace /proc/nowhere/t"),
        (["--trace", "spring.yaml"], "this is the campaign file"),
        (["--trace", "r.json", "--report", "r.json"], "this is the report"),
        (["--metrics", "spring.yaml"], "metrics spring.yaml: this is the campaign file"),
        (["--metrics", "m", "--trace", "./m"], "this is the trace"),
        (["--only", "nobody@example.com"], "not in the list"),
        (["--only", "a@example.com\nb"], "a@example.com b is not in the list"),
        (["--proof", "a@example.com\r\nRCPT TO:<b@example.com>"], "--proof a@example.com"),
        (["--proof", "ada"], "--proof ada: "),
        (["--report", "a\nb.pdf"], "report a b.pdf"),
    ],
)
def test_an_impossible_request_is_exit_2_and_nothing_is_sent(
    command: Command, campaign: Path, sandbox: Sandbox, arguments: list[str], said: str
) -> None:
    ended = command("send", campaign, *login(sandbox), *arguments, MAILER_PASSWORD=sandbox.password)
    assert (ended.code, sandbox.messages) == (2, [])
    assert said in ended.err
    assert all(
        line.startswith(("mailer: error: ", "hint: ", "new ledger: ")) for line in ended.err.splitlines()
    )


def test_a_server_url_of_another_kind_is_refused(command: Command, campaign: Path) -> None:
    ended = command("send", campaign, "--server", "http://x")
    assert ended.code == 2
    assert "the server's URL" in ended.err


def test_no_password_and_no_terminal_to_ask_at(command: Command, campaign: Path, sandbox: Sandbox) -> None:
    ended = command("send", campaign, *login(sandbox))
    assert ended.code == 2
    assert "no password for sandbox" in ended.err
    assert "MAILER_PASSWORD" in ended.err


def test_the_list_is_not_overwritten_by_a_report(command: Command, campaign: Path) -> None:
    (campaign.parent / "people.csv").write_text("email,name\na@example.com,A\n")
    text = campaign.read_text().partition("recipients:")[0]
    campaign.write_text(text + "recipients: people.csv\n")
    ended = command("send", campaign, "--sandbox", "--report", "people.csv")
    assert ended.code == 2
    assert "list of recipients" in ended.err


def test_no_server_is_exit_3(command: Command, campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailer.delivery.reconnect.MIN_CONNECT_SECONDS", 0.0)  # of trying to connect
    ended = command("send", campaign, "--server", "smtps://me:x@127.0.0.1:1")
    assert ended.code == 3
    assert "127.0.0.1:1" in ended.err
    assert "Traceback" not in ended.err
