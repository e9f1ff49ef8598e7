"""A disk that is full and a file size limit, in their own processes: sending stops, and what was committed is right."""

import os
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest

from mailer.errors import LedgerError, LedgerWriteError
from mailer.ledger import Ledger
from mailer.ledger.outcome import Status
from mailer.ledger.recovery import recover_claims
from tests.delivery.lists import NOW
from tests.ledger.conftest import Started

PEOPLE = [f"person{n}@example.com" for n in range(3000)]

SEND = """
    import os, resource, sys
    from mailer.ledger import Ledger
    from mailer.ledger.outcome import Outcome, Status
    from mailer.ledger.recovery import recover_claims
    from mailer.errors import LedgerWriteError
    path, limit = sys.argv[1], int(sys.argv[2])
    sent = 0
    ledger = Ledger.open(path)
    with ledger.hold_campaign("autumn"):
        edition = ledger.ensure_edition("autumn")
        recover_claims(ledger, edition, "hold", now=0.0)
        run = ledger.start_run(edition, template="t", now=0.0)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            claims = []
            while True:
                for claim in claims:
                    reply = "250 " + "x" * 600
                    ledger.record(claim, Outcome(claim.email, claim.key, Status.SENT, 1, reply=reply))
                done, claims = claims, ledger.claim(edition, 16, 0.0, run=run)
                ledger.commit()
                sent += len(done)
                if not claims:
                    break
            print("done", sent)
        except LedgerWriteError as error:
            print("stopped", sent, error)
    ledger.close()
"""


def send(path, limit=0):
    """What the sender said: whether it was done or stopped, how many outcomes were committed, and why."""
    run = [sys.executable, "-c", textwrap.dedent(SEND), str(path), str(limit)]
    how, sent, *why = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split(maxsplit=2)
    return how, int(sent), "".join(why)


def plan_all(path):
    with Ledger.open(path) as ledger:
        Started(ledger, *PEOPLE)


def check(path, sent):
    """Exactly those are sent whose commit succeeded, and the one batch after them is in doubt at most."""
    with Ledger.open(path) as ledger:
        counts = ledger.count_by_status(ledger.ensure_edition("autumn"))
    assert counts[Status.SENT] == sent
    assert counts[Status.IN_DOUBT] <= 16
    assert sum(counts.values()) == len(PEOPLE)
    return counts


def test_a_file_size_limit(path):
    plan_all(path)
    size = path.stat().st_size
    how, sent, why = send(path, size + 40_000)
    assert how == "stopped"
    assert "cannot be written" in why or "full" in why
    doubtful = check(path, sent)[Status.IN_DOUBT]
    how, more, _ = send(path)
    assert how == "done"
    assert sent + more + doubtful == len(PEOPLE)


@pytest.mark.parametrize("room", [0, 1])
def test_a_limit_that_leaves_no_room_at_all(path, room):
    plan_all(path)
    how, sent, _ = send(path, 4096 * room + 1)
    assert (how, sent) == ("stopped", 0)
    check(path, 0)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder):
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


def test_a_full_disk_loses_no_record(small_disk):
    path = small_disk / "ledger.sqlite3"
    plan_all(path)
    filler = fill(small_disk)
    os.truncate(filler, filler.stat().st_size - 50_000)
    how, sent, why = send(path)
    assert how == "stopped"
    assert "full" in why or "cannot be written" in why
    filler.unlink()
    doubtful = check(path, sent)[Status.IN_DOUBT]
    how, more, _ = send(path)
    assert (how, sent + more + doubtful) == ("done", len(PEOPLE))


def test_a_disk_too_small_for_the_list(small_disk):
    path = small_disk / "ledger.sqlite3"
    with Ledger.open(path) as ledger:
        with pytest.raises(LedgerWriteError):
            Started(ledger, *[f"person{n}-{'x' * 100}@example.com" for n in range(20_000)])
        assert not ledger.ensure_edition("autumn").planned
        assert ledger.count_by_status(ledger.ensure_edition("autumn"))[Status.PENDING] == 0
        started = Started(ledger, *PEOPLE[:10])
        assert len(started.claim(100)) == 10


def test_a_disk_without_room_for_a_new_ledger(small_disk):
    filler = fill(small_disk)
    with pytest.raises(LedgerError):
        Ledger.open(small_disk / "ledger.sqlite3")
    filler.unlink()
    with Ledger.open(small_disk / "ledger.sqlite3") as ledger:
        ledger.ensure_edition("autumn")
    assert sorted(entry.name for entry in small_disk.iterdir()) == ["ledger.sqlite3"]


def test_a_disk_that_is_full_when_the_ledger_is_opened_is_told(small_disk):
    Ledger.open(small_disk / "ledger.sqlite3").close()
    fill(small_disk)
    with pytest.raises(LedgerError, match="cannot be written") as caught:
        Ledger.open(small_disk / "ledger.sqlite3")
    assert "space" in str(caught.value.hint)


def test_a_clock_that_goes_back_between_runs_hides_no_recipient(path):
    from mailer.ledger import Retry

    with Ledger.open(path) as ledger:
        started = Started(ledger)
        for claim in started.claim(5):
            ledger.record(claim, Retry(NOW + 86_400))
        ledger.commit()
        recover_claims(ledger, started.edition, "resend", now=NOW - 10 * 86_400)
        assert started.keys(10, NOW - 10 * 86_400) == ["a", "b", "c", "d", "e"]
