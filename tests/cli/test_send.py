"""`mailer send` as a user has it: a process, a server over TLS, exit codes, files."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from mailer.cli import summary
from mailer.errors import InputError
from mailer.report.summary import Report
from mailer.report.write import ReportTarget, write_report
from mailer.sandbox import Sandbox

Command = Callable[..., Any]


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox that knows no Bob."""

    def refuse(address: str) -> str | None:
        return f"550 5.1.1 <{address}>: no such user here" if address.startswith("bob") else None

    sandbox = Sandbox(maildir=tmp_path / "caught", refuse=refuse)
    sandbox.start()
    yield sandbox
    sandbox.stop()


def login(sandbox: Sandbox) -> list[str]:
    return ["--server", f"smtps://sandbox@127.0.0.1:{sandbox.port}", "--ca-file", str(sandbox.ca_file)]


def test_everybody_gets_it_and_a_second_time_nobody(
    process: Command, campaign: Path, sandbox: Sandbox
) -> None:
    password = {"MAILER_PASSWORD": sandbox.password}
    first = process("send", campaign, *login(sandbox), "--report", "out/r.json", **password)
    assert (first.code, len(sandbox.messages)) == (0, 3), first.err
    assert "report: out/r.json" in first.err
    report = json.loads((campaign.parent / "out" / "r.json").read_text())
    assert report["counts"]["sent"] == report["counts"]["total"] == 3
    assert report["server"]["sessions"] == 1
    assert report["server"]["tls"].startswith("TLSv1.")
    assert [row["email"] for row in report["recipients"]] == [
        "bob@example.com", "chloe@example.com", "dmitri@example.com",
    ]  # fmt: skip
    second = process("send", campaign, *login(sandbox), **password)
    assert (second.code, len(sandbox.messages)) == (0, 3)
    assert "nothing" in second.err
    assert "--again" in second.err


def test_a_rehearsal_needs_no_server_and_leaves_no_ledger(process: Command, campaign: Path) -> None:
    ended = process("send", campaign, "--sandbox", "--report", "r.json")
    assert ended.code == 0, ended.err
    caught = Path(ended.err.split("caught messages: ")[1].splitlines()[0])
    assert f"mailer sandbox --maildir {caught}" in ended.err
    assert len([path for path in caught.rglob("*") if path.is_file()]) >= 3
    assert not (campaign.parent / ".mailer" / "ledger.sqlite3").exists()
    assert json.loads((campaign.parent / "r.json").read_text())["counts"]["sent"] == 3


