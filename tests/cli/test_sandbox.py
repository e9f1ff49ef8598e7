from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

pytestmark = pytest.mark.slow  # each starts a process


@contextmanager
def start(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A running sandbox, which is ended with the block, also by a failing test."""
    command = [sys.executable, "-m", "mailer", "sandbox", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def lines(running: subprocess.Popen[str], count: int) -> list[str]:
    assert running.stdout is not None
    return [running.stdout.readline().rstrip("\n") for _ in range(count)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_prints_its_addresses_and_serves_until_interrupted(
    process: Command, campaign: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with start(tmp_path) as running:
        said = dict(line.split(" ", 1) for line in lines(running, 3))
        assert list(said) == ["page", "smtps", "ca"]
        assert dict(line.split(" ", 1) for line in lines(running, 3)).keys() == {"maildir", "api", "export"}
        assert said["page"].startswith("http://127.0.0.1:")
        ended = process("send", campaign, "--server", said["smtps"], "--ca-file", said["ca"])
        assert ended.code == 0, ended.err
        running.send_signal(number)
        _, err = running.communicate(timeout=20)
    assert running.returncode == code, err
    assert "Traceback" not in err
    assert not Path(said["ca"]).exists()


def test_with_json_the_addresses_are_one_line(tmp_path: Path) -> None:
    with start(tmp_path, "--json", "--maildir", "kept") as running:
        (line,) = lines(running, 1)
        said = json.loads(line)
        assert {"page", "smtps", "ca"} <= said.keys()
        assert Path(said["maildir"]) == tmp_path / "kept"
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)


def test_a_port_in_use_is_an_error(tmp_path: Path) -> None:
    with start(tmp_path, "--json") as running:
        port = json.loads(lines(running, 1)[0])["smtps"].rpartition(":")[2]
        with start(tmp_path, "--port", port) as second:
            _, err = second.communicate(timeout=20)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
    assert second.returncode == 2
    assert err.startswith("mailer: error: the sandbox could not start")


@pytest.mark.parametrize("option", ["--maildir", "--ca-dir"])
def test_a_file_in_place_of_a_folder_is_an_error_that_names_it(
    process: Command, tmp_path: Path, option: str
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    ended = process("sandbox", option, "notes.txt")
    assert ended.code == 2
    assert ended.err.startswith("mailer: error: the sandbox could not start: notes.txt")


def test_a_maildir_is_printed_as_it_would_be_typed_here(tmp_path: Path) -> None:
    with start(tmp_path, "--maildir", str(tmp_path / "kept")) as running:
        assert "maildir kept" in lines(running, 6)
