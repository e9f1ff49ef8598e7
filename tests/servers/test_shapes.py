"""Servers that want to be asked in their own way: each message arrives once, no recipient fails for the server."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.servers.mailserver import MailServer
from tests.servers.product import Finished, send

COUNT = 30
CAMPAIGN = """\
campaign: shapes
from: news@example.com
subject: "for {{ email }}"
text: mail.txt.j2
recipients: people.csv
delivery: {backoff: {first: 10ms, most: 20ms}, timeout: 20s}
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """Every fifth recipient is refused at RCPT, every seventh after the content (if the server is told so)."""
    kinds = ["refused" if n % 5 == 1 else "unwanted" if n % 7 == 2 else "r" for n in range(COUNT)]
    people = "".join(f"{kind}{n}@example.com\n" for n, kind in enumerate(kinds))
    (tmp_path / "people.csv").write_text("email\n" + people)
    (tmp_path / "mail.txt.j2").write_text("Hello {{ email }},\n" + "a line\n" * 200)
    (tmp_path / "shapes.yaml").write_text(CAMPAIGN)
    return tmp_path / "shapes.yaml"


def check(done: Finished, server: MailServer, *refused: str) -> None:
    """What the report says is what arrived, once each, and only for its own recipient."""
    expected = {email: "failed" if email.startswith(refused) else "sent" for email in done.statuses}
    assert len(expected) == COUNT
    assert done.statuses == expected, done.errors
    arrived = server.messages(sum(status == "sent" for status in expected.values()))
    subjects = Counter(str(message["Subject"]).removeprefix("for ") for message in arrived)
    assert subjects == Counter(email for email, status in expected.items() if status == "sent")
    for message in arrived:
        delivered_to = str(message["Delivered-To"] or message["X-Original-To"] or "")
        assert not delivered_to or delivered_to == str(message["Subject"]).removeprefix("for ")


def test_haraka_refuses_what_is_pipelined_behind_the_end(
    haraka: MailServer, campaign: Path, tmp_path: Path
) -> None:
    done = send(campaign, haraka, tmp_path, port="smtp")
    check(done, haraka, "refused")
    assert done.report["server"]["strategy"] == "pipelined"
    assert done.report["server"]["sessions"] == 1


def test_courier_drops_what_is_pipelined_behind_the_end(
    courier: MailServer, campaign: Path, tmp_path: Path
) -> None:
    """It costs one timeout, of this test's 2 s, and one session; the next one waits for each content's reply."""
    people = tmp_path / "people.csv"
    people.write_text(re.sub("(refused.*)@example.com", r"\1@refused.example", people.read_text()))
    campaign.write_text(campaign.read_text().replace("timeout: 20s", "timeout: 2s"))
    done = send(campaign, courier, tmp_path, port="smtp")
    check(done, courier, "refused")
    assert done.report["server"]["strategy"] == "pipelined"
    assert done.report["server"]["sessions"] == 2


def test_dovecots_submission_proxy(submission: MailServer, campaign: Path, tmp_path: Path) -> None:
    done = send(campaign, submission, tmp_path)
    check(done, submission, "refused")
    assert "BURL" in done.report["server"]["extensions"]
    assert done.report["server"]["strategy"] == "streamed"
    assert done.report["server"]["sessions"] == 1
    assert not re.search("panic", submission.log(), re.IGNORECASE)


@pytest.mark.parametrize(
    ("port", "strategy", "sessions"),
    [
        ("smtps-late", "streamed", 1),
        ("smtps-late-groups", "pipelined", 2),
        ("smtps-late-plain", "sequential", 1),
    ],
)
def test_postfix_keeps_the_transaction_of_a_message_that_it_refuses(
    postfix: MailServer, campaign: Path, tmp_path: Path, port: str, strategy: str, sessions: int
) -> None:
    """smtpd_end_of_data_restrictions. A session is lost at most once: from then on RSET precedes MAIL."""
    done = send(campaign, postfix, tmp_path, port=port)
    check(done, postfix, "refused", "unwanted")
    assert done.report["server"]["strategy"] == strategy
    assert done.report["server"]["sessions"] <= sessions
