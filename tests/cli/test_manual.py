"""The man page and the completions are those of the command, and the tools that read them accept them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.help_blocks import commands
from tests.cli.manual import DOCS, make_files

FILES = make_files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_generated_file_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path], "run: make generated"


def test_the_man_page_has_every_command_and_exit_code() -> None:
    page = FILES[DOCS / "man" / "mailer.1"]
    for name, _ in commands():
        assert name == "mailer" or f".SS {name}" in page
    for code in (0, 1, 2, 3, 4, 70, 74, 141):
        assert f"\n.B {code}" in page


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff (Debian: apt-get install groff-base)")
def test_groff_has_no_complaint() -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-K", "utf8", str(DOCS / "man" / "mailer.1")],
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    assert b"mailer send" in done.stdout


@pytest.mark.parametrize(
    ("shell", "name"), [("bash", "mailer.bash"), ("zsh", "_mailer"), ("fish", "mailer.fish")]
)
def test_the_shell_can_read_its_completion(shell: str, name: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    subprocess.run([shell, "-n", str(DOCS / "completion" / name)], check=True, capture_output=True)


def complete(folder: Path, words: str, position: int) -> list[str]:
    """What bash is told for the words; the last one is being typed."""
    environment = {
        **os.environ,
        "_MAILER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(position),
    }
    done = subprocess.run(
        [sys.executable, "-m", "mailer"],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )
    return [line.split(",", 1)[1] for line in done.stdout.splitlines()]


def test_commands_options_and_campaigns_are_completed(tmp_path: Path) -> None:
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "campaigns" / "spring.yaml").touch()
    assert complete(tmp_path, "mailer se", 1) == ["send"]
    assert "--sandbox" in complete(tmp_path, "mailer send --sa", 2)
    assert complete(tmp_path, "mailer send sp", 2)[0] == "spring"
