import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from mailer.errors import LedgerBusy, LedgerError, LedgerWriteError
from mailer.ledger import Ledger, lock
from mailer.ledger.recovery import recover_claims
from tests.delivery.lists import NOW

HOLD = """
    import sys, time
    from mailer.ledger import Ledger
    with Ledger.open(sys.argv[1]) as ledger, ledger.hold_campaign("autumn"):
        print("held", flush=True)
        time.sleep(60)
"""


@pytest.fixture
def holder(path):
    """A process that holds the campaign until it is killed."""
    Ledger.open(path).close()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_sender_is_refused_and_told_who_holds_it_since_when(path, holder):
    with Ledger.open(path) as ledger:
        with pytest.raises(LedgerBusy) as caught, ledger.hold_campaign("autumn"):
            pytest.fail("held twice")
        assert f"process {holder.pid} on {os.uname().nodename}, since 2" in str(caught.value)
        assert caught.value.hint
        assert ledger.is_held("autumn")


def test_another_campaign_of_the_ledger_can_be_held(path, holder):
    with Ledger.open(path) as ledger, ledger.hold_campaign("spring"):
        assert ledger.is_held("spring")


def test_the_campaign_of_a_dead_holder_is_free_at_once(path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Ledger.open(path) as ledger:
        started = time.monotonic()
        assert not ledger.is_held("autumn")
        with ledger.hold_campaign("autumn"):
            assert time.monotonic() - started < 10
            assert ledger.is_held("autumn")
        assert not ledger.is_held("autumn")


def test_a_process_id_that_is_used_again_holds_nothing(path, ledger):
    """The row says that this very process holds it; the lock knows better."""
    with ledger.hold_campaign("autumn"):
        pass
    with ledger.transaction() as store:
        store.execute(
            "INSERT INTO holders SELECT id, 'here', :pid, 'then' FROM campaigns", {"pid": os.getpid()}
        )
    with ledger.hold_campaign("autumn"):
        (who,) = ledger.fetch_all("SELECT host, pid FROM holders")
        assert who == (os.uname().nodename, os.getpid())


def test_a_campaign_is_not_held_twice_in_one_process(path, ledger):
    with (
        ledger.hold_campaign("autumn"),
        Ledger.open(path) as other,
        pytest.raises(LedgerBusy),
        other.hold_campaign("autumn"),
    ):
        pytest.fail("held twice")
    with ledger.hold_campaign("autumn"):
        pass


def test_release_removes_the_lock_file(path, ledger):
    with ledger.hold_campaign("autumn", now=NOW):
        assert [entry.name for entry in path.parent.glob("*.lock")] == ["ledger.sqlite3-autumn.lock"]
        assert ledger.fetch_all("SELECT since FROM holders") == [("2027-01-15T08:00:00Z",)]
    assert list(path.parent.glob("*.lock")) == []
    assert ledger.fetch_all("SELECT * FROM holders") == []


def test_an_error_releases_the_campaign(ledger):
    with pytest.raises(ZeroDivisionError), ledger.hold_campaign("autumn"):
        raise ZeroDivisionError
    assert not ledger.is_held("autumn")


@pytest.mark.sqlite
def test_claims_that_were_not_committed_go_with_the_hold(ledger):
    from tests.ledger.conftest import Started

    with ledger.hold_campaign("autumn"):
        started = Started(ledger)
        ledger.claim(started.edition, 2, NOW, run=started.run)
    assert set(started.statuses().values()) == {"pending"}


def test_an_interruption_in_mid_transaction_leaves_nothing_locked(path, ledger):
    """As a signal may raise between any two instructions."""
    ledger.ensure_edition("autumn")

    def interrupted():
        ledger.store.begin()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ledger.hold_campaign("autumn"):
        interrupted()
    with Ledger.open(path) as other:
        other.store.execute("PRAGMA busy_timeout=0")
        other.ensure_edition("spring")


def test_a_symlink_is_not_followed(path, ledger, tmp_path):
    ledger.ensure_edition("autumn")
    lock.lock_path(path, "autumn").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LedgerError, match="cannot be locked"), ledger.hold_campaign("autumn"):
        pytest.fail("followed")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.sqlite
