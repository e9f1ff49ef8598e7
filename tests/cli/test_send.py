"""`mailer send` as a user has it: a process, a server over TLS, exit codes, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import Sandbox
from tests.cli.terminal import login

Command = Callable[..., Any]


def test_every_recipient_gets_one_message_however_often_it_runs(
    command: Command, campaign: Path, sandbox: Sandbox
) -> None:
    password = {"MAILER_PASSWORD": sandbox.password}
    first = command("send", campaign, *login(sandbox), "--report", "out/r.json", **password)
    assert (first.code, len(sandbox.messages)) == (0, 3), first.err
    assert "report: out/r.json" in first.err
    report = json.loads((campaign.parent / "out" / "r.json").read_text())
    assert report["counts"]["sent"] == report["counts"]["total"] == 3
    assert report["server"]["sessions"] == 1
    assert report["server"]["tls"].startswith("TLSv1.")
    assert [row["email"] for row in report["recipients"]] == [
        "bob@example.com", "chloe@example.com", "dmitri@example.com",
    ]  # fmt: skip
    second = command("send", campaign, *login(sandbox), **password)
    assert (second.code, len(sandbox.messages)) == (0, 3)
    assert "nothing" in second.err
    assert "--again" in second.err


def test_a_rehearsal_needs_no_server_and_leaves_no_ledger(command: Command, campaign: Path) -> None:
    ended = command("send", campaign, "--sandbox", "--report", "r.json")
    assert ended.code == 0, ended.err
    caught = Path(ended.err.split("caught messages: ")[1].splitlines()[0])
    assert f"mailer sandbox --maildir {caught}" in ended.err
    assert len([path for path in caught.rglob("*") if path.is_file()]) >= 3
    assert not (campaign.parent / ".mailer" / "ledger.sqlite3").exists()
    assert json.loads((campaign.parent / "r.json").read_text())["counts"]["sent"] == 3


def test_one_refused_is_exit_1_with_hints(command: Command, campaign: Path, refusing: Sandbox) -> None:
    ended = command(
        "send",
        campaign,
        *login(refusing),
        "--report",
        "r.json",
        "--report",
        "r.xml",
        MAILER_PASSWORD=refusing.password,
    )
    assert (ended.code, len(refusing.messages)) == (1, 2), ended.err
    assert "no such user" in ended.out
    assert "mailer suppress add bob@example.com" in ended.err
    (bob, *_) = json.loads((campaign.parent / "r.json").read_text())["recipients"]
    assert (bob["status"], bob["code"], bob["enhanced"]) == ("failed", 550, "5.1.1")


def test_limit_then_the_rest(command: Command, campaign: Path, sandbox: Sandbox) -> None:
    environment = {"MAILER_PASSWORD": sandbox.password, "MAILER_LEDGER": "else/where.sqlite3"}
    command("send", campaign, *login(sandbox), "--limit", "1", **environment)
    assert len(sandbox.messages) == 1
    ended = command("send", campaign, *login(sandbox), **environment)
    assert (ended.code, len(sandbox.messages)) == (0, 3)
    assert "1 of 3 recipients already has an outcome" in ended.err
    assert (campaign.parent / "else" / "where.sqlite3").exists()


def test_a_changed_key_that_would_send_it_all_again_is_a_warning(
    command: Command, campaign: Path, sandbox: Sandbox
) -> None:
    server = ["--server", sandbox.url, "--ca-file", str(sandbox.ca_file)]
    assert command("send", campaign, *server, "--limit", "2").code == 0
    campaign.write_text(campaign.read_text() + 'key: "{{ email }}/{{ name }}"\n')
    ended = command("send", campaign, *server, "--limit", "1")
    warning = "mailer: warning: 2 recipients who have the message have another `key` now"
    assert (ended.code, ended.err.count(warning)) == (0, 1), ended.err
    assert command("send", campaign, *server).err.count("another `key`") == 0


def test_an_empty_list_leaves_no_campaign_in_the_ledger(command: Command, campaign: Path) -> None:
    (campaign.parent / "people.csv").write_text("email,name\n")
    campaign.write_text(campaign.read_text().partition("recipients:")[0] + "recipients: people.csv\n")
    ended = command("send", campaign, "--server", "smtp://127.0.0.1:1")
    assert (ended.code, "people.csv: the list has no recipients" in ended.err) == (2, True)
    assert "the ledger has no campaign yet" in command("report").err


def test_a_proof_is_not_recorded(command: Command, campaign: Path, sandbox: Sandbox) -> None:
    proof = ["--proof", "me@example.com", "--report", "r.json"]
    ended = command("send", campaign, *login(sandbox), *proof, MAILER_PASSWORD=sandbox.password)
    assert (ended.code, len(sandbox.messages)) == (0, 1), ended.err
    report, outcome = ended.err.splitlines()
    assert report == "report: r.json"
    assert outcome.startswith("proof to me@example.com: sent (250 ")
    assert json.loads((campaign.parent / "r.json").read_text())["counts"]["total"] == 1
    ended = command("send", campaign, *login(sandbox), MAILER_PASSWORD=sandbox.password)
    assert (ended.code, len(sandbox.messages)) == (0, 4)


def test_recipients_from_standard_input(command: Command, campaign: Path) -> None:
    campaign.write_text(campaign.read_text().partition("recipients:")[0] + 'recipients: "-"\n')
    ended = command("send", campaign, "--sandbox", stdin="email,name\nzoe@example.com,Zoë\n")
    assert ended.code == 0, ended.err
    assert "1" in ended.out


def test_a_new_ledger_is_named_once(command: Command, campaign: Path, sandbox: Sandbox) -> None:
    password = {"MAILER_PASSWORD": sandbox.password}
    assert "new ledger: .mailer/ledger.sqlite3" in command("send", campaign, *login(sandbox), **password).err
    assert "new ledger" not in command("send", campaign, *login(sandbox), **password).err


def test_recipients_that_a_first_run_skips_are_not_called_done_before(
    command: Command, campaign: Path, sandbox: Sandbox
) -> None:
    people = "[{email: ada@example.com, name: Ada}, {email: 'not an address', name: B}, {email: '', name: C}]"
    campaign.write_text(campaign.read_text().partition("recipients:")[0] + f"recipients: {people}\n")
    ended = command("send", campaign, "--skip-invalid", *login(sandbox), MAILER_PASSWORD=sandbox.password)
    assert ended.code == 1, ended.err
    assert ended.err.startswith("new ledger: ")
    assert "2 recipients cannot be sent to: they are skipped, and reported as failed" in ended.err
    assert "already have an outcome" not in ended.err
    assert "the address is empty (line " in ended.out  # and not empty brackets
    assert "()" not in ended.out + ended.err


def test_the_environment_can_name_the_authority(command: Command, campaign: Path, sandbox: Sandbox) -> None:
    ended = command("send", campaign, MAILER_SERVER=sandbox.url, MAILER_CA_FILE=str(sandbox.ca_file))
    assert (ended.code, len(sandbox.messages)) == (0, 3), ended.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_settles_reports_and_leaves_the_rest(
    campaign: Path, sandbox: Sandbox, process: Command, number: signal.Signals, code: int
) -> None:
    rows = "".join(f"person{n}@example.com,P{n}\n" for n in range(500))
    (campaign.parent / "people.csv").write_text(f"email,name\n{rows}")
    campaign.write_text(campaign.read_text().partition("recipients:")[0] + "recipients: people.csv\n")
    arguments = [
        sys.executable,
        "-m",
        "mailer",
        "send",
        str(campaign),
        *login(sandbox),
        "--rate",
        "20/second",
    ]
    environment = {**os.environ, "MAILER_PASSWORD": sandbox.password}
    running = subprocess.Popen(
        [*arguments, "--report", "r.json"], cwd=campaign.parent, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    ends = time.monotonic() + 30
    while len(sandbox.messages) < 3 and time.monotonic() < ends:
        time.sleep(0.05)
    running.send_signal(number)
    out, err = running.communicate(timeout=30)
    assert running.returncode == code, err.decode()
    assert b"Traceback" not in err
    report = json.loads((campaign.parent / "r.json").read_text())
    assert report["counts"]["sent"] == len(sandbox.messages) >= 3
    assert report["counts"]["pending"] == 500 - report["counts"]["sent"]
    assert b"pending" in out
    ended = process("send", campaign, *login(sandbox), MAILER_PASSWORD=sandbox.password)
    assert (ended.code, len(sandbox.messages)) == (0, 500)
