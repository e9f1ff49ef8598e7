"""The states of a session, and which step leads from one to another: RFC 5321 4.1.4 and 4.3.1, RFC 3207, RFC 4954.

Everything about order that is not about a single message is in this table. A step that is not in it is our own
mistake, hence RuntimeError; what the server does wrong is a ProtocolViolation where it is read.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    GREETING = auto()  # 220 is awaited
    EHLO = auto()
    HELO = auto()  # EHLO was refused
    STARTTLS = auto()
    HANDSHAKE = auto()  # TLS's, by whoever owns the socket
    LOGIN = auto()
    READY = auto()  # messages
    ENDING = auto()  # the server announced the end; replies that are on their way still count
    QUITTING = auto()
    CLOSED = auto()


class Step(Enum):
    HELLO = auto()  # EHLO is written
    OLD_HELLO = auto()
    SECURE = auto()  # STARTTLS is written
    GO_AHEAD = auto()  # 220 to STARTTLS
    IDENTIFY = auto()  # AUTH is written
    OPEN = auto()  # all is agreed
    ANNOUNCED_END = auto()  # 421
    QUIT = auto()
    CLOSE = auto()  # whatever the reason


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.GREETING, Step.HELLO): State.EHLO,
    (State.EHLO, Step.OLD_HELLO): State.HELO,
    (State.EHLO, Step.SECURE): State.STARTTLS,
    (State.EHLO, Step.IDENTIFY): State.LOGIN,
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


def after(state: State, step: Step) -> State:
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise RuntimeError(f"{step.name} is not possible in state {state.name}") from None
