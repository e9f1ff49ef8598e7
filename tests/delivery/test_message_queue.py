"""One commit for the sessions that need one at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from mailer.campaign.model import ServerConfig
from mailer.delivery.clock import SystemClock
from mailer.delivery.coordination import Coordinator
from mailer.delivery.message_queue import GroupCommit, MessageQueue
from mailer.delivery.observer import Observer
from mailer.delivery.options import SendOptions
from mailer.delivery.plan import plan
from mailer.delivery.run_state import RunState
from mailer.delivery.signals import StopSignal
from mailer.errors import LedgerWriteError
from mailer.ledger import Ledger, Release
from tests.delivery.lists import NOW, Compiled, People, campaign


class Disk:
    """Counts the commits; fails if it is full."""

    def __init__(self) -> None:
        self.commits = 0
        self.is_full = False

    def commit(self) -> None:
        self.commits += 1
        if self.is_full:
            raise LedgerWriteError("the disk is full")


def test_those_who_wait_together_share_a_commit() -> None:
    disk = Disk()

    async def run() -> None:
        group = GroupCommit(disk.commit)
        await asyncio.gather(*(group.wait() for _ in range(20)))
        assert disk.commits == 1
        await group.wait()
        assert disk.commits == 2

    asyncio.run(run())


def test_a_commit_that_fails_fails_for_each_of_them() -> None:
    disk = Disk()
    disk.is_full = True

    async def run() -> None:
        group = GroupCommit(disk.commit)
        results = await asyncio.gather(*(group.wait() for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [LedgerWriteError] * 3
        disk.is_full = False
        await group.wait()  # the next one is another commit

    asyncio.run(run())


def test_claims_that_are_void_are_never_said_to_be_durable() -> None:
    """Another commit failed in between: the transaction with the claims was rolled back."""
    disk = Disk()

    async def run() -> None:
        group = GroupCommit(disk.commit)
        waiting = asyncio.ensure_future(group.wait())
        await asyncio.sleep(0)
        group.fail(LedgerWriteError("the disk is full"))
        with pytest.raises(LedgerWriteError):
            await waiting
        assert disk.commits == 0

    asyncio.run(run())


def test_one_that_is_cancelled_leaves_the_others_their_commit() -> None:
    disk = Disk()

    async def run() -> None:
        group = GroupCommit(disk.commit)
        first, second = (asyncio.ensure_future(group.wait()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()
        assert disk.commits == 1

    asyncio.run(run())


def test_a_record_that_cannot_be_written_voids_the_claims_that_wait_for_a_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(ledger: Ledger) -> None:
        queue = make_queue(ledger, open_sessions=2)
        (claim,) = await queue.claim(1)
        monkeypatch.setattr(ledger, "record", fail_to_write)
        waiting = asyncio.ensure_future(queue.claim(1))
        await asyncio.sleep(0)
        with pytest.raises(LedgerWriteError):
            queue.record(claim, Release())
        with pytest.raises(LedgerWriteError):
            await waiting

    with Ledger.open_temporary() as ledger:
        asyncio.run(run(ledger))


def make_queue(ledger: Ledger, *, open_sessions: int = 1) -> MessageQueue:
    """The queue of a campaign with two recipients."""
    edition = ledger.ensure_edition("autumn")
    plan(ledger, campaign(People("a@example.com", "b@example.com")), Compiled(), edition)
    state = RunState(observer=Observer(), clock=SystemClock(), stop=StopSignal())
    state.sessions.open = open_sessions
    record = ledger.start_run(edition, template="template", now=NOW)
    options = SendOptions(ServerConfig("a.example", 465))
    return MessageQueue(ledger, edition, record, options, state, coordinator=Coordinator())


def test_a_commit_with_nothing_to_write_does_not_count_as_a_fast_disk(where: str) -> None:
    """Claims ahead of the window pay only where a commit takes long: the figure is that of real commits."""

    async def run(ledger: Ledger) -> None:
        queue = make_queue(ledger)
        await queue.claim(1)
        seconds = queue.commit_seconds
        assert seconds > 0
        for _ in range(10):
            queue.commit()
        assert queue.commit_seconds == seconds

    with Ledger.open(where) as ledger:
        asyncio.run(run(ledger))


def fail_to_write(*_: object, **__: object) -> None:
    raise LedgerWriteError("the disk is full")
