"""The `mailer` command: its subcommands are imported when they are named."""

from __future__ import annotations

import difflib
import importlib

import click

from mailer._version import __version__

# name -> the module that has it as `command`; in the order of `mailer --help`
COMMANDS = {
    "init": "init",
    "check": "check",
    "render": "render",
    "send": "send",
    "report": "report",
    "sandbox": "sandbox",
    "probe": "probe",
    "suppress": "suppress",
    "schema": "schema",
}

# In the contract, not in this version: better said than answered with "no such command".
NOT_YET = {"preview", "bounces"}


class Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = importlib.import_module(f"mailer.cli.{module}").command
        assert isinstance(command, click.Command)  # noqa: S101 - our own modules
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in NOT_YET:
            raise click.UsageError(f"this version of mailer has no {name!r} command yet", ctx)
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; expected one of {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command {name!r}{meant}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mailer", message="%(prog)s %(version)s")
def mailer() -> None:
    """Send a campaign, a message for each recipient, over one TLS session; a ledger sees that nobody is lost.

    \b
      mailer init spring                      a new campaign with its template
      mailer check campaigns/spring.yaml      everything that can be wrong, before it is
      mailer send campaigns/spring.yaml --sandbox            a rehearsal: nobody gets mail
      mailer send campaigns/spring.yaml --server smtps://me@example.com@smtp.example.com:465

    Exit codes: 0 all sent, 1 some recipients did not get it, 2 nothing was sent (input), 3 the server or the ledger
    failed, 4 given up (stop_after), 130 or 143 interrupted.
    """
