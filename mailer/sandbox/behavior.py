"""How a sandbox misbehaves on purpose, so that a rehearsal shows what a campaign does when its server does.

A failure is written `[STAGE=]CODE[ TEXT][:WHEN]`:

    421:5%              5 in 100 messages get the reply 421, which ends the session
    rcpt=550:^bob       recipients whose address matches the regular expression are refused
    data=451:first      the first message for each recipient is refused; the next attempt is accepted

STAGE is ehlo, auth, mail, rcpt or data (the reply to a whole message, which is the default). WHEN is a
percentage, `first`, or a regular expression for the recipient's address (of `mail`: the sender's). Without
WHEN it is always.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, get_args

from mailer.campaign import parse_duration
from mailer.dataclass import dataclass

Given = TypeVar("Given")
Parsed = TypeVar("Parsed")
Stage = Literal["ehlo", "auth", "mail", "rcpt", "data"]

_FAILURE = re.compile(
    r"(?:(?P<stage>[a-z]+)=)?(?P<code>[45]\d\d)(?: (?P<text>[^:]{1,200}))?(?::(?P<when>.+))?", re.ASCII
)
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s*%")
_TEXTS = {"4": "4.3.0 Try again later (rehearsed)", "5": "5.0.0 Refused (rehearsed)"}


@dataclass(frozen=True, slots=True)
class Failure:
    """One rule: which reply is given instead of success, and when. `share` is 0 to 1."""

    stage: Stage
    reply: str
    share: float = 1.0
    is_first_only: bool = False
    address: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Behavior:
    """What the server offers, and how it fails. `delay` is in seconds before each group of replies.

    `drop` is the share (0 to 1) of messages after which the connection is cut before the reply; such a
    message is kept. `security` "starttls" begins without TLS. Without `has_login` AUTH is neither offered nor
    needed.
    """

    failures: tuple[Failure, ...] = ()
    delay: float = 0.0
    drop: float = 0.0
    has_chunking: bool = True
    has_pipelining: bool = True
    has_login: bool = True
    security: Literal["tls", "starttls"] = "tls"


def make_behavior(
    *,
    fail: Sequence[str] = (),
    delay: float | str = 0.0,
    drop: float | str = 0.0,
    chunking: bool = True,
    pipelining: bool = True,
    login: bool = True,
    starttls: bool = False,
) -> Behavior:
    """Return the behaviour that options describe.

    `fail` has rules as the module describes them. `delay` is in seconds, or a text such as "200ms". `drop` is
    a share from 0 to 1, or a text such as "1%". Raises ValueError if one of them is not valid.
    """
    return Behavior(
        failures=tuple(_take_argument("fail", rule, parse_failure) for rule in fail),
        delay=_take_argument("delay", delay, _parse_delay),
        drop=_take_argument("drop", drop, _parse_drop),
        has_chunking=chunking,
        has_pipelining=pipelining,
        has_login=login,
        security="starttls" if starttls else "tls",
    )


class FailurePlan:
    """Decides for each command whether it fails.

    One for all sessions of a server; `chance` gives numbers in [0, 1).
    """

    def __init__(self, behavior: Behavior, chance: random.Random | None = None) -> None:
        self._behavior = behavior
        self._chance = chance or random.Random()  # noqa: S311 - a rehearsal, not a secret
        self._seen: set[tuple[int, int]] = set()  # which rule has failed for the hash of which address

    def find_reply(self, stage: Stage, address: str = "") -> str | None:
        """Return the reply that refuses the command, or None if it succeeds."""
        for number, failure in enumerate(self._behavior.failures):
            if failure.stage == stage and self._matches(number, failure, address):
                return failure.reply
        return None

    def is_dropped(self) -> bool:
        """Return whether the connection is cut after this message."""
        return self._behavior.drop > 0 and self._chance.random() < self._behavior.drop

    def _matches(self, number: int, failure: Failure, address: str) -> bool:
        if failure.address is not None:
            return failure.address.search(address) is not None
        if failure.is_first_only:
            mark = (number, hash(address))
            is_first = mark not in self._seen
            self._seen.add(mark)
            return is_first
        return self._chance.random() < failure.share


def parse_failure(text: str) -> Failure:
    """Return the rule that `text` describes (see the module). ValueError says what is wrong with it."""
    match = _FAILURE.fullmatch(text.strip())
    if match is None:
        raise ValueError("expected [STAGE=]CODE[:WHEN], such as 421:5%, rcpt=550:^bob or data=451:first")
    stage = match["stage"] or "data"
    if stage not in get_args(Stage):
        raise ValueError(f"{stage!r} is not a stage; expected {', '.join(get_args(Stage))}")
    reply = f"{match['code']} {match['text'] or _TEXTS[match['code'][0]]}"
    when = match["when"]
    if when is None:
        return Failure(stage, reply)  # type: ignore[arg-type]  # checked above
    if when == "first":
        return Failure(stage, reply, is_first_only=True)  # type: ignore[arg-type]
    if _SHARE.fullmatch(when):
        return Failure(stage, reply, share=parse_share(when))  # type: ignore[arg-type]
    try:
        return Failure(stage, reply, address=re.compile(when, re.IGNORECASE))  # type: ignore[arg-type]
    except re.error as error:
        raise ValueError(f"{when!r} is not a percentage, 'first' or a regular expression: {error}") from None


def parse_share(text: str) -> float:
    """`5%` or `0.5%` as a share of 1. ValueError if it is not a percentage."""
    match = _SHARE.fullmatch(text.strip())
    if match is None or not 0 <= float(match[1]) <= 100:
        raise ValueError("expected a percentage such as 5%")
    return float(match[1]) / 100


def _parse_delay(value: float | str) -> float:
    seconds = parse_duration(value) if isinstance(value, str) else value
    if not 0 <= seconds < math.inf:
        raise ValueError("expected a number of seconds")
    return seconds


def _parse_drop(value: float | str) -> float:
    share = parse_share(value) if isinstance(value, str) else value
    if not 0 <= share <= 1:
        raise ValueError("expected a share from 0 to 1, or a percentage such as 5%")
    return share


def _take_argument(name: str, value: Given, parse: Callable[[Given], Parsed]) -> Parsed:
    """Return the parsed value, or raise ValueError with the argument's name and value."""
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{name} {value!r}: {error}") from None
