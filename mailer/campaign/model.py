"""What a campaign file says, as frozen values. Nothing here reads a file or renders a template.

A `Pattern` is a Jinja2 source from the campaign file with its place, so that an error that is found when it
is rendered can still say FILE:LINE:COLUMN. Durations are seconds; paths are absolute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Protocol

from mailer.dataclass import dataclass
from mailer.errors import Place, Problem
from mailer.frozen import frozen_value
from mailer.secret import Secret

Security = Literal["tls", "starttls", "none"]
AuthMechanism = Literal["plain", "login", "cram-md5", "scram-sha-256", "xoauth2", "oauthbearer"]
InDoubt = Literal["resend", "hold"]
Strategy = Literal["auto", "streamed", "pipelined", "sequential"]
CssMode = Literal["inline", "keep"]
AUTO: Final = "auto"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A Jinja2 source and where it is in the campaign file (or that a program gave it).

    `key` is the key that has it, as in "unsubscribe.url"; every problem of it begins with that.
    """

    source: str
    place: Place = field(default=Place("<campaign>"))
    key: str = field(default="", compare=False)

    @property
    def is_constant(self) -> bool:
        """Whether it has no Jinja2 tag, so that every recipient gets the source itself."""
        return "{" not in self.source


@dataclass(frozen=True, slots=True)
class Mailbox:
    """RFC 5322 3.4: a display name (may be empty) and an address, as the user wrote them."""

    name: str
    address: str


@frozen_value()
class Recipient:
    """One row of the list. `columns` holds JSON values only, `email` included; dates are text as a person
    sees them.

    `problem` is set for a row that cannot be sent to (a wrong address, say). `email` is then the cell's text.
    """

    email: str
    columns: Mapping[str, object]
    place: Place
    problem: Problem | None = None
    nulls: tuple[str, ...] = ()  # columns that were null in the list, and are "" here


class RowView(dict[str, object]):
    """A row's values by the names that templates use, and by the list's own: `row["First Name"]`."""

    __slots__ = ()

    def __missing__(self, name: str) -> object:
        from mailer.campaign.sources.names import variable_name

        if (known := variable_name(name)) != name and known in self:
            return self[known]
        raise KeyError(name)


class RecipientSource(Protocol):
    """A list of recipients that is read as a stream, as often as asked. InputError if it cannot be read."""

    def __iter__(self) -> Iterator[Recipient]: ...

    def fingerprint(self) -> str | None:
        """Return a digest of the list's bytes (and of `where`) that is quick to make; None if there is none
        (SQL).
        """


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that is attached. Without `filename`, the attachment has the file's own name."""

    path: Pattern
    filename: Pattern | None = None


@dataclass(frozen=True, slots=True)
class Calendar:
    """An iCalendar file (RFC 5545) sent as a text/calendar alternative with `method` (RFC 6047)."""

    path: Pattern
    method: str = "REQUEST"


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """RFC 2369 List-Unsubscribe, and RFC 8058 one click."""

    url: Pattern | None = None
    mailto: Pattern | None = None
    one_click: bool = False


class SecretSource(Protocol):
    """Where a password comes from. It is read only when asked."""

    def read(self) -> Secret:
        """Return the secret. InputError says which variable, command or file did not give it."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client's certificate and its private key, PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """A submission server and how to use it.

    `auth` holds the mechanisms that may be used, the preferred one first; empty means all (`auto`). `ca_file`
    is None for the system's trust store. `ehlo_name` is None for the client's address literal. `proxy` is the
    URL of a SOCKS5 proxy. `provider` names the entry of `PROVIDERS` that gave host, port and security.
    """

    host: str
    port: int
    security: Security = "tls"
    username: str | None = None
    password: SecretSource | None = None
    auth: tuple[AuthMechanism, ...] = ()
    ca_file: Path | None = None
    allow_plaintext: bool = False
    client_cert: ClientCertificate | None = None
    ehlo_name: str | None = None
    source_address: str | None = None
    proxy: str | None = None
    provider: str | None = None


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
    """Seconds to wait after the first failed attempt, and at most between two attempts."""

    first: float = 1.0
    most: float = 300.0


@dataclass(frozen=True, slots=True)
class StopAfter:
    """End the run after `in_a_row` permanent failures in a row, or when `share` (0 to 1) of this run's
    failed.
    """

    in_a_row: int | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the messages are sent. `connections` is a number or AUTO; `window` is None for automatic."""

    connections: int | Literal["auto"] = 1
    rate: Rate | None = None
    strategy: Strategy = "auto"
    window: int | None = None
    attempts: int = 5
    backoff: Backoff = field(default_factory=Backoff)
    timeout: float = 60.0
    in_doubt: InDoubt = "resend"
    stop_after: StopAfter | None = field(default_factory=lambda: StopAfter(in_a_row=50))


