from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailer.errors import InputError
from mailer.ledger.outcome import Outcome
from mailer.report.summary import Report
from mailer.report.write import FORMATS, ReportTarget, check_report_targets, write_report

Make = Callable[..., Report]
Row = Callable[..., Outcome]


@pytest.mark.parametrize("suffix", [f".{name}" for name in FORMATS])
def test_every_format_is_written_into_a_new_folder(tmp_path: Path, suffix: str, hostile: Report) -> None:
    path = tmp_path / "new" / "deep" / f"report{suffix}"
    write_report(hostile, path)
    assert path.stat().st_size > 100
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_no_other_user_can_read_a_report(tmp_path: Path, make_report: Make) -> None:
    (tmp_path / "r.json").write_text("old")
    (tmp_path / "r.json").chmod(0o644)
    before = os.umask(0)
    try:
        write_report(make_report([]), tmp_path / "r.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == 0o600


def test_a_report_that_breaks_leaves_the_old_one(tmp_path: Path, make_report: Make, sent: Row) -> None:
    def outcomes() -> Iterator[Outcome]:
        yield sent(1)
        raise ZeroDivisionError

    path = tmp_path / "r.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_report(make_report([], outcomes=outcomes), path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.json"]


def test_no_symbolic_link_is_followed(tmp_path: Path, make_report: Make) -> None:
    """Another user of a shared folder may put one there before the report is checked, or after."""
    other, link = tmp_path / "other.json", tmp_path / "r.json"
    other.write_text("theirs")
    link.symlink_to(other)
    assert "symbolic link" in check(link)
    write_report(make_report([]), link)
    assert not link.is_symlink()
    assert other.read_text() == "theirs"


def test_a_file_that_root_writes_for_another_user_stays_theirs(tmp_path: Path, make_report: Make) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for path, owner in ((tmp_path / "a", 1234), (tmp_path / "b", 0)):
        path.mkdir()
        (path / "r.json").touch()
        os.chown(path / "r.json", 1234, 1234)
        os.chown(path, owner, owner)
        write_report(make_report([]), path / "r.json")
        assert (path / "r.json").stat().st_uid == owner


def test_a_format_before_the_name_is_for_files_without_a_suffix(tmp_path: Path, make_report: Make) -> None:
    (target,) = check_report_targets([f"md:{tmp_path / 'summary'}"])
    write_report(make_report([]), target)
    assert (tmp_path / "summary").read_text().startswith("## `autumn-2026`")


def test_a_dash_is_standard_output(capsys: pytest.CaptureFixture[str], make_report: Make) -> None:
    (target,) = check_report_targets(["json:-"])
    write_report(make_report([]), target)
    assert json.loads(capsys.readouterr().out)["campaign"] == "autumn-2026"
    assert "such as md:-" in hint_of("-")
    assert "two reports" in check("json:-", "csv:-")


def test_a_colon_in_a_name_is_no_format(tmp_path: Path) -> None:
    (target,) = check_report_targets([tmp_path / "10:30.json"])
    assert target == ReportTarget("json", tmp_path / "10:30.json")


def hint_of(path: str) -> str:
    with pytest.raises(InputError) as caught:
        check_report_targets([path])
    return str(caught.value.hint)


def check(*paths: Path | str, **keep: Path) -> str:
    with pytest.raises(InputError) as caught:
        check_report_targets(paths, keep={path: what for what, path in keep.items()})
    return str(caught.value)


def test_the_suffix_sets_the_format(tmp_path: Path) -> None:
    assert "expected one of .json .csv .html .md .xml" in check(tmp_path / "r.pdf")
    assert "no suffix" in check(tmp_path / "report")
    assert check_report_targets([tmp_path / "R.JSON"])


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is a folder" in check(tmp_path / "folder.json")
    assert "Not a directory" in check(tmp_path / "file" / "r.json")
    assert "not a regular file" in check(tmp_path / "pipe.csv")
    assert "cannot be written" in check("/proc/nowhere/r.json")
    assert "File name too long" in check(tmp_path / f"{'x' * 300}.json")


def test_a_report_replaces_no_other_report_and_no_protected_file(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("email\n")
    assert "two reports" in check(tmp_path / "r.json", tmp_path / "." / "r.json")
    (tmp_path / "below").symlink_to(tmp_path)
    assert "this is the list" in check(tmp_path / "below" / "people.csv", list=tmp_path / "people.csv")


def test_all_problems_of_the_targets_are_told_at_once(tmp_path: Path) -> None:
    assert len(check(tmp_path / "a", tmp_path / "b.pdf").splitlines()) == 2


def test_checking_leaves_no_file_behind(tmp_path: Path) -> None:
    check_report_targets([tmp_path / "out" / "r.json"])
    assert list((tmp_path / "out").iterdir()) == []
