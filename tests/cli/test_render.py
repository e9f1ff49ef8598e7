from __future__ import annotations

import mailbox
from collections.abc import Callable
from contextlib import closing
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.cli.render import format_mbox_entry, make_file_name
from mailer.render.message import Message

Command = Callable[..., Any]


@given(st.text(st.characters(codec=None)))
def test_a_key_makes_a_safe_name(key: str) -> None:
    name = make_file_name(key)
    assert len(name.encode()) <= 110
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isascii()
    assert name.isprintable()
    assert name == name.lower()


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_no_two_keys_share_a_name(one: str, other: str) -> None:
    assert (make_file_name(one) == make_file_name(other)) == (one == other)


@pytest.mark.parametrize(
    "key",
    [
        "../../etc/passwd",
        "A@example.com",
        "a/b",
        "nul",
        "com1.txt",
        "x" * 101,
        "",
        ".",
        "a.",
        "é@example.com",
    ],
)
def test_names_that_are_not_safe_get_a_digest(key: str) -> None:
    assert "~" in make_file_name(key)


def test_an_address_is_its_own_name() -> None:
    assert make_file_name("ada.example+news@example.com") == "ada.example+news@example.com.eml"


def test_mboxrd_comes_back_the_same(tmp_path: Path) -> None:
    body = b"From here\r\n>From there\r\n>>From everywhere\r\n From nowhere\r\n"
    content = b"Subject: x\r\nContent-Type: text/plain\r\n\r\n" + body
    path = tmp_path / "all.mbox"
    path.write_bytes(format_mbox_entry(Message("a@example.com", ("b@example.com",), content, "<1@x>"), 0) * 2)
    lines = path.read_bytes().split(b"\n")
    assert lines[0] == b"From a@example.com Thu Jan 01 00:00:00 1970"
    with closing(mailbox.mbox(path, create=False)) as box:
        read = [message.as_bytes() for message in box]
    assert len(read) == 2
    unquoted = [
        line.removeprefix(b">") if line.lstrip(b">").startswith(b"From ") else line
        for line in read[0].split(b"\n")
    ]
    assert b"\n".join(unquoted).rstrip() == content.replace(b"\r\n", b"\n").rstrip()


def test_a_file_for_each(command: Command, campaign: Path, tmp_path: Path) -> None:
    ended = command("render", campaign, "--out", "out/spring")
    assert ended.code == 0
    files = sorted((tmp_path / "out" / "spring").iterdir())
    assert [file.name for file in files] == [
        "bob@example.com.eml",
        "chloe@example.com.eml",
        "dmitri@example.com.eml",
    ]
    message = message_from_bytes(files[1].read_bytes(), policy=policy.default)
    assert (message["to"], message["subject"]) == ("Chloé <chloe@example.com>", "Hello Chloé")
    assert b"\r\n" in files[0].read_bytes()


def test_one_file_for_all(command: Command, campaign: Path, tmp_path: Path) -> None:
    assert command("render", campaign, "--mbox", "all.mbox").code == 0
    with closing(mailbox.mbox(tmp_path / "all.mbox", create=False)) as box:
        assert [message["subject"] for message in box] == [
            "Hello Bob",
            "=?utf-8?q?Hello_Chlo=C3=A9?=",
            "Hello Dmitri",
        ]


def test_only_and_limit_choose_the_messages(command: Command, campaign: Path, tmp_path: Path) -> None:
    assert command("render", campaign, "--out", "one", "--only", "Chloe@example.com").code == 0
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["chloe@example.com.eml"]
    assert command("render", campaign, "--out", "two", "--limit", "2").code == 0
    assert len(list((tmp_path / "two").iterdir())) == 2
    assert command("render", campaign, "--out", "three", "--only", "nobody@example.com").code == 2


def test_one_that_cannot_be_rendered_stops_all(command: Command, campaign: Path, tmp_path: Path) -> None:
    campaign.write_text(campaign.read_text() + "  - eve@example.com\n")
    ended = command("render", campaign, "--out", "out")
    assert ended.code == 2
    assert "name" in ended.err
    assert not (tmp_path / "out").exists()


def test_the_campaign_is_not_overwritten(command: Command, campaign: Path) -> None:
    before = campaign.read_bytes()
    ended = command("render", campaign, "--mbox", campaign)
    assert (ended.code, campaign.read_bytes()) == (2, before)


def test_a_folder_for_messages_is_no_file(command: Command, campaign: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    ended = command("render", campaign, "--out", "out")
    assert (ended.code, ended.err) == (
        2,
        "mailer: error: out: is a file; --out names a folder (--mbox names a file)\n",
    )
    assert (tmp_path / "out").read_text() == "mine"
