"""The product's own sandbox, in a process of its own, behind the same interface as the real servers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.servers.mailserver import MailServer, private_folder, process


@contextmanager
def run_sandbox() -> Iterator[MailServer]:
    with private_folder("sandbox") as folder:
        output, maildir = folder / "output", folder / "mail"
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "mailer",
            "sandbox",
            "--json",
            "--maildir",
            maildir,
        ]
        with process(command, output) as running:
            deadline = time.monotonic() + 20
            while not output.read_text().endswith("\n"):
                assert running.poll() is None, output.read_text()
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.02)
            told = json.loads(output.read_text().splitlines()[0])
            url = urlsplit(told["smtps"])
            assert url.port
            yield MailServer(
                "sandbox",
                folder,
                {"smtps": url.port},
                Path(told["ca"]),
                maildir,
                host=url.hostname or "",
                username=unquote(url.username or ""),
                password=unquote(url.password or ""),
                logs=[output],
            )
