"""How many messages may be in flight: as few as keep the connection busy (design section 3).

A lost connection leaves at most a window in doubt, so it is small in each new session and grows only while that pays.
Up to `FREE` messages it always pays: the caller makes the outcomes of half a window durable at once, and a commit for
a few messages costs more than sending them does. Beyond, it pays while a full window's messages come back about as
fast as a lone one did: then the wire was idle. When they take twice as long they wait in somebody's queue, and a
larger window would only make that longer. So it comes to rest near the bandwidth-delay product: at FREE on loopback,
at hundreds where the round trip is 100 ms.
"""

from __future__ import annotations

FIRST = 8  # messages in flight at the beginning
FREE = 64  # up to which it grows whatever the messages' time
MOST = 512  # 35 KB messages at 100 ms and 5,000 a second
MOST_OCTETS = 32 * 1024 * 1024  # memory: what is in flight is kept, to be sent again
QUEUEING = 2.0  # how many times a lone message's time says that there is a queue
IDLE = 1.25  # and that there is nearly none: the window is far too small


class Window:
    """`limit` messages, of which a caller's maximum is never exceeded. Times are seconds."""

    def __init__(self, maximum: int | None = None) -> None:
        if maximum is not None and maximum < 1:
            raise ValueError("a window has room for at least one message")
        self.maximum = MOST if maximum is None else maximum
        self.limit = min(FIRST, self.maximum)
        self._least = 1e9  # the shortest time of a message: the round trip, and the server's own work
        self._count = 0
        self._total = 0.0
        self._was_full = False

    def room(self, messages: int, octets: int) -> int:
        """How many more may be in flight beside these."""
        return max(0, self.limit - messages) if octets < MOST_OCTETS else 0

    def full(self) -> None:
        """The window is used up: it may be what holds the messages back."""
        self._was_full = True

    def settled(self, seconds: float) -> None:
        """A message's reply came, `seconds` after its last octet had left."""
        self._least = min(self._least, max(seconds, 1e-6))
        self._total += seconds
        self._count += 1
        if self._count < self.limit:
            return
        slower = self._total / self._count / self._least
        if self._was_full and (slower < QUEUEING or self.limit < FREE):
            grown = self.limit * (4 if slower < IDLE else 2)
            self.limit = min(grown if slower < QUEUEING else min(grown, FREE), self.maximum)
        self._count, self._total, self._was_full = 0, 0.0, False
