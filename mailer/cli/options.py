"""Options that several commands share, and how an option's text becomes a value. Imports click alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

REPORT_FORMATS = ".json .csv .html .md .xml (JUnit)"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def parse_variables(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return the values of `--var NAME=VALUE` by name. The last value of a name counts."""
    variables = {}
    for value in values:
        name, separator, text = value.partition("=")
        if not separator or not re.fullmatch(r"[^\W\d]\w*", name):
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        variables[name] = text
    return variables


def parse_rate_option(_context: click.Context, _parameter: click.Parameter, value: str | None) -> object:
    """Return the Rate that `value` ("14/second") says, or None for None."""
    from mailer.campaign.quantities import parse_rate

    try:
        return parse_rate(value) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from None


def path_type() -> click.Path:
    """Return the parameter type of a path; whether the file exists is checked by the command."""
    return click.Path(path_type=Path)


def _refuse_empty_path(_context: click.Context, _parameter: click.Parameter, value: Path) -> Path:
    if value == Path():  # an unset variable of a script gives an empty text
        raise click.BadParameter("expected the path of a campaign file", param_hint="CAMPAIGN")
    return value


def campaign_argument(command: Decorated) -> Decorated:
    """Add the argument CAMPAIGN as `campaign_file`."""
    return click.argument("campaign_file", metavar="CAMPAIGN", type=path_type(), callback=_refuse_empty_path)(command)


def variables_option(command: Decorated) -> Decorated:
    """Add `--var` as `variables`."""
    return click.option(
        "--var", "variables", metavar="NAME=VALUE", multiple=True, callback=parse_variables,
        help="A value for the campaign's `vars`; takes precedence over the file's. Repeatable.",
    )(command)  # fmt: skip


def ledger_option(command: Decorated) -> Decorated:
    """Add `--ledger`."""
    return click.option(
        "--ledger", metavar="PATH", envvar="MAILER_LEDGER", show_envvar=True,
        help="Path of the delivery ledger. Default: .mailer/ledger.sqlite3 in the project's root.",
    )(command)  # fmt: skip


def server_option(command: Decorated) -> Decorated:
    """Add `--server`."""
    return click.option(
        "--server", metavar="URL",
        help="smtps://user@host:465, smtp+starttls://user@host:587 or smtp://127.0.0.1:1025. Takes precedence over "
        "MAILER_SERVER, which takes precedence over the campaign's server. Put the password into MAILER_PASSWORD.",
    )(command)  # fmt: skip


def ca_file_option(command: Decorated) -> Decorated:
    """Add `--ca-file`."""
    return click.option(
        "--ca-file", metavar="FILE", type=path_type(),
        help="Trust the certificates that this file's authority signed, instead of the system's trust store.",
    )(command)  # fmt: skip


def report_option(*names: str, help_text: str) -> Callable[[Decorated], Decorated]:
    """Return the decorator of an option that names report files; repeatable."""
    return click.option(
        *names, metavar="[FORMAT:]FILE", multiple=True,
        help=f"{help_text} The suffix sets the format: {REPORT_FORMATS}. FORMAT: sets it for a file without a suffix; "
        "the file - is standard output. Repeatable.",
    )  # fmt: skip
