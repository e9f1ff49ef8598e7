"""Makes the man page and the completions of the shells from the command itself.

`python -m tests.cli.manual` (`make generated`) writes docs/man and docs/completion. The wheel installs them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from mailer._version import __version__
from mailer.cli.commands import mailer
from tests.cli.help_blocks import DOCUMENT, commands

DOCS = DOCUMENT.parent
SHELLS = {"mailer.bash": BashComplete, "_mailer": ZshComplete, "mailer.fish": FishComplete}


def make_files() -> dict[Path, str]:
    """Return the text of each generated file by its path."""
    files = {DOCS / "man" / "mailer.1": "\n".join(_make_page()) + "\n"}
    for name, shell in SHELLS.items():
        source = shell(mailer, {}, "mailer", "_MAILER_COMPLETE")
        text = (
            source.source_template % source.source_vars()
        )  # `source()` asks for the version of an installed bash
        files[DOCS / "completion" / name] = text.strip() + "\n"
    return files


def _make_page() -> Iterator[str]:
    yield f'.TH MAILER 1 "" "mailer {__version__}" "User Commands"'
    yield from (
        ".SH NAME",
        "mailer \\- templated batch mailer",
        ".SH SYNOPSIS",
        ".B mailer",
        "COMMAND [OPTIONS] [ARGS]",
    )
    yield ".SH DESCRIPTION"
    yield from _format_help(mailer.help or "")
    yield ".SH COMMANDS"
    for path, command in commands():
        if path != "mailer":
            yield from _make_command(path, command)
    for title, heading in (("EXIT STATUS", "exit"), ("ENVIRONMENT", "environment")):
        yield f".SH {title}"
        for name, text in _read_table(heading):
            yield from (".TP", f".B {_escape(name)}", _escape(text))
    yield ".SH FILES"
    yield from (".TP", ".I .mailer/ledger.sqlite3", "The delivery ledger, in the project's root.")
    yield from (".SH SEE ALSO", "The documentation of the project: campaign.md, commands.md, promises.md.")


def _make_command(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path, help_option_names=["-h", "--help"])
    yield f".SS {_escape(' '.join([path, *command.collect_usage_pieces(context)]))}"
    yield from _format_help(command.help or "")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            yield from (".TP", f".B {_escape(record[0])}", _escape(" ".join(record[1].split())))


def _format_help(text: str) -> Iterator[str]:
    """Yield the paragraphs of a docstring; one that begins with click's mark \\b keeps its lines."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from (".nf", *(_escape(line) for line in paragraph.splitlines()[1:]), ".fi")
        else:
            yield _escape(" ".join(paragraph.split()))


def _read_table(heading: str) -> list[tuple[str, str]]:
    """Return the rows of the table in docs/commands.md that begins with `heading`."""
    table = DOCUMENT.read_text(encoding="utf-8").split(f"\n| {heading} |")[1].split("\n\n")[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:3] for line in table.splitlines()[2:]]
    return [(_plain(name), _plain(text)) for name, text in rows]


def _plain(cell: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell.replace("\\|", "|").replace("`", "")).strip()


def _escape(text: str) -> str:
    """Return `text` as roff reads it: no request at the begin of a line, real dashes in options."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    for path, text in make_files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
