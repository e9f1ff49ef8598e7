"""Options that several commands share, and how an option's text becomes a value. Imports click alone."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from mailer.text import find_similar

SUFFIXES = (".yaml", ".yml")
REPORT_FORMATS = ".json .csv .html .md .xml (JUnit)"

# Commands of the documentation that this version does not have.
NOT_BUILT = {"bounces", "login"}

MAX_CA_FILE = 16 << 20  # octets, as in smtp.tls, which is not imported for the help alone
PATH = click.Path(path_type=Path)  # whether the file exists is checked by the command

# What `behavior_options` adds, by parameter name.
BEHAVIOR_OPTIONS = ("fail", "delay", "drop", "no_chunking", "no_pipelining", "tls_only", "starttls")

# For an option of `send`, the option without which it has no effect.
SEND_NEEDED = {"--abandon": "--again", "--shared-files": "--workers"} | {
    f"--{name.replace('_', '-')}": "--sandbox" for name in BEHAVIOR_OPTIONS
}
# For an option of `send`, the options that have no effect beside it.
_MANY = ("--connections", "--window", "--strategy", "--rate", "--limit", "--no-preflight", "--skip-invalid")
_LEDGER_STATE = ("--again", "--retry-failed", "--in-doubt")
_WORKERS = ("--workers", "--shared-files")
SEND_INEFFECTIVE = {
    "--sandbox": ("--server", "--ca-file", *_LEDGER_STATE, *_WORKERS),
    "--proof": (*_MANY, *_LEDGER_STATE, *_WORKERS, "--ledger"),
    "--again": ("--retry-failed",),
    "--workers": ("--trace",),
    "--dry-run": (
        *(*_MANY, *_LEDGER_STATE, *_WORKERS, "--ledger", "--metrics", "--quiet", "--verbose"),
        *("--report", "--proof", "--sandbox", "--server", "--ca-file", "--trace", "--yes"),
    ),
    "--quiet": ("--verbose",),
}

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def parse_variables(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Return the values of `--var NAME=VALUE` by name."""
    variables: dict[str, str] = {}
    for value in values:
        name, separator, text = value.partition("=")
        if not separator or not re.fullmatch(r"[^\W\d]\w*", name):
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        if name in variables:
            raise click.BadParameter(f"{name} is given twice")
        variables[name] = text
    return variables


