"""The jobs of docs/ci.md, run step by step in a repository made for the test, against the sandbox.

Stand-ins: `gh` (downloads artifacts from a folder), the service's actions and `pip` (the command is there already).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailer.sandbox import Sandbox

pytestmark = pytest.mark.slow  # each step is a process
ROOT = Path(__file__).parent.parent
GITHUB, GITLAB, CHECK = (
    yaml.safe_load(text)
    for text in re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(encoding="utf-8"), re.DOTALL
    )
)
GH = """#!/bin/sh
# gh run list … prints the runs, the newest first; gh run download RUN --name NAME --dir DIR
case "$2" in
  list) ls -r "$ARTIFACTS" ;;
  download) test "$4" = --name -a "$6" = --dir && cp "$ARTIFACTS/$3/$5"/* "$7" ;;
esac
"""


@dataclass
class Job:
    """A checkout with the project's sample for releases, and what the service gives a job."""

    folder: Path
    environment: dict[str, str]
    secrets: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def run(self, script: str, shell: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*shell, script], cwd=self.folder, env=self.environment | environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

    def run_github(self, job: dict[str, Any]) -> list[int]:
        """Run the job's steps as GitHub does, in a new checkout, and return the exit codes of its commands."""
        self.runs += 1
        make_checkout(self.folder)
        codes: list[int] = []
        for step in job["steps"]:
            if any(codes) and step.get("if") != "always()":
                continue
            if "run" in step and not step["run"].startswith("pip install"):
                given = {name: self.resolve(text) for name, text in step.get("env", {}).items()}
                done = self.run(step["run"], ["bash", "-e", "-c"], **given)
                print(done.stdout, done.stderr)
                codes.append(done.returncode)
            elif step.get("uses", "").startswith("actions/upload-artifact"):
                self.upload(step["with"])
        return codes

    def resolve(self, text: str) -> str:
        """Replace `${{ secrets.NAME }}`; the server of the example becomes the sandbox."""
        text = re.sub(r"\$\{\{ (?:secrets|github)\.(\w+) \}\}", lambda match: self.secrets[match[1]], text)
        return self.secrets["SERVER"] if text.startswith("smtps://news@example.com") else text

    def upload(self, given: dict[str, Any]) -> None:
        source = self.folder / given["path"]
        assert source.is_file() or given["if-no-files-found"] == "ignore"
        if source.is_file():
            kept = Path(self.environment["ARTIFACTS"]) / f"{self.runs:03}" / given["name"]
            kept.mkdir(parents=True)
            shutil.copy(source, kept)


def make_checkout(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("campaigns/announcement.yaml", "templates/announcement.md.j2"):
        target = folder / name.replace("announcement.yaml", "release.yaml")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)


@pytest.fixture
def job(tmp_path: Path, sandbox: Sandbox) -> Job:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gh").write_text(GH)
    (programs / "mailer").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mailer "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    (tmp_path / "artifacts").mkdir()
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path), "CI": "true", "PYTHONPATH": str(ROOT),
        "ARTIFACTS": str(tmp_path / "artifacts"), "MAILER_CA_FILE": str(sandbox.ca_file),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "GITHUB_REF_NAME": "2.5.0",
    }  # fmt: skip
    server = f"smtps://sandbox@127.0.0.1:{sandbox.port}"
    secrets = {"SMTP_PASSWORD": sandbox.password, "LEDGER_KEY": "k" * 40, "token": "t", "SERVER": server}
    make_checkout(tmp_path / "repository")
    return Job(tmp_path / "repository", environment, secrets)


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl, as the service's machines have it"
)
def test_the_github_job_sends_a_release_once(job: Job, sandbox: Sandbox) -> None:
    announce = GITHUB["jobs"]["announce"]
    assert job.run_github(announce) == [0, 0, 0]
    assert len(sandbox.messages) == 3
    summary = Path(job.environment["GITHUB_STEP_SUMMARY"])
    assert "announcement-2.5.0" in summary.read_text()
    assert b"@example.com" not in (Path(job.environment["ARTIFACTS"]) / "001/ledger/ledger.enc").read_bytes()

    assert job.run_github(announce) == [0, 0, 0]  # run again: the ledger of the first run is found
    assert len(sandbox.messages) == 3
    job.environment["GITHUB_REF_NAME"] = "2.6.0"
    assert job.run_github(announce) == [0, 0, 0]
    assert len(sandbox.messages) == 6


def test_the_github_job_fails_with_a_wrong_campaign_and_keeps_the_ledger(job: Job, sandbox: Sandbox) -> None:
    announce = GITHUB["jobs"]["announce"]
    job.run_github(announce)
    wrong = {**announce, "steps": [{"run": "rm templates/*"}, *announce["steps"]]}
    assert job.run_github(wrong) == [0, 0, 2, 0]
    assert len(sandbox.messages) == 3
    assert (Path(job.environment["ARTIFACTS"]) / "002/ledger/ledger.enc").is_file()
    assert job.run_github(announce) == [0, 0, 0]
    assert len(sandbox.messages) == 3


def test_the_gitlab_job_sends_once_and_writes_its_tests(job: Job, sandbox: Sandbox, tmp_path: Path) -> None:
    notify = GITLAB["notify"]
    assert "CI_COMMIT_TAG" in str(notify["rules"])
    variables = {
        "MAILER_SERVER": job.secrets["SERVER"], "MAILER_PASSWORD": sandbox.password,
        "MAILER_LEDGER": str(tmp_path / "kept" / "ledger.sqlite3"), "CI_COMMIT_TAG": "2.5.0",
    }  # fmt: skip
    for _ in range(2):
        for line in notify["script"]:
            done = job.run(line, ["bash", "-eo", "pipefail", "-c"], **variables)
            assert done.returncode == 0, done.stderr
        assert len(sandbox.messages) == 3
    suite = ElementTree.parse(job.folder / notify["artifacts"]["reports"]["junit"]).getroot()
    assert len(list(suite.iter("testcase"))) >= 3


def test_the_check_of_a_pull_request_passes_and_finds_an_error(job: Job) -> None:
    steps = {"steps": CHECK["check"]["steps"]}
    environment = dict(job.environment)
    job.environment |= {"SMTP_PASSWORD": "", "MAILER_SERVER": ""}
    assert job.run_github(steps) == [0]
    assert job.run_github({"steps": [{"run": "echo '{{ nmae }}' >> templates/*"}, *steps["steps"]]}) == [0, 2]
    assert environment.keys() <= job.environment.keys()


def test_the_last_example_lets_a_job_pass_though_a_recipient_was_refused(job: Job, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"`(mailer send … [^`]+)`", page)
    arguments = "campaigns/release.yaml --sandbox --fail rcpt={code}:^ops"
    for code, expected in (("550", 0), ("999", 1)):
        done = job.run(line.replace("…", arguments.format(code=code)), ["bash", "-e", "-c"])
        assert done.returncode == expected, done.stderr


def test_the_github_example_is_protected_and_uses_no_cache() -> None:
    announce = GITHUB["jobs"]["announce"]
    assert announce["environment"]
    assert announce["concurrency"]
    assert {step["uses"].split("@")[0] for step in announce["steps"] if "uses" in step} == {
        "actions/checkout", "actions/setup-python", "actions/upload-artifact",
    }  # fmt: skip
