"""The Python API: everything that `import mailer` offers and that is a function. docs/api.md shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, Unpack, cast

from mailer.campaign import load_campaign, parse_server
from mailer.campaign.model import Campaign, Delivery, Rate, Recipient, SecretSource, ServerConfig
from mailer.campaign.quantities import parse_rate
from mailer.campaign.servers import is_loopback
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, RunResult, SendOptions
from mailer.delivery.preflight import check_messages
from mailer.delivery.run import run
from mailer.delivery.signals import StopSignal
from mailer.errors import InputError, LedgerWriteError, Unreachable
from mailer.ledger import Ledger, find_nearest_ledger, get_project_ledger
from mailer.ledger.outcome import Outcome
from mailer.render.compile import compile_campaign
from mailer.render.message import Message
from mailer.render.render_process import RenderProcess
from mailer.report import summary
from mailer.report.summary import Report, make_proof_report
from mailer.secret import Secret

if TYPE_CHECKING:
    from mailer.lint.finding import Finding  # loads slowly, and only `check` needs it

__all__ = [
    "SendArguments",
    "async_send",
    "check",
    "choose_server",
    "load_campaign",
    "override_delivery",
    "read_report",
    "render",
    "sandbox",
    "send",
]

# `in_doubt` of the options is about former runs, that of the campaign about this one.
DELIVERY_FIELDS = frozenset(field.name for field in fields(Delivery)) - {"in_doubt"}


class SendArguments(TypedDict, total=False):
    """The options of `send` and `async_send` beside the campaign. Each has the meaning of the command's
    option.

    `server` is a URL, by default the campaign's server. `password` is by default the URL's, then the
    campaign's, which goes to the campaign's own server only. `rate` is a text such as "30/minute"; `window`
    and `connections` are maximum values; `limit` is a number of recipients; `only` is an address or a key;
    `proof` is an address. `trace` is called with "C", "S" or "*" and each line of the dialogue.
    `stop.request()` ends the run in order, from any thread.
    """

    server: str | ServerConfig | None
    password: str | Secret | None
    ledger: str | PathLike[str] | None
    ca_file: str | PathLike[str] | None
    rate: str | Rate | None
    connections: int | Literal["auto"] | None
    window: int | None
    limit: int | None
    only: str | None
    proof: str | None
    again: bool
    abandon: bool
    retry_failed: bool
    in_doubt: Literal["resend", "hold", "sent"] | None
    skip_invalid: bool
    preflight: bool
    trace: Callable[[str, str], None] | None
    observer: Observer | None
    stop: StopSignal | None


def send(campaign: Campaign, **arguments: Unpack[SendArguments]) -> Report:
    """Send `campaign` as `mailer send` does, and return its report. A second call continues where the first
    stopped.

    The report's `ending` says how the run ended: "complete", "incomplete" (some recipients failed, are
    deferred or in doubt), "given_up" or "interrupted". Raises InputError or LedgerError before anything is
    sent; ServerError if the server cannot be used; LedgerWriteError if the ledger can no longer be written.
    What was sent is in the ledger. The report of a proof covers only the proof, which is not recorded.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(async_send(campaign, **arguments))
    raise RuntimeError(
        "an event loop is running in this thread: await mailer.async_send(...) instead of mailer.send(...)"
    )


