from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailer.render.attachments import FileProblem, find_file, format_size, is_inside, read_file, show_path


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
    assert find_file("a.txt", [root / "sub", root], root) == str(root / "sub" / "a.txt")
    assert find_file("b.txt", [root, root / "sub"], root) == str(root / "sub" / "b.txt")
    assert find_file("sub/../a.txt", [root], root) == str(root / "a.txt")
    assert find_file("../a.txt", [root / "sub"], root) == str(root / "a.txt")
    assert find_file(str(root / "a.txt"), [root / "sub"], root) == str(root / "a.txt")


@pytest.mark.parametrize(
    "name", ["../outside.txt", "../root2/c.txt", "/etc/passwd", "sub/../../outside.txt", "../nothing"]
)
def test_nothing_outside_the_root_is_found(root: Path, name: str) -> None:
    with pytest.raises(FileProblem, match=f"^{name}: is outside the project root"):
        find_file(name, [root], root)


def test_symlinks_are_followed_and_then_checked(root: Path) -> None:
    (root / "in.txt").symlink_to("sub/b.txt")
    (root / "out.txt").symlink_to("../outside.txt")
    (root / "folder").symlink_to("..")
    (root / "loop").symlink_to("loop")
    assert read_file(find_file("in.txt", [root], root), 10) == b"b"
    for name in ("out.txt", "folder/outside.txt"):
        with pytest.raises(FileProblem, match="outside"):
            find_file(name, [root], root)
    with pytest.raises(FileProblem, match="too many levels of symbolic links"):
        read_file(find_file("loop", [root], root), 10)


def test_a_root_that_is_a_symlink_is_the_folder_behind_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert read_file(find_file("a.txt", [tmp_path / "link"], tmp_path / "link"), 10) == b"a"


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_is_none(root: Path, name: str) -> None:
    with pytest.raises(FileProblem, match="is not a file name"):
        find_file(name, [root], root)


def test_what_is_not_there_says_where_it_was_looked_for(root: Path) -> None:
    with pytest.raises(FileProblem, match=rf"^no.txt: not found \(looked in {root}, {root}/sub\)$"):
        find_file("no.txt", [root, root / "sub", root], root)


def test_only_regular_files_are_read_and_nothing_hangs(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(FileProblem, match=r"^pipe: is not a regular file$"):
        read_file(str(root / "pipe"), 10, "pipe")
    for device in ("/dev/zero", "/dev/null"):
        with pytest.raises(FileProblem, match="is not a regular file"):
            read_file(device, 10)
    with pytest.raises(FileProblem, match=r"is a directory|is not a regular file"):
        read_file(str(root), 10)


def test_size_is_bounded(root: Path) -> None:
    assert read_file(str(root / "a.txt"), 1) == b"a"
    with pytest.raises(FileProblem, match=r"a.txt: is 1 bytes; the limit is 0 bytes"):
        read_file(str(root / "a.txt"), 0, "a.txt")


def test_inside() -> None:
    assert is_inside("/a/b", Path("/a"))
    assert not is_inside("/ab", Path("/a"))
    assert is_inside("/x", Path("/"))


def test_how_paths_and_sizes_are_shown(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert show_path(root / "sub" / "b.txt") == "sub/b.txt"
    assert show_path("/etc/passwd") == "/etc/passwd"
    assert format_size(1000) == "1,000 bytes"
    assert format_size(26 * 1024 * 1024) == "26.0 MB"
