"""Thousands in one session, at the servers' own limits, each under a sender of its own, one recipient in three refused.

The trap: a refused RCPT leaves the transaction open, so that the next message of the window could leave under the
refused one's sender. And RSET, which would close it, is counted: Postfix smtpd_junk_command_limit (100) and
smtpd_hard_error_limit (20), Exim smtp_accept_max_nonmail (10).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.mailserver import MailServer
from tests.servers.product import send

CAMPAIGN = """\
campaign: stream
from: news@example.com
envelope_from: "bounce+{{ token }}@example.com"
subject: "For {{ token }}"
text: t.txt.j2
recipients: people.csv
"""


def write(folder: Path, count: int) -> Path:
    """`count` recipients; every third is refused."""
    (folder / "c.yaml").write_text(CAMPAIGN)
    (folder / "t.txt.j2").write_text("token {{ token }}\n.\n")
    rows = [f"{'refused' if n % 3 == 1 else 'p'}{n}@example.com,t{n}" for n in range(count)]
    (folder / "people.csv").write_text("\n".join(["email,token", *rows]) + "\n")
    return folder / "c.yaml"


def check_arrived(server: MailServer, expected: set[int]) -> None:
    messages = server.messages(len(expected), seconds=60)
    found = set()
    for message in messages:
        token = message.get_content().split()[1]
        assert message["Return-Path"].strip("<>") == f"bounce+{token}@example.com"
        assert message["Subject"] == f"For {token}"
        assert message["To"] == f"p{token[1:]}@example.com"
        found.add(int(token[1:]))
    assert found == expected


@pytest.mark.parametrize(
    ("server_name", "port", "strategy", "count", "sessions"),
    [
        ("postfix", "smtps", "streamed", 2000, 1),
        ("postfix", "smtps-groups", "pipelined", 2000, 1),
        ("postfix", "smtps-plain", "sequential", 2000, 1),
        # smtp_accept_max_per_connection is 1000 MAIL commands; then Exim says 421.
        ("exim", "smtps", "streamed", 2000, 2),
        ("exim", "smtps-groups", "pipelined", 2000, 2),
        ("exim", "smtps-plain", "sequential", 2000, 2),
        # 100 messages a session, then 452: no strike against the message that heard it.
        ("opensmtpd", "smtp", "sequential", 400, 3),
    ],
)
def test_refusals_inside_a_window(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server_name: str,
    port: str,
    strategy: str,
    count: int,
    sessions: int,
) -> None:
    server: MailServer = request.getfixturevalue(server_name)
    done = send(write(tmp_path, count), server, tmp_path, port=port)
    assert done.exit == 1, done.errors
    refused = len(range(1, count, 3))
    assert done.counts == {"total": count, "sent": count - refused, "failed": refused}
    assert done.report["server"]["strategy"] == strategy
    assert done.report["server"]["sessions"] <= sessions
    for row in done.report["recipients"]:
        assert row["attempts"] == 1, row
        assert (row["status"], row["code"]) == (
            ("failed", 550) if row["email"].startswith("refused") else ("sent", 250)
        )
    check_arrived(server, {n for n in range(count) if n % 3 != 1})


def test_chasquid_forgets_what_comes_behind_a_message_and_ends_sessions_at_three_errors(
    chasquid: MailServer, tmp_path: Path
) -> None:
    """The first costs ten seconds once; the second costs sessions, but no message an attempt."""
    done = send(write(tmp_path, 100), chasquid, tmp_path)
    assert done.exit == 1, done.errors
    assert done.counts == {"total": 100, "sent": 67, "failed": 33}
    assert done.report["server"]["strategy"] == "pipelined"
    assert {row["attempts"] for row in done.report["recipients"]} == {1}
    check_arrived(chasquid, {n for n in range(100) if n % 3 != 1})


def test_many_refused_in_a_row_end_exims_session_and_none_is_in_doubt(
    exim: MailServer, tmp_path: Path
) -> None:
    """It drops the connection at the eleventh counted RSET, behind which more of the window had left."""
    campaign = write(tmp_path, 0)
    names = [*(f"p{n}" for n in range(50)), *(f"refused{n}" for n in range(50, 80))]
    names += [f"p{n}" for n in range(80, 200)]
    rows = [f"{name}@example.com,t{n}" for n, name in enumerate(names)]
    (tmp_path / "people.csv").write_text("\n".join(["email,token", *rows]) + "\n")
    done = send(campaign, exim, tmp_path)
    assert done.exit == 1, done.errors
    assert done.counts == {"total": 200, "sent": 170, "failed": 30}
    check_arrived(exim, {n for n in range(200) if not 50 <= n < 80})


def test_discarding_postfix_takes_the_window(postfix: MailServer, tmp_path: Path) -> None:
    """Speed is the benchmarks' business; here only that nothing is lost where nothing holds the client back."""
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    (tmp_path / "t.txt.j2").write_text("token {{ token }}\n" * 500)
    (tmp_path / "people.csv").write_text(
        "email,token\n" + "".join(f"p{n}@example.com,t{n}\n" for n in range(3000))
    )
    done = send(tmp_path / "c.yaml", postfix, tmp_path, port="smtps-discard")
    assert done.exit == 0, done.errors
    assert done.counts == {"total": 3000, "sent": 3000}
    assert done.report["server"]["sessions"] == 1
