"""One claim, or one commit, for the sessions that need one at about the same time."""

from __future__ import annotations

import asyncio

import pytest

from mailer.delivery.commits import GroupClaim, GroupCommit
from mailer.errors import LedgerWriteError


class Disk:
    """Gives claims by their number, each group with one commit; fails if it is full."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.released: list[int] = []
        self.commits = 0
        self.left = 1000
        self.is_full = False

    def claim(self, room: int) -> list[int]:
        self.groups.append(room)
        self.commit()
        count = min(room, self.left)
        self.left -= count
        return list(range(1000 - self.left - count, 1000 - self.left))

    def commit(self) -> None:
        if self.is_full:
            raise LedgerWriteError("the disk is full")
        self.commits += 1

    def make_group(self) -> GroupClaim:
        return GroupClaim(self.claim, self.released.extend)  # type: ignore[arg-type]  # numbers stand for claims


class TestClaims:
    def test_sessions_that_claim_together_share_a_commit(self) -> None:
        disk = Disk()

        async def run() -> None:
            group = disk.make_group()
            claims = await asyncio.gather(*(group.claim(2) for _ in range(20)))
            assert disk.groups == [40]
            assert claims == [[2 * number, 2 * number + 1] for number in range(20)]
            assert await group.claim(1) == [40]
            assert disk.groups == [40, 1]

        asyncio.run(run())

    def test_the_first_sessions_get_what_is_left(self) -> None:
        disk = Disk()
        disk.left = 3

        async def run() -> None:
            group = disk.make_group()
            claims = await asyncio.gather(*(group.claim(2) for _ in range(3)))
            assert [len(each) for each in claims] == [2, 1, 0]

        asyncio.run(run())

    def test_a_claim_that_fails_fails_for_each_of_them(self) -> None:
        disk = Disk()
        disk.is_full = True

        async def run() -> None:
            group = disk.make_group()
            results = await asyncio.gather(*(group.claim(1) for _ in range(3)), return_exceptions=True)
            assert [type(result) for result in results] == [LedgerWriteError] * 3
            disk.is_full = False
            assert len(await group.claim(1)) == 1  # the next one is another claim

        asyncio.run(run())

    @pytest.mark.parametrize("is_served", [False, True], ids=["before its claim", "after its claim"])
    def test_a_session_that_is_cancelled_takes_nothing_from_the_others(self, is_served: bool) -> None:
        disk = Disk()

        async def run() -> None:
            group = disk.make_group()
            first, second = (asyncio.ensure_future(group.claim(1)) for _ in range(2))
            await asyncio.sleep(0)
            if is_served:
                group._serve()
            first.cancel()
            assert len(await second) == 1
            assert first.cancelled()
            assert disk.released == ([0] if is_served else [])
            assert 1000 - disk.left - len(disk.released) == 1

        asyncio.run(run())

    def test_a_session_that_is_cancelled_as_its_claim_fails_is_cancelled(self) -> None:
        disk = Disk()
        disk.is_full = True

        async def run() -> None:
            group = disk.make_group()
            waiting = asyncio.ensure_future(group.claim(1))
            await asyncio.sleep(0)
            group._serve()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert disk.released == []

        asyncio.run(run())


class TestCommits:
    def test_sessions_that_wait_together_share_a_commit(self) -> None:
        disk = Disk()

        async def run() -> None:
            group = GroupCommit(disk.commit)
            await asyncio.gather(*(group.wait(0.0) for _ in range(20)))
            assert disk.commits == 1
            await group.wait(0.0)
            assert disk.commits == 2

        asyncio.run(run())

    def test_a_commit_waits_no_longer_than_any_of_the_sessions_allows(self) -> None:
        disk = Disk()

        async def run() -> None:
            group = GroupCommit(disk.commit)
            patient = asyncio.ensure_future(group.wait(3600.0))
            await asyncio.sleep(0)
            await group.wait(0.0)
            await patient
            assert disk.commits == 1

        asyncio.run(run())

    def test_a_commit_that_fails_fails_for_each_of_them_and_is_tried_again_for_the_next(self) -> None:
        disk = Disk()
        disk.is_full = True

        async def run() -> None:
            group = GroupCommit(disk.commit)
            results = await asyncio.gather(*(group.wait(0.0) for _ in range(3)), return_exceptions=True)
            assert [type(result) for result in results] == [LedgerWriteError] * 3
            disk.is_full = False
            await group.wait(0.0)

        asyncio.run(run())

    def test_a_session_that_is_cancelled_as_its_commit_fails_is_cancelled_without_a_report(self) -> None:
        disk = Disk()
        disk.is_full = True
        reports: list[object] = []

        async def run() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
            group = GroupCommit(disk.commit)
            waiting = asyncio.ensure_future(group.wait(0.0))
            await asyncio.sleep(0)
            group._serve()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        asyncio.run(run())
        assert reports == []