def test_one_refused_is_exit_1_with_hints(process: Command, campaign: Path, refusing: Sandbox) -> None:
    ended = process(
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


def test_a_wrong_password_is_exit_3_and_never_shown(
    process: Command, campaign: Path, sandbox: Sandbox
) -> None:
    ended = process(
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


def test_no_server_is_exit_3(command: Command, campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailer.delivery.reconnect.MIN_SECONDS", 0.0)  # of trying to connect
    ended = command("send", campaign, "--server", "smtps://me:x@127.0.0.1:1")
    assert ended.code == 3
    assert "127.0.0.1:1" in ended.err
    assert "Traceback" not in ended.err


def test_an_untrusted_certificate_is_exit_3(process: Command, campaign: Path, sandbox: Sandbox) -> None:
    ended = process("send", campaign, "--server", sandbox.url)
    assert (ended.code, sandbox.messages) == (3, [])
    assert "--ca-file" in ended.err
    assert sandbox.password not in ended.err + ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--report", "r.pdf"], "expected one of .json"),
        (["--report", "/proc/nowhere/r.json"], "cannot be written"),
        (["--report", "r.json", "--report", "./r.json"], "two reports"),
        (["--trace", "/proc/nowhere/t"], "trace /proc/nowhere/t"),
        (["--trace", "spring.yaml"], "this is the campaign file"),
        (["--trace", "r.json", "--report", "r.json"], "this is the report"),
        (["--only", "nobody@example.com"], "not in the list"),
    ],
)
def test_what_cannot_be_is_exit_2_and_nothing_is_sent(
    process: Command, campaign: Path, sandbox: Sandbox, arguments: list[str], said: str
) -> None:
    ended = process("send", campaign, *login(sandbox), *arguments, MAILER_PASSWORD=sandbox.password)
    assert (ended.code, sandbox.messages) == (2, [])
    assert said in ended.err
    assert all(line.startswith(("mailer: error: ", "hint: ")) for line in ended.err.splitlines())


def test_a_server_url_of_another_kind_is_refused(process: Command, campaign: Path) -> None:
    ended = process("send", campaign, "--server", "http://x")
    assert ended.code == 2
    assert "the server's URL" in ended.err


def test_no_password_and_nobody_to_ask(process: Command, campaign: Path, sandbox: Sandbox) -> None:
    ended = process("send", campaign, *login(sandbox))
    assert ended.code == 2
    assert "no password for sandbox" in ended.err
    assert "MAILER_PASSWORD" in ended.err


def test_the_list_is_not_overwritten_by_a_report(process: Command, campaign: Path) -> None:
    (campaign.parent / "people.csv").write_text("email,name\na@example.com,A\n")
    text = campaign.read_text().partition("recipients:")[0]
    campaign.write_text(text + "recipients: people.csv\n")
    ended = process("send", campaign, "--sandbox", "--report", "people.csv")
    assert ended.code == 2
    assert "list of recipients" in ended.err


def test_limit_then_the_rest(process: Command, campaign: Path, sandbox: Sandbox) -> None:
    environment = {"MAILER_PASSWORD": sandbox.password, "MAILER_LEDGER": "else/where.sqlite3"}
    process("send", campaign, *login(sandbox), "--limit", "1", **environment)
    assert len(sandbox.messages) == 1
    ended = process("send", campaign, *login(sandbox), **environment)
    assert (ended.code, len(sandbox.messages)) == (0, 3)
    assert "1 of 3 recipients already have an outcome" in ended.err
    assert (campaign.parent / "else" / "where.sqlite3").exists()


def test_a_proof_is_not_recorded(process: Command, campaign: Path, sandbox: Sandbox) -> None:
    proof = ["--proof", "me@example.com", "--report", "r.json"]
    ended = process("send", campaign, *login(sandbox), *proof, MAILER_PASSWORD=sandbox.password)
    assert (ended.code, len(sandbox.messages)) == (0, 1), ended.err
    assert "proof to me@example.com: sent (250 " in ended.err
    assert json.loads((campaign.parent / "r.json").read_text())["counts"]["total"] == 1
    ended = process("send", campaign, *login(sandbox), MAILER_PASSWORD=sandbox.password)
    assert (ended.code, len(sandbox.messages)) == (0, 4)


def test_a_trace_into_a_fifo_that_nobody_reads_is_refused(process: Command, campaign: Path) -> None:
    os.mkfifo(campaign.parent / "trace")
    ended = process("send", campaign, "--sandbox", "--trace", "trace")
    assert ended.code == 2
    assert "trace trace: cannot be written" in ended.err


def test_the_trace_shows_the_dialogue_without_secrets(
    process: Command, campaign: Path, sandbox: Sandbox
) -> None:
    ended = process("send", campaign, *login(sandbox), "--trace", "-", MAILER_PASSWORD=sandbox.password)
    assert "C: EHLO " in ended.err
    assert "S: 220 " in ended.err
    assert "C: MAIL FROM:<ada@example.com>" in ended.err
    assert sandbox.password not in ended.err
    process("send", campaign, "--sandbox", "--trace", "t.txt")
    assert "C: EHLO " in (campaign.parent / "t.txt").read_text()
    assert (campaign.parent / "t.txt").stat().st_mode & 0o077 == 0


def test_recipients_from_standard_input(process: Command, campaign: Path) -> None:
    campaign.write_text(campaign.read_text().partition("recipients:")[0] + 'recipients: "-"\n')
    ended = process("send", campaign, "--sandbox", stdin="email,name\nzoe@example.com,Zoë\n")
    assert ended.code == 0, ended.err
    assert "1" in ended.out


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


class Terminal:
    """A process at a terminal: what it shows, what is typed."""

    def __init__(
        self, arguments: list[str], folder: Path, errors: Path | None = None, **environment: str
    ) -> None:
        ours, theirs = pty.openpty()
        variables = (
            {key: value for key, value in os.environ.items() if key != "CI"} | environment | {"TERM": "xterm"}
        )
        with errors.open("wb") if errors else nullcontext() as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mailer", *arguments], cwd=folder, env=variables,
                stdin=theirs, stdout=theirs, stderr=stream or theirs, start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - the controlling terminal
            )  # fmt: skip
        os.close(theirs)
        self._ours = ours
        self.shown = ""

    def until(self, text: str, seconds: float = 30) -> None:
        ends = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < ends, self.shown
            if select.select([self._ours], [], [], 0.1)[0] and not self._read():
                raise AssertionError(self.shown)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self, seconds: float = 30) -> int:
        """The exit code; `shown` is all that it wrote."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and (not select.select([self._ours], [], [], 0.1)[0] or self._read()):
            continue
        os.close(self._ours)
        return self.process.wait(seconds)

    def _read(self) -> bool:
        try:
            chunk = os.read(self._ours, 65536)
        except OSError:  # Linux: the other end is closed
            return False
        self.shown += chunk.decode(errors="replace")
        return bool(chunk)


def test_at_a_terminal_it_asks(campaign: Path, sandbox: Sandbox) -> None:
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
    assert "recipients  1 (1 others already have an outcome)" in terminal.shown
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


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_errors_are_coloured_at_a_terminal_unless_no_color_is_set(
    tmp_path: Path, environment: dict[str, str], coloured: bool
) -> None:
    terminal = Terminal(["send", "nothing.yaml"], tmp_path, **environment)
    assert terminal.end() == 2
    assert ("mailer: \x1b[1;31merror:\x1b[0m " in terminal.shown) == coloured
    assert ("mailer: error: " in terminal.shown) != coloured


def test_a_proof_is_asked_for_too(campaign: Path, sandbox: Sandbox) -> None:
    arguments = ["send", str(campaign), *login(sandbox), "--proof", "me@example.com"]
    terminal = Terminal(arguments, campaign.parent, MAILER_PASSWORD=sandbox.password)
    terminal.until("Send a proof of spring (bob@example.com) to me@example.com via")
    terminal.type("n\n")
    assert terminal.end() == 2
    assert sandbox.messages == []


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


def test_quiet_prints_nothing_of_a_run_that_went_well(process: Command, campaign: Path) -> None:
    ended = process("send", campaign, "--sandbox", "--quiet", "--report", "r.json")
    assert (ended.code, ended.out) == (0, "")
    assert "sent" not in ended.err
    assert (campaign.parent / "r.json").exists()


def test_verbose_prints_a_line_for_each_session_and_recipient(process: Command, campaign: Path) -> None:
    ended = process("send", campaign, "--sandbox", "-v")
    lines = ended.err.splitlines()
    assert sum(line.startswith("session: 127.0.0.1:") for line in lines) == 1
    assert [line.split()[:3] for line in lines if line.startswith("sent ")] == [
        ["sent", f"{name}@example.com", "250"] for name in ("bob", "chloe", "dmitri")
    ]


def test_a_new_ledger_is_named_once(process: Command, campaign: Path, sandbox: Sandbox) -> None:
    password = {"MAILER_PASSWORD": sandbox.password}
    assert "new ledger: .mailer/ledger.sqlite3" in process("send", campaign, *login(sandbox), **password).err
    assert "new ledger" not in process("send", campaign, *login(sandbox), **password).err


def test_the_environment_can_name_the_authority(process: Command, campaign: Path, sandbox: Sandbox) -> None:
    ended = process("send", campaign, MAILER_SERVER=sandbox.url, MAILER_CA_FILE=str(sandbox.ca_file))
    assert (ended.code, len(sandbox.messages)) == (0, 3), ended.err


def test_a_short_password_blanks_nothing_of_our_own_words(process: Command, campaign: Path) -> None:
    ended = process("send", campaign, "--server", "smtps://me:p@127.0.0.1:1", "--report", "r.md")
    assert "[secret]" not in ended.err + ended.out + (campaign.parent / "r.md").read_text()
    assert "port" in ended.err or "127.0.0.1:1" in ended.err


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


def test_a_server_that_repeats_the_password_gives_nothing_away(
    campaign: Path, process: Command, tmp_path: Path
) -> None:
    sandbox = Sandbox(maildir=tmp_path / "caught")
    encoded = base64.b64encode(f"\0sandbox\0{sandbox.password}".encode()).decode()
    sandbox._refuse = lambda _: f"550 5.1.1 {sandbox.password} {encoded}"
    sandbox.start()
    try:
        reports = ["r.json", "r.csv", "r.html", "r.md", "r.xml", "t.txt"]
        options = [part for name in reports[:-1] for part in ("--report", name)]
        ended = process(
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