async def async_send(campaign: Campaign, **arguments: Unpack[SendArguments]) -> Report:
    """Send `campaign` as `send` does, in a running event loop.

    Reading and checking the list blocks the loop.
    """
    given: dict[str, Any] = dict(arguments)
    ledger = given.pop("ledger", None)
    if ledger is None:
        ledger = get_project_ledger(campaign.root)
    elif not fspath(ledger):
        raise InputError("ledger: expected a path or a URL, found an empty text")
    observer, stop = given.pop("observer", None), given.pop("stop", None)
    has_password = given.get("password") is not None
    own, ca_file = campaign.server, given.pop("ca_file", None)
    server = choose_server(own, given.pop("server", None), ca_file=ca_file, has_password=has_password)
    password = _read_password(given.pop("password", None), server.password)
    if arguments.get("password") is not None:
        server = replace(server, password=None)  # the server's own is not asked again
    overrides = {name: given.pop(name) for name in DELIVERY_FIELDS & given.keys()}
    options = SendOptions(
        server=server,
        password=password,
        delivery=override_delivery(campaign.delivery, **overrides),
        **given,
    )
    if options.proof is not None:  # not recorded, so it needs no ledger
        with Ledger.open_temporary() as book:
            result = await run(campaign, compile_campaign(campaign), book, options, observer, stop=stop)
        _raise_for_ending(result)
        assert result.run is not None  # noqa: S101 - a proof always has one
        return make_proof_report(result.run, result.proof)
    with Ledger.open(ledger) as book:
        result = await run(campaign, compile_campaign(campaign), book, options, observer, stop=stop)
        _raise_for_ending(result)
        report = summary.read_report(book, campaign.name)
        return _make_independent(report, ledger)


def check(campaign: Campaign) -> list[Finding]:
    """Render the message of every recipient and return the warnings of `mailer check`.

    Opens no connection and no ledger. Raises InputError with every problem that `send` would stop at.
    """
    compiled = compile_campaign(replace(campaign, dkim=None))  # without the key, which a check need not have
    _, problems = check_messages(campaign, compiled, Observer())
    if problems:
        raise InputError(problems)
    from mailer.lint import lint_campaign

    return lint_campaign(campaign, compiled)


def render(campaign: Campaign, recipient: Recipient | Mapping[str, object]) -> Message:
    """Return the message of one recipient, who need not be in the campaign's list: envelope and bytes.

    `recipient` is a mapping with `email` and the columns that the templates use. Raises InputError if the
    address is not valid, the message cannot be rendered, or it needs more time or memory than the limits.
    """
    if not isinstance(recipient, Recipient):
        recipient = next(iter(replace(campaign, recipients=cast(Any, [recipient])).recipients))
    if recipient.problem is not None:
        raise InputError(recipient.problem)
    with RenderProcess(compile_campaign(campaign)) as process:
        return process.render(recipient)


def read_report(
    campaign: Campaign | str, *, ledger: str | PathLike[str] | None = None, edition: int | None = None
) -> Report:
    """Return the report of a campaign (or of its name) from a ledger.

    `ledger` is by default the campaign's, or for a name the nearest one. `edition` is by default the latest.
    Raises InputError if the ledger has no such campaign or edition, LedgerError if there is no ledger.
    """
    if isinstance(campaign, str):
        name, place = campaign, ledger or find_nearest_ledger(Path.cwd())
    else:
        name, place = campaign.name, ledger or get_project_ledger(campaign.root)
    with Ledger.open(place, create=False) as book:
        return _make_independent(summary.read_report(book, name, edition), place)


class SandboxBehavior(TypedDict, total=False):
    """How a sandbox misbehaves; docs/sandbox.md describes the rules of `fail`.

    `delay` is in seconds before each group of replies, or a text such as "200ms". `drop` is the share (0 to
    1, or "1%") of messages after which the connection is cut before the reply. The last four say what the
    server offers; by default, all but `starttls`.
    """

    fail: Sequence[str]
    delay: float | str
    drop: float | str
    chunking: bool
    pipelining: bool
    login: bool
    starttls: bool


class SandboxServer(Protocol):
    """A running sandbox. `url` has the login; `ca_file` is the authority of its certificate."""

    url: str
    ca_file: Path
    port: int
    username: str
    password: str
    maildir: Path

    @property
    def messages(self) -> list[Any]:
        """The messages received so far, the oldest first: `sender`, `recipients`, and `content` (bytes)."""


