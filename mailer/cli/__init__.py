"""The command line: options, printing, exit codes. One file a command; what it does is in the rooms below.

`main` is the only way in and the only way out: every exception becomes one line and an exit code here.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from mailer.cli import console
from mailer.cli.exits import Exit
from mailer.errors import LedgerWriteError, MailerError, ServerError

__all__ = ["main", "run"]


def main() -> NoReturn:
    """The `mailer` script."""
    code = run(sys.argv[1:])
    # The interpreter flushes once more while it ends; where that cannot work, it has been said already.
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. Never raises but with MAILER_DEBUG=1."""
    console.forget()
    try:
        code = _command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _quiet_pipe()
    except KeyboardInterrupt:
        return _interrupted()
    except MailerError as error:
        if _debug():
            raise
        console.error(str(error), hint=error.hint)
        return exit_code(error)
    except Exception as error:
        if _debug():
            raise
        return _unexpected(error)
    return code


def exit_code(error: MailerError) -> Exit:
    """Contract section 2: 3 for what the server or a full disk did, 2 for what could not begin."""
    return Exit.SERVER if isinstance(error, ServerError | LedgerWriteError) else Exit.INPUT


def _command(arguments: Sequence[str]) -> int:
    import click

    from mailer.cli.app import mailer

    if "_MAILER_COMPLETE" in os.environ:
        mailer.main(prog_name="mailer")  # a shell asks how to go on
    # Not click's own `main`: it has its own idea of a lost pipe, an interruption and an exit code.
    try:
        with mailer.make_context("mailer", list(arguments)) as context:
            result = mailer.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return Exit.INPUT
    except click.UsageError as error:
        console.error(error.format_message(), hint=_usage_hint(error))
        return Exit.INPUT
    except click.ClickException as error:
        console.error(error.format_message())
        return Exit.INPUT
    except click.Abort as error:
        # Click turns Ctrl-C and the end of input at its questions into this.
        raise KeyboardInterrupt from error
    return int(result or 0)


def _usage_hint(error: object) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'mailer'} --help"


def _interrupted() -> int:
    console.error("interrupted")
    return Exit.INTERRUPTED


def _quiet_pipe() -> int:
    # The reader has left (`mailer report x | head`): nobody is to be told. What the interpreter still holds for
    # standard output goes nowhere, or it would complain at its end.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.BROKEN_PIPE


def _unexpected(error: Exception) -> int:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        console.error(f"{where}{error.strerror or error}")
        return Exit.IO
    console.error(
        f"{type(error).__name__}: {error}",
        hint="this is a bug in mailer; run it again with MAILER_DEBUG=1 for the traceback",
    )
    return Exit.BUG


def _debug() -> bool:
    return os.environ.get("MAILER_DEBUG") == "1"
