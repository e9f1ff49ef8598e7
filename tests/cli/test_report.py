"""`mailer report`: from the ledger alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pytest

from mailer.report.formats import json as json_report
from mailer.report.summary import Report
from mailer.sandbox import Sandbox

Command = Callable[..., Any]


@pytest.fixture
def done(command: Command, campaign: Path, sandbox: Sandbox) -> Path:
    """A campaign that was sent."""
    assert command("send", campaign, "--server", sandbox.url, "--ca-file", sandbox.ca_file).code == 0
    return campaign


def test_without_a_file_a_table_is_printed(command: Command, done: Path) -> None:
    ended = command("report", done)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == "spring"
    assert "  sent               3" in ended.out.splitlines()


def test_each_output_is_written_in_the_format_of_its_suffix(
    command: Command, done: Path, tmp_path: Path
) -> None:
    names = ["r.json", "r.csv", "r.html", "r.md", "r.xml"]
    ended = command("report", done, *(part for name in names for part in ("--output", f"out/{name}")))
    assert (ended.code, ended.out) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert json.loads((tmp_path / "out" / "r.json").read_text())["counts"]["sent"] == 3
    assert len(list(csv.DictReader(io.StringIO((tmp_path / "out" / "r.csv").read_text())))) == 3


def test_after_a_rehearsal_alone_it_says_where_the_messages_are(command: Command, campaign: Path) -> None:
    assert command("send", campaign, "--sandbox").code == 0
    for words in (["spring"], [campaign], []):
        ended = command("report", *words)
        assert ended.code == 2
        assert ".mailer/ledger.sqlite3: there is no ledger, because only rehearsals were sent" in ended.err
        assert "mailer sandbox --maildir .mailer/rehearsal-" in ended.err


def test_the_campaign_may_have_changed(command: Command, done: Path, tmp_path: Path) -> None:
    (tmp_path / "spring.txt.j2").unlink()
    done.write_text(done.read_text() + "nonsense: [\n")
    assert "sent" in command("report", done).out
    done.unlink()
    assert "sent" in command("report", "spring").out


def test_it_reads_no_secret(command: Command, done: Path) -> None:
    text = "server: {host: smtp.example.com, username: me, password: {env: NOT_SET_ANYWHERE}}\n"
    done.write_text(done.read_text() + text)
    assert command("report", done).code == 0


def test_what_the_ledger_does_not_have(command: Command, done: Path, tmp_path: Path) -> None:
    ended = command("report", "autumn")
    assert (ended.code, ended.err.splitlines()) == (
        2, ["mailer: error: the ledger has no campaign 'autumn'", "hint: it has: spring"],
    )  # fmt: skip
    assert "no edition 7" in command("report", done, "--edition", "7").err
    ended = command("report", done, "--ledger", "nowhere.sqlite3")
    assert ended.code == 2
    assert not (tmp_path / "nowhere.sqlite3").exists()


def test_a_file_that_is_none(command: Command, done: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("[")
    assert command("report", "bad.yaml").code == 2
    assert command("report", "missing.yaml").code == 2


def test_the_campaign_is_not_overwritten(command: Command, done: Path) -> None:
    before = done.read_bytes()
    assert command("report", done, "--output", done).code == 2
    assert done.read_bytes() == before


def test_an_earlier_edition_can_be_shown(command: Command, done: Path, sandbox: Sandbox) -> None:
    command("send", done, "--server", sandbox.url, "--ca-file", sandbox.ca_file, "--again")
    assert len(sandbox.messages) == 6
    assert command("report", done).out.splitlines()[0] == "spring (edition 2)"
    assert command("report", done, "--edition", "1").out.splitlines()[0] == "spring"


@pytest.mark.slow
def test_a_report_of_a_campaign_that_is_being_sent_agrees_with_itself(
    command: Command, process: Command, campaign: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, write = ["--server", sandbox.url, "--ca-file", str(sandbox.ca_file)], json_report.write
    assert command("send", campaign, *server, "--limit", "1").code == 0

    def meanwhile(report: Report, stream: TextIO) -> None:
        """Between the figures and the recipients the rest is sent."""
        assert process("send", campaign, *server).code == 0
        write(report, stream)

    monkeypatch.setattr(json_report, "write", meanwhile)
    assert command("report", campaign, "--output", "r.json").code == 0
    report = json.loads(Path("r.json").read_text())
    assert report["counts"]["sent"] == [row["status"] for row in report["recipients"]].count("sent") == 1
