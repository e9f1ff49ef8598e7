"""The product as its users run it: `mailer …` as a process of its own, and what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.mailserver import MailServer


@dataclass(frozen=True)
class Finished:
    exit: int
    output: str
    errors: str
    report: dict[str, Any]

    @property
    def statuses(self) -> dict[str, str]:
        return {row["email"]: row["status"] for row in self.report["recipients"]}

    @property
    def counts(self) -> dict[str, int]:
        """Without the zeros."""
        return {status: count for status, count in self.report["counts"].items() if count}


def mailer(
    *arguments: str | Path, folder: Path, password: str | None = None, seconds: float = 100
) -> subprocess.CompletedProcess[str]:
    """`mailer ARGUMENTS` in `folder`, with no setting of ours but the ledger and the password."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAILER_")}
    # The default is the project's root, which for the sample campaigns is this repository.
    environment["MAILER_LEDGER"] = str(folder / ".mailer" / "ledger.sqlite3")
    if password is not None:
        environment["MAILER_PASSWORD"] = password
    return subprocess.run(
        [sys.executable, "-m", "mailer", *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def send(
    campaign: Path,
    server: MailServer,
    folder: Path,
    *options: str | Path,
    port: str = "smtps",
    password: str | None = None,
) -> Finished:
    """`mailer send` of a campaign through a server, with a report; the ledger is in `folder`."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    access: list[str | Path] = ["--server", server.url(port), "--ca-file", server.ca_file]
    secret = (password or server.password) if server.username else None
    done = mailer("send", campaign, *access, "--report", report, *options, folder=folder, password=secret)
    found = json.loads(report.read_text()) if report.exists() else {}
    assert "Traceback" not in done.stderr, done.stderr
    assert secret is None or secret not in done.stdout + done.stderr, "the password was printed"
    return Finished(done.returncode, done.stdout, done.stderr, found)
