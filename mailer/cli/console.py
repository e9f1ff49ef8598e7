"""Printing: what the user asked for goes to standard output, everything else to standard error.

No line that is printed here holds a terminal's control character, whatever its source. A server's text can
hold a secret that the server repeats: `blank_foreign_text` is for the texts that nothing has blanked before.
The mailer's own words are never blanked, because a short password ("p") would make them unreadable.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from mailer.secret import Secret, blank_secrets
from mailer.text import make_printable, make_printable_lines

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STANDARD_OUTPUT = "standard output"
_COLOURS = {"error:": "1;31", "warning:": "33", "hint:": "36"}  # ECMA-48 SGR: bold red, yellow, cyan

_secrets: set[str] = set()
_json_lines: list[dict[str, str]] = []  # one entry, the fields of each line, if the messages are JSON


def open_missing_streams() -> None:
    """Open the descriptors 0, 1 and 2 if the caller closed them (`<&-`, `>&-`).

    A file that is opened later would get such a number, and be taken for a standard stream. Writing to a
    standard output that was closed is an error, as it is in other programs; messages are dropped.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free number
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - for the rest of the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115


def accept_any_character() -> None:
    """Have characters that the output's encoding lacks (LC_ALL=C, cp1252) printed as escapes, not raised as
    errors.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def add_secret(secret: Secret) -> None:
    """Have `blank_foreign_text` blank `secret` from now on."""
    if secret:
        _secrets.add(secret.reveal())


def set_log_format(log_format: str, **fields: str) -> None:
    """Have messages printed as text, or each line as a JSON object with `fields` if `log_format` is "json"."""
    _json_lines[:] = [fields] if log_format == "json" else []


def forget_secrets() -> None:
    """Forget the secrets of an earlier command line in the same process, and the format of its messages."""
    _secrets.clear()
    set_log_format("text")


def blank_foreign_text(text: str) -> str:
    """Return a server's or a library's `text` without secrets, in each form that `mailer.secret` knows."""
    return blank_secrets(text, _secrets)


def print_error(text: str, *, hint: str | None = None) -> None:
    """Print `mailer: error: …` for each line of `text`, and a `hint:` line."""
    _print_kind("error", text)
    if hint:
        print_hint(hint)


def print_hint(text: str) -> None:
    """Print what the user can do next."""
    if not _write_json("hint", text):
        _write_line(f"{_colour('hint:')} {make_printable(text)}")


def print_warning(text: str) -> None:
    """Print `mailer: warning: …` for each line of `text`."""
    _print_kind("warning", text)


def print_note(text: str) -> None:
    """Print a note about the work in progress to standard error."""
    if not _write_json("info", text):
        _write_line(make_printable_lines(text))


@contextmanager
def named_output() -> Iterator[None]:
    """Have an error of writing to standard output say so, with a file name, as errors of other files do."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, STANDARD_OUTPUT) from error


def print_output(text: str) -> None:
    """Print lines that the user asked for to standard output."""
    with named_output():
        sys.stdout.write(make_printable_lines(text) + "\n")


def print_addresses(addresses: DataclassInstance, as_json: bool, more: tuple[str, ...] = ()) -> None:
    """Print the fields of `addresses`, a name and a value on each line and then the lines `more`; or one line
    of JSON.

    Nothing is blanked: the token and the login were made for this run, and are printed to be copied.
    """
    fields = asdict(addresses)
    lines = (
        [json.dumps(fields)] if as_json else [*(f"{name} {value}" for name, value in fields.items()), *more]
    )
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def may_ask() -> bool:
    """Return whether a person can be asked: standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask_yes_or_no(question: str) -> bool:
    """Show `question` (lines) to the person at the terminal and return whether the answer is yes. The default
    is no.

    The end of input is a no. If standard error is not the terminal (2>file), the question goes to the
    terminal itself.
    """
    text = f"{make_printable_lines(question)} [y/N]: "
    while True:
        _show_to_person(text)
        answer = sys.stdin.readline()
        if not answer:
            _show_to_person("\n")
        if answer.strip().lower() in ("", "n", "no"):
            return False
        if answer.strip().lower() in ("y", "yes"):
            return True
        text = "please answer yes or no [y/N]: "


def _show_to_person(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(text)
        sys.stderr.flush()
        return
    try:
        with open(os.ctermid(), "w", encoding="utf-8", errors="backslashreplace") as terminal:
            terminal.write(text)
    except OSError:  # no controlling terminal: the question goes where the errors go
        _write_line(text)


def may_draw() -> bool:
    """Return whether standard error is a screen on which a progress bar can be drawn."""
    return (
        not _json_lines
        and sys.stderr.isatty()
        and os.environ.get("TERM") != "dumb"
        and not os.environ.get("CI")
    )


def _print_kind(kind: str, text: str) -> None:
    if _write_json(kind, text):
        return
    for line in make_printable_lines(text).splitlines() or [""]:
        _write_line(f"mailer: {_colour(f'{kind}:')} {line}")


def _colour(word: str) -> str:
    """Return `word` in its colour if standard error is a terminal and NO_COLOR is not set (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty():
        return word
    return f"\x1b[{_COLOURS[word]}m{word}\x1b[0m"


def _write_json(level: str, text: str) -> bool:
    """Write a message as JSON, and return True, if that is the format."""
    if not _json_lines:
        return False
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    _write_line(json.dumps({"time": at, "level": level, "message": text, **_json_lines[0]}))
    return True


def _write_line(line: str) -> None:
    # A closed or full standard error must not end a run that is sending.
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
