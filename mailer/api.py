"""The Python API: `load_campaign`, `send`, `async_send`.

from mailer import load_campaign, send

campaign = load_campaign("campaigns/newsletter.yaml")
report = send(campaign, server="smtps://news@example.com@smtp.example.com:465", password="…")
report.counts.sent; report.failed()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from mailer.campaign import load_campaign, parse_server
from mailer.campaign.model import Campaign, Delivery, Rate, SecretSource, ServerConfig
from mailer.campaign.quantities import parse_rate
from mailer.campaign.servers import is_loopback
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, RunResult, SendOptions
from mailer.delivery.run import run
from mailer.delivery.signals import StopSignal
from mailer.errors import InputError, LedgerWriteError, Unreachable
from mailer.ledger import Ledger, get_project_ledger
from mailer.ledger.outcome import Outcome
from mailer.render.compile import compile_campaign
from mailer.report.summary import Report, make_proof_report, read_report
from mailer.secret import Secret

__all__ = ["SendArguments", "async_send", "choose_server", "load_campaign", "override_delivery", "send"]

# `in_doubt` of the options is about former runs, that of the campaign about this one.
DELIVERY_FIELDS = frozenset(field.name for field in fields(Delivery)) - {"in_doubt"}


class SendArguments(TypedDict, total=False):
    """The options of `send` and `async_send` beside the campaign. Each has the meaning of the command's option.

    `server` is a URL, by default the campaign's server. `password` is by default the URL's, then the campaign's, which
    goes to the campaign's own server only. `rate` is a text such as "30/minute"; `window` and `connections` are
    maximum values; `limit` is a number of recipients; `only` is an address or a key; `proof` is an address. `trace` is
    called with "C", "S" or "*" and each line of the dialogue. `stop.request()` ends the run in order, from any thread.
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
    """Send `campaign` as `mailer send` does, and return its report. A second call continues where the first stopped.

    The report's `ending` says how the run ended: "complete", "incomplete" (some recipients failed, are deferred or in
    doubt), "given_up" or "interrupted". Raises InputError or LedgerError before anything is sent; ServerError if the
    server cannot be used; LedgerWriteError if the ledger can no longer be written. What was sent is in the ledger.
    The report of a proof covers only the proof, which is not recorded.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(async_send(campaign, **arguments))
    raise RuntimeError(
        "an event loop is running in this thread: await mailer.async_send(...) instead of mailer.send(...)"
    )


async def async_send(campaign: Campaign, **arguments: Unpack[SendArguments]) -> Report:
    """Send `campaign` as `send` does, in a running event loop. Reading and checking the list blocks the loop."""
    given: dict[str, Any] = dict(arguments)
    ledger = given.pop("ledger", None) or get_project_ledger(campaign.root)
    observer, stop = given.pop("observer", None), given.pop("stop", None)
    server = choose_server(campaign.server, given.pop("server", None), ca_file=given.pop("ca_file", None))
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
        report = read_report(book, campaign.name)
    return replace(report, outcomes=lambda: _read_outcomes(ledger, campaign.name, report.edition))


def choose_server(
    own: ServerConfig | None, given: str | ServerConfig | None, *, ca_file: str | PathLike[str] | None = None
) -> ServerConfig:
    """Return the server to use: `given`, or the campaign's server `own`. Raises InputError if there is none.

    If both are the same server, the campaign's user name, password, authority and mechanism complete `given`. They
    never go to another server. `ca_file` takes precedence over both.
    """
    chosen = parse_server(given) if isinstance(given, str) else given
    if chosen is None:
        chosen = own
    elif own is not None and _is_same_server(chosen, own):
        login = own.password if chosen.username in (None, own.username) else None
        chosen = replace(
            chosen,
            username=chosen.username or own.username,
            password=chosen.password or login,
            auth=chosen.auth or own.auth,
            ca_file=chosen.ca_file or own.ca_file,
        )
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
        return given if isinstance(given, Secret) else Secret(given)
    return source.read() if source is not None else None


def _raise_for_ending(result: RunResult) -> None:
    if result.ending is Ending.UNREACHABLE:
        raise Unreachable(result.reason or "the server could not be used", hint=result.hint)
    if result.ending is Ending.LEDGER_FAILED:
        raise LedgerWriteError(result.reason or "the ledger can no longer be written", hint=result.hint)


def _read_outcomes(ledger: str | PathLike[str], campaign: str, edition: int) -> Iterator[Outcome]:
    with Ledger.open(ledger, create=False) as book:
        yield from read_report(book, campaign, edition).outcomes()
