import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from mailer.errors import LedgerError, LedgerWriteError
from mailer.ledger import Ledger, sql, sqlite_store
from mailer.ledger.migrations import MIGRATIONS
from mailer.ledger.outcome import Status
from mailer.ledger.recovery import recover_claims
from tests.delivery.lists import NOW
from tests.ledger.conftest import Started

pytestmark = pytest.mark.sqlite


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


class TestNew:
    def test_no_other_user_may_read_it(self, path):
        old = os.umask(0)
        try:
            with Ledger.open(path) as ledger:
                ledger.ensure_edition("autumn")
                assert mode(path.parent) == 0o700
                files = {
                    entry.name: mode(entry) for entry in path.parent.iterdir() if entry.name != ".gitignore"
                }
        finally:
            os.umask(old)
        assert files == dict.fromkeys(["ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm"], 0o600)

    def test_addresses_do_not_get_into_a_repository(self, path, tmp_path):
        Ledger.open(path).close()
        assert (path.parent / ".gitignore").read_text() == "*\n"
        Ledger.open(tmp_path / "own.sqlite3").close()
        assert not (tmp_path / ".gitignore").exists()

    def test_opening_leaves_no_other_file(self, tmp_path):
        Ledger.open(tmp_path / "own.sqlite3").close()
        assert [entry.name for entry in tmp_path.iterdir()] == ["own.sqlite3"]

    def test_commits_are_synced_to_the_disk(self, ledger):
        read = ledger.store.connection.execute
        assert read("PRAGMA journal_mode").fetchone() == ("wal",)
        assert read("PRAGMA synchronous").fetchone() == (2,)

    def test_a_wide_mode_is_narrowed(self, path):
        Ledger.open(path).close()
        path.chmod(0o644)
        Ledger.open(path).close()
        assert mode(path) == 0o600

    def test_no_ledger_is_created_unless_asked(self, path):
        with pytest.raises(LedgerError, match="there is no ledger") as caught:
            Ledger.open(path, create=False)
        assert caught.value.hint
        assert not path.parent.exists()

    def test_two_processes_that_create_a_ledger_make_one(self, path):
        code = "import sys; from mailer.ledger import Ledger; Ledger.open(sys.argv[1]).ensure_edition(sys.argv[2])"
        processes = [subprocess.Popen([sys.executable, "-c", code, path, f"c{n}"]) for n in range(4)]
        assert [process.wait() for process in processes] == [0] * 4
        with Ledger.open(path) as ledger:
            assert ledger.list_campaigns() == ["c0", "c1", "c2", "c3"]

    def test_a_file_system_without_hard_links(self, path, monkeypatch):
        def refuse(*_):
            raise PermissionError("no links here")

        monkeypatch.setattr(os, "link", refuse)
        with Ledger.open(path) as ledger:
            ledger.ensure_edition("autumn")
        assert sorted(entry.name for entry in path.parent.iterdir()) == [".gitignore", "ledger.sqlite3"]
        sqlite_store.create_file(path)
        with Ledger.open(path) as ledger:
            assert ledger.list_campaigns() == ["autumn"]


class TestWhere:
    @pytest.mark.parametrize("text", ["sqlite:///{}", "{}"])
    def test_a_path_or_a_url(self, text, tmp_path):
        path = tmp_path / "own ledger.sqlite3"
        with Ledger.open(
            text.format(path).replace(" ", "%20") if "://" in text else text.format(path)
        ) as ledger:
            assert ledger.path == path

    def test_three_slashes_are_relative_as_sqlalchemy_has_it(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with Ledger.open("sqlite:///own.sqlite3") as ledger:
            assert ledger.path == tmp_path / "own.sqlite3"

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("postgresql://ada:geheim@127.0.0.1:1/ledger", r"postgresql://127.0.0.1:1/ledger: no connection"),
            ("postgresql://ada:geheim@db:port/ledger", "URL is not valid"),
            ("sqlite://own.sqlite3", "sqlite:///PATH"),
            ("sqlite:///", "sqlite:///PATH"),
            ("mysql://ada:geheim@db/ledger", "a path, sqlite:///PATH or postgresql://"),
        ],
    )
    def test_a_url_of_another_database_is_refused_without_its_password(self, url, says):
        with pytest.raises(LedgerError, match=says) as caught:
            Ledger.open(url)
        assert "geheim" not in str(caught.value)


