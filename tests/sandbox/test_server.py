from __future__ import annotations

import smtplib
import socket
import ssl
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from mailer.sandbox import Sandbox


def test_the_standard_library_sends_through_it(sandbox: Sandbox) -> None:
    context = ssl.create_default_context(cafile=str(sandbox.ca_file))
    with smtplib.SMTP_SSL("127.0.0.1", sandbox.port, context=context) as client:
        client.login(sandbox.username, sandbox.password)
        client.sendmail("a@example.com", ["b@example.com"], "Subject: x\r\n\r\n.hello\r\n")
    assert [caught.content for caught in sandbox.messages] == [b"Subject: x\r\n\r\n.hello\r\n"]


def test_its_address_is_what_the_server_option_takes(sandbox: Sandbox) -> None:
    assert sandbox.url == f"smtps://sandbox:{sandbox.password}@127.0.0.1:{sandbox.port}"


def test_the_messages_outlive_it_and_the_authority_does_not(tmp_path: Path) -> None:
    with Sandbox(maildir=tmp_path / "caught") as sandbox:
        ca_file, maildir = sandbox.ca_file, sandbox.maildir
        assert ca_file.is_file()
        assert stat.S_IMODE(ca_file.parent.stat().st_mode) == 0o700
    assert not ca_file.parent.exists()
    assert (maildir / "new").is_dir()


def test_without_a_maildir_it_makes_a_private_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sandbox = Sandbox()
    sandbox.start()
    sandbox.stop()
    assert sandbox.maildir.parent == tmp_path
    assert stat.S_IMODE(sandbox.maildir.stat().st_mode) == 0o700


def test_it_ends_with_a_session_open_and_may_be_stopped_twice(sandbox: Sandbox, connect: Any) -> None:
    client = connect(sandbox)
    client.log_in()
    sandbox.stop()
    sandbox.stop()
    assert not any(thread.name == "sandbox" for thread in threading.enumerate())
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", sandbox.port), timeout=1)


def test_it_ends_while_a_session_closes_tls(sandbox: Sandbox, connect: Any) -> None:
    client = connect(sandbox)
    assert client.say("QUIT\n").startswith("221 ")
    sandbox.stop()
    assert client.closed()


def test_a_port_in_use_is_an_error(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    with pytest.raises(OSError, match="in use"):
        Sandbox(maildir=tmp_path / "m", port=sandbox.port).start()
    assert list((tmp_path / "t").iterdir()) == []


def test_its_login_is_new_each_time() -> None:
    assert Sandbox().password != Sandbox().password


def test_many_messages_in_flight_are_all_stored(sandbox: Sandbox, client: Any) -> None:
    body = b"Subject: x\r\n\r\n" + (b"x" * 74 + b"\r\n") * 400
    one = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT %d LAST\r\n%b" % (len(body), body)
    for _ in range(
        20
    ):  # one thread writes and reads: before 3.13 Python's TLS sockets are not for two at once
        client.write(one * 10)
        assert {reply[:3] for reply in client.replies(30)} == {"250"}
    assert len(sandbox.messages) == 200
