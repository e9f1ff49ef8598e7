"""The exceptions of the package, as a tree.

    MailerError                      everything that we raise on purpose; `str()` is one line for a person
    ├── InputError                   a campaign, list, template, option or path is wrong; nothing was sent (exit 2)
    │   └── RenderError              one recipient's message cannot be made
    ├── LedgerError                  the ledger is damaged, foreign, unusable (exit 2)
    │   ├── LedgerBusy               another send holds the campaign (exit 2)
    │   └── LedgerWriteError         it cannot be written any more; sending stopped (exit 3)
    ├── ServerError                  the server could not be used (exit 3)
    │   ├── Unreachable              no connection, or it was lost too often
    │   │   └── SessionRefused       it answered, and will not serve us: refused for good, or no SMTP server
    │   ├── TlsError                 handshake, chain, name, or STARTTLS not offered
    │   ├── AuthenticationError      the login was refused, or no mechanism fits
    │   └── ConnectionLost           an open session ended (reset, timeout, 421, or a violation of the protocol)
    │       └── ProtocolViolation    the server said what SMTP does not allow; the session is closed
    └── MissingExtra                 a feature needs an optional dependency; the hint names it (exit 2)

Who is to blame is in the type: `InputError` is the user's, `ServerError` the peer's. Our own misuse of our
own code is a plain `RuntimeError` or `ValueError` and never part of this tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from mailer.dataclass import dataclass
from mailer.frozen import frozen_value


@frozen_value(order=True)
class Place:
    """A place in a file. `line` and `column` count from 1; 0 means that they are not known.

    A `file` that ends with a blank names what is counted instead of a file: "campaign.yaml:5:3: row " of a
    query.
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        numbers = ":".join(str(n) for n in (self.line, self.column) if n)
        return self.file + ("" if not numbers or self.file.endswith(" ") else ":") + numbers


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what to do about it.

    Shown as `FILE:LINE:COLUMN: text`, one line.
    """

    place: Place | None
    text: str

    def __str__(self) -> str:
        line = f"{self.place}: {self.text}" if self.place else self.text
        return " ".join(line.split("\n")) if "\n" in line else line  # of a value that is quoted in it


def append_remainder(first: Sequence[Problem], count: int, more: str = "more") -> list[Problem]:
    """Return the first of `count` problems, and a last one that says how many are not shown (`and 3 more`)."""
    return [*first, Problem(None, f"and {count - len(first):,} {more}")] if count > len(first) else [*first]


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Return each problem once, in the order of the files; those without a place (`and 3 more`) come last."""
    return sorted(
        set(problems), key=lambda problem: (problem.place is None, problem.place or Place(""), problem.text)
    )


class MailerError(Exception):
    """Base of the tree. `hint` is what the user may do next, or None."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class InputError(MailerError):
    """One or more problems in what the user gave; `str()` has a line for each."""

    def __init__(self, problems: Sequence[Problem] | Problem | str, *, hint: str | None = None) -> None:
        if isinstance(problems, str):
            problems = [Problem(None, problems)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)), hint=hint)


class RenderError(InputError):
    """A message that cannot be made for one recipient (undefined name, missing file, time or size exceeded)."""

    @property
    def summary(self) -> str:
        """The first problem, and the number of the others: one line for the report."""
        count = len(self.problems) - 1
        more = f"; and {count:,} more problem{'s' if count > 1 else ''}" if count else ""
        return f"{self.problems[0]}{more}"


class LedgerError(MailerError):
    """The ledger cannot be used."""


class LedgerBusy(LedgerError):
    """Another send of this campaign holds the ledger."""


class LedgerWriteError(LedgerError):
    """The ledger cannot be written any more (disk full, file size limit)."""


class ServerError(MailerError):
    """The server could not be used."""


class Unreachable(ServerError):
    """No connection could be made, or none that lasted."""


class SessionRefused(Unreachable):
    """The server answered that it will not serve us, so that another try soon makes no sense.

    It refused for good (5xx), or what it speaks is not SMTP. `reply` is the refusal, or None.
    """

    def __init__(self, message: str, *, hint: str | None = None, reply: ServerReply | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reply = reply


class TlsError(ServerError):
    """TLS could not be established or verified."""


class AuthenticationError(ServerError):
    """The login was refused for good, or no mechanism fits. `temporary` is true for 4xx (454)."""

    def __init__(self, message: str, *, hint: str | None = None, temporary: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.temporary = temporary


class ServerReply(Protocol):
    """What an error keeps of a server's reply (`mailer.smtp.protocol.reply.Reply`)."""

    @property
    def code(self) -> int: ...

    @property
    def enhanced(self) -> str | None: ...

    @property
    def text(self) -> str: ...


class ConnectionLost(ServerError):
    """An open session ended before we said QUIT.

    `reply` is what the server said to end it (421 ...), or None.
    """

    def __init__(self, message: str, *, hint: str | None = None, reply: ServerReply | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reply = reply


class ProtocolViolation(ConnectionLost):
    """The server broke the protocol's rules; nothing it says afterwards can be trusted."""


class MissingExtra(MailerError):
    """A feature needs an optional dependency that is not installed."""
