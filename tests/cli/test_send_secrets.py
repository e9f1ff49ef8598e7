"""`mailer send` shows no secret, in no output."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import Sandbox
from tests.cli.terminal import login

Command = Callable[..., Any]


def test_a_wrong_password_is_exit_3_and_never_shown(
    command: Command, campaign: Path, sandbox: Sandbox
) -> None:
    ended = command(
        "send",
        campaign,
        *login(sandbox),
        "--report",
        "r.json",
        "--trace",
        "t.txt",
        MAILER_PASSWORD="Zq9wrong",
    )
    assert (ended.code, sandbox.messages) == (3, [])
    assert "mailer: error: " in ended.err
    assert "hint: " in ended.err
    everything = (
        ended.out
        + ended.err
        + (campaign.parent / "t.txt").read_text()
        + (campaign.parent / "r.json").read_text()
    )
    assert "Zq9wrong" not in everything
    assert json.loads((campaign.parent / "r.json").read_text())["counts"]["pending"] == 3


def test_an_untrusted_certificate_is_exit_3(command: Command, campaign: Path, sandbox: Sandbox) -> None:
    ended = command("send", campaign, "--server", sandbox.url)
    assert (ended.code, sandbox.messages) == (3, [])
    assert "--ca-file" in ended.err
    assert sandbox.password not in ended.err + ended.out


def test_a_trace_into_a_fifo_without_a_reader_is_refused(command: Command, campaign: Path) -> None:
    os.mkfifo(campaign.parent / "trace")
    ended = command("send", campaign, "--sandbox", "--trace", "trace")
    assert ended.code == 2
    assert "trace trace: cannot be written" in ended.err


def test_a_trace_follows_no_symbolic_link(command: Command, campaign: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "t.txt").symlink_to("notes.txt")
    ended = command("send", campaign, "--sandbox", "--trace", "t.txt")
    assert (ended.code, ended.err) == (
        2,
        "mailer: error: trace t.txt: cannot be written: it is a symbolic link, and none is followed\n",
    )
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_trace_that_other_users_could_read_becomes_private(
    command: Command, campaign: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.txt").write_text("old " * 1000)
    (tmp_path / "t.txt").chmod(0o644)
    assert command("send", campaign, "--sandbox", "--trace", "t.txt").code == 0
    assert (tmp_path / "t.txt").read_text().startswith("*: TLSv1.")
    assert (tmp_path / "t.txt").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a file of another user")
def test_a_trace_into_another_users_file_is_refused(command: Command, campaign: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("theirs")
    os.chown(tmp_path / "t.txt", 1234, 1234)
    ended = command("send", campaign, "--sandbox", "--trace", "t.txt")
    assert (ended.code, "belongs to another user" in ended.err) == (2, True)
    assert (tmp_path / "t.txt").read_text() == "theirs"


def test_a_trace_goes_to_a_descriptor(command: Command, campaign: Path, tmp_path: Path) -> None:
    """As the shell's `--trace >(grep MAIL)` gives it."""
    reading, writing = os.pipe()
    assert command("send", campaign, "--sandbox", "--trace", f"/dev/fd/{writing}").code == 0
    os.close(writing)
    with open(reading, encoding="utf-8") as stream:
        assert "C: MAIL FROM:" in stream.read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
@pytest.mark.parametrize("reason", ["No space left on device", "Broken pipe"])
def test_a_trace_that_ends_early_does_not_stop_the_run(command: Command, campaign: Path, reason: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    trace = f"/dev/fd/{writing}" if reason == "Broken pipe" else "/dev/full"
    ended = command("send", campaign, "--sandbox", "--trace", trace)
    os.close(writing)
    warning = f"mailer: warning: trace: it cannot be written, and ends here: {reason}"
    assert ended.code == 0
    assert [line for line in ended.err.splitlines() if "trace" in line] == [warning]


def test_the_trace_shows_the_dialogue_without_secrets(
    command: Command, campaign: Path, sandbox: Sandbox
) -> None:
    ended = command("send", campaign, *login(sandbox), "--trace", "-", MAILER_PASSWORD=sandbox.password)
    assert "C: EHLO " in ended.err
    assert "S: 220 " in ended.err
    assert "C: MAIL FROM:<ada@example.com>" in ended.err
    assert sandbox.password not in ended.err
    command("send", campaign, "--sandbox", "--trace", "t.txt")
    assert "C: EHLO " in (campaign.parent / "t.txt").read_text()
    assert (campaign.parent / "t.txt").stat().st_mode & 0o077 == 0


def test_a_short_password_blanks_nothing_of_our_own_words(
    command: Command, campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailer.delivery.reconnect.MIN_CONNECT_SECONDS", 0.0)  # of trying to connect
    ended = command("send", campaign, "--server", "smtps://me:p@127.0.0.1:1", "--report", "r.md")
    assert "[secret]" not in ended.err + ended.out + (campaign.parent / "r.md").read_text()
    assert "port" in ended.err or "127.0.0.1:1" in ended.err


def test_a_server_that_repeats_the_password_gives_nothing_away(
    campaign: Path, command: Command, tmp_path: Path
) -> None:
    encoded = base64.b64encode(b"\0sandbox\0Zw9-s3cret-kQ4").decode()
    sandbox = Sandbox(
        maildir=tmp_path / "caught",
        password="Zw9-s3cret-kQ4",
        refuse=lambda _: f"550 5.1.1 {sandbox.password} {encoded}",
    )
    sandbox.start()
    try:
        reports = ["r.json", "r.csv", "r.html", "r.md", "r.xml", "t.txt"]
        options = [part for name in reports[:-1] for part in ("--report", name)]
        ended = command(
            "send", campaign, *login(sandbox), *options, "--trace", "t.txt", MAILER_PASSWORD=sandbox.password
        )
    finally:
        sandbox.stop()
    assert ended.code == 1, ended.err
    folder = campaign.parent
    said = (ended.out + ended.err).encode() + b"".join((folder / name).read_bytes() for name in reports)
    said += b"".join(path.read_bytes() for path in (folder / ".mailer").iterdir())
    assert sandbox.password.encode() not in said
    assert encoded.encode() not in said
    assert b"[secret]" in said
