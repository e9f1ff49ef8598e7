"""The states of a session, and which step leads from one to another: RFC 5321 4.1.4 and 4.3.1, RFC 3207, RFC
4954.

This table has everything about order that does not concern a single message. A step that is not in it is a
mistake of this program, hence RuntimeError. What the server does wrong is a ProtocolViolation, raised where
it is read.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """Where a session is."""

    GREETING = auto()  # waits for 220
    EHLO = auto()
    HELO = auto()  # EHLO was refused
    STARTTLS = auto()
    HANDSHAKE = auto()  # of TLS, done by the owner of the socket
    BEFORE_LOGIN = auto()  # until the owner lets it log in
    LOGIN = auto()
    READY = auto()  # for messages
    ENDING = auto()  # the server announced the end; replies that are on their way still count
    QUITTING = auto()
    CLOSED = auto()


class Step(Enum):
    """What leads to the next state."""

    HELLO = auto()  # EHLO is written
    OLD_HELLO = auto()  # HELO is written
    SECURE = auto()  # STARTTLS is written
    GO_AHEAD = auto()  # 220 to STARTTLS
    WAIT_FOR_TURN = auto()  # others log in first
    IDENTIFY = auto()  # AUTH is written
    OPEN = auto()  # nothing is left to be agreed
    ANNOUNCED_END = auto()  # 421, or a refusal of RSET
    QUIT = auto()
    CLOSE = auto()  # for any reason


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.GREETING, Step.HELLO): State.EHLO,
    (State.EHLO, Step.OLD_HELLO): State.HELO,
    (State.EHLO, Step.SECURE): State.STARTTLS,
    (State.EHLO, Step.IDENTIFY): State.LOGIN,
    (State.EHLO, Step.WAIT_FOR_TURN): State.BEFORE_LOGIN,
    (State.BEFORE_LOGIN, Step.IDENTIFY): State.LOGIN,
    (State.EHLO, Step.OPEN): State.READY,
    (State.HELO, Step.OPEN): State.READY,
    (State.STARTTLS, Step.GO_AHEAD): State.HANDSHAKE,
    (State.HANDSHAKE, Step.HELLO): State.EHLO,  # RFC 3207 4.2: what was known of the server is forgotten
    (State.LOGIN, Step.IDENTIFY): State.LOGIN,  # the next mechanism
    (State.LOGIN, Step.OPEN): State.READY,
    (State.READY, Step.ANNOUNCED_END): State.ENDING,
    (State.READY, Step.QUIT): State.QUITTING,
    **{(state, Step.CLOSE): State.CLOSED for state in State},
}


def next_state(state: State, step: Step) -> State:
    """Return the state that `step` leads to. Raises RuntimeError if the step is not possible in `state`."""
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise RuntimeError(f"{step.name} is not possible in state {state.name}") from None


class StateMachine:
    """The state of one session."""

    def __init__(self) -> None:
        self.state = State.GREETING

    def advance(self, step: Step) -> None:
        """Go to the state that `step` leads to. Raises RuntimeError if the step is not possible now."""
        self.state = next_state(self.state, step)
