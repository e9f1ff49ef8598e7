from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mailer.sandbox import Sandbox

Command = Callable[..., Any]


def test_a_person_is_removed_and_gets_no_mail_of_the_campaign_again(
    command: Command, campaign: Path, refusing: Sandbox
) -> None:
    """Bob's message was refused, and so is deleted; Chloe's was sent."""
    options = ["--server", refusing.url, "--ca-file", refusing.ca_file, "--ledger", "mail.sqlite3"]
    assert command("send", campaign, *options, MAILER_PASSWORD=refusing.password).code == 1
    ended = command("forget", "chloe@example.com", "bob@example.com", "no@example.com", *options[4:])
    assert ended.code == 0
    assert ended.err.splitlines() == [
        "chloe@example.com: removed from 1 message (1 stay without the address)",
        "bob@example.com: removed from 1 message",
        "no@example.com: the ledger has nothing of this address",
    ]
    before = len(refusing.messages)
    campaign.write_text(f"{campaign.read_text()}  - {{email: new@example.com, name: New}}\n")
    again = command("send", campaign, *options, MAILER_PASSWORD=refusing.password)
    assert again.code == 0, again.err
    assert len(refusing.messages) == before + 1
    report = command("report", campaign, "--output", "json:-", *options[4:])
    assert report.code == 0, report.err
    assert "chloe@" not in report.out
    assert "bob@" not in report.out
    assert '"sent": 3' in report.out


def test_what_is_not_an_address_is_refused(command: Command) -> None:
    command("suppress", "add", "bob@example.com")
    ended = command("forget", "bob")
    assert ended.code == 2
    assert "bob" in ended.err


def test_without_a_ledger_there_is_nothing_to_remove(command: Command) -> None:
    assert command("forget", "bob@example.com").code == 2
