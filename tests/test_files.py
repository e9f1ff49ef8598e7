"""Files of strangers: opened without a wait, only inside their folder; written whole or not at all."""

import os
import socket
from pathlib import Path

import pytest

from mailer.files import (
    UnusableFile,
    check_folder,
    open_beneath,
    open_regular_file,
    read_limited,
    replace_file,
    replace_text_file,
)
from tests.swapping import swap_repeatedly


def test_a_fifo_is_an_error_and_never_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UnusableFile, match="it is a FIFO; expected a regular file"):
        open_regular_file(tmp_path / "fifo")


@pytest.mark.parametrize("name", ["missing", "folder", "nul\0"])
def test_what_is_no_regular_file_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnusableFile, match=r"no such file|is a folder|not a valid path"):
        open_regular_file(str(tmp_path / name))


def test_a_link_inside_the_root_is_followed_and_one_that_leads_outside_is_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "below" / "file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (root / "link").symlink_to("below/file")
    (root / "leak").symlink_to("../secret")
    with open_beneath(root, "link") as stream:
        assert stream.read() == b"inside"
    for path in ("leak", "../secret", str(tmp_path / "secret")):
        with pytest.raises(UnusableFile, match="outside"):
            open_beneath(root, path)


def test_a_checked_path_is_opened_without_following_links(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("s3cret")
    (tmp_path / "docs").symlink_to(".git")
    (tmp_path / "config").symlink_to(".git/config")
    for path in ("docs/config", str(tmp_path / "docs/config"), "config"):
        with open_beneath(tmp_path, path) as stream:
            assert stream.read() == b"s3cret"
        with pytest.raises(UnusableFile):
            open_beneath(tmp_path, path, follow=False)


def test_a_folder_that_is_swapped_meanwhile_never_gives_an_outside_file(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "below").mkdir(parents=True)
    outside.mkdir()
    (root / "below" / "file").write_text("inside")
    (outside / "file").write_text("outside")
    found = set()
    with swap_repeatedly(root / "below", outside):
        for _ in range(2000):
            try:
                with open_beneath(root, "below/file") as stream:
                    found.add(stream.read())
            except UnusableFile:
                pass
    assert b"outside" not in found


def test_more_than_the_limit_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    with open_regular_file(tmp_path / "file") as stream:
        assert read_limited(stream, 5) == b"12345"
    with (
        open_regular_file(tmp_path / "file") as stream,
        pytest.raises(UnusableFile, match="limit of 4 bytes"),
    ):
        read_limited(stream, 4)


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "socket", "link to a descriptor"])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, kind: str) -> None:
    """`--metrics /dev/null` of root, for example: every program of the machine would write into that file."""
    path = tmp_path / "out"
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "link to a descriptor":
        path.symlink_to("/proc/self/fd/0")
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe") if kind == "link to a pipe" else (tmp_path / "pipe").rename(path)
    before = path.lstat().st_ino
    with pytest.raises(OSError, match="it is not a regular file"), replace_text_file(path) as stream:
        stream.write("x")
    assert path.lstat().st_ino == before


@pytest.mark.parametrize("content", ["old", None])
def test_a_link_to_a_file_or_to_nothing_is_replaced(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "out").symlink_to("file")
    if content is not None:
        (tmp_path / "file").write_text(content)
    with replace_text_file(tmp_path / "out") as stream:
        stream.write("new")
    assert not (tmp_path / "out").is_symlink()
    assert (tmp_path / "file").exists() == (content is not None)


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with replace_text_file(path) as stream:
        stream.write("ä")
    assert path.read_bytes() == "ä".encode()

    def write_half() -> None:
        with replace_file(path) as binary:
            binary.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == "ä".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_is_found_out_before(tmp_path: Path) -> None:
    check_folder(tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        check_folder(tmp_path / "file" / "below")
