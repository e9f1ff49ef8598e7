"""How many messages may be in flight: the fewest that keep the connection busy.

A lost connection leaves at most a window in doubt, so it is small in each new session and grows only while
that pays. Up to `FREE` messages it always pays: the caller makes the outcomes of half a window durable at
once, and a commit for a few messages costs more than sending them does. Beyond, it pays while a full window's
messages come back about as fast as a lone one did: then the wire was idle. When they take twice as long they
wait in a queue on the way, and a larger window would only make that longer. So it comes to rest near the
bandwidth-delay product: at FREE_IF_QUICK on loopback, at hundreds if the round trip is 100 ms.
"""

from __future__ import annotations

INITIAL = 8  # messages in flight at the beginning
FREE = 64  # up to which it grows, however long a message takes
# The same, if a result comes within QUICK seconds on average: then little is in doubt after a loss.
FREE_IF_QUICK = 256
QUICK = 0.05
MAX_MESSAGES = 1024  # at 100 ms and 5,000 a second: what is on its way, and what waits for a commit
MAX_OCTETS = 48 * 1024 * 1024  # memory: what is in flight is kept, to be sent again
# How long a message takes in a full window, divided by the time of a lone message:
QUEUEING = 2.0  # from here on messages wait in a queue on the way, and the window does not grow
IDLE = 1.25  # below, there is nearly no queue: the window is far too small
WINDOWS_TO_RECOVER = 4  # full windows of results before the ceiling of a session after a loss is doubled


class Window:
    """`limit` is the number of messages that may be in flight now. It changes with their results.

    It never exceeds `maximum`, which is the caller's and does not change, nor `ceiling`, which a loss of the
    session before has set, and which rises with success until it is None.
    """

    def __init__(self, maximum: int | None = None, *, ceiling: int | None = None) -> None:
        """`maximum` None is MAX_MESSAGES; `ceiling` None is no such limit.

        Raises ValueError if `maximum` is less than 1.
        """
        if maximum is not None and maximum < 1:
            raise ValueError("a window has at least one message")
        self.maximum = MAX_MESSAGES if maximum is None else maximum
        self.ceiling = ceiling
        self.limit = min(INITIAL, self.maximum, ceiling or INITIAL)
        self._results_below_ceiling = 0
        self._shortest = 1e9  # the shortest time of a message: the round trip, and the server's own work
        self._count = 0
        self._total = 0.0
        self._was_full = False

    def free_slots(self, messages: int, octets: int) -> int:
        """Return how many messages may join those in flight, which are `messages` with `octets` in all."""
        return max(0, self.limit - messages) if octets < MAX_OCTETS else 0

    def note_full(self) -> None:
        """Note that the window is used up: its limit may be what holds the messages back."""
        self._was_full = True

    def note_result(self, seconds: float) -> None:
        """Note that a message's last reply came `seconds` after its first command was written."""
        self._shortest = min(self._shortest, max(seconds, 1e-6))
        self._total += seconds
        self._count += 1
        if self.ceiling is not None:
            self._raise_ceiling(self.ceiling)
        if self._count < self.limit:
            return
        mean = self._total / self._count
        slower, free = mean / self._shortest, FREE_IF_QUICK if mean < QUICK else FREE
        if self._was_full and (slower < QUEUEING or self.limit < free):
            grown = self.limit * (8 if slower < IDLE else 2)
            grown = min(grown if slower < QUEUEING else min(grown, free), self.maximum)
            self.limit = grown if self.ceiling is None else min(grown, self.ceiling)
        self._count, self._total, self._was_full = 0, 0.0, False

    def _raise_ceiling(self, ceiling: int) -> None:
        """Count a success; after some windows of them, double the ceiling."""
        self._results_below_ceiling += 1
        if self._results_below_ceiling >= ceiling * WINDOWS_TO_RECOVER:
            self._results_below_ceiling = 0
            self.ceiling = ceiling * 2 if ceiling * 2 < self.maximum else None
