"""One claim, or one commit, for the sessions of a run that need one at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mailer.ledger import Claim


class _Request(NamedTuple):
    room: int
    claimed: asyncio.Future[Sequence[Claim]]


class GroupClaim:
    """One durable claim in a shared ledger for all sessions that ask at about the same time.

    Many sessions do not wait for one fsync each. While a claim waits for the disk, replies to other sessions
    come in, so the next group is larger.
    """

    def __init__(
        self, claim: Callable[[int], Sequence[Claim]], release: Callable[[Sequence[Claim]], None]
    ) -> None:
        """`claim` returns up to so many durable claims, or raises. `release` gives up those of a session that ends."""
        self._claim, self._release = claim, release
        self._requests: list[_Request] = []

    async def claim(self, room: int) -> Sequence[Claim]:
        """Return up to `room` durable claims. Raises what the claim raises."""
        loop = asyncio.get_running_loop()
        claimed: asyncio.Future[Sequence[Claim]] = loop.create_future()
        if not self._requests:
            loop.call_soon(self._serve)
        self._requests.append(_Request(room, claimed))
        try:
            return await claimed
        except asyncio.CancelledError:
            if claimed.done() and not claimed.cancelled() and claimed.exception() is None:
                self._release(claimed.result())
            raise

    def _serve(self) -> None:
        requests, self._requests = self._requests, []
        waiting = [request for request in requests if not request.claimed.done()]
        if not waiting:
            return
        try:
            claims = self._claim(sum(request.room for request in waiting))
        except Exception as error:  # raised in each task that waits
            for request in waiting:
                request.claimed.set_exception(error)
            return
        for room, claimed in waiting:
            claimed.set_result(claims[:room])
            claims = claims[room:]


class GroupCommit:
    """One commit for all sessions that need one at about the same time."""

    def __init__(self, commit: Callable[[], None]) -> None:
        """`commit` makes everything durable, or raises."""
        self._commit = commit
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None  # for the next commit

    async def wait(self, within: float) -> None:
        """Wait for a commit, which happens up to `within` seconds later. Raises what the commit raises."""
        loop = asyncio.get_running_loop()
        committed: asyncio.Future[None] = loop.create_future()
        if self._timer is None or self._timer.when() > loop.time() + within:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(within, self._serve)
        self._waiting.append(committed)
        try:
            await committed
        except asyncio.CancelledError:
            if committed.done() and not committed.cancelled():
                committed.exception()  # asyncio reports one that nothing has asked for
            raise

    def _serve(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, []
        error: Exception | None = None
        try:
            self._commit()
        except Exception as failure:  # raised in each task that waits
            error = failure
        for committed in waiting:
            if committed.done():
                continue
            if error is None:
                committed.set_result(None)
            else:
                committed.set_exception(error)
