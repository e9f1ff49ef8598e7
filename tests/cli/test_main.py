"""One way in and one way out: every exception is a line and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from mailer.cli import console, options, run
from mailer.cli.exit_codes import ExitCode
from mailer.errors import InputError, LedgerBusy, LedgerWriteError, MissingExtra, Problem, Unreachable
from mailer.secret import Secret

Command = Callable[..., object]


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes every command raise."""

    def arrange(error: BaseException) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setattr(
            options.CommandGroup, "get_command", lambda *_: click.Command("schema", callback=fail)
        )

    return arrange


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("wrong"), 2),
        (LedgerBusy("wrong"), 2),
        (MissingExtra("wrong"), 2),
        (Unreachable("wrong"), 3),
        (LedgerWriteError("wrong"), 3),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
        (OSError(28, "No space left on device", "file"), 74),
        (MemoryError(), 74),
        (ZeroDivisionError("wrong"), 70),
    ],
)
def test_each_exception_has_its_exit_code(
    raising: Command, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    raising(error)
    assert run(["schema"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert printed.err.startswith("mailer: error: ") or code == ExitCode.BROKEN_PIPE


def test_each_problem_is_a_line_and_the_hint_follows(
    raising: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(InputError([Problem(None, "one"), Problem(None, "two\x1b[2J")], hint="do this"))
    run(["schema"])
    assert capsys.readouterr().err.splitlines() == [
        "mailer: error: one",
        "mailer: error: two\\x1b[2J",
        "hint: do this",
    ]


def test_a_bug_asks_for_the_traceback(raising: Command, capsys: pytest.CaptureFixture[str]) -> None:
    raising(KeyError("x"))
    run(["schema"])
    assert "MAILER_DEBUG=1" in capsys.readouterr().err


def test_debug_gives_the_traceback(raising: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_DEBUG", "1")
    raising(KeyError("x"))
    with pytest.raises(KeyError):
        run(["schema"])


def test_a_secret_is_blanked_wherever_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        console.add_secret(Secret("hunter2"))
        raise ValueError("the server said hunter2 and aHVudGVyMg==")

    monkeypatch.setattr(
        options.CommandGroup, "get_command", lambda *_: click.Command("schema", callback=fail)
    )
    run(["schema"])
    assert (
        capsys.readouterr().err.splitlines()[0]
        == "mailer: error: ValueError: the server said [secret] and [secret]"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sned"], "there is no command 'sned'; did you mean 'send'?"),
        (["xyzzy"], "expected one of init, check"),
        (["bounces"], "no 'bounces' command yet"),
        (["send"], "Missing argument 'CAMPAIGN'"),
        (["send", "x.yaml", "--rate", "fast"], "expected a rate such as 14/second"),
        (["send", "x.yaml", "--var", "novalue"], "is not NAME=VALUE"),
        (["send", "x.yaml", "--connections", "0"], "'0': expected a number from 1 to 100, or auto"),
        (["send", "x.yaml", "--connections", "many"], "'many': expected a number from 1 to 100, or auto"),
        (["send", "x.yaml", "--window", "100001"], "100001 is not in the range"),
        (["check", ""], "expected the path of a campaign file"),
        (["send", "x.yaml", "--nonsense"], "No such option"),
        (["render", "x.yaml"], "either --out DIR or --mbox FILE"),
    ],
)
def test_a_wrong_command_line_is_exit_2_with_a_hint(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("mailer: error: ")
    assert said in error
    assert "\nhint: mailer" in error


def test_alone_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_version_in_a_process() -> None:
    done = subprocess.run([sys.executable, "-m", "mailer", "--version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"mailer ")


@pytest.mark.parametrize("arguments", [["schema"], ["--version"], ["render", "CAMPAIGN", "--mbox", "-"]])
def test_a_reader_that_leaves_is_no_error(campaign: Path, arguments: list[str]) -> None:
    """The pipe's reader is gone before anything is written."""
    command = [str(campaign) if word == "CAMPAIGN" else word for word in arguments]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mailer", *command], check=False, stdout=writing, stderr=subprocess.PIPE
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.slow
@pytest.mark.parametrize(("closed", "code"), [("<&-", 0), (">&-", 74), ("2>&-", 0), ("<&- >&- 2>&-", 74)])
def test_a_standard_stream_that_is_closed_is_no_traceback(
    tmp_path: Path, campaign: Path, closed: str, code: int
) -> None:
    command = f'exec "{sys.executable}" -m mailer send "{campaign}" --sandbox --report r.md {closed}'
    done = subprocess.run(["sh", "-c", command], check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert (
        "recipient has the message" in (tmp_path / "r.md").read_text()
        or "recipients have the message" in (tmp_path / "r.md").read_text()
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
@pytest.mark.parametrize("command", ["schema", "--version"])
def test_a_full_disk_is_one_line(command: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mailer", command], check=False, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 74
    expected = "mailer: error: standard output cannot be written: No space left on device"
    assert done.stderr.decode().splitlines() == [expected]


def test_without_descriptors_the_error_is_one_line(process: Command, campaign: Path) -> None:
    """asyncio's loop cannot be made then, and its destructor raises."""
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)); sys.argv[0] = 'mailer'"
    script = f"{limit}; runpy.run_module('mailer', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", script, "send", campaign, "--server", "smtp://127.0.0.1:1"],
        check=False, cwd=campaign.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 74
    assert [line for line in done.stderr.splitlines() if not line.startswith("new ledger")] == [
        "mailer: error: Too many open files"
    ]


@pytest.mark.parametrize("arguments", [["suppress", "list"], ["report"], ["check", "../x.yaml"]])
def test_a_working_directory_that_was_removed_is_said(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "x.yaml").write_text("campaign: x\n")
    script = (
        "import os, runpy, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); sys.argv[0] = 'mailer'; "
        "runpy.run_module('mailer', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *arguments],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "mailer: error: the working directory was removed\nhint: cd to another one\n"
