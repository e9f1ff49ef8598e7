"""docs/commands.md holds what `--help` prints, behind marks `<!-- help: COMMAND -->`. Run it to write them anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from mailer.cli.commands import mailer

DOCUMENT = Path(__file__).parents[2] / "docs" / "commands.md"
_BLOCK = re.compile(r"<!-- help: (?P<name>[a-z ]+) -->\n(?:\n?```text\n.*?\n```\n)?", re.DOTALL)
WIDTH = 100


def commands(command: click.Command = mailer, path: str = "mailer") -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, f"{path} {name}")


def help_text(name: str) -> str:
    """What `NAME --help` prints on a screen of 100 columns."""
    command = dict(commands())[name]
    context = click.Context(command, info_name=name, terminal_width=WIDTH, help_option_names=["-h", "--help"])
    return command.get_help(context)


def renewed(document: str) -> str:
    """The document with all blocks as they should be."""
    return _BLOCK.sub(
        lambda match: f"<!-- help: {match['name']} -->\n\n```text\n{help_text(match['name'])}\n```\n",
        document,
    )


def named(document: str) -> list[str]:
    """The commands that have a block."""
    return [match["name"] for match in _BLOCK.finditer(document)]


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