class TestRefused:
    """The file is not a ledger, or not a whole one: one line, and it is not changed."""

    def refused(self, path, says):
        with pytest.raises(LedgerError, match=says) as caught:
            Ledger.open(path)
        assert not isinstance(caught.value, LedgerWriteError)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
    def test_a_symbolic_link_is_refused(self, path, suffix):
        Ledger.open(path).close()
        elsewhere = path.with_name("elsewhere")
        if suffix:
            elsewhere.touch()
        else:
            path.rename(elsewhere)
        Path(f"{path}{suffix}").symlink_to(elsewhere)
        self.refused(path, "symbolic link")

    def test_a_symlink_to_nothing_is_refused(self, path):
        path.parent.mkdir()
        path.symlink_to(path.with_name("nowhere"))
        self.refused(path, "symbolic link")
        assert not path.with_name("nowhere").exists()

    def test_a_folder_that_is_a_symlink_is_fine(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / ".mailer").symlink_to("real")
        Ledger.open(tmp_path / ".mailer" / "ledger.sqlite3").close()
        assert (tmp_path / "real" / "ledger.sqlite3").exists()

    def test_an_empty_file(self, path):
        path.parent.mkdir()
        path.touch()
        self.refused(path, "empty")
        assert path.stat().st_size == 0

    def test_a_folder_is_refused(self, path):
        path.mkdir(parents=True)
        self.refused(path, "not a regular file")

    def test_a_pipe_is_refused(self, path):
        path.parent.mkdir()
        os.mkfifo(path)
        self.refused(path, "not a regular file")

    def test_a_folder_that_is_a_file_is_refused(self, tmp_path):
        (tmp_path / "file").touch()
        self.refused(tmp_path / "file" / "ledger.sqlite3", "cannot be used")

    @pytest.mark.parametrize("content", [b"name,email\nAda,ada@example.com\n" * 50, b"\0" * 4096, b"x"])
    def test_a_file_of_another_kind(self, path, content):
        path.parent.mkdir()
        path.write_bytes(content)
        self.refused(path, "ledger")
        assert path.read_bytes() == content

    def test_a_database_of_another_program(self, path):
        path.parent.mkdir()
        with sqlite3.connect(path) as foreign:
            foreign.execute("CREATE TABLE messages (id INTEGER)")
        foreign.close()
        before = path.read_bytes()
        self.refused(path, "another program")
        assert path.read_bytes() == before

    def test_one_of_a_newer_version(self, path):
        with Ledger.open(path) as ledger:
            ledger.store.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
        self.refused(path, "newer version")

    def test_without_a_write_ahead_log(self, path, monkeypatch):
        """As on a network's file system."""
        Ledger.open(path).close()
        blocker = sqlite3.connect(path)
        blocker.execute("PRAGMA locking_mode=EXCLUSIVE")
        blocker.execute("PRAGMA journal_mode=DELETE")
        blocker.execute("BEGIN").close()
        blocker.execute("SELECT * FROM campaigns").fetchall()
        monkeypatch.setattr(sqlite_store, "BUSY_SECONDS", 0)
        self.refused(path, "locked|write-ahead log")
        blocker.close()

    @pytest.mark.parametrize(
        ("file", "folder"), [(0o400, 0o700), (0o600, 0o500), (0o000, 0o700), (0o600, 0o000)]
    )
    def test_a_file_or_folder_that_cannot_be_written_is_refused(self, file, folder):
        """As a user who has no other rights, also where the tests run as root."""
        code = """
            import os, sys
            from mailer.ledger import Ledger
            from mailer.errors import LedgerError
            file, folder = int(sys.argv[2]), int(sys.argv[3])
            path = sys.argv[1] + "/ledger.sqlite3"
            if os.geteuid() == 0:
                os.chown(sys.argv[1], 65534, 65534)
                os.setuid(65534)
            Ledger.open(path).close()
            os.chmod(path, file)
            os.chmod(sys.argv[1], folder)
            try:
                Ledger.open(path)
            except LedgerError as error:
                print(type(error).__name__, error)
        """
        with tempfile.TemporaryDirectory() as name:
            run = [sys.executable, "-c", textwrap.dedent(code), name, str(file), str(folder)]
            said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
            os.chmod(name, 0o700)
        assert said.startswith("LedgerError")
        assert "readable and writable" in said or "Permission denied" in said


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A ledger with 300 recipients, a third of them sent."""
    path = tmp_path_factory.mktemp("whole") / "ledger.sqlite3"
    with Ledger.open(path) as ledger:
        started = Started(ledger, *[f"person{n}@example.com" for n in range(300)])
        started.claim(50)
        with ledger.transaction() as store:
            store.execute("UPDATE messages SET status = 'sent', columns = NULL WHERE position <= 100")
    return path


def use(path):
    """What a resume does; whatever goes wrong must be a LedgerError."""
    with Ledger.open(path) as ledger:
        edition = ledger.ensure_edition("autumn")
        recover_claims(ledger, edition, "resend", now=NOW)
        counts = ledger.count_by_status(edition)
        run = ledger.start_run(edition, template="t", now=NOW)
        while ledger.claim(edition, 64, NOW, run=run):
            ledger.commit()
        outcomes = list(ledger.read_outcomes(edition))
        return counts, outcomes


class TestDamaged:
    def test_an_undamaged_ledger_is_opened(self, whole, tmp_path):
        counts, outcomes = use(shutil.copy(whole, tmp_path / "ledger.sqlite3"))
        assert (counts[Status.SENT], counts[Status.PENDING], len(outcomes)) == (100, 200, 300)

    @pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9, 0.99])
    def test_a_truncated_ledger_is_refused(self, whole, tmp_path, share):
        path = Path(shutil.copy(whole, tmp_path / "ledger.sqlite3"))
        os.truncate(path, int(path.stat().st_size * share))
        with pytest.raises(LedgerError, match="ledger"):
            use(path)

    def test_damage_at_random_places_sends_no_message_again(self, whole, tmp_path):
        """A damaged ledger is refused, or at least does not send again to those who were sent to."""
        seed = random.randrange(2**32)
        chance, said = random.Random(seed), []
        content = whole.read_bytes()
        sent = [outcome.key for outcome in use(shutil.copy(whole, tmp_path / "first"))[1][:100]]
        for trial in range(60):
            damaged = bytearray(content)
            at, length = chance.randrange(len(content)), chance.choice([1, 4, 64, 4096])
            damaged[at : at + length] = chance.randbytes(length)
            path = tmp_path / "ledger.sqlite3"
            path.write_bytes(damaged[: len(content)])
            try:
                outcomes = use(path)[1]
            except LedgerError as error:
                said.append(str(error))
            else:
                pending = {outcome.key for outcome in outcomes if outcome.status is not Status.SENT}
                assert not pending.intersection(sent), f"seed {seed}, trial {trial}: {length} octets at {at}"
            for side in ("-wal", "-shm", "-journal"):
                Path(f"{path}{side}").unlink(missing_ok=True)
        assert len(said) > 10, f"seed {seed}"
        assert not [text for text in said if "\n" in text]
        opened = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        assert not [name for name in opened if name.startswith(str(tmp_path))], f"seed {seed}"

    def test_an_unknown_status_is_reported_as_damage(self, whole, tmp_path):
        path = tmp_path / "ledger.sqlite3"
        path.write_bytes(whole.read_bytes().replace(b"pendingperson", b"pendinkperson"))
        with Ledger.open(shutil.copy(whole, path)) as ledger, ledger.transaction() as store:
            store.execute("PRAGMA ignore_check_constraints=1")
            store.execute("UPDATE messages SET status = 'pendink' WHERE position = 200")
        with pytest.raises(LedgerError, match=r"damaged .*CHECK"):
            Ledger.open(path)


class TestMigration:
    @pytest.fixture
    def older(self, path, monkeypatch):
        with Ledger.open(path) as ledger:
            Started(ledger)
        step = ("ALTER TABLE messages ADD COLUMN bounced TEXT", "CREATE TABLE more (id INTEGER)")
        monkeypatch.setattr(sqlite_store, "MIGRATIONS", (*MIGRATIONS, step))
        return path

    def test_an_older_ledger_is_upgraded_once(self, older):
        for _ in range(2):
            with Ledger.open(older) as ledger:
                assert ledger.store.fetch_one("PRAGMA user_version") == (len(MIGRATIONS) + 1,)
                assert ledger.store.fetch_all("SELECT bounced FROM messages") == [(None,)] * 5
                assert ledger.count_by_status(ledger.ensure_edition("autumn"))[Status.PENDING] == 5

    def test_a_failed_upgrade_changes_nothing(self, older, monkeypatch):
        step = ("CREATE TABLE campaigns (id INTEGER)",)  # there is one already
        monkeypatch.setattr(
            sqlite_store, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE more (id INTEGER)",), step)
        )
        with pytest.raises(LedgerError):
            Ledger.open(older)
        monkeypatch.setattr(sqlite_store, "MIGRATIONS", MIGRATIONS)
        with Ledger.open(older) as ledger:
            assert ledger.store.fetch_one("PRAGMA user_version") == (len(MIGRATIONS),)

    def test_addresses_and_keys_of_version_1_get_the_present_form(self, path, monkeypatch):
        """Version 1 took `straße@` and `strasse@` for one mailbox."""
        people = ["straße@example.com", "ada@bücher.example", "plain@example.com"]
        with Ledger.open(path) as ledger:
            Started(ledger, *people)
            ledger.store.execute("ALTER TABLE campaigns DROP COLUMN file")
            ledger.store.execute("ALTER TABLE runs DROP COLUMN worker")
            ledger.store.execute("ALTER TABLE editions DROP COLUMN settings")
            ledger.store.execute("ALTER TABLE editions DROP COLUMN subject")
            ledger.store.execute("ALTER TABLE editions DROP COLUMN sender")
            ledger.store.execute("DROP INDEX messages_unchecked")
            ledger.store.execute("ALTER TABLE messages DROP COLUMN unchecked")
            for table in ("blobs", "files", "forgotten", "salts"):
                ledger.store.execute(f"DROP TABLE {table}")
            ledger.store.execute(
                "UPDATE messages SET address = 'strasse@example.com', key = address WHERE position = 1"
            )
            ledger.store.execute("UPDATE messages SET key = 'strasse@example.com' WHERE position = 1")
            ledger.store.execute("PRAGMA user_version=1")
        with Ledger.open(path) as ledger:
            rows = ledger.store.fetch_all("SELECT key, address FROM messages ORDER BY position")
        assert rows[0] == ("straße@example.com", "straße@example.com")
        assert [address for _, address in rows[1:]] == ["ada@xn--bcher-kva.example", "plain@example.com"]


class TestOwner:
    @pytest.mark.parametrize("wide", [0o702, 0o772])
    def test_a_folder_that_others_can_write_to_is_refused(self, path, wide):
        Ledger.open(path).close()
        path.parent.chmod(wide)
        with pytest.raises(LedgerError, match="other users can write to") as caught:
            Ledger.open(path)
        assert "chmod go-w" in str(caught.value.hint)

    def test_a_file_that_others_can_write_to_is_refused(self, path):
        Ledger.open(path).close()
        path.chmod(0o602)
        with pytest.raises(LedgerError, match="other users can write to"):
            Ledger.open(path)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    @pytest.mark.parametrize("part", ["file", "folder"])
    def test_what_another_user_owns_is_refused(self, path, part):
        Ledger.open(path).close()
        os.chown(path if part == "file" else path.parent, 65534, 65534)
        with pytest.raises(LedgerError, match="belongs to another user"):
            Ledger.open(path)


def test_an_old_sqlite_is_refused_with_its_version(monkeypatch, path):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(LedgerError, match="too old"):
        Ledger.open(path)


def test_the_sql_keeps_to_what_postgresql_has_too():
    texts = [value for name, value in vars(sql).items() if name.isupper() and isinstance(value, str)]
    texts += [statement for step in MIGRATIONS for statement in step]
    assert len(texts) > 50
    for word in (
        "INSERT OR",
        "ROWID",
        "IFNULL",
        "IIF(",
        "JSON",
        "STRFTIME",
        "UNIXEPOCH",
        "CHANGES(",
        "GLOB",
        "REPLACE INTO",
        "PRAGMA",
    ):
        assert not [text for text in texts if word in text.upper()], word
