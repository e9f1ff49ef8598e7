"""`send --sandbox`: what is kept of a rehearsal, and what `send` does when the sandbox misbehaves."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import Maildir

Command = Callable[..., Any]


def rehearse(command: Command, campaign: Path, *options: str) -> tuple[Any, dict[str, Any]]:
    """How the command ended, and its report."""
    ended = command("send", campaign, "--sandbox", "--report", "r.json", *options)
    return ended, json.loads((campaign.parent / "r.json").read_text())


def caught_in(ended: Any) -> Maildir:
    return Maildir(Path(ended.err.split("caught messages: ")[1].splitlines()[0]))


def test_only_the_last_rehearsal_is_kept_in_a_private_folder(command: Command, campaign: Path) -> None:
    for _ in range(2):
        ended, _report = rehearse(command, campaign)
    maildir = caught_in(ended)
    assert [path.name for path in (campaign.parent / ".mailer").iterdir()] == [maildir.path.name]
    assert len(list(maildir)) == 3
    assert stat.S_IMODE(maildir.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(maildir.path.parent.stat().st_mode) == 0o700


def test_suppressed_addresses_get_no_mail_in_a_rehearsal_either(command: Command, campaign: Path) -> None:
    assert command("suppress", "add", "bob@example.com").code == 0
    ended, report = rehearse(command, campaign)
    assert (report["counts"]["sent"], report["counts"]["suppressed"]) == (2, 1), ended.err
    assert len(list(caught_in(ended))) == 2


def test_a_refused_recipient_fails(command: Command, campaign: Path) -> None:
    ended, report = rehearse(command, campaign, "--fail", "rcpt=550:^bob")
    assert (ended.code, report["counts"]["failed"], report["counts"]["sent"]) == (1, 1, 2)
    assert report["recipients"][0]["code"] == 550


def test_a_run_that_ends_early_is_exit_4_and_the_same_command_continues(
    command: Command, campaign: Path
) -> None:
    campaign.write_text(
        campaign.read_text() + "delivery: {stop_after: 2 in a row, window: 1, strategy: sequential}\n"
    )
    ended, report = rehearse(command, campaign, "--fail", "rcpt=550")
    assert (ended.code, report["ending"]) == (4, "given_up")
    assert (report["counts"]["failed"], report["counts"]["pending"]) == (2, 1)
    assert "hint: the same command continues with the 1 pending recipient" in ended.err
    assert "--retry-failed" not in ended.err  # what was refused may have the cause that ended the run


def test_a_message_that_is_refused_the_first_time_arrives_the_second_time(
    command: Command, campaign: Path
) -> None:
    campaign.write_text(campaign.read_text() + "delivery: {backoff: {first: 10ms, most: 20ms}}\n")
    ended, report = rehearse(command, campaign, "--fail", "data=451:first")
    assert (ended.code, report["counts"]["sent"]) == (0, 3), ended.err
    assert {row["attempts"] for row in report["recipients"]} == {2}


def test_a_421_ends_the_session_and_the_run_continues_in_another(command: Command, campaign: Path) -> None:
    campaign.write_text(campaign.read_text() + "delivery: {backoff: {first: 10ms, most: 20ms}}\n")
    ended, report = rehearse(command, campaign, "--fail", "421:first")
    assert (ended.code, report["counts"]["sent"]) == (0, 3), ended.err
    assert report["server"]["sessions"] > 1


def test_a_connection_that_is_always_cut_is_an_end_in_doubt(command: Command, campaign: Path) -> None:
    campaign.write_text(
        campaign.read_text() + "delivery: {in_doubt: hold, backoff: {first: 10ms, most: 20ms}}\n"
    )
    ended, report = rehearse(command, campaign, "--drop", "100%")
    assert ended.code in (1, 3)
    assert report["counts"]["sent"] == 0
    assert report["counts"]["in_doubt"] >= 1
    assert len(list(caught_in(ended))) >= 1  # the messages had arrived


@pytest.mark.parametrize(
    ("options", "strategy"),
    [(["--no-chunking"], "pipelined"), (["--no-pipelining"], "sequential"), ([], "streamed")],
)
def test_the_strategy_is_the_one_that_the_sandbox_offers(
    command: Command, campaign: Path, options: list[str], strategy: str
) -> None:
    ended, report = rehearse(command, campaign, *options)
    assert (ended.code, report["server"]["strategy"]) == (0, strategy), ended.err


@pytest.mark.parametrize(
    "options", [["--starttls"], ["--tls-only"], ["--starttls", "--tls-only"], ["--delay", "5ms"]]
)
def test_other_kinds_of_server(command: Command, campaign: Path, options: list[str]) -> None:
    ended, report = rehearse(command, campaign, *options)
    assert (ended.code, report["counts"]["sent"]) == (0, 3), ended.err
    assert report["server"]["tls"].startswith("TLSv1.")


def test_a_login_that_is_refused(command: Command, campaign: Path) -> None:
    ended = command("send", campaign, "--sandbox", "--fail", "auth=535 5.7.8 Wrong")
    assert ended.code == 3
    assert "Wrong" in ended.err


def test_the_dialogue_is_kept_without_the_password(command: Command, campaign: Path) -> None:
    ended, _report = rehearse(command, campaign)
    (file,) = (caught_in(ended).path / "sessions").iterdir()
    text = file.read_text()
    assert "C: EHLO" in text
    assert "S: 250 2.0.0 OK: caught as" in text
    assert re.search(r"C: AUTH \S+ \(hidden\)\n", text) or "C: AUTH" in text
    assert "sandbox\0" not in text
    assert {message.dialogue for message in caught_in(ended)} == {file.stem}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--fail", "oops"], "expected [STAGE=]CODE"),
        (["--fail", "helo=550"], "'helo' is not a stage"),
        (["--fail", "rcpt=550:("], "regular expression"),
        (["--delay", "soon"], "duration"),
        (["--drop", "lots"], "percentage"),
    ],
)
def test_a_rule_that_is_not_understood_is_exit_2(
    command: Command, campaign: Path, options: list[str], reason: str
) -> None:
    for words in (["send", campaign, "--sandbox"], ["sandbox"]):
        ended = command(*words, *options)
        assert ended.code == 2
        assert reason in ended.err


def test_misbehaviour_without_the_sandbox_is_an_error(command: Command, campaign: Path) -> None:
    ended = command("send", campaign, "--no-chunking")
    assert ended.code == 2
    assert "--no-chunking has no effect without --sandbox" in ended.err
