from __future__ import annotations

import mailbox
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.sandbox.maildir import Maildir

CONTENT = b"Subject: x\r\nReceived: from elsewhere\r\n\r\nhello\r\n"


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    maildir = Maildir(tmp_path / "caught")
    maildir.create_folders()
    return maildir


def test_a_stored_message_is_read_back(maildir: Maildir) -> None:
    name = maildir.store("a@example.com", ["b@example.com", "żółć@example.com"], CONTENT, "client.example")
    caught = maildir.read_message(name)
    assert caught is not None
    assert (caught.sender, caught.recipients) == ("a@example.com", ("b@example.com", "żółć@example.com"))
    assert caught.content == CONTENT
    assert stat.S_IMODE(caught.path.stat().st_mode) == 0o600


@given(content=st.binary(max_size=200))
def test_any_content_is_read_back(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    maildir = Maildir(tmp_path_factory.mktemp("any"))
    maildir.create_folders()
    caught = maildir.read_message(maildir.store("", ["b@example.com"], content, "client.example"))
    assert caught is not None
    assert caught.content == content


def test_it_is_a_maildir_to_others_too(maildir: Maildir) -> None:
    maildir.store("a@example.com", ["b@example.com"], CONTENT, "client.example")
    (message,) = mailbox.Maildir(maildir.path, create=False)
    assert message["Subject"] == "x"
    assert message["Return-Path"] == "<a@example.com>"
    assert message["Delivered-To"] == "b@example.com"


def test_they_are_read_in_the_order_of_arrival_also_when_another_program_has_seen_them(
    maildir: Maildir,
) -> None:
    names = [maildir.store("", ["b@example.com"], b"%d" % n, "c") for n in range(20)]
    (maildir.path / "new" / names[3]).rename(maildir.path / "cur" / f"{names[3]}:2,S")
    assert [caught.content for caught in maildir] == [b"%d" % n for n in range(20)]


@pytest.mark.parametrize("name", ["", ".", "..", "../new", "/etc/passwd", "a\0b", "missing"])
def test_only_a_message_is_found(maildir: Maildir, name: str) -> None:
    maildir.store("", ["b@example.com"], CONTENT, "c")
    assert maildir.read_message(name) is None


def test_nothing_unfinished_is_seen(maildir: Maildir, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise OSError("power loss")

    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(OSError, match="power loss"):
        maildir.store("", ["b@example.com"], CONTENT, "c")
    assert list(maildir) == []
