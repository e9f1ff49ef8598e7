"""Every mechanism logs in at real servers; a wrong secret is tried once a mechanism, and no more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mailer.errors import AuthenticationError
from mailer.secret import Secret
from mailer.smtp.connection import SessionDetails, connect
from mailer.smtp.endpoint import Endpoint, Security
from mailer.smtp.protocol.values import Login
from tests.servers.dovecot import MECHANISMS, Dovecot
from tests.servers.mailserver import MailServer
from tests.servers.product import mailer

PASSWORD_MECHANISMS = ("plain", "login", "cram-md5", "scram-sha-256")
TOKEN_MECHANISMS = ("xoauth2", "oauthbearer")


def log_in(
    server: MailServer, secret: str, auth: str = "auto", *, port: str = "smtps"
) -> tuple[SessionDetails, list[str]]:
    """Connects, logs in, quits; the session's details and the commands that were written."""
    security: Security = "tls" if port.startswith("smtps") else "starttls"
    endpoint = Endpoint(server.host, server.ports[port], security, server.ca_file)
    written: list[str] = []

    def trace(direction: str, line: str) -> None:
        if direction == "C":
            written.append(line)

    async def session() -> SessionDetails:
        login = Login(server.username, Secret(secret), auth)
        connection = await connect(endpoint, login, timeout=20, trace=trace)
        await connection.quit()
        return connection.details

    try:
        return asyncio.run(session()), written
    finally:
        assert not any(secret in line for line in written), "the trace shows the secret"


def attempts(server: MailServer, secret: str, auth: str) -> tuple[AuthenticationError, list[str]]:
    """The error of a login that must fail, and the AUTH commands written until then."""
    written: list[str] = []
    endpoint = Endpoint(server.host, server.ports["smtps"], "tls", server.ca_file)

    def trace(direction: str, line: str) -> None:
        if direction == "C" and line.startswith("AUTH "):
            written.append(line.split()[1])

    with pytest.raises(AuthenticationError) as caught:
        asyncio.run(connect(endpoint, Login(server.username, Secret(secret), auth), timeout=20, trace=trace))
    return caught.value, written


@pytest.mark.parametrize("port", ["smtps", "submission"])
@pytest.mark.parametrize("auth", PASSWORD_MECHANISMS)
def test_password_at_postfix(postfix: MailServer, auth: str, port: str) -> None:
    details, _ = log_in(postfix, postfix.password, auth, port=port)
    assert details.mechanism == auth.upper()
    assert details.tls is not None


@pytest.mark.parametrize("auth", TOKEN_MECHANISMS)
def test_token_at_postfix(postfix: MailServer, dovecot: Dovecot, auth: str) -> None:
    assert log_in(postfix, dovecot.token(), auth)[0].mechanism == auth.upper()


def test_a_long_token_goes_without_initial_response(postfix: MailServer, dovecot: Dovecot) -> None:
    """RFC 4954 section 4: the command may have 512 octets; Microsoft's tokens have 1,500 and more."""
    details, written = log_in(postfix, dovecot.token(filling=1500), "xoauth2")
    assert details.mechanism == "XOAUTH2"
    assert "AUTH XOAUTH2" in [line.strip() for line in written]


@pytest.mark.parametrize("auth", PASSWORD_MECHANISMS)
def test_password_at_exim(exim: MailServer, auth: str) -> None:
    assert log_in(exim, exim.password, auth)[0].mechanism == auth.upper()


def test_auto_takes_the_best(postfix: MailServer, exim: MailServer, dovecot: Dovecot) -> None:
    assert log_in(postfix, postfix.password)[0].mechanism == "SCRAM-SHA-256"
    assert log_in(exim, exim.password)[0].mechanism == "SCRAM-SHA-256"
    assert log_in(postfix, dovecot.token())[0].mechanism == "OAUTHBEARER"


@pytest.mark.parametrize("auth", MECHANISMS)
def test_a_wrong_secret_is_tried_once(postfix: MailServer, dovecot: Dovecot, auth: str) -> None:
    secret = dovecot.token(key=b"somebody else's") if auth in TOKEN_MECHANISMS else "wrong"
    error, written = attempts(postfix, secret, auth)
    assert written == [auth.upper()]
    assert "535" in str(error)
    assert auth.upper() in str(error)
    assert not error.temporary


@pytest.mark.parametrize("auth", PASSWORD_MECHANISMS)
def test_a_wrong_password_at_exim(exim: MailServer, auth: str) -> None:
    error, written = attempts(exim, "wrong", auth)
    assert written == [auth.upper()]
    assert "535" in str(error)


def test_auto_tries_each_mechanism_once(postfix: MailServer, exim: MailServer) -> None:
    for server in (postfix, exim):
        _, written = attempts(server, "wrong", "auto")
        assert len(written) == len(set(written))
        assert written[0] == "SCRAM-SHA-256"


def test_an_expired_token_says_so(postfix: MailServer, dovecot: Dovecot) -> None:
    error, _ = attempts(postfix, dovecot.token(seconds=-5), "oauthbearer")
    assert "invalid_token" in str(error)


def test_a_server_in_trouble_is_temporary(exim: MailServer, dovecot: Dovecot) -> None:
    """Exim whose authentication server is gone."""
    error, written = attempts(exim, dovecot.token(), "oauthbearer")
    assert error.temporary
    assert written == ["OAUTHBEARER"]


def test_the_command_tells_a_wrong_password(postfix: MailServer, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "campaign: login\nfrom: news@example.com\nsubject: s\ntext: t.txt\nrecipients: [ada@example.com]\n"
    )
    (tmp_path / "t.txt").write_text("Hello\n")
    access: list[str | Path] = ["--server", postfix.url(), "--ca-file", postfix.ca_file]
    done = mailer("send", tmp_path / "c.yaml", *access, folder=tmp_path, password="hunter2")
    assert done.returncode == 3
    assert "535" in done.stderr
    assert "hint:" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    done = mailer("send", tmp_path / "c.yaml", *access, folder=tmp_path, password=postfix.password)
    assert done.returncode == 0, done.stderr  # it was still pending
    postfix.messages(1)
