"""Commands that are no mail, of which servers let only some pass.

Exim ends a session at the eleventh (smtp_accept_max_nonmail, 10): NOOP counts, and every RSET but one for each message
whose content it has read. Postfix counts more of them (smtpd_junk_command_limit, 100), until a message is delivered.
Nothing in EHLO tells the two apart, so the smaller number is kept, by what the session has shown of its recipients.
"""

from __future__ import annotations

STREAMING = 6  # of Exim's ten while messages are in flight whose refusal is not known yet
WHOLE = 8  # then the session is brought to an end in time
FEW = 8  # messages: fewer than a session begins with are not worth streaming
WORTH_A_SESSION = 50  # messages for each counted command, from which a new session costs less than going slowly


class Budget:
    def __init__(self) -> None:
        self.reset_is_free = True
        self.counted = 0
        self._messages = 0
        self._refused = 0

    def reset(self) -> None:
        """RSET was answered."""
        if self.reset_is_free:
            self.reset_is_free = False
        else:
            self.counted += 1

    def noop(self) -> None:
        self.counted += 1

    def content(self) -> None:
        """The server has read a message's content: Exim counts the next message's RSETs anew."""
        self.reset_is_free = True

    def settled(self, *, refused: bool) -> None:
        self._messages += 1
        self._refused += refused

    @property
    def affords(self) -> float:
        """How many messages may have RSETs around them, if as many of them are refused as so far. (Without any
        experience it is every second one; hence the half.)
        """
        share = (self._refused + 0.5) / (self._messages + 1)
        return (STREAMING - self.counted) / share

    @property
    def is_tight(self) -> bool:
        return self.affords < FEW

    @property
    def refusals_are_rare(self) -> bool:
        return self._messages >= WORTH_A_SESSION * self.counted

    @property
    def is_spent(self) -> bool:
        return self.counted >= WHOLE
