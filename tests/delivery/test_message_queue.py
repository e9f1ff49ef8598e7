"""What may start, and what of it is durable."""

from __future__ import annotations

import asyncio

import pytest

from mailer.campaign.model import ServerConfig
from mailer.delivery.clock import SystemClock
from mailer.delivery.coordination import Coordinator
from mailer.delivery.dispositions import format_second
from mailer.delivery.message_queue import MessageQueue
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, SendOptions
from mailer.delivery.plan import plan
from mailer.delivery.run_state import RunState
from mailer.delivery.signals import StopSignal
from mailer.errors import LedgerWriteError
from mailer.ledger import Claim, Ledger
from mailer.ledger.outcome import Outcome, Status
from tests.delivery.lists import NOW, Compiled, People, campaign


def test_messages_that_are_reserved_are_claimed_when_the_run_says_so(where: str) -> None:
    async def run(ledger: Ledger) -> None:
        queue = make_queue(ledger, open_sessions=2)
        claims = await asyncio.gather(queue.reserve(1), queue.reserve(1), queue.reserve(1))
        assert [len(each) for each in claims] == [1, 1, 0]
        assert queue.in_flight == 2
        with Ledger.open(where) as other:
            await queue.make_durable()
            assert count_claimed(other) == (2 if ledger.is_shared else 0)
            queue.claim(claims[0])
            await queue.make_durable()
            assert count_claimed(other) == (2 if ledger.is_shared else 1)

    with Ledger.open(where) as ledger:
        asyncio.run(run(ledger))


@pytest.mark.parametrize("open_sessions", [1, 2])
def test_claims_are_durable_before_they_are_used(where: str, open_sessions: int) -> None:
    async def run(ledger: Ledger) -> None:
        queue = make_queue(ledger, open_sessions=open_sessions)
        claims = await asyncio.gather(queue.claim_durably(1), queue.claim_durably(1), queue.claim_durably(1))
        assert [len(each) for each in claims] == [1, 1, 0]
        with Ledger.open(where) as other:
            assert count_claimed(other) == 2

    with Ledger.open(where) as ledger:
        asyncio.run(run(ledger))


@pytest.mark.parametrize("way", ["the run ends", "the session is cancelled"])
def test_claims_that_come_too_late_are_given_back(where: str, way: str) -> None:
    async def run(ledger: Ledger) -> None:
        queue = make_queue(ledger, open_sessions=2)
        waiting = asyncio.ensure_future(queue.claim_durably(2))
        await asyncio.sleep(0)
        if way == "the run ends":
            await asyncio.sleep(0)
            queue._state.end(Ending.INTERRUPTED)
            assert not await waiting
        else:
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        queue.commit()
        assert queue.in_flight == 0
        assert ledger.count_by_status(queue.edition)[Status.PENDING] == 2

    with Ledger.open(where) as ledger:
        asyncio.run(run(ledger))


@pytest.mark.sqlite
@pytest.mark.parametrize("open_sessions", [1, 2])
def test_after_a_commit_that_failed_no_claim_is_durable(
    where: str, monkeypatch: pytest.MonkeyPatch, open_sessions: int
) -> None:
    """The disk is full at a commit that another session asked for, and has room again at the next one."""

    async def run(ledger: Ledger) -> None:
        queue = make_queue(ledger, open_sessions=open_sessions)
        queue.claim(await queue.reserve(1))
        commit = ledger.store.commit

        def fail() -> None:
            monkeypatch.setattr(ledger.store, "commit", commit)
            raise LedgerWriteError("the disk is full")

        monkeypatch.setattr(ledger.store, "commit", fail)
        with pytest.raises(LedgerWriteError):
            queue.commit()
        for _ in range(2):
            with pytest.raises(LedgerWriteError):
                await queue.make_durable()
        assert count_claimed(ledger) == 0

    with Ledger.open(where) as ledger:
        asyncio.run(run(ledger))


def test_sessions_that_wait_are_told_when_nothing_is_in_flight_any_more(where: str) -> None:
    async def run(ledger: Ledger) -> None:
        queue = make_queue(ledger, open_sessions=2)
        first, second = await queue.reserve(2)
        waiting = asyncio.ensure_future(queue.wait_for_message())
        for claim in (first, second):
            await asyncio.sleep(0)
            assert not waiting.done()
            queue.record(claim, make_outcome(claim))
        assert not await asyncio.wait_for(waiting, 10)

    with Ledger.open(where) as ledger:
        asyncio.run(run(ledger))


def count_claimed(ledger: Ledger) -> int:
    count: int = ledger.fetch_value("SELECT COUNT(*) FROM messages WHERE status = 'claimed'")
    return count


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
        queue.claim(await queue.reserve(1))
        queue.commit()
        seconds = queue.commit_seconds
        assert seconds > 0
        for _ in range(10):
            queue.commit()
        assert queue.commit_seconds == seconds

    with Ledger.open(where) as ledger:
        asyncio.run(run(ledger))
