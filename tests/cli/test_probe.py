from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import Sandbox

Command = Callable[..., Any]


def test_it_shows_all_and_sends_nothing(command: Command, sandbox: Sandbox) -> None:
    ended = command("probe", "--server", sandbox.url, "--ca-file", sandbox.ca_file)
    assert (ended.code, sandbox.messages) == (0, []), ended.err
    for words in (
        "S: 220 ",
        "C: EHLO ",
        "C: QUIT",
        "TLSv1.3",
        "CHUNKING",
        "certificate",
        "strategy     streamed",
    ):
        assert words in ended.out
    assert sandbox.password not in ended.out + ended.err
    assert "MAIL FROM" not in ended.out


def test_the_ca_file_may_be_standard_input(process: Command, sandbox: Sandbox, tmp_path: Path) -> None:
    options = ("probe", "--server", sandbox.url, "--ca-file", "-")
    ended = process(*options, stdin=sandbox.ca_file.read_text(), TMPDIR=str(tmp_path))
    assert ended.code == 0, ended.err
    assert list(tmp_path.glob("mailer-ca-*")) == [], "the copy is deleted"
    ended = process(*options, TMPDIR=str(tmp_path))
    assert ended.code == 2
    assert "holds no certificate" in ended.err


def test_the_campaigns_server(command: Command, campaign: Path, sandbox: Sandbox) -> None:
    (campaign.parent / "password").write_text(sandbox.password)
    server = (
        f"server: {{host: 127.0.0.1, port: {sandbox.port}, username: sandbox, password: {{file: password}},"
    )
    campaign.write_text(campaign.read_text() + f"{server} ca_file: {sandbox.ca_file}}}\n")
    ended = command("probe", campaign)
    assert ended.code == 0, ended.err


def test_a_variable_without_a_campaign_is_refused(command: Command) -> None:
    ended = command("probe", "--server", "smtp://127.0.0.1:1", "--var", "x=1")
    assert (ended.code, "--var needs the CAMPAIGN" in ended.err) == (2, True)


@pytest.mark.parametrize("time", ["2s", "1500ms", "0.5", "1m"])
def test_the_timeout_is_a_duration(command: Command, sandbox: Sandbox, time: str) -> None:
    ended = command("probe", "--server", sandbox.url, "--ca-file", sandbox.ca_file, "--timeout", time)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("time", ["0s", "2 parsecs", "-1s", "nan"])
def test_a_timeout_that_is_no_duration_is_refused(command: Command, time: str) -> None:
    ended = command("probe", "--server", "smtp://127.0.0.1:1", "--timeout", time)
    assert (ended.code, "expected a duration" in ended.err) == (2, True)


def test_failures_are_exit_3_with_the_dialogue_so_far(command: Command, sandbox: Sandbox) -> None:
    ended = command(
        "probe", "--server", f"smtps://sandbox:wrong@127.0.0.1:{sandbox.port}", "--ca-file", sandbox.ca_file
    )
    assert ended.code == 3
    assert "S: 535" in ended.out
    assert "hint: check the user name" in ended.err
    assert "mailer probe" not in ended.err  # which is what was typed
    assert ended.err.startswith("mailer: error: ")
    assert command("probe", "--server", "smtp://127.0.0.1:1").code == 3
    assert command("probe").code == 2