@dataclass(frozen=True, slots=True)
class Dkim:
    """The signing domain, the selector and the private key's file (RFC 6376)."""

    domain: str
    selector: str
    key_file: Path
    place: Place | None = field(default=None, compare=False, repr=False)  # of `key_file` in the campaign file


@dataclass(frozen=True, slots=True, init=False)
class Campaign:
    """A campaign, checked. `mailer.load_campaign` makes one from a file; a program can make one itself.

    `root` is the folder that templates and files must be in. `path` is the campaign file. A template is
    looked for in the file's folder first.
    """

    path: Path
    root: Path
    name: str
    sender: Pattern
    subject: Pattern
    recipients: RecipientSource
    reply_to: tuple[Pattern, ...]
    to: Pattern | None  # the display name in To
    cc: tuple[Pattern, ...]
    bcc: tuple[Pattern, ...]
    envelope_from: Pattern | None
    template: Pattern | None
    text: Pattern | None
    images: Mapping[str, Pattern]
    attachments: tuple[Attachment, ...]
    headers: Mapping[str, Pattern]
    calendar: Calendar | None
    css: CssMode
    unsubscribe: Unsubscribe | None
    vars: Mapping[str, object]
    key: Pattern | None
    server: ServerConfig | None
    delivery: Delivery
    dkim: Dkim | None
    ignore: tuple[str, ...]  # rules of `mailer check` that do not apply to this campaign
    warnings: tuple[Problem, ...]  # what is allowed but probably not meant, as an empty `--var`
    unknown_variables: tuple[str, ...]  # names of `--var` that only a template may use

    def __init__(
        self,
        *,
        name: str,
        sender: str | Pattern,
        subject: str | Pattern,
        recipients: RecipientSource | Iterable[Mapping[str, object] | str],
        path: str | PathLike[str] | None = None,
        root: str | PathLike[str] | None = None,
        reply_to: str | Pattern | Sequence[str | Pattern] = (),
        to: str | Pattern | None = None,
        cc: str | Pattern | Sequence[str | Pattern] = (),
        bcc: str | Pattern | Sequence[str | Pattern] = (),
        envelope_from: str | Pattern | None = None,
        template: str | Pattern | None = None,
        text: str | Pattern | None = None,
        images: Mapping[str, str | Pattern] = MappingProxyType({}),
        attachments: Sequence[str | Mapping[str, str] | Attachment] = (),
        headers: Mapping[str, str | Pattern] = MappingProxyType({}),
        calendar: str | Mapping[str, str] | Calendar | None = None,
        css: CssMode = "inline",
        unsubscribe: Mapping[str, object] | Unsubscribe | None = None,
        vars: Mapping[str, object] = MappingProxyType({}),
        key: str | Pattern | None = None,
        server: Mapping[str, object] | ServerConfig | None = None,
        delivery: Mapping[str, object] | Delivery | None = None,
        dkim: Mapping[str, str] | Dkim | None = None,
        ignore: Sequence[str] = (),
        warnings: tuple[Problem, ...] = (),
        unknown_variables: tuple[str, ...] = (),
    ) -> None:
        """Make a campaign. Each argument is what the key of the same name is in a campaign file (`sender` is
        `from`).

        `recipients` is an iterable of mappings with `email`, or of addresses. It is read once, when it is
        needed, and kept in a file, so that it may be long. Dates and other values become text as a person
        writes them. Files are looked for in `root`, which is the working directory by default.

        Raises InputError with every problem of the arguments.
        """
        from mailer.campaign.load import check_arguments

        values = dict(locals())
        del values["self"], values["check_arguments"]
        for field_name, value in check_arguments(values).items():
            object.__setattr__(self, field_name, value)
