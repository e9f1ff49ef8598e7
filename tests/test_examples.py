"""The examples of the README and of docs/, run as a reader would run them, against the sandbox."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailer import load_campaign
from mailer.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def find_blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def find_commands(path: Path) -> list[str]:
    """The lines of the blocks that begin with `$ `, without their comments."""
    return [
        line.removeprefix("$ ").split("   #")[0].strip()
        for block in find_blocks(path, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


@pytest.fixture
def shell(tmp_path: Path, sandbox: Sandbox) -> dict[str, str]:
    """The environment of a shell whose `mailer` is this one, and whose server is the sandbox."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "mailer"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mailer "$@"\n')
    program.chmod(0o755)
    return {
        **{name: value for name, value in os.environ.items() if name != "CI"},
        "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
        "MAILER_SERVER": f"smtps://sandbox@127.0.0.1:{sandbox.port}", "MAILER_PASSWORD": sandbox.password,
        "MAILER_CA_FILE": str(sandbox.ca_file),
    }  # fmt: skip


def run(line: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-e", "-c", line], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_readmes_commands_make_check_rehearse_and_send_a_campaign(
    tmp_path: Path, shell: dict[str, str], sandbox: Sandbox
) -> None:
    lines = [line for line in find_commands(ROOT / "README.md") if " spring" in line]
    assert [line.split()[1] for line in lines] == ["init", "preview", "check", "send", "send", "send"]
    for line in lines:
        if "preview" not in line:  # it serves until it is interrupted; tests/cli/test_preview.py
            run(line, tmp_path, shell)
    (proof, *messages) = sandbox.messages
    assert proof.recipients == ("me@example.com",)
    assert len(messages) == len(list(load_campaign(tmp_path / "campaigns" / "spring.yaml").recipients))


@pytest.mark.slow
def test_the_commands_of_mailer_send_follow_on_each_other(
    tmp_path: Path, shell: dict[str, str], sandbox: Sandbox
) -> None:
    run("mailer init spring", tmp_path, shell)
    lines = [line for line in find_commands(DOCS / "commands.md") if line.startswith("mailer send spring")]
    assert len(lines) == 5
    said = [run(line, tmp_path, shell) for line in lines]
    assert (tmp_path / "out" / "spring.html").is_file()
    assert "nothing to do" in said[-1]  # the starter's list is shorter than --limit


@pytest.mark.slow
def test_the_first_example_of_the_readme_sends_the_sample(tmp_path: Path, shell: dict[str, str]) -> None:
    for name in ("campaigns", "templates"):
        shutil.copytree(ROOT / name, tmp_path / name)
    line = next(
        line for line in find_commands(ROOT / "README.md") if line.endswith("newsletter.yaml --sandbox")
    )
    assert "sent              16" in run(line, tmp_path, shell)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_export_line_and_the_api_of_the_sandbox_work_as_documented(
    tmp_path: Path, shell: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "mailer", "sandbox"]
    for name in ("MAILER_SERVER", "MAILER_PASSWORD", "MAILER_CA_FILE"):
        del shell[name]
    with subprocess.Popen(command, cwd=tmp_path, env=shell, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            lines = [running.stdout.readline().strip() for _ in range(6)]
            documented = find_blocks(DOCS / "sandbox.md", "console")[0].splitlines()[1:]
            assert [line.split()[0] for line in lines] == [line.split()[0] for line in documented]
            run(f"mailer init welcome\n{lines[-1]}\nmailer send welcome", tmp_path, shell)
            addresses = dict(line.split(" ", 1) for line in lines)
            login = re.findall(r"//(.*)@", addresses["smtps"])[0]
            (curl,) = [line for line in find_commands(DOCS / "sandbox.md") if line.startswith("curl")]
            words = shlex.split(curl.replace("find=welcome", "find=example.com"))
            words[words.index("-u") + 1] = login
            words[-1] = addresses["api"] + words[-1].partition("/api/messages")[2]
            found = json.loads(run(shlex.join([*words, "-sS"]), tmp_path, shell))
            example = find_blocks(DOCS / "sandbox.md", "console")[1].split("\n", 1)[1]
            assert found.keys() == json.loads(example).keys()
            assert found["messages"][0].keys() >= json.loads(example)["messages"][0].keys()
        finally:
            running.kill()


def test_the_examples_of_the_api_run_as_they_are_written(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("campaigns", "templates"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "invoice.txt.j2").write_text("Your invoice {{ number }}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_CA_FILE", str(sandbox.ca_file))
    first, program, tests = find_blocks(DOCS / "api.md", "python")
    (in_python,) = find_blocks(DOCS / "sandbox.md", "python")
    server = f'server="smtps://sandbox@127.0.0.1:{sandbox.port}", ca_file="{sandbox.ca_file}"'
    first = re.sub(r'server="[^"]+"', server, first).replace('password="…"', f'password="{sandbox.password}"')
    names: dict[str, Any] = {}
    exec(compile(first, "docs/api.md", "exec"), names)
    assert (capsys.readouterr().out, len(sandbox.messages)) == ("16 []\n", 16)
    rows = [
        SimpleNamespace(email="ada@example.com", number=7),
        SimpleNamespace(email="bob@example.com", number=8),
    ]
    names = {"rows": rows}
    exec(compile(program, "docs/api.md", "exec"), names)
    assert b"Your invoice 7" in names["message"].content
    names["campaign"] = load_campaign("campaigns/notification.yaml")
    exec(compile(tests, "docs/api.md", "exec"), names)
    one = {"name": "one", "sender": "a@example.com", "subject": "x", "text": "invoice.txt.j2"}
    names["campaign"] = names["Campaign"](**one, recipients=[{"email": "bob@example.com", "number": 1}])
    exec(compile(in_python, "docs/sandbox.md", "exec"), names)
