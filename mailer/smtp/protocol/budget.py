"""Commands that are not mail: servers accept only some of them in a session.

Exim ends a session at the eleventh (smtp_accept_max_nonmail, 10): NOOP counts, and every RSET but one for
each message whose content it has read. Postfix counts more of them (smtpd_junk_command_limit, 100), until a
message is delivered. Nothing in EHLO tells the two apart, so the smaller number is the limit. How close it is
depends on how many recipients the session has seen refused.
"""

from __future__ import annotations

MAX_WHILE_STREAMING = 6  # of Exim's ten while messages are in flight whose refusal is not known yet
MAX_COUNTED = 8  # then the session ends before the server ends it
MIN_WORTH_STREAMING = 8  # messages: fewer than a session begins with are not worth streaming
WORTH_A_SESSION = (
    50  # messages for each counted command, from which a new session costs less than going slowly
)


class CommandBudget:
    """Counts the commands of one session that are not mail."""

    def __init__(self) -> None:
        self.is_reset_free = True
        self.counted = 0
        self._messages = 0
        self._refused = 0

    def note_reset(self) -> None:
        """Count a RSET that was answered."""
        if self.is_reset_free:
            self.is_reset_free = False
        else:
            self.counted += 1

    def note_noop(self) -> None:
        """Count a NOOP that was answered."""
        self.counted += 1

    def note_content(self) -> None:
        """The server has read a message's content: Exim counts the next message's RSETs anew."""
        self.is_reset_free = True

    def note_result(self, *, is_refused: bool) -> None:
        """Count a message. `is_refused` says that its recipients were refused after MAIL was accepted."""
        self._messages += 1
        self._refused += is_refused

    @property
    def affordable_messages(self) -> float:
        """How many messages may have RSETs around them, if as many of them are refused as so far.

        Without any experience it is every second one; hence the half.
        """
        share = (self._refused + 0.5) / (self._messages + 1)
        return (MAX_WHILE_STREAMING - self.counted) / share

    @property
    def is_tight(self) -> bool:
        """Too few messages are affordable to stream them."""
        return self.affordable_messages < MIN_WORTH_STREAMING

    @property
    def are_refusals_rare(self) -> bool:
        """A new session now and then costs less than going slowly."""
        return self._messages >= WORTH_A_SESSION * self.counted

    @property
    def is_spent(self) -> bool:
        """The session is to end before the server ends it."""
        return self.counted >= MAX_COUNTED
