"""The command line as a user has it: a process of its own, or `run` where the process makes no difference."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailer.cli import run
from mailer.sandbox import Sandbox

CAMPAIGN = """\
campaign: spring
from: "Ada <ada@example.com>"
subject: "Hello {{ name }}"
text: spring.txt.j2
recipients:
  - {email: bob@example.com, name: Bob}
  - {email: chloe@example.com, name: Chloé}
  - {email: dmitri@example.com, name: Dmitri}
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`command("check", "x.yaml")` in this process, in a folder of its own.

    `env` adds to its environment, `stdin` is what it reads.
    """
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, stdin: str = "", **env: str) -> Ended:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
            code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture
def process(tmp_path: Path) -> Command:
    """The same in a process of its own, which takes half a second more: for signals, encodings and pipes."""

    def call(*arguments: object, stdin: str = "", **env: str) -> Ended:
        command = [sys.executable, "-m", "mailer", *map(str, arguments)]
        done = subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            env={**os.environ, **env},
            input=stdin.encode(),
            capture_output=True,
            timeout=60,
        )
        return Ended(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    return call


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A campaign of three, in text alone."""
    (tmp_path / "spring.txt.j2").write_text("Hello {{ name }},\n\nFrom here on it grows.\n")
    path = tmp_path / "spring.yaml"
    path.write_text(CAMPAIGN)
    return path


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox that knows no Bob."""

    def refuse(address: str) -> str | None:
        return f"550 5.1.1 <{address}>: no such user here" if address.startswith("bob") else None

    sandbox = Sandbox(maildir=tmp_path / "caught", refuse=refuse)
    sandbox.start()
    yield sandbox
    sandbox.stop()
