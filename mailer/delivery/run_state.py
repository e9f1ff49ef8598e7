"""The state of a run: whether it continues, which sessions are open, and its figures.

Everything in a run happens between two awaits of one thread, so nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailer.dataclass import dataclass
from mailer.delivery.clock import Clock
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending
from mailer.delivery.race import race
from mailer.delivery.signals import StopSignal
from mailer.smtp.connection import ServerFacts, SessionDetails
from mailer.smtp.protocol.values import NOTHING_LEARNED, ServerTraits

MAX_OPENING = 20  # sessions at the same time: more look like an attack


@dataclass(slots=True)
class RunFigures:
    """What the record of a run counts.

    `messages` have an outcome, `octets` are those of sent contents, `sessions` were opened, and `reconnects`
    of them replaced one that was lost or refused.
    """

    messages: int = 0
    octets: int = 0
    sessions: int = 0
    reconnects: int = 0


@dataclass(slots=True)
class SessionCounts:
    """How many sessions a run has, and how many it is to have.

    `runners` is the number of session runners that have not ended and are not about to. `open` is the number
    of sessions that are used now, and `most_open` the maximum that it ever was. In `answered` sessions the
    server has answered EHLO before a login. A session that would be one more than `open_at_most` waits to be used; None
    is no limit. `is_automatic` says that their number is found by trying, so that a refusal is no news for a
    person.
    """

    runners: int = 0
    open: int = 0
    most_open: int = 0
    answered: int = 0
    open_at_most: int | None = None
    is_automatic: bool = False

    @property
    def may_use_another(self) -> bool:
        """Whether another session may be used now."""
        return self.open_at_most is None or self.open < self.open_at_most


class LoginGate:
    """Limits the logins that happen at the same time.

    Until the first one succeeds there is one at a time: a wrong password is tried once, not by each session
    runner. `slots` limits the sessions that are being opened.
    """

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(MAX_OPENING)
        self._first = asyncio.Lock()
        self._is_open = False

    def open(self) -> None:
        """Note that a login succeeded."""
        self._is_open = True

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """In this block, a session runner may log in."""
        if not self._is_open:
            await self._first.acquire()
            if not self._is_open:
                try:
                    yield
                finally:
                    self._first.release()
                return
            self._first.release()
        yield


class RunState:
    """What all sessions of a run need to know. `ending`, `reason` and `hint` are set when the run is to end.

    `observer` is told what happens, `clock` gives the time and sleeps, and `stop` says whether a signal came.
    """

    def __init__(self, *, observer: Observer, clock: Clock, stop: StopSignal) -> None:
        self.observer, self.clock, self.stop = observer, clock, stop
        self.ending: Ending | None = None
        self.reason: str | None = None
        self.hint: str | None = None
        self.figures = RunFigures()
        self.sessions = SessionCounts()
        self.server: SessionDetails | None = None
        self.hello: ServerFacts | None = None  # of the first session that reached the login
        self.traits: ServerTraits = NOTHING_LEARNED
        self.login_gate = LoginGate()
        self._ended = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether no new message may start. True from the very instant of a signal on."""
        return self.ending is not None or self.stop.requested

    def end(self, ending: Ending, reason: str | None = None, hint: str | None = None) -> None:
        """End the run, unless it is ending already. The first call wins.

        `reason` and `hint` are sentences for a person.
        """
        if self.ending is None:
            self.override_ending(ending, reason, hint)

    def override_ending(self, ending: Ending, reason: str | None, hint: str | None) -> None:
        """End the run in this way, even if it is already ending in another one.

        `reason` and `hint` are sentences for a person.
        """
        self.ending, self.reason, self.hint = ending, reason, hint
        self._ended.set()
        self.wake_waiters()

    def wake_waiters(self) -> None:
        """Wake every task that is blocked in `wait_for_change`."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for_change(self, seconds: float | None) -> None:
        """Wait until the queue or the sessions change; at most `seconds` unless that is None."""
        if seconds is None:
            await self._changed.wait()
        else:
            await race(self._changed.wait(), self.clock.sleep(seconds))

    async def wait_until_ended(self) -> None:
        """Wait until the run is to end."""
        await self._ended.wait()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, or until the run is to end."""
        await race(self._ended.wait(), self.clock.sleep(seconds))

    def record_session_opened(
        self, details: SessionDetails, *, is_new: bool = True, is_reconnect: bool, is_careful: bool
    ) -> None:
        """Count a session, and tell the observer its `details`.

        `is_new` is false if the run before counted it. `is_reconnect` says that it replaces one that was
        lost. The report shows the server as the last session without special care (`is_careful`) found it.
        """
        self.sessions.open += 1
        self.sessions.most_open = max(self.sessions.most_open, self.sessions.open)
        self.figures.sessions += is_new
        self.figures.reconnects += is_reconnect
        if not is_careful or self.server is None:
            self.server = details
        self.observer.on_session(details)

    def record_session_closed(self, details: SessionDetails, traits: ServerTraits) -> None:
        """Keep the `traits` that a session learned about the server for the next one."""
        self.sessions.open -= 1
        self.traits = self.traits.merged_with(traits)
        # This session or an earlier one had to go to a lower strategy.
        if traits.strategy_at_most is not None:
            self.server = details
        self.wake_waiters()
