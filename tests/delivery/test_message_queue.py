"""One claim and one commit for the sessions that need one at about the same time."""

from __future__ import annotations

import asyncio

import pytest

from mailer.campaign.model import ServerConfig
from mailer.delivery.clock import SystemClock
from mailer.delivery.coordination import Coordinator
from mailer.delivery.dispositions import format_second
from mailer.delivery.message_queue import GroupClaim, MessageQueue
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, SendOptions
from mailer.delivery.plan import plan
from mailer.delivery.run_state import RunState
from mailer.delivery.signals import StopSignal
from mailer.errors import LedgerWriteError
from mailer.ledger import Claim, Ledger
from mailer.ledger.outcome import Outcome, Status
from tests.delivery.lists import NOW, Compiled, People, campaign


class Disk:
    """Gives claims by their number, each group with one commit; fails if it is full."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.released: list[int] = []
        self.left = 1000
        self.is_full = False

    def claim(self, room: int) -> list[int]:
        self.groups.append(room)
        if self.is_full:
            raise LedgerWriteError("the disk is full")
        count = min(room, self.left)
        self.left -= count
        return list(range(1000 - self.left - count, 1000 - self.left))

    def make_group(self) -> GroupClaim:
        return GroupClaim(self.claim, self.released.extend)  # type: ignore[arg-type]  # numbers stand for claims


def test_sessions_that_claim_together_share_a_commit() -> None:
    disk = Disk()

    async def run() -> None:
        group = disk.make_group()
        claims = await asyncio.gather(*(group.claim(2, 0.0) for _ in range(20)))
        assert disk.groups == [40]
        assert claims == [[2 * number, 2 * number + 1] for number in range(20)]
        assert await group.claim(1, 0.0) == [40]
        assert disk.groups == [40, 1]

    asyncio.run(run())


def test_a_claim_waits_no_longer_than_any_of_the_sessions_allows() -> None:
    disk = Disk()

    async def run() -> None:
        group = disk.make_group()
        patient = asyncio.ensure_future(group.claim(1, 3600.0))
        await asyncio.sleep(0)
        assert await group.claim(1, 0.0) == [1]
        assert await patient == [0]
        assert disk.groups == [2]

    asyncio.run(run())


def test_the_first_sessions_get_what_is_left() -> None:
    disk = Disk()
    disk.left = 3

    async def run() -> None:
        group = disk.make_group()
        claims = await asyncio.gather(*(group.claim(2, 0.0) for _ in range(3)))
        assert [len(each) for each in claims] == [2, 1, 0]

    asyncio.run(run())


def test_a_claim_that_fails_fails_for_each_of_them() -> None:
    disk = Disk()
    disk.is_full = True

    async def run() -> None:
        group = disk.make_group()
        results = await asyncio.gather(*(group.claim(1, 0.0) for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [LedgerWriteError] * 3
        disk.is_full = False
        assert len(await group.claim(1, 0.0)) == 1  # the next one is another claim

    asyncio.run(run())


@pytest.mark.parametrize("is_served", [False, True], ids=["before its claim", "after its claim"])
def test_a_session_that_is_cancelled_takes_nothing_from_the_others(is_served: bool) -> None:
    disk = Disk()

    async def run() -> None:
        group = disk.make_group()
        first, second = (asyncio.ensure_future(group.claim(1, 0.0)) for _ in range(2))
        await asyncio.sleep(0)
        if is_served:
            group._serve()
        first.cancel()
        assert len(await second) == 1
        assert first.cancelled()
        assert disk.released == ([0] if is_served else [])
        assert 1000 - disk.left - len(disk.released) == 1

    asyncio.run(run())


def test_a_session_that_is_cancelled_as_its_claim_fails_is_cancelled() -> None:
    disk = Disk()
    disk.is_full = True

    async def run() -> None:
        group = disk.make_group()
        waiting = asyncio.ensure_future(group.claim(1, 0.0))
        await asyncio.sleep(0)
        group._serve()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert disk.released == []

    asyncio.run(run())


def test_several_sessions_claim_durably(where: str) -> None:
    async def run(ledger: Ledger) -> None:
        queue = make_queue(ledger, open_sessions=2)
        claims = await asyncio.gather(queue.claim(1), queue.claim(1), queue.claim(1))
        assert [len(each) for each in claims] == [1, 1, 0]
        assert queue.in_flight == 2
        with Ledger.open(where) as other:
            assert other.count_by_status(queue.edition)[Status.PENDING] == 0

    with Ledger.open(where) as ledger:
        asyncio.run(run(ledger))


def test_claims_of_a_run_that_ends_meanwhile_are_given_back(where: str) -> None:
    async def run(ledger: Ledger) -> None:
        queue = make_queue(ledger, open_sessions=2)
        waiting = asyncio.ensure_future(queue.claim(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        queue._state.end(Ending.INTERRUPTED)
        assert not await waiting
        queue.commit()
        assert queue.in_flight == 0
        assert ledger.count_by_status(queue.edition)[Status.PENDING] == 2

    with Ledger.open(where) as ledger:
        asyncio.run(run(ledger))


def test_sessions_that_wait_are_told_when_nothing_is_in_flight_any_more(where: str) -> None:
    async def run(ledger: Ledger) -> None:
        queue = make_queue(ledger, open_sessions=2)
        first, second = await queue.claim(2)
        waiting = asyncio.ensure_future(queue.wait_for_message())
        for claim in (first, second):
            await asyncio.sleep(0)
            assert not waiting.done()
            queue.record(claim, make_outcome(claim))
        assert not await asyncio.wait_for(waiting, 10)

    with Ledger.open(where) as ledger:
        asyncio.run(run(ledger))


def make_outcome(claim: Claim) -> Outcome:
    return Outcome(claim.email, claim.key, Status.SENT, attempts=1, at=format_second(int(NOW)), size=100)


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
