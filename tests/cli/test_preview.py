"""`mailer preview` as a command: its address, its proof, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import Sandbox
from tests.web.visitor import Visitor

pytestmark = pytest.mark.slow  # each starts a process

CAMPAIGN = """campaign: spring
from: ada@example.com
subject: "Hello {{ name }}"
text: letter.txt.j2
recipients: [{email: bob@example.com, name: Bob}, {email: eve@example.com, name: Eve}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "spring.yaml").write_text(CAMPAIGN)
    (tmp_path / "letter.txt.j2").write_text("Dear {{ name }}")
    return tmp_path


@contextmanager
def preview(project: Path, *options: str, **environment: str) -> Iterator[tuple[Any, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "mailer", "preview", "spring.yaml", "--json", *options]
    with subprocess.Popen(
        command,
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline()), process
        finally:
            process.kill()


def test_it_prints_its_address_and_ends_with_the_signal(project: Path) -> None:
    with preview(project) as (addresses, process):
        visitor = Visitor(addresses["page"])
        assert visitor.json("message?position=1")["subject"] == "Hello Eve"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        assert process.stderr is not None
        assert process.stderr.read().strip() == ""


def test_a_proof_goes_to_the_server_of_send(project: Path, sandbox: Sandbox) -> None:
    options = (f"--server={sandbox.url}", f"--ca-file={sandbox.ca_file}")
    with preview(project, *options) as (addresses, _process):
        visitor = Visitor(addresses["page"])
        outcome = visitor.json("proof", method="POST", body={"address": "me@example.com", "position": 1})
        assert outcome["isSent"], outcome
        (caught,) = sandbox.messages
        assert caught.recipients == ("me@example.com",)
        assert b"Subject: Hello Eve" in caught.content
        outcome = visitor.json("proof", method="POST", body={"address": "not an address", "position": 1})
        assert not outcome["isSent"]
        assert len(sandbox.messages) == 1
        assert visitor.request("proof", method="POST", body=b"{}")[0] == 400
        assert (
            visitor.request("proof", method="POST", body=b'{"address": "a@b.example", "position": 99}')[0]
            == 404
        )


def test_a_proof_without_a_server_says_so(project: Path) -> None:
    with preview(project) as (addresses, _process):
        visitor = Visitor(addresses["page"])
        outcome = visitor.json("proof", method="POST", body={"address": "me@example.com", "position": 0})
        assert not outcome["isSent"]
        assert "server" in outcome["text"]


def test_a_campaign_that_does_not_exist(project: Path) -> None:
    command = [sys.executable, "-m", "mailer", "preview", "missing.yaml"]
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "missing.yaml: there is no such campaign file" in ended.stderr
