"""The command line: options, printing, exit codes.

`commands` declares every command; each command's work has its own module. `run` is the only entry and the
only exit: it turns every exception into one line and an exit code.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from mailer.cli import console
from mailer.cli.exit_codes import ExitCode
from mailer.errors import InputError, LedgerWriteError, MailerError, ServerError

__all__ = ["main", "run"]


def main() -> NoReturn:
    """Run the process's command line and exit."""
    console.open_missing_streams()
    if not _is_debugging():
        _silence_python()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Raises an exception only with MAILER_DEBUG=1."""
    console.forget_secrets()
    console.accept_any_character()
    try:
        code = _run_command(arguments)
    except BrokenPipeError:
        return _flush_output(ExitCode.BROKEN_PIPE)
    except KeyboardInterrupt:
        console.print_error("interrupted")
        return _flush_output(ExitCode.INTERRUPTED)
    except MailerError as error:
        if isinstance(error.__cause__, BrokenPipeError) and isinstance(error, InputError):
            return _flush_output(ExitCode.BROKEN_PIPE)  # an output file that is `-`
        if _is_debugging():
            raise
        console.print_error(str(error), hint=error.hint)
        return _flush_output(exit_code_for(error))
    except MemoryError:
        console.print_error("there is not enough memory")
        return _flush_output(ExitCode.IO)
    except Exception as error:
        if _is_debugging():
            raise
        return _flush_output(_report_unexpected(error))
    return _flush_output(code)


def exit_code_for(error: MailerError) -> ExitCode:
    """Return 3 for an error of the server or of a full disk, 2 for everything that prevents the start of a
    run.
    """
    return ExitCode.SERVER if isinstance(error, ServerError | LedgerWriteError) else ExitCode.INPUT


def _silence_python() -> None:
    """Keep tracebacks of Python's own from standard error: its warnings, and what a destructor raises."""
    sys.unraisablehook = lambda _: None
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _run_command(arguments: Sequence[str]) -> int:
    import click

    from mailer.cli.commands import mailer

    if "_MAILER_COMPLETE" in os.environ:
        mailer.main(prog_name="mailer")  # a shell asks for completions
    # Not click's `main`: it treats a closed pipe, an interrupt and exit codes in its own way.
    try:
        with console.named_output():  # --help and --version print here
            context = mailer.make_context("mailer", list(arguments))
        with context:
            result = mailer.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return ExitCode.INPUT
    except click.UsageError as error:
        console.print_error(error.format_message(), hint=_make_usage_hint(error, arguments))
        return ExitCode.INPUT
    except click.ClickException as error:
        console.print_error(error.format_message())
        return ExitCode.INPUT
    except click.Abort as error:
        # Click turns Ctrl-C and the end of input at its questions into this.
        raise KeyboardInterrupt from error
    return int(result or 0)


def _make_usage_hint(error: object, arguments: Sequence[str]) -> str:
    """Return the command that shows the help; click's errors about an option's value have no context."""
    from mailer.cli.commands import mailer

    context = getattr(error, "ctx", None)
    if context is not None:
        return f"{context.command_path} --help"
    return (
        f"mailer {arguments[0]} --help" if arguments and arguments[0] in mailer.commands else "mailer --help"
    )


def _flush_output(code: int) -> int:
    """Write what standard output still holds. If that fails, a command that succeeded has another exit code.

    Python may keep the unwritten text and write it once more when the process exits, which would print
    another error. /dev/null takes that text.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has ended: `mailer report x | head`
            return code or ExitCode.BROKEN_PIPE
        if code != ExitCode.IO:  # otherwise it was printed
            console.print_error(f"standard output cannot be written: {error.strerror or error}")
        return code or ExitCode.IO
    return code


def _report_unexpected(error: Exception) -> int:
    if isinstance(error, FileNotFoundError) and error.filename is None:  # of os.getcwd
        console.print_error("the working directory was removed", hint="cd to another one")
        return ExitCode.INPUT
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        if error.filename == console.STANDARD_OUTPUT:
            where = f"{error.filename} cannot be written: "
        console.print_error(f"{where}{error.strerror or error}")
        return ExitCode.IO
    console.print_error(
        f"{type(error).__name__}: {console.blank_foreign_text(str(error))}",
        hint="this is a bug in mailer; run it again with MAILER_DEBUG=1 for the traceback",
    )
    return ExitCode.BUG


def _is_debugging() -> bool:
    return os.environ.get("MAILER_DEBUG") == "1"