def sandbox(
    *,
    maildir: str | PathLike[str] | None = None,
    port: int = 0,
    password: str | None = None,
    ca_dir: str | PathLike[str] | None = None,
    **behavior: Unpack[SandboxBehavior],
) -> AbstractContextManager[SandboxServer]:
    """Return an SMTP server on loopback for tests of programs that send; use it in a `with` statement.

    It delivers no mail. `maildir` is the folder for the messages, by default a temporary one; port 0 takes a
    free one; the password is random by default; `ca_dir` keeps the certificate authority for the next one.
    `behavior` are the keys of SandboxBehavior: how the server fails, and what it does not offer. Raises
    ValueError if one of them is not valid, MissingExtra without the extra `sandbox`.
    """
    from mailer.sandbox import Sandbox
    from mailer.sandbox.behavior import make_behavior

    return Sandbox(
        maildir=None if maildir is None else Path(maildir),
        port=port,
        password=password,
        ca_dir=None if ca_dir is None else Path(ca_dir),
        behavior=make_behavior(**behavior),
    )


def choose_server(
    own: ServerConfig | None,
    given: str | ServerConfig | None,
    *,
    ca_file: str | PathLike[str] | None = None,
    has_password: bool = False,
) -> ServerConfig:
    """Return the server to use: `given`, or the campaign's server `own`. Raises InputError if there is none.

    If both are the same server, what the campaign says of it completes `given`. Its user name and password
    never go to another server. `ca_file` takes precedence over both.

    With `has_password`, there is a password that is not the campaign's. It must go to `given` and nowhere
    else, so the campaign does not say which authority to trust, nor through which proxy to connect.
    """
    chosen = parse_server(given) if isinstance(given, str) else given
    if chosen is None:
        chosen = own
    elif own is not None and _is_same_server(chosen, own):
        login = own.password if chosen.username in (None, own.username) else None
        has_own_password = chosen.password is not None
        chosen = replace(
            chosen,
            username=chosen.username or own.username,
            password=chosen.password or login,
            auth=chosen.auth or own.auth,
            client_cert=chosen.client_cert or own.client_cert,
            ehlo_name=chosen.ehlo_name or own.ehlo_name,
            source_address=chosen.source_address or own.source_address,
        )
        if not (has_password or has_own_password):
            chosen = replace(chosen, ca_file=chosen.ca_file or own.ca_file, proxy=chosen.proxy or own.proxy)
    if chosen is None:
        hint = "--server smtps://user@host:465, the environment variable MAILER_SERVER, or `server:` in the campaign"
        raise InputError("no server is named", hint=hint)
    return replace(chosen, ca_file=Path(ca_file)) if ca_file else chosen


def override_delivery(delivery: Delivery, **overrides: Any) -> Delivery:
    """Return `delivery` with each field that `overrides` has and that is not None; `rate` may be a text.

    Raises InputError if the rate is not valid.
    """
    chosen = {name: value for name, value in overrides.items() if value is not None}
    if isinstance(rate := chosen.get("rate"), str):
        try:
            chosen["rate"] = parse_rate(rate)
        except ValueError as error:
            raise InputError(f"rate {rate!r}: {error}") from None
    return replace(delivery, **chosen)


def _is_same_server(one: ServerConfig, other: ServerConfig) -> bool:
    # On loopback, each port is a different server: the end of a tunnel, or another user's.
    return one.host == other.host and (one.port == other.port or not is_loopback(one.host))


def _read_password(given: str | Secret | None, source: SecretSource | None) -> Secret | None:
    if given is not None:
        if not isinstance(given, str | Secret):
            raise InputError(f"password: expected a text, found a value of the type {type(given).__name__}")
        return given if isinstance(given, Secret) else Secret(given)
    return source.read() if source is not None else None


def _raise_for_ending(result: RunResult) -> None:
    if result.ending is Ending.UNREACHABLE:
        raise Unreachable(result.reason or "the server could not be used", hint=result.hint)
    if result.ending is Ending.LEDGER_FAILED:
        raise LedgerWriteError(result.reason or "the ledger can no longer be written", hint=result.hint)


def _make_independent(report: Report, ledger: str | PathLike[str]) -> Report:
    """Return the report with recipients that are read from the ledger anew, after it was closed."""

    def read_outcomes() -> Iterator[Outcome]:
        with Ledger.open(ledger, create=False) as book:
            yield from summary.read_report(book, report.campaign, report.edition).outcomes()

    return replace(report, outcomes=read_outcomes)
