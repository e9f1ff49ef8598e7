"""A real Postfix with each kind of wrong certificate: exit 3, which it is, what to do; nothing is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.mailserver import MailServer
from tests.servers.product import send


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    (tmp_path / "t.txt").write_text("Hello {{ email }}\n")
    path = tmp_path / "c.yaml"
    path.write_text(
        "campaign: tls\nfrom: news@example.com\nsubject: s\ntext: t.txt\nrecipients: [ada@example.com]\n"
    )
    return path


@pytest.mark.parametrize(
    ("port", "says", "hint"),
    [
        ("smtps-expired", "has expired", "renew"),
        ("smtps-early", "not valid yet", "clock"),
        ("smtps-other-name", "is for mail.example.net, not for 127.0.0.1", "names"),
        ("smtps-unknown", "issuer that is not trusted", "--ca-file"),
        ("smtps-self-signed", "self-signed", "--ca-file"),
        ("submission-other-name", "is for mail.example.net, not for 127.0.0.1", "names"),
        ("submission-expired", "has expired", "renew"),
        ("submission-without", "STARTTLS", None),
        ("smtps-not", "does not speak TLS", "starttls"),
    ],
)
def test_a_certificate_that_is_not_valid_is_refused(
    postfix: MailServer, campaign: Path, tmp_path: Path, port: str, says: str, hint: str | None
) -> None:
    done = send(campaign, postfix, tmp_path, port=port)
    assert done.exit == 3, done.errors
    assert says in done.errors
    assert "Traceback" not in done.errors
    if hint:
        assert "hint:" in done.errors
        assert hint in done.errors.split("hint:")[1]
    assert done.counts in ({}, {"total": 1, "pending": 1})
    assert postfix.files() == []


def test_a_good_certificate_is_accepted(postfix: MailServer, campaign: Path, tmp_path: Path) -> None:
    """The same with a good certificate, so that the refusals above are the certificates' doing."""
    for port in ("smtps", "submission"):
        done = send(campaign, postfix, tmp_path, "--again", port=port)
        assert done.exit == 0, done.errors
        assert done.report["server"]["tls"] == "TLSv1.3"
    postfix.messages(2)
