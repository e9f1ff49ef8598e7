"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

LEDGER = ".mailer/ledger.sqlite3"


class Variable(click.ParamType):
    """NAME=VALUE"""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, separator, text = str(value).partition("=")
        if not separator or not re.fullmatch(r"[^\W\d]\w*", name):
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, text


class RateType(click.ParamType):
    """COUNT/PERIOD"""

    name = "RATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> object:
        from mailer.campaign.quantities import parse_rate

        try:
            return parse_rate(str(value))
        except ValueError as error:
            return self.fail(f"{value!r}: {error}", param, ctx)


def path_type() -> click.Path:
    return click.Path(path_type=Path)


campaign_argument = click.argument("campaign_file", metavar="CAMPAIGN", type=path_type())

variables = click.option(
    "--var", "variables", metavar="NAME=VALUE", type=Variable(), multiple=True,
    help="A value for the campaign's `vars`; wins over the file's. Repeatable.",
)  # fmt: skip

ledger = click.option(
    "--ledger", metavar="PATH", envvar="MAILER_LEDGER", default=LEDGER, show_default=True, show_envvar=True,
    help="Where it is kept what became of every message.",
)  # fmt: skip

server = click.option(
    "--server", metavar="URL", help="smtps://user@host:465, smtp+starttls://user@host:587 or smtp://127.0.0.1:1025. "
    "Wins over MAILER_SERVER, which wins over the campaign's. The password is better put into MAILER_PASSWORD.",
)  # fmt: skip

ca_file = click.option(
    "--ca-file", metavar="FILE", type=path_type(),
    help="Trust the certificates that this file's authority signed, instead of the system's.",
)  # fmt: skip

trace = click.option(
    "--trace", metavar="FILE", help="Write the SMTP dialogue there, secrets blanked; - is standard error.",
)  # fmt: skip


def several(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """A decorator that adds `options` in their order in the help."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
