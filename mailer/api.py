"""The Python API: `load_campaign`, `send`, `async_send` (contract section 5).

from mailer import load_campaign, send

campaign = load_campaign("campaigns/newsletter.yaml")
report = send(campaign, server="smtps://news@example.com@smtp.example.com:465", password="…")
report.counts.sent; report.failed()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Literal

from mailer.campaign import load_campaign, parse_server
from mailer.campaign.model import Campaign, Delivery, Rate, SecretSource, ServerConfig
from mailer.campaign.quantities import parse_rate
from mailer.campaign.servers import is_loopback
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, RunResult, SendOptions
from mailer.delivery.run import run
from mailer.delivery.signals import StopSignal
from mailer.errors import InputError, LedgerWriteError, Unreachable
from mailer.ledger import Ledger
from mailer.ledger.outcome import Outcome
from mailer.render.compile import compile_campaign
from mailer.report.summary import Report, read_report
from mailer.secret import Secret

__all__ = ["async_send", "choose_server", "load_campaign", "send", "with_pace"]

LEDGER = Path(".mailer/ledger.sqlite3")


def send(
    campaign: Campaign,
    *,
    server: str | ServerConfig | None = None,
    password: str | Secret | None = None,
    ledger: str | PathLike[str] = LEDGER,
    ca_file: str | PathLike[str] | None = None,
    rate: str | Rate | None = None,
    connections: int | None = None,
    window: int | None = None,
    limit: int | None = None,
    only: str | None = None,
    proof: str | None = None,
    again: bool = False,
    retry_failed: bool = False,
    in_doubt: Literal["resend", "hold", "sent"] | None = None,
    skip_invalid: bool = False,
    preflight: bool = True,
    trace: Callable[[str, str], None] | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> Report:
    """Send `campaign` as `mailer send` does, and give its report. Called again, it goes on where it stopped.

    `server` is a URL, by default the campaign's own. `password` is by default the URL's, then the campaign's; the
    campaign's goes to its own server only. `rate` is text such as "30/minute"; `window` and `connections` are
    maxima; the other options are those of the command. `stop.request()`, from any thread, ends it in order.

    The report's `ending` says how it went: "complete", "incomplete" (some failed, are deferred or in doubt),
    "given_up" or "interrupted". Raises InputError and LedgerError before anything is sent; ServerError where the
    server cannot be used, LedgerWriteError where the ledger cannot be written any more: what was sent is in the ledger.
    """
    arguments = locals()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(async_send(**arguments))
    raise RuntimeError(
        "an event loop is running in this thread: await mailer.async_send(...) instead of mailer.send(...)"
    )


async def async_send(
    campaign: Campaign,
    *,
    server: str | ServerConfig | None = None,
    password: str | Secret | None = None,
    ledger: str | PathLike[str] = LEDGER,
    ca_file: str | PathLike[str] | None = None,
    rate: str | Rate | None = None,
    connections: int | None = None,
    window: int | None = None,
    limit: int | None = None,
    only: str | None = None,
    proof: str | None = None,
    again: bool = False,
    retry_failed: bool = False,
    in_doubt: Literal["resend", "hold", "sent"] | None = None,
    skip_invalid: bool = False,
    preflight: bool = True,
    trace: Callable[[str, str], None] | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> Report:
    """As `send`, within a running event loop. Planning and checking the list, at its begin, keep the loop busy."""
    chosen = choose_server(campaign.server, server, ca_file=ca_file)
    options = SendOptions(
        server=chosen,
        password=_password(password, chosen.password),
        delivery=with_pace(campaign.delivery, rate, connections, window),
        limit=limit, only=only, proof=proof, again=again, retry_failed=retry_failed, in_doubt=in_doubt,
        skip_invalid=skip_invalid, preflight=preflight, trace=trace,
    )  # fmt: skip
    with Ledger.open(ledger) as book:
        result = await run(campaign, compile_campaign(campaign), book, options, observer, stop=stop)
        _raise_for(result)
        report = read_report(book, campaign.name)
    return replace(report, outcomes=lambda: _reread(ledger, campaign.name, report.edition))


def choose_server(
    own: ServerConfig | None, given: str | ServerConfig | None, *, ca_file: str | PathLike[str] | None = None
) -> ServerConfig:
    """The server to use: the given one, else the campaign's `own`. InputError where there is none.

    What the campaign says of its server (login, authority, how to log in) completes a given one only if that is the
    same server: a password must never go to another host than the one it was written for.
    """
    chosen = parse_server(given) if isinstance(given, str) else given
    if chosen is None:
        chosen = own
    elif own is not None and _same(chosen, own):
        login = own.password if chosen.username in (None, own.username) else None
        chosen = replace(
            chosen,
            username=chosen.username or own.username,
            password=chosen.password or login,
            auth=own.auth if chosen.auth == "auto" else chosen.auth,
            ca_file=chosen.ca_file or own.ca_file,
        )
    if chosen is None:
        hint = "--server smtps://user@host:465, the environment variable MAILER_SERVER, or `server:` in the campaign"
        raise InputError("no server is named", hint=hint)
    return replace(chosen, ca_file=Path(ca_file)) if ca_file else chosen


def with_pace(delivery: Delivery, rate: str | Rate | None, connections: int | None, window: int | None) -> Delivery:
    """The campaign's `delivery` with what was asked for this time."""
    try:
        pace = parse_rate(rate) if isinstance(rate, str) else rate
    except ValueError as error:
        raise InputError(f"rate {rate!r}: {error}") from None
    return replace(
        delivery,
        rate=pace or delivery.rate,
        connections=connections or delivery.connections,
        window=window or delivery.window,
    )


def _same(one: ServerConfig, other: ServerConfig) -> bool:
    # On loopback each port is a server of its own: behind a tunnel, or another user's.
    return one.host == other.host and (one.port == other.port or not is_loopback(one.host))


def _password(given: str | Secret | None, source: SecretSource | None) -> Secret | None:
    if given is not None:
        return given if isinstance(given, Secret) else Secret(given)
    return source.read() if source is not None else None


def _raise_for(result: RunResult) -> None:
    if result.ending is Ending.UNREACHABLE:
        raise Unreachable(result.reason or "the server could not be used", hint=result.hint)
    if result.ending is Ending.LEDGER_FAILED:
        raise LedgerWriteError(result.reason or "the ledger could not be written any more", hint=result.hint)


def _reread(ledger: str | PathLike[str], campaign: str, edition: int) -> Iterator[Outcome]:
    with Ledger.open(ledger, create=False) as book:
        yield from read_report(book, campaign, edition).outcomes()
