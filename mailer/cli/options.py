"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import re
from pathlib import Path

import click

LEDGER = ".mailer/ledger.sqlite3"


def parse_variables(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE, as often as given; the last one of a name counts."""
    variables = {}
    for value in values:
        name, separator, text = value.partition("=")
        if not separator or not re.fullmatch(r"[^\W\d]\w*", name):
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        variables[name] = text
    return variables


def parse_pace(_context: click.Context, _parameter: click.Parameter, value: str | None) -> object:
    """COUNT/PERIOD"""
    from mailer.campaign.quantities import parse_rate

    try:
        return parse_rate(value) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from None


def path_type() -> click.Path:
    return click.Path(path_type=Path)


def _named(_context: click.Context, _parameter: click.Parameter, value: Path) -> Path:
    if value == Path():  # what an empty name becomes, as an unset variable of a script gives it
        raise click.BadParameter("expected the path of a campaign file", param_hint="CAMPAIGN")
    return value


campaign_argument = click.argument("campaign_file", metavar="CAMPAIGN", type=path_type(), callback=_named)

variables = click.option(
    "--var", "variables", metavar="NAME=VALUE", multiple=True, callback=parse_variables,
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
