"""A signal ends a command at once, whatever work a stranger's file gives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mailer.campaign import load_campaign
from mailer.cli.progress import create_display
from mailer.cli.summary import conclude
from mailer.delivery.options import Ending, RunResult
from mailer.delivery.signals import StopSignal
from mailer.ledger import Ledger

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
SLOW = "range(9999)|select('in', range(99999)|list)|list|length"
BUSY_SECONDS = 0.5  # of a child's processor time: nothing but the work takes as long
CAMPAIGN = """\
campaign: NAME
from: ada@example.com
subject: "SUBJECT"
text: a.txt
key: "KEY"
recipients: {file: people.csv, where: "WHERE"}
server: {host: 127.0.0.1, port: 9}
"""
USUAL = {"NAME": "spring", "SUBJECT": "Hi", "KEY": "{{ email }}", "WHERE": "email"}
WORK = {
    "the name": {"NAME": f'"a{ENDLESS}"'},
    "the subject": {"SUBJECT": ENDLESS},
    "key": {"KEY": ENDLESS},
    "where": {"WHERE": SLOW},
    "a template": {},
}
COMMANDS = [["check"], ["render", "--mbox", "-"], ["send", "--yes"], ["send", "--dry-run"]]


def find_processor_seconds(process: int) -> float:
    """Of a process, and of its children."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ticks = 0
    for child in children:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        ticks = max(ticks, int(fields[11]) + int(fields[12]))
    return ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("work", WORK)
def test_a_signal_ends_the_command(tmp_path: Path, command: list[str], work: str) -> None:
    text = CAMPAIGN
    for name, value in {**USUAL, **WORK[work]}.items():
        text = text.replace(name, value)
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "people.csv").write_text("email\nbob@example.com\n")
    (tmp_path / "a.txt").write_text(ENDLESS if work == "a template" else "Hi\n")
    started = [sys.executable, "-m", "mailer", command[0], "a.yaml", *command[1:]]
    with subprocess.Popen(
        started, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        while process.poll() is None and find_processor_seconds(process.pid) < BUSY_SECONDS:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(
            timeout=5
        )  # a loaded machine needs more than a second; the work needs ten
    assert process.returncode == 143, said


def test_a_signal_before_the_list_is_planned_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ledger knows the campaign only once its list is planned: there is nothing to report."""
    (tmp_path / "a.yaml").write_text(
        "campaign: spring\nfrom: a@example.com\nsubject: Hi\ntext: a.txt\nrecipients: [b@example.com]\n"
    )
    (tmp_path / "a.txt").write_text("Hi\n")
    stop = StopSignal()
    stop.number = signal.SIGTERM
    result = RunResult(Ending.INTERRUPTED, 1, None, "interrupted before anything was sent")
    display = create_display(None, limit=None, quiet=False, verbose=False, server_name=None)
    with Ledger.open_temporary() as ledger:
        campaign = load_campaign(tmp_path / "a.yaml")
        code = conclude(result, ledger, campaign, (), display, proof=None, quiet=False, stop=stop)
    shown = capsys.readouterr()
    assert (code, shown.out, shown.err) == (
        143,
        "",
        "mailer: error: interrupted before anything was sent\n",
    )
