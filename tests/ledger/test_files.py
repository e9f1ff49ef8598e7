import pytest

from mailer.errors import LedgerError
from mailer.ledger import files


def test_a_content_is_kept_once_and_comes_back(started):
    contents = {"a/logo.png": b"\x00\xff" * 1000, "b/logo.png": b"\x00\xff" * 1000, "letter.txt.j2": b"Hello"}
    hashes = {name: files.hash_content(content) for name, content in contents.items()}
    read = []

    def read_file(name):
        read.append(name)
        return contents[name]

    for _ in range(2):
        files.store_campaign(started.ledger, started.edition, hashes, read_file, {"connections": 3})
    assert read == ["a/logo.png", "letter.txt.j2"]
    assert files.list_files(started.ledger, started.edition) == hashes
    assert files.read_settings(started.ledger, started.edition) == {"connections": 3}
    for name, hash_ in hashes.items():
        assert files.read_blob(started.ledger, hash_) == contents[name]
    files.remove_campaign_files(started.ledger, started.edition)
    assert files.list_files(started.ledger, started.edition) == {}
    with pytest.raises(LedgerError, match="missing or damaged"):
        files.read_blob(started.ledger, hashes["letter.txt.j2"])


def test_a_file_that_changes_meanwhile_is_not_kept(started):
    with pytest.raises(LedgerError, match="changed while it was read"):
        files.store_campaign(
            started.ledger, started.edition, {"x": files.hash_content(b"1")}, lambda _: b"2", {}
        )


def test_a_campaign_that_stays_here_has_no_settings(started):
    assert files.read_settings(started.ledger, started.edition) is None
