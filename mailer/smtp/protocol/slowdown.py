"""Servers that answer slower and slower after errors (tarpits), and when a new session is cheaper than
waiting.

Postfix, for one, delays each reply by smtpd_error_sleep_time (1 s) from the tenth error of a session on
(smtpd_soft_error_limit). A new session has no errors.
"""

from __future__ import annotations

from collections import deque

MIN_ERRORS = 3  # refused messages before slowness is taken for a tarpit
SAMPLE = 4  # messages in a row that are all slow
MIN_DELAY = 0.5  # seconds that each of them takes more than usual; less is not worth a new session
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

    def note_result(self, seconds: float, *, is_refused: bool) -> None:
        """Note that a message took so long after the one before it."""
        self._errors += is_refused
        if self._errors < MIN_ERRORS:
            self._usual_count += 1
            self._usual_total += seconds
        else:
            self._latest.append(seconds)

    @property
    def is_new_session_cheaper(self) -> bool:
        """The next messages would wait longer in this session than a new one takes to open."""
        if len(self._latest) < SAMPLE:
            return False
        usual = self._usual_total / max(1, self._usual_count)
        delay = min(self._latest) - usual
        return delay > max(MIN_DELAY, usual) and delay * AHEAD > self._session_cost