def parse_connections_option(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> object:
    """Parse a number from 1 to 100, or `auto`. Raises click.BadParameter."""
    if value is None or value == "auto":
        return value
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 100:
        raise click.BadParameter(f"{value!r}: expected a number from 1 to 100, or auto")
    return int(value)


def parse_rate_option(_context: click.Context, _parameter: click.Parameter, value: str | None) -> object:
    """Return the Rate that `value` ("14/second") says, or None for None."""
    from mailer.campaign.quantities import parse_rate

    try:
        return parse_rate(value) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from None


def parse_time_option(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> float | None:
    """Return the seconds that `value` ("500ms", "2s") says, or None for None. A bare number is in seconds."""
    from mailer.campaign.quantities import parse_duration

    if value is None:
        return None
    try:
        return parse_duration(f"{value}s" if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from None


def find_campaign_file(text: str) -> Path:
    """Return the path that CAMPAIGN names: a path, or a NAME whose file is campaigns/NAME.yaml or NAME.yaml.

    If no such file exists, the result is the path `text`.
    """
    path = Path(text)
    if not _is_given_file(path) and path.parent == Path() and path.suffix not in SUFFIXES:
        for folder in (Path("campaigns"), Path()):
            for suffix in SUFFIXES:
                if (found := folder / f"{text}{suffix}").is_file():
                    return found
    return path


def _is_given_file(path: Path) -> bool:
    """Whether `path` is there and no folder, which may have the name of a campaign."""
    return path.exists() and not path.is_dir()


class WholeNumber(click.IntRange):
    """A number with limits, by a name for people."""

    name = "number"


class CampaignFile(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    """The path or the name of a campaign. With `must_exist`, a name without a file is an error."""

    name = "campaign"

    def __init__(self, *, must_exist: bool = True) -> None:
        self._must_exist = must_exist

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if isinstance(value, Path):
            return value
        if not value:  # an unset variable of a script gives an empty text
            raise click.BadParameter(
                "expected the path of a campaign file, found an empty one", param_hint="CAMPAIGN"
            )
        path = find_campaign_file(value)
        is_name = path.name and path.parent == Path() and path.suffix not in SUFFIXES
        if self._must_exist and is_name and not _is_given_file(path):
            folder = f"; {value} is a folder" if path.is_dir() else ""
            raise click.BadParameter(
                f"there is no {value}, campaigns/{value}.yaml or {value}.yaml{folder}", param_hint="CAMPAIGN"
            )
        return path

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Propose the names in campaigns/ and the files that begin with `incomplete`."""
        names = [
            path.stem for path in sorted(Path("campaigns").glob("*.y*ml")) if path.stem.startswith(incomplete)
        ]
        return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


class StrictCommand(click.Command):
    """A command that refuses an option given twice, unless it is repeatable, and one with an empty value.

    `ineffective` names, for an option, the options that have no effect beside it: giving both is an error.
    `needed` names, for an option, the option without which it has no effect.
    """

    def __init__(
        self,
        *args: Any,
        ineffective: Mapping[str, Sequence[str]] | None = None,
        needed: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._ineffective = ineffective or {}
        self._needed = needed or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            values, _, order = self.make_parser(ctx).parse_args(args=list(args))
            self._refuse_repeated(ctx, order)
            self._refuse_empty(ctx, order, values)
            self._refuse_ineffective(ctx, order)
        return super().parse_args(ctx, args)

    def _refuse_repeated(self, ctx: click.Context, given: Sequence[click.Parameter]) -> None:
        for parameter in given:
            is_repeatable = not isinstance(parameter, click.Option) or parameter.multiple or parameter.count
            if not is_repeatable and given.count(parameter) > 1:
                raise click.UsageError(f"{parameter.opts[-1]} is given twice", ctx)

    def _refuse_empty(
        self, ctx: click.Context, given: Sequence[click.Parameter], values: Mapping[str, Any]
    ) -> None:
        """`--ledger "$LEDGER"` without that variable must not mean the default ledger."""
        for parameter in given:
            if isinstance(parameter, click.Option):
                value = values[parameter.name or ""]
                if "" in (value if isinstance(value, list) else [value]):
                    raise click.UsageError(
                        f"{parameter.opts[-1]}: expected a value, found an empty text", ctx
                    )

    def _refuse_ineffective(self, ctx: click.Context, given: Sequence[click.Parameter]) -> None:
        names = {
            name for parameter in given if isinstance(parameter, click.Option) for name in parameter.opts
        }
        for option, others in self._ineffective.items():
            if option in names and (found := [other for other in others if other in names]):
                have = "has" if len(found) == 1 else "have"
                raise click.UsageError(f"{', '.join(found)} {have} no effect beside {option}", ctx)
        for option, other in self._needed.items():
            if option in names and other not in names:
                raise click.UsageError(f"{option} has no effect without {other}", ctx)


class CommandGroup(click.Group):
    """A group that lists its commands as declared and proposes the nearest name for a misspelt one."""

    command_class = StrictCommand
    group_class = type  # a group within the group is one like it

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in NOT_BUILT and name not in self.commands:
            raise click.UsageError(f"this version of mailer has no {name!r} command yet", ctx)
        if name not in self.commands and not name.startswith("-"):
            near = find_similar(name, self.commands)
            proposal = (
                f"; did you mean {near!r}?" if near else f"; expected one of {', '.join(self.commands)}"
            )
            raise click.UsageError(f"there is no command {name!r}{proposal}", ctx)
        return super().resolve_command(ctx, args)


def campaign_argument(command: Decorated) -> Decorated:
    """Add the argument CAMPAIGN as `campaign_file`."""
    return click.argument("campaign_file", metavar="CAMPAIGN", type=CampaignFile())(command)


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


def metrics_option(command: Decorated) -> Decorated:
    """Add `--metrics`."""
    return click.option(
        "--metrics", metavar="FILE", type=PATH, help="Write metrics for Prometheus (textfile)."
    )(command)


def json_option(command: Decorated) -> Decorated:
    """Add `--json` as `as_json`, to a command that prints addresses of its own."""
    return click.option("--json", "as_json", is_flag=True, help="Print the addresses as one line of JSON.")(
        command
    )


def port_option(name: str, what: str) -> Callable[[Decorated], Decorated]:
    """Return the decorator of the option `name` for the port of `what` ("Port of the page")."""
    return click.option(name, type=WholeNumber(0, 65535), default=0, help=f"{what}; 0 takes a free one.")


def addresses_argument(command: Decorated) -> Decorated:
    """Add the argument ADDRESS… as `addresses`; at least one is needed."""
    return click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)(command)


def reason_option(default: str, help_text: str) -> Callable[[Decorated], Decorated]:
    """Return the decorator of `--reason`."""
    return click.option("--reason", default=default, show_default=True, metavar="TEXT", help=help_text)


def log_format_option(command: Decorated) -> Decorated:
    """Add `--log-format`."""
    return click.option(
        "--log-format", type=click.Choice(["text", "json"]), default="text",
        help="Format of messages on standard error; json is one object per line.",
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
        "--ca-file", metavar="FILE", type=PATH, envvar="MAILER_CA_FILE", show_envvar=True,
        callback=_save_standard_input,
        help="Trust the certificates that this file's authority signed, instead of the system's trust store. "
        "- is standard input.",
    )(command)  # fmt: skip


def _save_standard_input(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Return the path; for `-`, that of a file with what standard input has, which is deleted at the exit.

    Each session, and the process of a proof, reads the file anew.
    """
    if path != Path("-"):
        return path
    import atexit
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="mailer-ca-", suffix=".pem", delete=False) as copy:
        atexit.register(Path(copy.name).unlink, missing_ok=True)
        copy.write(sys.stdin.buffer.read(MAX_CA_FILE + 1))  # one that is too large is refused when it is read
    return Path(copy.name)


def behavior_options(command: Decorated) -> Decorated:
    """Add the options with which the sandbox misbehaves, named in BEHAVIOR_OPTIONS."""
    added = [
        click.option(
            "--fail", metavar="RULE", multiple=True,
            help="The sandbox refuses: 421:5% (of messages), rcpt=550:^bob (recipients that match), data=451:first "
            "(the first message for each recipient). Repeatable.",
        ),
        click.option("--delay", metavar="TIME", help="The sandbox waits before its replies: 200ms."),
        click.option("--drop", metavar="SHARE", help="The sandbox cuts the connection after this share of messages."),
        click.option("--no-chunking", is_flag=True, help="The sandbox offers no CHUNKING: messages are sent by DATA."),
        click.option("--no-pipelining", is_flag=True, help="The sandbox offers no PIPELINING."),
        click.option("--tls-only", is_flag=True, help="The sandbox has TLS, and neither offers nor needs a login."),
        click.option("--starttls", is_flag=True, help="The sandbox begins without TLS and offers STARTTLS."),
    ]  # fmt: skip
    for option in reversed(added):
        command = option(command)
    return command


def report_option(*names: str, help_text: str) -> Callable[[Decorated], Decorated]:
    """Return the decorator of an option that names report files; repeatable."""
    return click.option(
        *names, metavar="[FORMAT:]FILE", multiple=True,
        help=f"{help_text} The suffix sets the format: {REPORT_FORMATS}. FORMAT: sets it for a file without a suffix; "
        "the file - is standard output. Repeatable.",
    )  # fmt: skip
