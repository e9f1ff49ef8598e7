from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from mailer.render.attachments import FileProblem, ProjectFiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (root / "sub" / "b.txt").write_text("b")
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "c.txt").write_text("c")
    return root


def test_the_first_folder_that_has_it_counts(root: Path) -> None:
    (root / "sub" / "a.txt").write_text("other")
    assert ProjectFiles(root).find("a.txt", [root / "sub", root]) == str(root / "sub" / "a.txt")
    assert ProjectFiles(root).find("b.txt", [root, root / "sub"]) == str(root / "sub" / "b.txt")
    assert ProjectFiles(root).find("sub/../a.txt", [root]) == str(root / "a.txt")
    assert ProjectFiles(root).find("../a.txt", [root / "sub"]) == str(root / "a.txt")
    assert ProjectFiles(root).find(str(root / "a.txt"), [root / "sub"]) == str(root / "a.txt")


@pytest.mark.parametrize(
    "name", ["../outside.txt", "../root2/c.txt", "/etc/passwd", "sub/../../outside.txt", "../nothing"]
)
def test_nothing_outside_the_root_is_found(root: Path, name: str) -> None:
    with pytest.raises(FileProblem, match=f"^{name}: is outside the project root"):
        ProjectFiles(root).find(name, [root])


def test_symlinks_are_followed_and_then_checked(root: Path) -> None:
    (root / "in.txt").symlink_to("sub/b.txt")
    (root / "out.txt").symlink_to("../outside.txt")
    (root / "folder").symlink_to("..")
    (root / "loop").symlink_to("loop")
    assert ProjectFiles(root).read(ProjectFiles(root).find("in.txt", [root]), 10) == b"b"
    for name in ("out.txt", "folder/outside.txt"):
        with pytest.raises(FileProblem, match="outside"):
            ProjectFiles(root).find(name, [root])
    with pytest.raises(FileProblem, match="Too many levels of symbolic links"):
        ProjectFiles(root).read(ProjectFiles(root).find("loop", [root]), 10)


def test_a_root_that_is_a_symlink_is_the_folder_behind_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert (
        ProjectFiles(root).read(ProjectFiles(tmp_path / "link").find("a.txt", [tmp_path / "link"]), 10)
        == b"a"
    )


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_is_none(root: Path, name: str) -> None:
    with pytest.raises(FileProblem, match="is not a file name"):
        ProjectFiles(root).find(name, [root])


def test_a_missing_attachment_names_the_folders_that_were_searched(root: Path) -> None:
    with pytest.raises(FileProblem, match=rf"^no.txt: not found \(looked in {root}, {root}/sub\)$"):
        ProjectFiles(root).find("no.txt", [root, root / "sub", root])


def test_only_regular_files_are_read_and_nothing_hangs(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(FileProblem, match=r"^pipe: .*FIFO"):
        ProjectFiles(root).read(str(root / "pipe"), 10, "pipe")
    for device in ("/dev/zero", "/dev/null"):
        with pytest.raises(FileProblem, match="outside"):
            ProjectFiles(root).read(device, 10)
    with pytest.raises(FileProblem, match="a folder"):
        ProjectFiles(root).read(str(root), 10)


def test_a_file_over_the_limit_is_refused(root: Path) -> None:
    assert ProjectFiles(root).read(str(root / "a.txt"), 1) == b"a"
    with pytest.raises(FileProblem, match=r"a.txt: is 1 bytes; the limit is 0 bytes"):
        ProjectFiles(root).read(str(root / "a.txt"), 0, "a.txt")


@pytest.mark.parametrize("name", [".env", ".git/config", "sub/.hidden/x.txt"])
def test_hidden_files_are_never_used(root: Path, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("secret")
    (root / "link.txt").symlink_to(name)
    for asked in (name, "link.txt"):
        with pytest.raises(FileProblem, match="is hidden"):
            ProjectFiles(root).find(asked, [root])


def test_withheld_files_and_private_keys_are_never_used(root: Path) -> None:
    (root / "list.csv").symlink_to("a.txt")
    with pytest.raises(FileProblem, match="the campaign's own list"):
        ProjectFiles(root, [root / "a.txt"]).find("list.csv", [root])
    with sqlite3.connect(root / "own.db") as database:
        database.execute("PRAGMA application_id=0x4D61696C")
        database.execute("CREATE TABLE t (x)")
    database.close()
    with pytest.raises(FileProblem, match=r"own.db: is a delivery ledger"):
        ProjectFiles(root).read(str(root / "own.db"), 100_000, "own.db")
    (root / "notes.txt").write_text("x\n-----BEGIN RSA PRIVATE KEY-----\n")
    with pytest.raises(FileProblem, match=r"notes.txt: is a private key"):
        ProjectFiles(root).read(str(root / "notes.txt"), 1000, "notes.txt")
