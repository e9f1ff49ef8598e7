"""Servers that answer slower and slower after errors (tarpits), and when a new session is cheaper than
waiting.

Postfix delays each reply by smtpd_error_sleep_time (1 s) from the tenth error of a session on
(smtpd_soft_error_limit). Courier delays the reply to the first error by 8 s, and doubles that with each error
(TARPIT). A new session has no errors.
"""

from __future__ import annotations

from collections import deque

MIN_ERRORS = 3  # refused messages before slowness is taken for a tarpit
SAMPLE = 4  # the latest messages, whose mean time is compared
MIN_SLOW = 2  # of them that are slow: one alone is an accident
MIN_DELAY = 0.5  # seconds that a message takes more than usual; less is not worth a new session
MAX_REFUSAL_DELAY = 3.0  # seconds that one refusal takes more than usual: the next would take longer still
AHEAD = 10  # messages over which a new session must pay


class SlowdownDetector:
    """Compares the time of each message with that of the messages before the errors."""

    def __init__(self, session_cost: float) -> None:
        """`session_cost` is the seconds that it takes to open a session."""
        self._session_cost = session_cost
        self._errors = 0
        self._usual_count = 0
        self._usual_total = 0.0
        self._latest: deque[float] = deque(maxlen=SAMPLE)
        self._slowest_refusal = 0.0

    def note_result(self, seconds: float, *, is_refused: bool) -> None:
        """Note that the result of a message came `seconds` after the one before it.

        `is_refused` says that it was a refusal.
        """
        self._errors += is_refused
        if is_refused:
            self._slowest_refusal = max(self._slowest_refusal, seconds - self._usual)
        if self._errors < MIN_ERRORS:
            self._usual_count += 1
            self._usual_total += seconds
        else:
            self._latest.append(seconds)

    @property
    def is_new_session_cheaper(self) -> bool:
        """The next messages would wait longer in this session than a new one takes to open."""
        if self._slowest_refusal > max(MAX_REFUSAL_DELAY, self._usual, 2 * self._session_cost):
            return True
        if len(self._latest) < SAMPLE:
            return False
        # The mean, because a server may write the replies to several messages at once: then only the first of
        # these messages takes long.
        delay = sum(self._latest) / SAMPLE - self._usual
        slow = [seconds for seconds in self._latest if seconds - self._usual > MIN_DELAY]
        is_slower = delay > max(MIN_DELAY, self._usual) and len(slow) >= MIN_SLOW
        return is_slower and delay * AHEAD > self._session_cost

    @property
    def _usual(self) -> float:
        """The seconds that a message takes without errors before it."""
        return self._usual_total / max(1, self._usual_count)
