"""One commit for the sessions that need one at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from mailer.delivery.message_queue import GroupCommit
from mailer.errors import LedgerWriteError


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
