from mailer.ledger import Ledger, find_nearest_ledger, get_project_ledger


def test_the_nearest_ledger_above_counts(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_nearest_ledger(deep) == deep / ".mailer" / "ledger.sqlite3"
    Ledger.open(get_project_ledger(tmp_path)).close()
    assert find_nearest_ledger(deep) == tmp_path / ".mailer" / "ledger.sqlite3"
    (deep / ".mailer").mkdir()  # without a ledger in it
    assert find_nearest_ledger(deep) == tmp_path / ".mailer" / "ledger.sqlite3"


def test_a_new_ledger_knows_that_it_is_new(tmp_path):
    with Ledger.open(tmp_path / "own.sqlite3") as ledger:
        assert ledger.is_new
    with Ledger.open(tmp_path / "own.sqlite3") as ledger:
        assert not ledger.is_new