def test_a_ledger_that_cannot_be_written_is_not_held(ledger):
    ledger.ensure_edition("autumn")
    ledger.store.execute("PRAGMA query_only=1")
    with pytest.raises(LedgerWriteError), ledger.hold_campaign("autumn"):
        pytest.fail("held")
    assert not ledger.is_held("autumn")


def test_one_at_a_time_however_many_try(path, tmp_path):
    """Each process holds the lock for a moment, repeatedly; the holder notes it, and must be alone."""
    code = """
        import os, sys
        from pathlib import Path
        from mailer.ledger.lock import acquire
        path, inside, wanted, got = Path(sys.argv[1]), sys.argv[2], 60, 0
        while got < wanted:
            held = acquire(path)
            if held is None:
                continue
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            os.unlink(inside)
            held.release()
            got += 1
    """
    run = [sys.executable, "-c", textwrap.dedent(code), tmp_path / "x.lock", tmp_path / "inside"]
    processes = [subprocess.Popen(run, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors


class TestKilled:
    """kill -9 of a process that claims, commits and records: what it said to be durable is."""

    SEND = """
        import os, sys
        from mailer.ledger import Ledger
        from mailer.ledger.outcome import Outcome, Status
        from mailer.ledger.recovery import recover_claims
        with Ledger.open(sys.argv[1]) as ledger, ledger.hold_campaign("autumn"):
            edition = ledger.ensure_edition("autumn")
            recover_claims(ledger, edition, "hold", now=0.0)
            run = ledger.start_run(edition, template="t", now=0.0)
            claims = []
            while True:
                for claim in claims:
                    ledger.record(claim, Outcome(claim.email, claim.key, Status.SENT, 1))
                done, claims = claims, ledger.claim(edition, 7, 0.0, run=run)
                ledger.commit()
                os.write(1, "".join(f"sent {c.id}\\n" for c in done).encode())
                os.write(1, "".join(f"claimed {c.id}\\n" for c in claims).encode())
                if not claims:
                    break
    """

    @pytest.mark.slow
    def test_a_sender_killed_at_any_time_loses_no_row(self, path):
        from tests.ledger.conftest import Started

        with Ledger.open(path) as ledger:
            Started(ledger, *[f"person{n}@example.com" for n in range(4000)])
        said: dict[str, set[int]] = {"sent": set(), "claimed": set()}
        for trial in range(8):
            run = [sys.executable, "-c", textwrap.dedent(self.SEND), path]
            with subprocess.Popen(run, stdout=subprocess.PIPE) as process:
                output = process.stdout.read(1200 + 777 * trial)
                process.kill()
                output += process.stdout.read()
            for line in output.decode().splitlines():
                what, _, id_ = line.partition(" ")
                said[what].add(int(id_))
        with Ledger.open(path) as ledger:
            edition = ledger.ensure_edition("autumn")
            found = dict(ledger.fetch_all("SELECT id, status FROM messages"))
            doubtful = recover_claims(ledger, edition, "hold", now=0.0).in_doubt
        assert doubtful <= 7
        assert len(said["sent"]) > 100
        assert {found[id_] for id_ in said["sent"]} == {"sent"}
        assert {found[id_] for id_ in said["claimed"]} <= {"sent", "claimed", "in_doubt"}
        assert sum(status in ("claimed", "in_doubt") for status in found.values()) <= 7 * 8


def test_what_is_open_elsewhere_is_not_disturbed(path, ledger):
    """Opening the file a second time in one process must not drop the first one's locks (fcntl(2))."""
    ledger.ensure_edition("autumn")
    ledger.store.begin()
    Ledger.open(path).close()
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    ledger.store.rollback()
    assert "locked" in run.stderr


def test_two_that_begin_a_campaign_at_once_begin_the_same_edition(path, monkeypatch):
    """Both look before either has written: a second edition would send every message once more."""
    with Ledger.open(path) as first, Ledger.open(path) as second:
        found = second.find_edition

        def looking(*given):
            monkeypatch.setattr(second, "find_edition", found)
            assert first.ensure_edition("autumn").number == 1

        monkeypatch.setattr(second, "find_edition", looking)
        assert second.ensure_edition("autumn").number == 1
        assert second.find_edition("autumn").id == first.find_edition("autumn").id
