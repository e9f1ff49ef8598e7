"""What `mailer send` prints and writes, whatever becomes of its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailer.cli import summary
from mailer.errors import InputError
from mailer.report.summary import Report
from mailer.report.write import ReportTarget, write_report
from mailer.sandbox import Sandbox
from tests.cli.terminal import login

Command = Callable[..., Any]


def test_a_pipe_that_closes_does_not_lose_the_exit_code(
    process: Command, campaign: Path, refusing: Sandbox
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [
        sys.executable,
        "-m",
        "mailer",
        "send",
        str(campaign),
        *login(refusing),
        "--report",
        "r.json",
    ]
    environment = {**os.environ, "MAILER_PASSWORD": refusing.password}
    try:
        done = subprocess.run(
            arguments,
            check=False,
            cwd=campaign.parent,
            env=environment,
            stdout=writing,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(writing)
    assert done.returncode == 1, done.stderr
    assert (campaign.parent / "r.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}]
)
def test_a_locale_without_the_characters_loses_no_report(
    process: Command, campaign: Path, locale: dict[str, str], tmp_path: Path
) -> None:
    campaign.write_text(campaign.read_text().replace("Bob}", "王伟}").replace("bob@", "b\u00fc@"))
    ended = process(
        "send", campaign, "--sandbox", "--report", "r.json", "--verbose", PYTHONUTF8="0", **locale
    )
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "r.json").read_text())["counts"]["sent"] == 3


def test_a_refused_copy_is_shown(command: Command, campaign: Path, refusing: Sandbox) -> None:
    campaign.write_text(campaign.read_text().replace("bob@", "eve@") + "cc: [bob.boss@example.com]\n")
    ended = command("send", campaign, *login(refusing), MAILER_PASSWORD=refusing.password)
    assert ended.code == 0, ended.err
    line = "3  bob.boss@example.com: 550 5.1.1 <bob.boss@example.com>: no such user here"
    assert "  copies that were refused:" in ended.out.splitlines()
    assert any(found.strip().startswith(line) for found in ended.out.splitlines()), ended.out
    assert command("report", campaign).out == ended.out


def test_quiet_prints_nothing_of_a_run_that_went_well(command: Command, campaign: Path) -> None:
    ended = command("send", campaign, "--sandbox", "--quiet", "--report", "r.json")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert (campaign.parent / "r.json").exists()


def test_verbose_prints_a_line_for_each_session_and_recipient(command: Command, campaign: Path) -> None:
    ended = command("send", campaign, "--sandbox", "-v")
    lines = ended.err.splitlines()
    assert sum(line.startswith("session: 127.0.0.1:") for line in lines) == 1
    assert [line.split()[:3] for line in lines if line.startswith("sent ")] == [
        ["sent", f"{name}@example.com", "250"] for name in ("bob", "chloe", "dmitri")
    ]


def test_a_report_that_fails_after_the_sending_is_exit_74(
    campaign: Path, command: Command, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(report: Report, target: ReportTarget) -> None:
        if target.format == "json":
            raise InputError(f"report {target}: cannot be written: No space left on device")
        write_report(report, target)

    monkeypatch.setattr(summary, "write_report", full)
    server = ["--server", sandbox.url, "--ca-file", str(sandbox.ca_file)]
    ended = command("send", campaign, *server, "--report", "r.json", "--report", "r.csv")
    assert (ended.code, len(sandbox.messages)) == (74, 3)
    assert "mailer: error: report r.json: cannot be written: No space left on device" in ended.err
    assert (campaign.parent / "r.csv").exists()
