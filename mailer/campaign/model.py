"""What a campaign file says, as frozen values. Nothing here reads a file or renders a template.

A `Pattern` is a Jinja2 source from the campaign file with the place where it stands, so that an error found when
it is rendered can still say FILE:LINE:COLUMN. Durations are seconds; paths are absolute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from mailer.errors import Place, Problem
from mailer.secret import Secret

Security = Literal["tls", "starttls", "none"]
AuthChoice = Literal["auto", "plain", "login", "cram-md5", "scram-sha-256", "xoauth2", "oauthbearer"]
InDoubt = Literal["resend", "hold"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A Jinja2 source and where it stands in the campaign file."""

    source: str
    place: Place


@dataclass(frozen=True, slots=True)
class Mailbox:
    """RFC 5322 3.4: a display name (maybe empty) and an address, as written by the user."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """One row of the list. `columns` holds JSON values only, `email` included; dates are text as a person sees them.

    `problem` is set for a row that cannot be sent to (a wrong address, say); `email` is then the text as it stands.
    """

    email: str
    columns: Mapping[str, object]
    place: Place
    problem: Problem | None = None


class RecipientSource(Protocol):
    """A list of recipients that is read as a stream, as often as asked; InputError where it cannot be read."""

    def __iter__(self) -> Iterator[Recipient]: ...

    def fingerprint(self) -> str | None:
        """A digest of the list's bytes (and `where`), quick to have; None where there is none (SQL)."""


@dataclass(frozen=True, slots=True)
class Attachment:
    path: Pattern
    filename: Pattern | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """RFC 2369 List-Unsubscribe, and RFC 8058 one click."""

    url: Pattern | None = None
    mailto: Pattern | None = None
    one_click: bool = False


class SecretSource(Protocol):
    """Where a password comes from (env, command, file); read only when asked."""

    def read(self) -> Secret:
        """The secret; InputError says which variable, command or file did not give it."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    host: str
    port: int
    security: Security = "tls"
    username: str | None = None
    password: SecretSource | None = None
    auth: AuthChoice = "auto"
    ca_file: Path | None = None
    allow_plaintext: bool = False


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` messages in `seconds`, as in "30/minute"."""

    count: int
    seconds: float

    @property
    def interval(self) -> float:
        """Seconds between two messages."""
        return self.seconds / self.count


@dataclass(frozen=True, slots=True)
class Backoff:
    first: float = 1.0
    most: float = 300.0


@dataclass(frozen=True, slots=True)
class StopAfter:
    """Give up after `in_a_row` final failures in a row, or at `share` (0..1) of those settled in this run."""

    in_a_row: int | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    connections: int = 1
    rate: Rate | None = None
    window: int | None = None  # None is auto
    attempts: int = 5
    backoff: Backoff = field(default_factory=Backoff)
    timeout: float = 60.0
    in_doubt: InDoubt = "resend"
    stop_after: StopAfter | None = field(default_factory=lambda: StopAfter(in_a_row=50))


@dataclass(frozen=True, slots=True)
class Dkim:
    domain: str
    selector: str
    key_file: Path
    place: Place | None = field(default=None, compare=False, repr=False)  # of the key file's name in the campaign


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign file, read and checked. `root` is the folder that templates and files must lie in."""

    path: Path
    root: Path
    name: str
    sender: Mailbox
    subject: Pattern
    recipients: RecipientSource
    reply_to: Mailbox | None = None
    cc: tuple[Pattern, ...] = ()
    bcc: tuple[Pattern, ...] = ()
    envelope_from: Pattern | None = None
    template: Pattern | None = None
    text: Pattern | None = None
    images: Mapping[str, Pattern] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    headers: Mapping[str, Pattern] = field(default_factory=dict)
    unsubscribe: Unsubscribe | None = None
    vars: Mapping[str, object] = field(default_factory=dict)
    key: Pattern | None = None
    server: ServerConfig | None = None
    delivery: Delivery = field(default_factory=Delivery)
    dkim: Dkim | None = None
    ignore: tuple[str, ...] = ()  # rules of `mailer check` that do not apply to this campaign
